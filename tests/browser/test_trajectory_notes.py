"""What the Trajectory page says of a run that lacks something, was changed on its way, or took more steps."""

from __future__ import annotations

import numpy as np
import pytest

from diffatlas.events import Finished, Image, Started, Step
from diffatlas.library import Library
from diffatlas.params import GenerationParams
from tests.browser.visiting import numbers

pytestmark = pytest.mark.browser

RUN_ID = "20260101-000000-0000aaaa"


@pytest.fixture
def changed(app_url, app_folder):
    """Five steps where three were planned, changed before the third; no noise level is known."""
    rng = np.random.default_rng(5)

    def array():
        return rng.normal(size=(1, 4, 8, 8)).astype(np.float32)

    params = GenerationParams(
        model="shapes", prompt="a changed run", seed=7, width=64, height=64, scheduler="ddim"
    )
    events = [
        Started(RUN_ID, params, array(), None, 3, {"device": "cpu"}),
        *(
            Step(
                index=i,
                timestep=900.0 - i,
                sigma=None,
                latents=array(),
                metrics={"norm": 1.0} | ({"between_length": 0.25} if i == 2 else {}),
                preview=rng.integers(0, 256, (1, 16, 16, 3), np.uint8),
                start_latents=array() if i == 2 else None,
                other_preds={"perturbed": array()} if i == 2 else {},
            )
            for i in range(5)
        ),
        Image(0, rng.integers(0, 256, (64, 64, 3), np.uint8)),
        Finished("complete", 1.5, [], {"x0_pred": "It <b>cannot</b> be told."}),
    ]
    list(Library(app_folder / "runs").record(iter(events)))


def test_what_is_missing_and_what_was_changed_is_said_beneath_the_run(changed, open_page, tmp_path):
    page = open_page(query=f"?page=trajectory&run={RUN_ID}")
    page.wait_for_selector(".da-run-notes p")
    assert page.locator(".da-run-notes p").all_inner_texts() == [
        "Not recorded: the estimates x0. It <b>cannot</b> be told.",
        "The latents were changed between steps, before step 3: lengths are of the true states.",
    ]
    assert numbers(page)["steps"] == "5"
    assert "sigma" not in numbers(page)
    assert "5 steps" in page.inner_text(".da-layers")
    page.locator(".da-frame[data-step]").nth(2).click()
    page.wait_for_function(
        "document.querySelector('[open] .da-inspector-list')?.innerText.includes('perturbed')"
    )
    told = page.inner_text("[open] .da-inspector-list")
    assert "Norm, perturbed prediction" in told
    assert "Moved between steps" in told
    assert page.inner_text("[open] .da-inspector-title") == "Step 3 of 5"
    page.keyboard.press("Escape")
    for view in ("pca", "curves"):
        page.click(f".da-tab[data-view={view}]")
        page.wait_for_timeout(300)
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert page.problems == []
