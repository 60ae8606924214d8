"""The form and the run in view never differ without a word, and the form can be filled from the run."""

from __future__ import annotations

from typing import Any

import pytest

from diffatlas import Capture, GenerationParams
from diffatlas.library import Library
from diffatlas.operations.trace import shared_local_backend, stream
from diffatlas.params import Noise
from diffatlas.run import collect
from tests.browser.visiting import fill, lock, run

pytestmark = pytest.mark.browser
NOTE = ".da-page-trajectory .da-form-note"


def note(page: Any, words: str) -> str:
    page.wait_for_selector(f"{NOTE}:has-text({words!r})")
    return page.inner_text(NOTE)


def test_the_form_says_where_it_differs_and_is_filled_from_the_run(open_page: Any) -> None:
    page = open_page()
    assert page.locator(NOTE).is_hidden()
    first = run(page, prompt="a red circle", seed=71, num_inference_steps=4)
    assert page.locator(NOTE).is_hidden()
    fill(page, "seed", 72)
    assert "another run" in note(page, "seed 72, not 71")
    fill(page, "prompt", "a blue ring")
    assert "another prompt" in note(page, "another prompt")
    page.click(f"{NOTE} button")
    page.wait_for_selector(NOTE, state="hidden")
    assert page.input_value("#field-seed input") == "71"
    assert page.input_value("#field-prompt textarea") == "a red circle"
    # What is filled in is that very run.
    page.click("#field-run")
    page.wait_for_function("document.querySelector('.da-status').innerText.includes('out of the library')")
    assert page.evaluate("document.querySelector('.da-layer.da-temporary').dataset.id") == first
    lock(page)
    # Another layer in view is another run.
    run(page, seed=73)
    assert page.locator(NOTE).is_hidden()
    page.click(f".da-layer[data-id='{first}'] .da-layer-name")
    assert "seed 73, not 71" in note(page, "seed 73")
    assert page.problems == []


def test_a_run_with_noise_of_its_own_goes_into_the_form_with_it(open_page: Any, app_folder: Any) -> None:
    library = Library(app_folder / "runs")
    params = GenerationParams(
        prompt="a green star",
        seed=74,
        num_inference_steps=4,
        guidance_scale=3.0,
        noise=Noise("perturb", 4, 0.3),
    )
    made = collect(stream(params, Capture(previews="every"), shared_local_backend(), library)).id
    page = open_page(query=f"?page=library&run={made}")
    page.click("dialog[open] button:has-text('Open')")
    page.wait_for_selector(f".da-layer[data-id='{made}']")
    # Opening it fills the form.
    page.wait_for_selector("#field-noise")
    page.wait_for_selector(NOTE, state="hidden")
    assert page.input_value("#field-noise :is(textarea, input)") == "perturb, seed=4, amount=0.3"
    # And out of it again, with a run that has none; and in again.
    run(page, prompt="a red circle", seed=75, noise="")
    page.click(f".da-layer[data-id='{made}'] .da-layer-name")
    assert "another prompt" in note(page, "another noise")
    page.click(f"{NOTE} button")
    page.wait_for_selector(NOTE, state="hidden")
    assert page.input_value("#field-noise :is(textarea, input)") == "perturb, seed=4, amount=0.3"
    assert page.problems == []


def test_an_opened_run_keeps_a_true_address(open_page: Any, app_folder: Any) -> None:
    library = Library(app_folder / "runs")
    params = GenerationParams(prompt="a white ring", seed=76, num_inference_steps=3, guidance_scale=3.0)
    made = collect(stream(params, Capture(previews="every"), shared_local_backend(), library)).id
    page = open_page(query=f"?page=library&run={made}")
    page.click("dialog[open] button:has-text('Open')")
    page.wait_for_selector(f".da-layer[data-id='{made}']")
    assert f"run={made}" in page.url
    assert "page=trajectory" in page.url
