"""A preset that is pressed fills its page's form and says what to look for, and runs nothing."""

from __future__ import annotations

from typing import Any

import pytest

from diffatlas.ui.presets import PRESETS

pytestmark = pytest.mark.browser

PREFIXES = {"trajectory": "field"} | {page: page for page in ("sweep", "neighbourhood", "attention")}


def choose(page: Any, name: str, preset: str) -> None:
    page.locator(f".da-page-{name} .da-presets button", has_text=preset).click()


def says(page: Any, name: str, words: str) -> None:
    """Wait for what is said beneath the presets."""
    page.locator(f".da-page-{name} .da-form > .da-hint", has_text=words).wait_for()


@pytest.mark.parametrize(
    ("width", "name"), [(1280, "trajectory"), (1280, "sweep"), (390, "neighbourhood"), (390, "attention")]
)
def test_it_fills_the_form_and_says_what_to_look_for(open_page: Any, width: int, name: str) -> None:
    page, prefix = open_page(width, f"?page={name}"), PREFIXES[name]
    preset = PRESETS[name][1]
    page.wait_for_function(f"window.diffatlasForms?.['{prefix}']")
    # The view is there: it says that there is nothing to stop.
    page.wait_for_selector(f"#{prefix}-stop:disabled", state="attached")
    says(page, name, PRESETS[name][0].look_for)
    page.fill(f"#{prefix}-num_inference_steps input", "17")
    says(page, name, "Your own")
    choose(page, name, preset.name)
    says(page, name, preset.look_for)
    assert page.input_value(f"#{prefix}-prompt textarea") == preset.prompt
    assert page.input_value(f"#{prefix}-seed input") == str(preset.seed)
    # All that it does not name is the model's own, whatever was asked before.
    wanted = {"num_inference_steps": 30, "guidance_scale": 3, **preset.settings}
    for field, value in wanted.items():
        text = value if isinstance(value, str) else f"{value:g}"
        assert page.input_value(f"#{prefix}-{field} :is(input, textarea)") == text, field
    # Nothing runs, and Run is in sight without a scroll.
    assert page.locator(f"#{prefix}-stop").is_disabled()
    box = page.locator(f"#{prefix}-run").bounding_box()
    assert box["y"] + box["height"] <= 900
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(f"#{prefix}-prompt textarea").press_sequentially(" and more")
    says(page, name, "Your own")
    assert page.problems == []


def test_it_chooses_its_model_and_says_so(open_page: Any) -> None:
    page = open_page(1280)
    page.wait_for_function("window.diffatlasForms?.field")
    page.wait_for_timeout(1000)
    page.click("#field-model input")
    page.locator("#field-model [role=option]", has_text="Shapes, transformer").click()
    page.wait_for_function("document.querySelector('#field-model').innerText.includes('flow matching')")
    choose(page, "trajectory", "Fresh noise")
    says(page, "trajectory", "The model is now Shapes (embedded).")
    page.wait_for_function("window.diffatlasForms.field.model === 'shapes'")
    assert page.evaluate("window.diffatlasForms.field.scheduler") == "euler_a"
    assert page.problems == []
