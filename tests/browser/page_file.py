"""The page without a server of two runs, and how it is opened, for the tests of what it does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import diffatlas
from diffatlas import Capture, GenerationParams
from diffatlas.formats.kinds import export
from diffatlas.formats.named import Named
from diffatlas.run import Run

STEPS = 6


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """Two seeds of one prompt."""
    return [
        diffatlas.trace(
            GenerationParams(
                prompt="a red circle and a blue square",
                seed=seed,
                num_inference_steps=STEPS,
                guidance_scale=3,
            ),
            Capture(attention="cross", previews="every"),
        )
        for seed in (7, 8)
    ]


@pytest.fixture(scope="module")
def file(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their page."""
    path = tmp_path_factory.mktemp("html") / "two.html"
    path.write_bytes(export("html", [Named(f"seed {run.params.seed}", run) for run in runs]))
    return path


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["wide", "narrow"])
def page(request: Any, chromium: Any, file: Path) -> Iterator[Any]:
    """The page, opened from the disk; at the end it is looked at what it did."""
    width, scheme = request.param
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(30_000)
    problems, requested = [], []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: message.type == "error" and problems.append(message.text))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector(".da-offline .da-word")
    yield page
    assert problems == []
    # Nothing is sent anywhere.
    assert {address.split(":")[0] for address in requested} <= {"file", "data", "blob"}
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")
    context.close()
