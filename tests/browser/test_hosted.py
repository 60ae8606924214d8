"""A provider is chosen in a form, runs, and is taken leave of again: against a fake of it on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends.hosted.fakes.replicate import FakeReplicate
from tests.backends.hosted.fakes.server import KEY
from tests.serving import served_app

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("hosted")
    with FakeReplicate() as fake:
        told = json.dumps({"replicate": fake.url})
        with served_app(folder, DIFFATLAS_HOSTED_URLS=told, REPLICATE_API_TOKEN=KEY) as served:
            yield served


def choose(page: Any, label: str) -> None:
    page.click("#field-backend input")
    page.click(f"[role=option]:has-text({label!r})")


def test_a_provider_is_chosen_and_its_run_says_why_there_is_no_path(url: str, chromium: Any) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 1000})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(url)
    page.wait_for_selector(".da-viewer")
    page.wait_for_function("window.diffatlasForms?.field?.model === 'shapes'")
    choose(page, "Replicate")
    page.wait_for_function("window.diffatlasForms.field.model === 'black-forest-labs/flux-schnell'")
    page.wait_for_selector("#field-guidance_scale input:disabled")
    assert page.input_value("#field-num_inference_steps input") == "4"
    page.click("#field-run")
    page.wait_for_selector(".da-page-trajectory .da-hosted:has-text('Replicate shows no latents')")
    page.wait_for_selector(".da-page-trajectory .da-status:has-text('Complete')")
    assert page.locator(".da-page-trajectory .da-tabs").is_hidden()
    assert page.locator(".da-page-trajectory .da-picture img").is_visible()
    assert page.locator(".da-page-trajectory .da-form-note").is_hidden()
    # Another page asks for the same; this machine brings back its own model.
    page.click(".da-nav button[data-page=sweep]")
    page.wait_for_function("window.diffatlasForms.sweep.backend === 'replicate'")
    assert page.evaluate("window.diffatlasForms.sweep.model") == "black-forest-labs/flux-schnell"
    page.click(".da-nav button[data-page=trajectory]")
    choose(page, "This machine")
    page.wait_for_function("window.diffatlasForms.field.model === 'shapes'")
    page.wait_for_selector("#field-guidance_scale input:enabled")
    assert problems == []
    page.close()


def test_a_page_whose_link_names_a_provider_comes_to_rest(url: str, chromium: Any) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 1000})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{url}?page=bench&backend=replicate&model=black-forest-labs/flux-schnell")
    page.wait_for_selector(".da-standing-facts:has-text('FLUX.1 schnell')")
    page.wait_for_selector("#bench-guides:has-text('takes no guidance')")
    page.click("#bench-lanes input")
    offered = page.locator("#bench-lanes [role=option]").all_inner_texts()
    assert "This machine: Shapes (embedded)" in [one.strip().lstrip("✓").strip() for one in offered]
    assert not [one for one in offered if "Scheduler" in one], "no provider takes one"
    page.keyboard.press("Escape")
    page.wait_for_timeout(4000)
    asked.clear()
    page.wait_for_timeout(2500)
    # Events that keep each other going ask the server again and again.
    assert asked == []
    # No provider takes noise: neighbours are those of other seeds.
    page.click(".da-nav button[data-page=neighbourhood]")
    page.wait_for_function(
        "document.querySelector('#neighbourhood-mode input')?.value === 'Neighbouring seeds'"
    )
    assert page.is_visible("#neighbourhood-offset")
    page.close()
