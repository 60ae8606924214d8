"""The foot of the page shows the lines of Python that make what is in view, and they make it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import diffatlas
from tests.browser.visiting import run

pytestmark = pytest.mark.browser


def lines(page: Any) -> str:
    page.click(".da-footer .da-python")
    text = page.inner_text(".da-python-dialog[open] .da-python-lines")
    page.click(".da-python-dialog[open] .da-dialog-close")
    return text


def made_by(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(text, "lines", "exec"), names)
    return names


def test_the_lines_make_the_run_in_view(open_page: Any, app_folder: Any) -> None:
    page = open_page()
    # Nothing has run: the lines of a first run.
    first = made_by(lines(page).rpartition("run = ")[0])
    assert first["params"].prompt == page.input_value("#field-prompt textarea")
    made = run(page, prompt="a blue ring", seed=41, num_inference_steps=3)
    text = lines(page)
    again = made_by(text)["run"]
    stored = diffatlas.open_run(app_folder / "runs" / made)
    assert again.params == stored.params
    np.testing.assert_array_equal(again.images, stored.images)
    # The button beside the run opens the same; Copy says that it did.
    page.click(".da-masthead-side .da-python")
    assert page.inner_text(".da-python-dialog[open] .da-python-lines") == text
    page.click(".da-copy-python")
    page.wait_for_selector(".da-copy-python:text('opied')")
    assert page.problems == []
