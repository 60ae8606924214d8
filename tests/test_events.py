import dataclasses
import json
import pickle

import numpy as np
import pytest
from safetensors.numpy import save

from diffatlas.events import Failed, Finished, Image, Started, Step, from_bytes, to_bytes
from diffatlas.params import GenerationParams
from diffatlas.run import collect

rng = np.random.default_rng(0)
LATENTS = rng.normal(size=(2, 4, 8, 8)).astype(np.float32)
WITH_NAN = np.where(LATENTS > 1, np.nan, LATENTS)

EVENTS = [
    Started(
        "id", GenerationParams(prompt="é ✓"), LATENTS, 14.6, 30, {"versions": {"torch": "2"}}, {"x0": True}
    ),
    Started("id", GenerationParams(prompt="x"), LATENTS, 14.6, 30, cached_from="id"),
    Step(0, 999.0, 13.2),
    Step(3, 899.5, 0.0, WITH_NAN, LATENTS.astype(np.float16), metrics={"norm": 1.5, "cosine": float("inf")}),
    Step(
        4,
        1.0,
        0.1,
        LATENTS[:, :, ::2],
        x0_pred=LATENTS.T,
        preview=rng.integers(0, 255, (2, 8, 8, 3), np.uint8),
        x0_gain=-14.6146,
    ),
    Image(1, rng.integers(0, 255, (8, 8, 3), np.uint8)),
    Finished("complete", 1.25, [0.5, 1.0]),
    Failed("non_finite", "NaN at step 3.", None),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: e.kind)
def test_the_wire_is_bit_exact(event):
    back = from_bytes(to_bytes(event))
    assert type(back) is type(event)
    for field in dataclasses.fields(event):
        sent, got = getattr(event, field.name), getattr(back, field.name)
        if isinstance(sent, np.ndarray):
            assert got.dtype == sent.dtype
            assert got.shape == sent.shape
            assert got.tobytes() == np.ascontiguousarray(sent).tobytes()
        else:
            assert got == sent


def test_a_step_sent_without_the_gain_is_read():
    """A peer of an earlier version knows no `x0_gain`."""
    rest = {"kind": "step", "index": 0, "timestep": 9.0, "sigma": 1.0, "metrics": {}, "preview": None}
    step = from_bytes(save({"latents": LATENTS}, metadata={"event": json.dumps(rest)}))
    assert step.x0_gain is None
    assert np.array_equal(step.latents, LATENTS)


def test_a_start_sent_without_its_origin_is_read():
    """A peer of an earlier version knows no `cached_from`: what it sends has run."""
    rest = {
        "kind": "started",
        "run_id": "a",
        "params": {"prompt": "x"},
        "initial_sigma": 1.0,
        "total_steps": 2,
    }
    started = from_bytes(save({"initial_latents": LATENTS}, metadata={"event": json.dumps(rest)}))
    assert started.cached_from is None
    assert collect([started]).cached_from is None
    assert collect([EVENTS[1]]).cached_from == "id"


@pytest.mark.parametrize(
    "blob", [b"", b"x" * 40, pickle.dumps(EVENTS[2]), to_bytes(EVENTS[3])[:-3], to_bytes(EVENTS[6])[8:]]
)
def test_other_bytes_are_refused(blob):
    with pytest.raises(ValueError, match="not a Diffusion Atlas event"):
        from_bytes(blob)
