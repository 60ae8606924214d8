"""The Attention page as a visitor uses it, in a real Chromium on the embedded model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diffatlas.attention.words import prompt_words
from diffatlas.library import Library
from diffatlas.operations.attention import attention_of
from tests.browser.visiting import PATIENCE

pytestmark = pytest.mark.browser

PAGE = ".da-attention"
PROMPT = "a red circle and a blue square"


def fill(page: Any, field: str, value: object) -> None:
    page.fill(f"#attention-{field} :is(input, textarea)", str(value))


def run(page: Any, runs: int = 1, **fields: object) -> None:
    """Run a prompt on the page and wait until the last run is looked at."""
    before = page.locator(".da-attention-run").count()
    for field, value in fields.items():
        fill(page, field, value)
    if runs > 1:
        fill(page, "runs", runs)
        page.click(".da-page-attention label:has-text('+1')")
    page.click("#attention-run")
    page.wait_for_function(
        """([page, count]) => document.querySelector(page).dataset.status === 'complete'
            && document.querySelectorAll('.da-attention-run').length >= count""",
        arg=[PAGE, before + runs],
    )
    page.wait_for_selector(".da-attention-word:visible")


def view(page: Any, name: str) -> None:
    page.click(f"#da-attention-tab-{name}")


@pytest.fixture(scope="module")
def looked(chromium: Any, app_url: str, app_folder: Path) -> Iterator[tuple[Any, Library]]:
    """The page after two runs of six steps, with the library that they are in."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.problems, page.requested = [], []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda request: page.requested.append(request.url))
    page.goto(f"{app_url}?page=attention")
    # The recorded example is there, and gives way to what runs.
    page.wait_for_selector(".da-attention-word:visible")
    run(page, runs=2, prompt=PROMPT, seed=7, num_inference_steps=6)
    yield page, Library(app_folder / "runs")
    assert not page.problems
    assert all(address.startswith((app_url, "data:", "blob:")) for address in page.requested)
    context.close()


def stored(library: Library, seed: int) -> Any:
    (info,) = (info for info in library.search(attention=True).runs if info.seed == seed)
    return library.open(info.id)


def test_a_word_is_chosen_and_its_numbers_are_those_of_the_run(looked):
    page, library = looked
    trace = attention_of(stored(library, 8))
    page.click(".da-words .da-word >> text=blue")
    assert page.get_attribute(".da-words .da-word:has-text('blue')", "aria-pressed") == "true"
    page.focus(".da-timeline")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".da-timeline-at:has-text('step 2 of 6')")
    token = next(t.index for t in trace.tokens if t.word_text == "blue")
    shown = page.locator(".da-attention-numbers dd").all_inner_texts()
    assert shown[0] == "blue"
    assert float(shown[1]) == pytest.approx(trace.activation()[1, token], rel=1e-3)
    page.wait_for_function(
        "document.querySelectorAll('.da-attention-numbers dd')[2].innerText.includes(' to ')"
    )
    low, high = page.locator(".da-attention-numbers dd").nth(2).inner_text().split(" to ")
    wanted = trace.word_map("blue", steps=1)
    assert (float(low), float(high)) == pytest.approx((wanted.min(), wanted.max()), rel=1e-2)
    assert float(shown[-1].split(",")[0]) == pytest.approx(trace.kl()[1], rel=1e-2)


def test_several_words_are_chosen_together(looked):
    page, _ = looked
    page.click(".da-words .da-word >> text=red")
    page.click(".da-words .da-word >> text=circle", modifiers=["Control"])
    page.wait_for_function("document.querySelector('.da-attention-numbers dd').innerText === 'red circle'")
    page.click(".da-words-specials")
    assert page.locator(".da-word-special").count() >= 2
    page.click(".da-words-specials")


def test_the_film_plays_to_its_end(looked):
    page, _ = looked
    assert page.locator(".da-attention-frame").count() == 6
    page.click(".da-attention-frame >> nth=0")
    page.select_option(".da-player select", "80")
    page.click(".da-play")
    page.wait_for_function(
        "document.querySelectorAll('.da-attention-frame')[5].getAttribute('aria-current') === 'step'"
    )
    page.wait_for_selector(".da-play:has-text('Play')")


def test_steps_curves_and_places(looked):
    page, library = looked
    trace = attention_of(stored(library, 8))
    view(page, "steps")
    steps = page.locator("#da-attention-panel-steps")
    image = steps.locator(".hm image")
    image.scroll_into_view_if_needed()
    # The square of the third word ("circle") at the fourth step.
    box, words = image.bounding_box(), prompt_words(trace.tokens)
    assert [word.text for word in words] == PROMPT.split()
    page.mouse.click(box["x"] + box["width"] * 3.5 / 6, box["y"] + box["height"] * 2.5 / len(words))
    page.wait_for_selector(".da-timeline-at:has-text('step 4 of 6')")
    assert page.get_attribute(".da-words .da-word:has-text('circle')", "aria-pressed") == "true"
    page.mouse.move(5, 5)
    reading = steps.locator(".da-readout > span")
    page.wait_for_function("text => text.includes('circle')", arg=reading.first.inner_text())
    value = trace.activation()[3, list(words[2].tokens)].mean()
    assert float(reading.first.inner_text().split()[-1]) == pytest.approx(value, rel=1e-3)
    # All tokens are rows too, and each row has its own colours.
    steps.locator("input[type=checkbox]").check()
    steps.locator("text=startoftext").first.wait_for()
    steps.locator("select").select_option("row")
    page.wait_for_function(
        "count => document.querySelectorAll('#da-attention-panel-steps .hm image').length === count",
        arg=len(words) + 2,
    )
    view(page, "curves")
    entropy = page.locator("#da-attention-panel-curves [data-metric=attention_entropy] .da-readout > span")
    # The mean over the layers is the last of the lines.
    entropy.last.wait_for()
    assert float(entropy.last.inner_text().split()[-2]) == pytest.approx(trace.entropy().mean(1)[3], rel=1e-3)
    # The keys go on from the word and the step that are chosen.
    page.focus("#da-attention-panel-curves .da-figure")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector(".da-timeline-at:has-text('step 3 of 6')")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".da-timeline-at:has-text('step 4 of 6')")
    assert page.get_attribute(".da-words .da-word:has-text('circle')", "aria-pressed") == "true"
    view(page, "places")
    page.wait_for_selector("text=It looks most at row")
    before = page.inner_text("#da-attention-panel-places")
    page.focus("#da-attention-panel-places [role=application]")
    page.keyboard.press("ArrowUp")
    page.wait_for_function(
        "before => document.querySelector('#da-attention-panel-places').innerText !== before", arg=before
    )


def test_objects_and_other_seeds(looked):
    page, _ = looked
    view(page, "objects")
    page.wait_for_selector(".da-objects-table tbody tr >> nth=3")
    words = page.locator(".da-objects-table tbody th").all_inner_texts()
    assert words == ["red", "circle", "blue", "square"]
    page.wait_for_selector(".da-seed-face >> nth=1")
    assert page.locator(".da-seed-face").count() == 2


def test_two_runs_side_by_side(looked):
    page, library = looked
    page.click(".da-attention-run .da-plain:has-text('Compare'):visible")
    page.wait_for_selector(".da-attention-twin canvas:visible >> nth=1")
    assert page.locator(".da-attention-twin figcaption").all_inner_texts() == [
        f"{PROMPT} · seed 8",
        f"{PROMPT} · seed 7",
    ]
    from diffatlas.operations.attention import js

    found = js(*(attention_of(stored(library, seed)) for seed in (8, 7)))
    told = page.inner_text("#da-attention-panel-compare .da-figure-says")
    assert f"step {found.steps[int(found.by_step.argmax())] + 1}:" in told
    assert float(told.split(": ")[1].split()[0]) == pytest.approx(found.by_step.max(), rel=1e-2)


def test_a_link_and_the_library_open_a_run(looked):
    page, library = looked
    old = stored(library, 7)
    other = page.context.new_page()
    other.set_default_timeout(PATIENCE)
    other.goto(page.url.split("?")[0] + f"?page=attention&run={old.id}")
    other.wait_for_selector(".da-attention .da-status:has-text('seed 7')")
    other.click(".da-nav [data-page=library]")
    other.click(".da-run-open >> nth=0")
    other.click(".da-details-attention")
    other.wait_for_selector(".da-attention .da-status:has-text('seed 8')")
    other.close()


def test_a_wrong_field_is_told_at_the_field(looked):
    page, _ = looked
    fill(page, "num_inference_steps", 0)
    page.click("#attention-run")
    page.wait_for_selector("#error-attention-num_inference_steps")
    fill(page, "num_inference_steps", 6)


def test_narrow_and_dark_nothing_sticks_out(looked):
    page, _ = looked
    context = page.context.browser.new_context(viewport={"width": 390, "height": 844})
    narrow = context.new_page()
    narrow.set_default_timeout(PATIENCE)
    narrow.goto(page.url.split("?")[0] + "?page=attention&__theme=dark")
    narrow.wait_for_selector(".da-attention-word")
    for name in ("words", "steps", "curves", "places", "objects", "compare"):
        view(narrow, name)
        narrow.wait_for_timeout(300)
        assert narrow.evaluate("document.documentElement.scrollWidth") <= 390, name
    context.close()
