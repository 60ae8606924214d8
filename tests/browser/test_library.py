"""The Library page, links, and who sees what, as visitors meet them."""

from __future__ import annotations

import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from diffatlas.library import Library
from diffatlas.params import Noise
from tests.browser.visiting import STATUS, run
from tests.library.made_runs import made
from tests.serving import served_app

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
    page.check(".da-run .da-check")
    page.click(".da-act-trash")
    wait_for_runs(page, 0)
    page.click(".da-toast-act")
    wait_for_runs(page, 1)


def test_what_was_deleted_long_ago_comes_back_from_the_trash(open_page):
    page = open_page()
    ids = [
        run(page, prompt="an orange ring to be regretted", seed=seed, num_inference_steps=2)
        for seed in (511, 512, 513)
    ]
    library(page, "to be regretted", 3)
    page.click(".da-select-all")
    page.click(".da-act-trash")
    wait_for_runs(page, 0)
    page.click(".da-toast-close")
    page.reload()
    page.wait_for_function("document.querySelector('.da-open-trash')?.textContent.startsWith('Trash (')")
    page.click(".da-open-trash")
    lines = [f".da-trash-line[data-id='{one}']" for one in ids]
    for line in lines:
        page.wait_for_selector(f"{line} img")
    assert "seed 511" in page.inner_text(lines[0])
    assert not page.is_visible(".da-library-cards")
    page.click(f"{lines[0]} .da-trash-one")
    page.wait_for_selector(lines[0], state="detached")
    # It asks before anything goes for good, and Keep keeps it.
    page.click(f"{lines[1]} .da-trash-gone")
    page.wait_for_selector(".da-sure-dialog[open]")
    assert "kB" in page.inner_text(".da-sure-dialog")
    page.click(".da-sure-no")
    assert page.is_visible(lines[1])
    page.click(f"{lines[1]} .da-trash-gone")
    page.click(".da-sure-yes")
    page.wait_for_selector(lines[1], state="detached")
    assert page.inner_text(".da-trash-empty").startswith("Empty the Trash (")
    page.click(".da-trash-empty")
    page.click(".da-sure-yes")
    page.wait_for_selector(lines[2], state="detached")
    page.wait_for_function("document.querySelector('.da-trash-holds').textContent === 'Empty'")
    page.click(".da-trash-back")
    page.fill(".da-search", "to be regretted")
    wait_for_runs(page, 1)
    assert page.get_attribute(".da-run", "data-id") == ids[0]
    assert page.problems == []


def test_a_note_that_is_typed_just_before_a_reload_is_kept(open_page):
    page = open_page()
    made = run(page, prompt="a pink square that was noted", seed=514, num_inference_steps=2)
    library(page, "that was noted")
    page.click(".da-run-open")
    page.wait_for_selector(".da-details[open]:not([aria-busy])")
    page.fill(".da-tag-input", "half typed")
    page.fill(".da-note", "The corner comes at step 2 — 隅")
    # At once: what saves while one types has not begun.
    page.evaluate("location.reload()")
    page.wait_for_selector(".da-run")
    page.goto(re.sub(r"\?.*", "", page.url) + f"?page=library&run={made}")
    page.wait_for_selector(".da-details[open]:not([aria-busy])")
    assert page.input_value(".da-note") == "The corner comes at step 2 — 隅"
    assert page.inner_text(".da-details .da-tag span") == "half typed"


def test_the_pictures_of_a_run_are_leafed_through_and_saved(open_page, app_folder, tmp_path):
    page = open_page()
    made = run(page, prompt="a violet ring to leaf through", seed=515, num_inference_steps=3)
    library(page, "to leaf through")
    page.click(".da-run-open")
    page.wait_for_selector(".da-details[open]:not([aria-busy])")
    page.click(".da-details-roll")

    def shown(words):
        page.wait_for_function(
            "words => document.querySelector('.da-roll-caption').textContent.startsWith(words)", arg=words
        )
        page.wait_for_function("document.querySelector('.da-roll-image').naturalWidth > 0")

    shown("The finished image. 64 × 64.")
    with page.expect_download() as download:
        page.click(".da-roll-save")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.name == "diffatlas-a-violet-ring-to-leaf-through-image-1.png"
    stored = Library(app_folder / "runs").open(made)
    with Image.open(path) as picture:
        assert np.array_equal(np.asarray(picture), stored.images()[0])
    page.keyboard.press("ArrowLeft")
    shown("Step 3:")
    page.keyboard.press("Home")
    shown("Step 1:")
    assert page.is_disabled(".da-roll-earlier")
    page.keyboard.press("ArrowRight")
    shown("Step 2:")
    # The details are still there underneath.
    page.keyboard.press("Escape")
    page.wait_for_selector(".da-roll[open]", state="detached")
    assert page.is_visible(".da-details[open]")
    assert page.problems == []


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
    page.wait_for_function(
        "document.querySelector('.da-dataset-size').textContent.startsWith('2 runs, at most')"
    )
    assert not page.is_visible(".da-dataset-attention")
    page.click(".da-dataset-make")
    with page.expect_download() as download:
        page.get_by_text("Download dataset.zip").click()
    download.value.save_as(path)
    with zipfile.ZipFile(path) as archive:
        assert any(name.endswith(".parquet") for name in archive.namelist())
        assert any(name.endswith("README.md") for name in archive.namelist())


def test_of_three_runs_a_page_shows_the_two_that_are_chosen(open_page, tmp_path):
    page = open_page()
    ids = [
        run(page, prompt="a white circle for the page", seed=seed, num_inference_steps=2)
        for seed in (621, 622, 623)
    ]
    library(page, "for the page", 3)
    page.click(".da-select-all")
    page.click(".da-act-export")
    pair = page.locator(".da-actions-bar .da-export-pair")
    assert pair.inner_text().startswith("HTML shows two of the 3 beside each other:")
    first, second = (pair.locator("select").nth(at) for at in (0, 1))
    assert first.input_value() != second.input_value()
    first.select_option(ids[2])
    # The same one again: the two stay two.
    second.select_option(ids[2])
    assert first.input_value() in ids[:2]
    first.select_option(ids[0])
    with page.expect_download() as download:
        page.click(".da-actions-bar [data-kind=html]")
    path = tmp_path / "two.html"
    download.value.save_as(path)
    title = re.search("<title>(.*?)</title>", path.read_text(encoding="utf-8")).group(1)
    assert [seed for seed in ("621", "622", "623") if f"seed {seed}" in title] == ["621", "623"]
    page.uncheck(".da-run .da-check >> nth=0")
    assert not pair.is_visible()


def test_no_card_takes_a_click_while_new_runs_may_still_move_it(open_page):
    page = open_page()
    run(page, prompt="a magenta star that stays", seed=631, num_inference_steps=2)
    library(page, "star that stays", 1)
    page.click(".da-nav button[data-page=trajectory]")
    run(page, prompt="a grey star that stays", seed=632, num_inference_steps=2)
    held = []

    def hold(route):
        asked = route.request.post_data_json or {}
        route.continue_() if held or asked.get("fn_name") != "find" else held.append(route)

    page.route("**/component_server/**", hold)
    page.click(".da-nav button[data-page=library]")
    page.wait_for_selector(".da-library-cards[inert]", state="attached")
    assert page.locator(".da-run-open").all_inner_texts() == ["a magenta star that stays"]
    held[0].continue_()
    page.locator(".da-run-open", has_text="magenta").click()
    page.wait_for_selector("dialog[open] >> text=a magenta star that stays")
    wait_for_runs(page, 2)
    assert page.problems == []


def test_two_unlike_runs_are_compared_in_words(open_page, app_folder):
    kept = Library(app_folder / "runs")
    unlike = [
        made(
            7,
            run_id="strange-one",
            prompt="a strange pair",
            extra={"sigmas": {"low": None}},
            scheduler="euler",
        ),
        made(
            8, run_id="strange-two", prompt="a strange pair", seed=None, provenance={}, capture={}, images=()
        ),
    ]
    for one in unlike:
        kept.save(one)
    page = open_page()
    library(page, "strange pair", 2)
    page.click(".da-select-all")
    page.click(".da-act-compare")
    page.wait_for_selector(".da-difference[open] .da-differing")
    told = page.inner_text(".da-difference")
    assert "sigmas: low" in told
    assert "What B ran on is not recorded." in told or "What A ran on is not recorded." in told
    page.click(".da-difference .da-dialog-close")
    page.click(".da-run[data-id=strange-one] .da-run-open")
    page.wait_for_selector(".da-details[open]:not([aria-busy])")
    page.click(".da-made summary")
    told += page.inner_text(".da-details")
    assert "float32" in told
    assert not re.search(r"None|null|undefined|NaN|\[object|[{}]", told)


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_no_sideways_scroll(open_page, width, theme):
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
