"""The film: followed while it runs, seen whole from its first step once it has ended."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.visiting import run

pytestmark = pytest.mark.browser
SHOWN = "[...document.querySelectorAll('.da-film .da-cell[data-index]')].filter(c => c.offsetParent !== null)"


def in_sight(page: Any) -> list[int]:
    """The frames that are within the film's box and the window, by number."""
    return page.evaluate(
        f"""() => {{
            const box = document.querySelector('.da-strip').getBoundingClientRect();
            return {SHOWN}.filter(c => {{
                const at = c.getBoundingClientRect();
                return at.top >= box.top - 1 && at.bottom <= box.bottom + 1 && at.bottom <= innerHeight;
            }}).map(c => Number(c.dataset.index));
        }}"""
    )


def test_a_finished_film_is_seen_whole(open_page: Any) -> None:
    page = open_page()
    run(page, prompt="a red circle", seed=51, num_inference_steps=30)
    page.evaluate("window.scrollTo(0, 0)")
    assert in_sight(page) == list(range(30))
    # In large frames it is longer than the window, and begins at its beginning.
    page.click(".da-film-foot button")
    few = in_sight(page)
    assert few[0] == 0
    assert 2 < len(few) < 30
    page.click(".da-film-foot button")
    assert in_sight(page) == list(range(30))


def test_of_a_long_film_every_nth_frame_is_shown_and_the_keys_go_along_them(open_page: Any) -> None:
    page = open_page()
    run(page, prompt="a red circle", seed=52, num_inference_steps=90)
    page.evaluate("window.scrollTo(0, 0)")
    shown = page.evaluate(f"{SHOWN}.map(c => Number(c.dataset.index))")
    assert in_sight(page) == shown
    assert (shown[0], shown[-1]) == (0, 89)
    assert 20 < len(shown) < 80
    every = shown[1]
    assert page.inner_text(".da-film-foot span").startswith(f"Every {every}")
    page.focus(".da-film .da-cell[data-index='0'] .da-frame")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.step") == str(every)
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.step") == str(shown[-2])
    assert page.problems == []


def test_on_a_narrow_page_it_begins_at_the_first_step(open_page: Any) -> None:
    page = open_page(390)
    run(page, prompt="a red circle", seed=53, num_inference_steps=12)
    page.wait_for_function("document.querySelector('.da-strip').scrollLeft === 0")
    assert page.locator(".da-page-trajectory .da-film-foot").is_hidden()
    # What ran is above the form, and Run is at hand.
    main, side = (page.locator(f".da-page-trajectory .da-{part}").bounding_box() for part in ("main", "side"))
    assert main["y"] < side["y"]


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_run_and_stop_are_in_view_on_every_page(open_page: Any, width: int, height: int) -> None:
    page = open_page(width)
    page.set_viewport_size({"width": width, "height": height})
    forms = {
        "trajectory": "field",
        "sweep": "sweep",
        "neighbourhood": "neighbourhood",
        "attention": "attention",
    }
    for name, form in forms.items():
        page.click(f".da-nav [data-page={name}]")
        for top in (0, 400):
            page.evaluate(f"window.scrollTo(0, {top})")
            for button in ("run", "stop"):
                box = page.locator(f"#{form}-{button}").bounding_box()
                assert 0 <= box["y"] <= height - box["height"], (name, button, top)
