"""The Trajectory page as a visitor meets it, on the embedded model."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from tests.browser.visiting import CURVES, NUMBERS, STATUS, fill, numbers
from tests.browser.visiting import press_run as run

pytestmark = pytest.mark.browser

FRAMES = "document.querySelectorAll('.da-frame[data-step]').length"
POINTS = "document.querySelectorAll('.da-label').length"


def wait_for_end(page, status):
    page.wait_for_function(f"['complete', 'stopped', 'failed'].includes({STATUS})")
    assert page.evaluate(STATUS) == status


def test_run_grows_and_ends_with_its_own_numbers(open_page):
    page = open_page()
    counts = []
    page.expose_function("frameAdded", lambda count, status: counts.append((count, status)))
    page.evaluate(
        f"""() => new MutationObserver(() => frameAdded({FRAMES}, {STATUS}))
        .observe(document.querySelector('.da-film'), {{childList: true, subtree: true}})"""
    )
    run(page, prompt="a red circle", seed=11, num_inference_steps=30)
    wait_for_end(page, "complete")

    assert page.evaluate(FRAMES) == 30
    growing = {count for count, status in counts if 0 < count < 30}
    assert len(growing) >= 3, "the film came all at once"
    page.click(".da-tab[data-view=pca]")
    page.wait_for_function(f"{POINTS} >= 5")
    assert page.locator(".da-path canvas").count() == 1
    axes = page.locator(".da-label-axis").all_inner_texts()
    shares = [float(re.fullmatch(r"PC\d ([\d.]+)%", text)[1]) for text in axes]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 101
    page.click(".da-tab[data-view=curves]")
    page.wait_for_function(f"{CURVES} == 8")

    image = page.locator(".da-picture img")
    assert image.evaluate("async image => { await image.decode(); return image.naturalWidth; }") == 64

    # The numbers are the run's: a later change of the form does not relabel it.
    fill(page, "seed", 999)
    fill(page, "prompt", "something else")
    page.wait_for_timeout(200)
    page.wait_for_function(f"Object.fromEntries({NUMBERS}).seed == '11'")
    assert numbers(page)["steps"] == "30"
    assert page.inner_text(".da-headline") == "a red circle"
    assert page.problems == []


def test_enter_runs(open_page):
    page = open_page()
    fill(page, "num_inference_steps", 3)
    fill(page, "prompt", "a blue star")
    page.press("#field-prompt textarea", "Enter")
    wait_for_end(page, "complete")
    assert page.inner_text(".da-headline") == "a blue star"


def test_stop_keeps_the_part_that_ran(open_page):
    page = open_page()
    run(page, num_inference_steps=900)
    page.wait_for_function(f"{STATUS} === 'running' && {FRAMES} >= 5")
    page.click("#field-stop")
    wait_for_end(page, "stopped")
    done, total = map(
        int, re.fullmatch(r"Stopped after (\d+) of (\d+) steps", page.inner_text(".da-status")).groups()
    )
    assert 5 <= done < total == 900
    assert page.evaluate(FRAMES) == done

    # The model is free again.
    run(page, num_inference_steps=2)
    page.wait_for_function(f"{FRAMES} == 2 && {STATUS} == 'complete'")


def test_bad_input_is_explained_at_its_field_until_it_is_mended(open_page):
    page = open_page()
    notes = page.locator("[id^=error-field-]:visible")
    for field, value, words in (
        ("prompt", "  ", "empty"),
        ("num_inference_steps", "0", "number of steps"),
        ("guidance_scale", "-1", "guidance scale"),
        ("seed", "1.5", "seed"),
        ("size", "63x64", "multiple"),
        ("size", "large", "cannot be read"),
    ):
        good = page.input_value(f"#field-{field} :is(input, textarea)")
        fill(page, field, value)
        if field == "size":
            page.press("#field-size input", "Enter")
        page.click("#field-run")
        notes.filter(has_text=words).wait_for()
        assert notes.evaluate_all("all => all.map(({ id }) => id)") == [f"error-field-{field}"]
        assert "Traceback" not in page.inner_text("body")
        assert page.evaluate(STATUS) == "failed"
        assert page.locator(f"#field-{field} [aria-invalid=true]").count() == 1
        fill(page, field, good)
        if field == "size":
            page.press("#field-size input", "Enter")
    run(page, num_inference_steps=1)
    page.wait_for_function(f"{STATUS} === 'complete'")
    assert notes.count() == 0


def test_prompt_is_text_and_never_markup(open_page):
    page = open_page()
    prompt = "<img src=x onerror=\"document.title='broken'\"> a red circle"
    run(page, prompt=prompt, num_inference_steps=2)
    wait_for_end(page, "complete")
    assert page.inner_text(".da-headline") == prompt
    assert page.title() == "Diffusion Atlas"


def test_seed_modes(open_page):
    page = open_page()
    seed = page.locator("#field-seed input")
    page.locator(".da-page-trajectory").get_by_label("+1", exact=True).check()
    run(page, seed=41, num_inference_steps=1)
    wait_for_end(page, "complete")
    page.wait_for_function(f"Object.fromEntries({NUMBERS}).seed == '41'")
    page.wait_for_function("document.querySelector('#field-seed input').value == '42'")
    page.locator(".da-page-trajectory").get_by_label("Shuffle", exact=True).check()
    page.click("#field-run")
    page.wait_for_function("document.querySelector('#field-seed input').value != '42'")
    page.wait_for_function(f"Object.fromEntries({NUMBERS}).seed == '42'")
    drawn = seed.input_value()
    page.click("#field-dice")
    page.wait_for_function(f"document.querySelector('#field-seed input').value != '{drawn}'")


def test_two_visitors_take_turns_and_see_their_own_run(open_page):
    first, second = open_page(), open_page()
    # Everything is typed before the first begins: 900 steps take some seconds only.
    for field, text in (("prompt", "a blue star"), ("num_inference_steps", 2)):
        fill(second, field, text)
    run(first, prompt="a red circle", seed=31, num_inference_steps=900)
    first.wait_for_function(f"{FRAMES} >= 2")
    run(second)
    second.wait_for_function(f"{STATUS} == 'waiting'")
    assert "1 ahead" in second.inner_text(".da-status")
    first.context.close()  # a closed tab frees the model
    wait_for_end(second, "complete")
    assert second.inner_text(".da-headline") == "a blue star"


def test_nothing_is_fetched_from_outside(open_page, app_url):
    page = open_page()
    run(page, num_inference_steps=2)
    wait_for_end(page, "complete")
    page.wait_for_timeout(1000)
    hosts = {urlsplit(address).netloc for address in page.requested if address.startswith(("http", "ws"))}
    assert hosts == {urlsplit(app_url).netloc}


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_no_sideways_scroll(open_page, theme, width):
    page = open_page(width, f"?__theme={theme}")
    run(page, num_inference_steps=4)
    wait_for_end(page, "complete")
    page.click(".da-lock")
    run(page, num_inference_steps=5)
    page.wait_for_function(f"{FRAMES} == 9 && {STATUS} == 'complete'")  # Of both layers.
    page.click(".da-deep summary")
    page.wait_for_selector(".da-deep canvas")
    assert page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
    for view in ("film", "pca", "curves"):
        page.click(f".da-tab[data-view={view}]")
        if view == "curves":
            page.wait_for_function(f"{CURVES} == 16")
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), view
    # Text against what lies behind it: at least WCAG AA.
    for selector in (".da-caption", ".da-status", ".da-figure-head", ".da-readout", ".da-numbers dt", ".da-layer-what",
                     ".da-deep td", ".da-tab"):  # fmt: skip
        assert page.evaluate(CONTRAST, selector) >= 4.5, selector
    page.click(".da-tab[data-view=film]")
    page.click(".da-frame[data-step='1'] >> nth=0")
    page.wait_for_selector("dialog.da-inspector[open] .da-inspector-large img")
    assert page.evaluate("document.querySelector('.da-inspector[open]').scrollWidth <= window.innerWidth")
    for selector in (
        "[open] .da-inspector-list dt",
        "[open] .da-inspector-list dd",
        "[open] .da-figure-head",
    ):
        assert page.evaluate(CONTRAST, selector) >= 4.5, selector


CONTRAST = """selector => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const node = document.querySelector(selector);
  let behind = node;
  while (behind && (channels(getComputedStyle(behind).backgroundColor)[3] === 0)) behind = behind.parentElement;
  const a = light(channels(getComputedStyle(node).color));
  const b = light(channels(getComputedStyle(behind ?? document.body).backgroundColor));
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""
