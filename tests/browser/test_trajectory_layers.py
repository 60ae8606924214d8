"""Layers, views, the inspector, comparisons and exports, as a visitor uses them."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
from PIL import Image

from tests.browser.visiting import STATUS, fill, lock, press_run, run, view
from tests.serving import served_app

pytestmark = pytest.mark.browser


def names(page):
    return page.locator(".da-layer:not(.da-recorded) .da-layer-name").all_inner_texts()


def has_colour(page, selector, hexadecimal, least=12):
    """Whether at least so many pixels of the element are near a colour."""
    wanted = np.array([int(hexadecimal[k : k + 2], 16) for k in (1, 3, 5)], float)
    pixels = np.asarray(Image.open(io.BytesIO(page.locator(selector).first.screenshot())).convert("RGB"))
    near = np.linalg.norm(pixels.reshape(-1, 3).astype(float) - wanted, axis=1) < 40
    return int(near.sum()) >= least


def wait_for_colour(page, selector, hexadecimal):
    for _ in range(60):
        if has_colour(page, selector, hexadecimal):
            return
        page.wait_for_timeout(250)
    raise AssertionError(f"{hexadecimal} is not to be seen in {selector}")


def test_layers_are_locked_renamed_kept_over_a_reload_and_laid_over_each_other(open_page):
    page = open_page()
    run(page, prompt="a red circle", seed=3, num_inference_steps=8)
    temporary = page.locator(".da-layer.da-temporary")
    assert temporary.evaluate("node => getComputedStyle(node).borderTopStyle") == "dashed"
    assert page.locator(".da-layer-name").evaluate("node => getComputedStyle(node).fontStyle") == "italic"
    lock(page)
    page.click(".da-rename")
    page.fill(".da-name-input", "the first <b>one</b>")
    page.press(".da-name-input", "Enter")
    page.wait_for_function("document.querySelector('.da-layer-name')?.innerText === 'the first <b>one</b>'")
    run(page, prompt="a red star", seed=4, num_inference_steps=6)
    assert len(names(page)) == 2

    page.reload()
    page.wait_for_selector(".da-layer >> nth=1")
    assert names(page)[0] == "the first <b>one</b>"
    # Both films are back, from what is stored, steps under each other.
    page.wait_for_function("document.querySelectorAll('.da-sheet[data-layer]').length == 2")
    page.wait_for_function("document.querySelectorAll('.da-frame[data-step]').length == 14")
    edges = page.evaluate(
        """[...document.querySelectorAll('.da-sheet')]
           .map(sheet => sheet.querySelector('[data-step="3"]').getBoundingClientRect().left)"""
    )
    assert abs(edges[0] - edges[1]) < 1

    # In the common basis, the locked one in its colour, and both ends in gold and burgundy.
    view(page, "pca")
    colour = page.locator(".da-layer").first.evaluate(
        "node => getComputedStyle(node).getPropertyValue('--da-layer')"
    )
    wait_for_colour(page, ".da-path", colour.strip())
    wait_for_colour(page, ".da-path", "#c9a227")
    wait_for_colour(page, ".da-path", "#7c2d36")
    page.locator(".da-show").first.click()
    page.wait_for_function("document.querySelector('.da-layer.da-hidden')")
    for _ in range(60):
        if not has_colour(page, ".da-path", colour.strip()):
            break
        page.wait_for_timeout(250)
    assert not has_colour(page, ".da-path", colour.strip())
    assert page.problems == []


def test_the_next_run_replaces_what_is_not_locked_and_reset_removes_all(open_page):
    page = open_page()
    run(page, prompt="a red circle", num_inference_steps=2)
    run(page, prompt="a blue star", num_inference_steps=2)
    assert names(page) == ["a blue star"]
    lock(page)
    run(page, prompt="a green square", num_inference_steps=2)
    assert names(page) == ["a blue star", "a green square"]
    page.locator(".da-layer").first.locator(".da-delete").click()
    assert len(names(page)) == 2, "a locked layer asks first"
    page.locator(".da-layer").first.locator(".da-delete").click()
    page.wait_for_function("document.querySelectorAll('.da-layer').length == 1")
    assert names(page) == ["a green square"]
    page.click(".da-reset")
    page.click(".da-reset")
    page.wait_for_function("document.querySelectorAll('.da-layer').length == 0")
    page.reload()
    page.wait_for_selector(".da-viewer")
    page.wait_for_timeout(1500)
    assert names(page) == []


def test_nobody_sees_the_layers_of_another(open_page):
    mine = open_page()
    run(mine, num_inference_steps=2)
    lock(mine)
    yours = open_page()
    yours.wait_for_timeout(1500)
    assert names(yours) == []


def test_several_runs_in_sequence_lock_all_but_the_last(open_page):
    page = open_page()
    page.locator(".da-page-trajectory").get_by_label("+1", exact=True).check()
    for field, value in {"seed": 100, "num_inference_steps": 2, "runs": 3}.items():
        fill(page, field, value)
    page.click("#field-run")
    page.wait_for_function("document.querySelectorAll('.da-layer').length == 3")
    page.wait_for_function(
        f"{STATUS} === 'complete' && document.querySelectorAll('.da-sheet[data-layer]').length == 3"
    )
    what = page.locator(".da-layer-text > .da-layer-what:first-of-type").all_inner_texts()
    assert [text.split(" · ")[0] for text in what] == ["seed 100", "seed 101", "seed 102"]
    assert page.locator(".da-layer.da-temporary").count() == 1
    page.wait_for_function("document.querySelector('#field-seed input').value == '103'")


def test_runs_of_different_latents_are_told_of_and_not_drawn(open_page):
    page = open_page()
    run(page, num_inference_steps=2)
    lock(page)
    fill(page, "size", "96x64")
    page.press("#field-size input", "Enter")
    run(page, num_inference_steps=2)
    view(page, "pca")
    page.wait_for_function("document.querySelector('.da-path').innerText.includes('different shapes')")


def test_umap_shows_pca_until_it_is_there(open_page):
    page = open_page()
    run(page, num_inference_steps=12)
    view(page, "umap")
    # It was compiled since the first run ended; where that is not over, PCA is there meanwhile, and says so.
    page.wait_for_function(
        "/is PCA meanwhile|not to scale/.test(document.querySelector('.da-path').innerText)"
    )
    seen = page.inner_text(".da-path")
    assert ("PC1" in seen) == ("meanwhile" in seen)
    page.wait_for_function(
        "document.querySelector('.da-path').innerText.includes('not to scale')", timeout=240_000
    )
    assert "PC1" not in page.inner_text(".da-path")


def test_fitting_on_one_run_changes_the_axes_and_says_what_they_hold(open_page):
    page = open_page()
    run(page, prompt="a red circle", seed=1, num_inference_steps=8)
    lock(page)
    run(page, prompt="a blue star", seed=2, num_inference_steps=8)
    view(page, "pca")
    page.wait_for_function("document.querySelectorAll('.da-label-axis').length == 3")
    together = page.locator(".da-label-axis").all_inner_texts()
    page.select_option(".da-bar select", index=1)
    page.wait_for_function(
        "before => [...document.querySelectorAll('.da-label-axis')].map(n => n.innerText).join() !== before",
        arg=",".join(together),
    )
    shares = [text for text in page.locator(".da-layer-what").all_inner_texts() if "aptured" in text]
    assert len(shares) == 2
    shown = [float(text.split()[-1].rstrip("%")) for text in shares]
    assert shown[0] > shown[1], "the run on which the basis is fitted is held best"


def test_inspector_plays_the_steps_and_shows_what_belongs_to_each(open_page):
    page = open_page()
    run(page, prompt="a red circle", seed=5, num_inference_steps=6)
    page.click(".da-frame[data-step='3']")
    title = page.locator("[open] .da-inspector-title")
    page.wait_for_selector("dialog.da-inspector[open] .da-inspector-large img")
    assert title.inner_text() == "Step 4 of 6"
    page.wait_for_function("document.querySelectorAll('[open] .da-inspector-list dt').length > 15")
    assert page.locator("[open] .da-svg-figure g > path").count() == 4
    pictures = page.evaluate(
        """() => [...document.querySelectorAll('[open] .da-inspector-row img, [open] .da-inspector-pictures img')]
             .map(image => image.currentSrc)"""
    ) or page.evaluate(
        "() => [...document.querySelectorAll('[open].da-inspector img')].map(image => image.src)"
    )
    assert len(set(pictures)) >= 4, "x_t, x0 and the two estimates are four pictures"
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('[open] .da-inspector-title').innerText === 'Step 5 of 6'")

    page.locator("[open].da-inspector select").first.select_option(index=0)
    page.get_by_role("button", name="Play").click()
    seen = set()
    for _ in range(150):
        seen.add(title.inner_text())
        if len(seen) == 6:
            break
        page.wait_for_timeout(60)
    assert len(seen) == 6, seen
    page.get_by_role("button", name="Pause").click()
    stopped = title.inner_text()
    page.wait_for_timeout(700)
    assert title.inner_text() == stopped
    # The film went with it.
    chosen = page.evaluate("document.querySelector('.da-frame.da-chosen').dataset.step")
    assert stopped == f"Step {int(chosen) + 1} of 6"
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.da-inspector[open]", state="detached")
    assert page.problems == []


def test_histogram_of_a_frame_opens_larger(open_page):
    page = open_page()
    run(page, num_inference_steps=3)
    page.locator(".da-frame-histogram").nth(1).click()
    page.wait_for_selector("[open] .da-svg-figure g > path")
    page.wait_for_function(
        """() => { const box = document.querySelector('[open] .da-svg-figure').getBoundingClientRect();
                   return box.width > 300 && box.top < innerHeight && box.bottom > 0; }"""
    )
    assert page.inner_text("[open] .da-inspector-title") == "Step 2 of 3"


def test_without_guidance_the_estimates_say_so(open_page):
    page = open_page()
    run(page, guidance_scale=1, num_inference_steps=2)
    page.click(".da-frame[data-step='1']")
    page.wait_for_function("document.querySelectorAll('[open] .da-inspector-absent').length == 2")
    assert set(page.locator("[open] .da-inspector-absent").all_inner_texts()) == {"no guidance at this scale"}


def test_two_locked_layers_are_compared(open_page):
    page = open_page()
    run(page, prompt="a red circle", seed=9, num_inference_steps=6)
    lock(page)
    run(page, prompt="a blue circle", seed=9, num_inference_steps=6)
    lock(page)
    page.click(".da-compare-go")
    page.wait_for_selector(".da-compare-result .da-figure-says")
    words = page.inner_text(".da-compare-result .da-figure-says")
    assert "part at step" in words, words  # one seed, two prompts: they begin together
    assert page.locator(".da-compare-result .da-figure-head").count() == 2


def test_deep_dive_tells_the_numbers_of_the_run(open_page):
    page = open_page()
    run(page, num_inference_steps=5)
    page.click(".da-deep summary")
    page.wait_for_selector(".da-deep canvas")
    rows = page.locator(".da-deep tbody tr")
    assert rows.count() == 5
    assert "path length" in page.inner_text(".da-deep")
    page.locator(".da-deep tbody tr").nth(2).click()
    assert page.evaluate("document.querySelector('.da-frame.da-chosen').dataset.step") == "2"


@pytest.fixture(scope="module")
def exported(windows):
    """A page that shows a run, and whose form holds another."""
    page = windows.open()
    windows.keep(page)
    run(page, prompt="a green triangle", seed=77, num_inference_steps=4)
    fill(page, "seed", 999)
    yield page
    page.context.close()


@pytest.mark.parametrize("kind", ["csv", "json", "npz", "pdf", "svg", "png", "gif", "mp4"])
def test_every_export_is_of_the_run_that_is_shown(exported, kind, tmp_path):
    with exported.expect_download() as download:
        exported.click(f".da-exports [data-kind={kind}]")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.suffix == f".{kind}"
    data = path.read_bytes()
    if kind == "csv":
        rows = list(csv.DictReader(io.StringIO(data.decode())))
        assert [row["step"] for row in rows] == ["0", "1", "2", "3", "4"]
        assert all(math.isfinite(float(row["norm"])) for row in rows)
    elif kind == "json":
        assert '"seed": 77' in json.dumps(json.loads(data))
    elif kind == "npz":
        with np.load(path, allow_pickle=False) as arrays:
            assert any(arrays[name].shape[:1] == (5,) for name in arrays.files if name.endswith("latents"))
    elif kind == "svg":
        text = data.decode()
        assert "a green triangle" in text
        assert "http" not in text.replace("http://www.w3.org", "")
    elif kind in ("png", "gif"):
        with Image.open(path) as picture:
            assert picture.format == kind.upper()
            assert getattr(picture, "n_frames", 1) >= (4 if kind == "gif" else 1)
    else:
        assert data[:5] == b"%PDF-" if kind == "pdf" else data[4:8] == b"ftyp"


def test_every_term_explains_itself(open_page):
    page = open_page()
    run(page, num_inference_steps=3)
    page.hover("[data-term=straightness]")
    page.wait_for_selector("#da-tip:not([hidden])")
    assert "Chord" in page.inner_text("#da-tip")
    page.hover("#field-guidance_scale [data-term]")
    page.wait_for_function("document.querySelector('#da-tip').innerText.includes('uncond')")
    unexplained = page.evaluate(
        """() => ['.da-numbers dt', '.da-plot-title', '.da-deep th']
             .flatMap(s => [...document.querySelectorAll(s)])
             .filter(node => node.innerText.trim() && !node.querySelector('[data-term]') && !node.dataset.term)
             .map(node => node.innerText)"""
    )
    assert unexplained == []


def test_a_thumbnail_and_a_point_of_the_path_open_their_step(open_page):
    page = open_page()
    run(page, num_inference_steps=5)
    view(page, "pca")
    page.wait_for_selector(".da-label-end")
    page.wait_for_timeout(1500)  # the turn into the final axes
    box = page.locator(".da-label-end").bounding_box()
    # The label stands below its point, and the point's thumbnail above it.
    for above in (18, 45):
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] - above)
        page.wait_for_selector("dialog.da-inspector[open]")
        assert page.inner_text("[open] .da-inspector-title") == "Step 5 of 5"
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog.da-inspector[open]", state="detached")


def test_other_layers_come_back_when_the_live_run_ends(open_page):
    page = open_page()
    run(page, prompt="a red circle", num_inference_steps=4)
    lock(page)
    view(page, "pca")
    fill(page, "num_inference_steps", 900)
    fill(page, "seed", 32)  # a run that nobody has made: Stop is to find it at work
    page.click("#field-run")
    page.wait_for_function("document.querySelector('.da-path').innerText.includes('come back')")
    page.click("#field-stop")
    page.wait_for_function(f"{STATUS} === 'stopped'")
    page.wait_for_function("document.querySelectorAll('.da-label-end').length == 2")
    assert "stopped after" in page.inner_text(".da-layer.da-temporary .da-layer-what >> nth=0")


@pytest.mark.slow
def test_locked_layers_survive_a_restart_of_the_server(chromium, tmp_path):
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    try:
        page = context.new_page()
        page.set_default_timeout(120_000)
        with served_app(tmp_path) as address:
            page.goto(address)
            page.wait_for_selector(".da-viewer")
            run(page, prompt="a red circle", num_inference_steps=3)
            lock(page)
        with served_app(tmp_path) as address:
            page.goto(address)
            page.wait_for_selector(".da-layer .da-lock[aria-label=Locked]")
            assert names(page) == ["a red circle"]
            page.wait_for_function("document.querySelectorAll('.da-frame[data-step]').length == 3")
    finally:
        context.close()


def test_a_locked_run_that_is_asked_for_again_stays_the_layer_it_is(open_page):
    page = open_page()
    made = run(page, prompt="a red ring asked for twice", seed=71, num_inference_steps=3)
    lock(page)
    press_run(page)
    page.wait_for_function("document.querySelector('.da-status').innerText.includes('out of the library')")
    page.wait_for_timeout(800)
    assert page.locator(".da-layer").evaluate_all("layers => layers.map(layer => layer.dataset.id)") == [made]
    assert page.locator(".da-sheet[data-layer]").count() == 1
    view(page, "pca")
    page.wait_for_selector(".da-label-end")
    assert page.locator(".da-label-end").count() == 1
    assert page.problems == []
    # Where a picture stands beside its point: above a path that lies, beside one that stands, off other pictures.
    stands = """async (asked) => {
        const loaded = performance.getEntriesByType("resource").map((one) => one.name);
        const beside = loaded.find((name) => name.endsWith("/views.js"));
        const { bestPlace } = await import(new URL("runs/billboards.js", beside));
        return bestPlace({ x: 0, y: 0, side: 60 }, asked.dots, asked.pictures, 0).middle;
    }"""
    ways = range(-200, 201, 10)
    lying, standing = [[x, 0] for x in ways], [[0, y] for y in ways]
    x, y = page.evaluate(stands, {"dots": lying, "pictures": []})
    assert x == 0
    assert y < -30
    x, y = page.evaluate(stands, {"dots": standing, "pictures": []})
    assert abs(x) > 30
    x, y = page.evaluate(stands, {"dots": lying, "pictures": [[0, -43]]})
    assert abs(x) > 40
    assert abs(y) > 30
    assert page.evaluate(stands, {"dots": lying + standing, "pictures": []})[0] != 0
