"""The presets of a workshop are run once, and everybody who asks for one has it without waiting for a turn."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from diffatlas.capture.spec import Capture
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import GenerationParams
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.live_runs import Asked, LiveRuns, Shelf
from diffatlas.ui.turns import Turns
from diffatlas.ui.workshop import held
from diffatlas.ui.workshop.prepared import Prepared

WORKSHOP = """
title: a
pages: [trajectory]
models: [shapes]
bounds: {steps: [1, 3], size: [64, 64]}
presets: {trajectory: [{name: One, prompt: a star, seed: 5, steps: 2}]}
"""


@pytest.fixture
def libraries(tmp_path, monkeypatch):
    (tmp_path / "workshop.yaml").write_text(WORKSHOP)
    monkeypatch.setenv("DIFFATLAS_WORKSHOP", str(tmp_path / "workshop.yaml"))
    monkeypatch.setenv("DIFFATLAS_MODE", "shared")
    held.begin()
    yield Libraries(tmp_path / "runs", shared=True)
    monkeypatch.undo()
    held.begin()


def ask(live: LiveRuns, visitor: str, **more: object) -> list[dict]:
    params = GenerationParams(
        model="shapes", prompt="a star", seed=5, num_inference_steps=2, guidance_scale=3.0
    )
    what = Asked(params.replace(**more), Capture(preview_decoder="vae"), 1, "keep", True)
    request = SimpleNamespace(session_hash=visitor, cookies={}, request=None)
    return list(live.stream("a star", "shapes", lambda: what, request))


def test_a_preset_is_there_at_once_for_everybody_and_nobody_sees_what_others_ask(libraries, monkeypatch):
    prepared, turns = Prepared(libraries), Turns()
    live = LiveRuns(shared_local_backend(), {}, turns, Shelf(libraries.of, prepared=prepared.give))
    assert prepared.make() == 1
    # Whoever has the model now keeps it: what is shown has not waited.
    turns.join("somebody")
    shown = [ask(live, visitor) for visitor in ("one", "two")]
    assert [views[-1]["status"] for views in shown] == ["complete", "complete"]
    assert not any(view["status"] == "waiting" for views in shown for view in views)
    found = [
        libraries.of(visitor)
        for visitor in sorted(path.name for path in (libraries.root / "visitors").iterdir())
    ]
    assert [library.search().total for library in found] == [1, 1]
    # Once more it was run by nobody, and the teacher's bounds stand whatever the server takes that for.
    monkeypatch.setenv("DIFFATLAS_MOST_SECONDS", "0.0001")
    turns = Turns()
    live = LiveRuns(shared_local_backend(), {}, turns, Shelf(libraries.of, prepared=prepared.give))
    assert ask(live, "three", seed=6)[-1]["status"] == "complete"
    refused = ask(live, "three", num_inference_steps=4)[-1]
    assert (refused["status"], refused["error"]["field"]) == ("failed", "num_inference_steps")
    assert [info.seed for info in prepared._library.search().runs] == [5]
