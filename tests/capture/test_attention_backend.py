"""Attention through the local backend: one run, several in a batch, stored and read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffatlas.backends.local import LocalBackend
from diffatlas.capture.spec import Capture
from diffatlas.library import Library
from diffatlas.operations.trace import trace
from diffatlas.params import GenerationParams
from diffatlas.run import Run, collect

PARAMS = GenerationParams(
    model="shapes", prompt="a red circle", seed=3, num_inference_steps=3, guidance_scale=4.0
)
ALL = Capture(attention="all", attention_halves="both", attention_every=2)


@pytest.fixture(scope="module")
def backend() -> Any:
    return LocalBackend(device="cpu", dtype="fp32")


def test_cells_of_a_batch_have_the_attention_that_they_have_alone(backend: Any) -> None:
    cells = [
        PARAMS,
        PARAMS.replace(seed=4, guidance_scale=7.0),
        PARAMS.replace(seed=5, guidance_scale=1.0),
        PARAMS.replace(seed=6, guidance_method="pag", guidance_options={"scale": 3.0}),
    ]
    for capture in (ALL, Capture(attention="cross", latents=False, predictions=False, metrics=False)):
        events: dict[int, list[Any]] = {}
        for i, event in backend.trace_batch(cells, capture):
            events.setdefault(i, []).append(event)
        for i, cell in enumerate(cells):
            together, alone = collect(events[i]), collect(backend.trace(cell, capture))
            assert together.status == alone.status == "complete"
            described, expected = (run.provenance["attention"] for run in (together, alone))
            # Alone and without guidance there is no pass for the negative prompt.
            names = ["layers", "text", *(["negative_text"] if cell.guided else [])]
            assert [described[name] for name in names] == [expected[name] for name in names]
            for a, b in zip(together.steps, alone.steps, strict=True):
                assert_near(a.attention, b.attention)


def assert_near(together: dict[str, np.ndarray] | None, alone: dict[str, np.ndarray] | None) -> None:
    assert (together is None) == (alone is None)
    for key, maps in (alone or {}).items():
        # Alone and without guidance there is no unconditional half.
        ours = together[key] if together[key].shape == maps.shape else together[key][:1]
        assert ours.shape == maps.shape
        np.testing.assert_allclose(ours, maps, atol=5e-4, rtol=5e-3)


def test_a_stored_run_answers_for_less_as_the_model_would(backend: Any, tmp_path: Path) -> None:
    library = Library(tmp_path)
    run: Run = trace(PARAMS, ALL, backend=backend, library=library)
    assert run.cached_from is None
    assert [bool(step.attention) for step in run.steps] == [True, False, True]
    text = run.provenance["attention"]["text"]
    assert [t["word_text"] for t in text if not t["special"]] == ["a", "red", "circle"]
    for capture in (
        Capture(attention="cross", attention_every=2),
        Capture(attention="self", attention_every=2),
    ):
        served = trace(PARAMS, capture, backend=backend, library=library)
        assert served.cached_from == run.id
        live = collect(backend.trace(PARAMS, capture))
        assert served.provenance["attention"] == live.provenance["attention"]
        for a, b in zip(served.steps, live.steps, strict=True):
            assert (a.attention or {}).keys() == (b.attention or {}).keys()
            for key, maps in (b.attention or {}).items():
                np.testing.assert_array_equal(a.attention[key], maps)
    assert trace(PARAMS, Capture(attention="cross"), backend=backend, library=library).cached_from is None


def test_layers_that_are_not_there_end_the_run_with_one_sentence(backend: Any) -> None:
    with pytest.raises(Exception, match="No attention layer is called"):
        collect(backend.trace(PARAMS, Capture(attention="cross", attention_layers=("nothing",))))
