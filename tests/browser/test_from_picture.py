"""A run from a picture: taken from the run in view, painted over in part, and seen beside what became of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.visiting import STATUS, fill, run

pytestmark = pytest.mark.browser
EDITOR = "#field-inputs"


def paint(page: Any) -> None:
    """Paint over the middle of the picture."""
    canvas = page.locator(f"{EDITOR} canvas").first
    # Run and Stop lie over the foot of the window.
    canvas.evaluate("node => node.scrollIntoView({ block: 'center' })")
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 20, y)
    page.mouse.down()
    page.mouse.move(x + 20, y, steps=6)
    page.mouse.up()


def given(page: Any) -> list[str]:
    return page.locator(".da-run-given figcaption .da-mono").all_inner_texts()


def test_the_image_of_a_run_is_taken_painted_over_and_made_anew(open_page: Any) -> None:
    page = open_page()
    page.click(".da-from-picture > button")
    page.wait_for_selector(f"{EDITOR} canvas")
    page.wait_for_function(
        "document.querySelector('.da-from-picture .da-hint').innerText.includes('Paint over')"
    )
    # Nothing to take once the example is gone: that is said, and the field stays empty.
    page.click(".da-reset")
    page.click(".da-reset")
    page.wait_for_selector(".da-page-trajectory .da-viewer.da-empty")
    page.click(".da-take")
    page.wait_for_selector(".da-toasts :text('no image yet')")
    run(page, prompt="a red circle", seed=31, num_inference_steps=6)
    assert given(page) == []

    page.click(".da-take")
    page.wait_for_selector(f"{EDITOR} [aria-label='Brush Size']")
    fill(page, "extra", 0.5)
    run(page, prompt="a blue square", num_inference_steps=6)
    assert given(page) == ["image"]
    assert "strength 0.5" in page.inner_text(".da-numbers")
    assert page.locator(".da-shot").count() == 3

    paint(page)
    run(page, prompt="a blue square", num_inference_steps=6)
    assert given(page) == ["image", "mask_image"]

    # Taken away, the run begins from noise alone.
    page.click(f"{EDITOR} [aria-label='Clear canvas']")
    run(page, prompt="a blue square", seed=32, num_inference_steps=6)
    assert given(page) == []
    assert page.locator(".da-shot").count() == 6
    assert page.problems == []


def test_what_does_not_fit_is_said_at_the_field(open_page: Any) -> None:
    page = open_page(390)
    page.click(".da-from-picture > button")
    page.wait_for_selector(f"{EDITOR} canvas")
    run(page, prompt="a red circle", seed=33, num_inference_steps=4)
    page.click(".da-take")
    page.wait_for_selector(f"{EDITOR} [aria-label='Brush Size']")
    fill(page, "extra", 3)
    page.click("#field-run")
    page.wait_for_function(f"{STATUS} === 'failed'")
    assert "above 0, at most 1" in page.inner_text("#error-field-extra")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.problems == []
