"""The forms: guidance values to choose from, and the reset."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

FORMS = {
    "trajectory": "field",
    "sweep": "sweep",
    "neighbourhood": "neighbourhood",
    "attention": "attention",
}


def number(page, field):
    return page.locator(f"#{field} input").first


def pressed(page, prefix):
    return page.locator(f"#{prefix}-guides [aria-pressed=true]").all_inner_texts()


@pytest.mark.parametrize("name", FORMS)
def test_a_guidance_value_is_chosen_typed_reset_and_undone(open_page, name):
    prefix = FORMS[name]
    page = open_page(query=f"?page={name}")
    guides = page.locator(f"#{prefix}-guides")
    guides.locator("button", has_text="12").click()
    guidance, steps = (
        number(page, f"{prefix}-{field}") for field in ("guidance_scale", "num_inference_steps")
    )
    assert guidance.input_value() == "12"
    assert pressed(page, prefix) == ["12"]
    assert "colours" in guides.locator(".da-guide-about").inner_text()
    guidance.fill("7.5")
    assert pressed(page, prefix) == ["7.5"]
    guidance.fill("6.25")
    assert pressed(page, prefix) == []
    steps.fill("11")
    page.click(f"#{prefix}-reset")
    page.wait_for_function(
        "p => document.querySelector(`#${p}-reset`).innerText.startsWith('Undo')", arg=prefix
    )
    page.wait_for_function(
        "p => document.querySelector(`#${p}-guidance_scale input`).value === '3'", arg=prefix
    )
    assert steps.input_value() == "30"
    page.wait_for_function(
        "p => document.querySelector(`#${p}-guides [aria-pressed=true]`)?.innerText === '3'", arg=prefix
    )
    page.click(f"#{prefix}-reset")
    page.wait_for_function(
        "p => document.querySelector(`#${p}-guidance_scale input`).value === '6.25'", arg=prefix
    )
    assert steps.input_value() == "11"
    assert page.problems == []
