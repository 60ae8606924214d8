"""The app in Firefox: a run, a sweep and the lab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.firefox import firefox_page

pytestmark = pytest.mark.browser

#: Whether the canvases that a selector finds show more than one colour.
DRAWN = """[...document.querySelectorAll({selector!r})].every((canvas) => {{
    const {{ data }} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size > 2;
}})"""


def turn(page: Any, name: str) -> None:
    page.click(f".da-nav [data-page={name}]")
    page.wait_for(f"document.querySelector('.da-page-{name}').offsetHeight > 0")


def test_a_run_a_sweep_and_the_lab(app_url: str, firefox: str, tmp_path: Path) -> None:
    with firefox_page(firefox, tmp_path) as page:
        page.goto(app_url)
        page.wait_for("document.querySelector('.da-page-trajectory .da-start:not([hidden])')")
        page.wait_for("window.diffatlasForms?.field")
        page.fill("#field-prompt textarea", "a green star")
        page.fill("#field-num_inference_steps input", "4")
        page.click("#field-run")
        page.wait_for("document.querySelector('.da-viewer').dataset.status === 'complete'")
        page.wait_for("document.querySelector('.da-picture img')?.naturalWidth === 64")
        assert page.evaluate("document.querySelectorAll('.da-frame[data-step]').length") == 4
        assert page.evaluate("document.querySelector('.da-headline').innerText") == "a green star"
        page.click(".da-tab[data-view=curves]")
        page.wait_for("document.querySelector('.da-panel-curves .js-line')")

        turn(page, "sweep")
        page.wait_for("document.querySelector('#sweep-prompt textarea').value === 'a green star'")
        page.click("#sweep-run")
        cells = ".da-page-sweep .da-study .da-cell"
        page.wait_for(
            f"document.querySelector('{cells} img') && document.querySelector('.da-page-sweep .da-start').hidden"
        )
        page.wait_for(f"document.querySelectorAll('{cells}-numbers:not(:empty)').length >= 4")

        turn(page, "lab")
        page.wait_for("document.querySelector('.da-lab-measures:not([hidden])')")
        page.wait_for(DRAWN.format(selector=".da-lab-stage canvas"))
        assert page.problems == []
