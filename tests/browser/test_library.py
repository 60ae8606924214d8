"""The Library page, links, and who sees what, as visitors meet them."""

from __future__ import annotations

import re
import zipfile

import pytest
from serving import served_app
from visiting import STATUS, run

from diffatlas.library import Library
from diffatlas.params import Noise

pytestmark = pytest.mark.browser


def library(page, words=None, found=1):
    """Turn to the Library, and look for ``words`` until there are so many runs."""
    page.click(".da-nav button[data-page=library]")
    page.wait_for_selector(".da-run")
    if words:
        page.fill(".da-search", words)
        wait_for_runs(page, found)


def wait_for_runs(page, count):
    page.wait_for_function("count => document.querySelectorAll('.da-run').length === count", arg=count)


def test_a_run_is_found_named_tagged_and_stays_so(open_page):
    page = open_page()
    page.click(".da-page-trajectory .da-fold:not(.da-from-picture) > button")
    page.click("#field-attention input")
    page.get_by_role("option", name="What each word looks at").click()
    run(page, prompt="a purple ring on its own", seed=501, num_inference_steps=2)
    library(page, "purple ring on its")
    assert "attention" in page.inner_text(".da-run-facts")
    page.select_option(".da-filter-attention", "none")
    wait_for_runs(page, 0)
    page.select_option(".da-filter-attention", "captured")
    wait_for_runs(page, 1)
    page.wait_for_selector(".da-run-shot img")
    page.click(".da-run-open")
    page.click(".da-details-rename")
    page.fill(".da-name-input", "ring <i>one</i>")
    page.press(".da-name-input", "Enter")
    page.fill(".da-tag-input", "round")
    page.press(".da-tag-input", "Enter")
    page.wait_for_selector(".da-details .da-tag")
    page.fill(".da-note", "It holds.")
    page.keyboard.press("Escape")
    page.wait_for_selector(".da-details[open]", state="detached")
    page.wait_for_selector(".da-run .da-noted")
    page.reload()
    page.wait_for_selector(".da-run")
    page.fill(".da-search", "ring <i>one")
    wait_for_runs(page, 1)
    card = page.inner_text(".da-run")
    assert "ring <i>one</i>" in card
    assert "round" in card
    assert page.locator(".da-run .da-noted").count() == 1
    assert page.problems == []


def test_deleting_can_be_undone(open_page):
    page = open_page()
    run(page, prompt="a cyan star to be thrown away", seed=502, num_inference_steps=2)
    library(page, "thrown away")
    page.check(".da-check")
    page.click(".da-act-trash")
    wait_for_runs(page, 0)
    page.click(".da-toast-act")
    wait_for_runs(page, 1)


def test_a_copied_link_opens_the_run_and_fills_the_form(open_page):
    page = open_page()
    made = run(page, prompt="a red star by a link", seed=503, num_inference_steps=3, guidance_scale=2)
    page.fill("#field-prompt textarea", "something else")
    page.goto(re.sub(r"\?.*", "", page.url) + f"?page=library&run={made}")
    page.wait_for_selector(".da-details[open]")
    page.click(".da-details-open")
    page.wait_for_function("document.body.dataset.page !== 'library'")
    page.wait_for_selector(f".da-layer[data-id='{made}'] .da-lock[aria-label=Locked]")
    page.wait_for_function(
        "document.querySelector('#field-prompt textarea').value === 'a red star by a link'"
    )
    assert page.input_value("#field-seed input") == "503"
    assert page.input_value("#field-num_inference_steps input") == "3"
    assert page.input_value("#field-guidance_scale input") == "2"

    other = open_page(query=f"?page=trajectory&run={made}")
    other.wait_for_selector(f".da-layer[data-id='{made}']")
    other.wait_for_function("document.querySelectorAll('.da-frame[data-step]').length === 3")


def test_a_link_fills_the_form_and_runs_nothing(open_page):
    page = open_page(query="?prompt=a+blue+ring&seed=41&steps=7&guidance=4.5")
    page.wait_for_function("document.querySelector('#field-prompt textarea').value === 'a blue ring'")
    assert page.input_value("#field-seed input") == "41"
    assert page.input_value("#field-num_inference_steps input") == "7"
    assert page.input_value("#field-guidance_scale input") == "4.5"
    page.wait_for_timeout(500)
    assert page.evaluate(STATUS) == "idle"


def test_a_link_keeps_guidance_and_noise(open_page, app_folder):
    """Elsewhere the run would be another without them."""
    method = "&guidance_method=apg&guidance_options=eta%3D0.5"
    noise = "&noise=perturb,+seed%3D8,+amount%3D0.3"
    page = open_page(query="?prompt=a+blue+ring&steps=5" + method + noise)
    page.wait_for_function("document.querySelector('#field-prompt textarea').value === 'a blue ring'")
    page.wait_for_function(
        "document.querySelector('#field-noise :is(input, textarea)')?.value.includes('0.3')"
    )
    page.wait_for_timeout(1500)  # the page may still be filling other fields
    page.click("#field-run")
    page.wait_for_function(f"{STATUS} === 'complete'")
    run_id = page.evaluate("document.querySelector('.da-layer.da-temporary').dataset.id")
    params = Library(app_folder / "runs").load(run_id).params
    assert (params.guidance_method, params.guidance_options["eta"]) == ("apg", 0.5)
    assert params.noise == Noise("perturb", seed=8, amount=0.3)


def test_a_wrong_link_says_what_is_wrong(open_page):
    page = open_page(query="?steps=many")
    page.get_by_text("which is no number").first.wait_for()


def test_a_workshop_link_hides_the_rest_and_offers_its_prompts(open_page):
    page = open_page(
        query="?workshop=1&prompts=a+red+circle|two+blue+stars&lesson=Watch+the+<b>first</b>+steps"
    )
    page.wait_for_selector(".da-workshop-prompt")
    assert "Watch the <b>first</b> steps" in page.inner_text(".da-workshop")
    page.click(".da-workshop-prompt >> nth=1")
    page.wait_for_function("document.querySelector('#field-prompt textarea').value === 'two blue stars'")
    assert not page.is_visible(".da-nav button[data-page=library]")
    assert page.evaluate(STATUS) == "idle"


def test_a_replay_is_bit_identical_here(open_page):
    page = open_page()
    run(page, prompt="a green circle again", seed=504, num_inference_steps=4)
    library(page, "green circle again")
    page.click(".da-run-open")
    page.click(".da-replay")
    page.wait_for_selector(".da-verdict[data-verdict=identical]")
    assert "Bit-identical" in page.inner_text(".da-verdict")


def test_the_same_query_comes_out_of_the_library(open_page):
    page = open_page()
    made = run(page, prompt="an orange square twice", seed=505, num_inference_steps=3)
    run(page, prompt="something between", seed=1, num_inference_steps=2)
    again = run(page, prompt="an orange square twice", seed=505, num_inference_steps=3)
    assert again == made
    assert "out of the library" in page.inner_text(".da-status")


def test_a_zip_of_several_runs_and_a_dataset(open_page, tmp_path):
    page = open_page()
    ids = [
        run(page, prompt="a triangle for the zip", seed=seed, num_inference_steps=2) for seed in (601, 602)
    ]
    library(page, "for the zip", 2)
    page.click(".da-select-all")
    page.click(".da-act-export")
    with page.expect_download() as download:
        page.click(".da-actions-bar [data-kind=zip]")
    path = tmp_path / "runs.zip"
    download.value.save_as(path)
    with zipfile.ZipFile(path) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == set(ids)
    page.click(".da-act-dataset")
    page.wait_for_selector(".da-dataset[open]")
    page.click(".da-dataset-make")
    with page.expect_download() as download:
        page.get_by_text("Download dataset.zip").click()
    download.value.save_as(path)
    with zipfile.ZipFile(path) as archive:
        assert any(name.endswith(".parquet") for name in archive.namelist())
        assert any(name.endswith("README.md") for name in archive.namelist())


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_sideways_scroll(open_page, theme, width):
    page = open_page(width, f"?__theme={theme}&page=library")
    page.wait_for_selector(".da-library")
    page.wait_for_timeout(800)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.slow
def test_on_a_shared_server_nobody_sees_or_fetches_what_is_another_s(chromium, tmp_path):
    contexts = [chromium.new_context(viewport={"width": 1280, "height": 900}) for _ in range(2)]
    try:
        with served_app(tmp_path, DIFFATLAS_MODE="shared") as address:
            mine, yours = (context.new_page() for context in contexts)
            for page in (mine, yours):
                page.set_default_timeout(120_000)
                page.goto(address)
                page.wait_for_selector(".da-viewer")
            made = run(mine, prompt="a red circle", seed=7, num_inference_steps=3)
            mine.wait_for_selector(".da-picture img")
            picture = mine.evaluate("document.querySelector('.da-picture img').src")
            assert mine.request.get(picture).status == 200
            assert yours.request.get(picture).status in (403, 404)
            assert yours.request.get(picture.replace("/visitors/", "/visitors/./")).status in (403, 404)
            folder = f"{address}gradio_api/file={tmp_path / 'runs'}"
            assert yours.request.get(f"{folder}/{made}/manifest.json").status in (403, 404)

            library(mine)
            assert mine.locator(".da-run").count() == 1
            assert "kept until" in mine.inner_text(".da-banner")
            yours.goto(f"{address}?page=library&run={made}")
            yours.wait_for_selector(".da-library")
            yours.wait_for_timeout(1500)
            assert yours.locator(".da-run").count() == 0
            assert yours.locator(".da-details[open]").count() == 0
            yours.goto(f"{address}?page=trajectory&run={made}")
            yours.wait_for_timeout(2000)
            assert yours.locator(".da-layer").count() == 0
    finally:
        for context in contexts:
            context.close()
