"""Small runs for the tests of the library, made without a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffatlas.events import Step
from diffatlas.params import GenerationParams
from diffatlas.run import Run

STEPS = 3


def made(number: int = 0, *, run_id: str | None = None, side: int = 4, **changes: Any) -> Run:
    """Return a complete run; fields of `GenerationParams` and of `Run` may be changed by name."""
    rng = np.random.default_rng(number)

    def latents() -> np.ndarray:
        return rng.normal(size=(1, 4, side, side)).astype(np.float32)

    of_params = {
        name: changes.pop(name) for name in [*changes] if name in GenerationParams.__dataclass_fields__
    }
    params = GenerationParams(
        **{"prompt": f"run {number}", "seed": number, "num_inference_steps": STEPS, "width": 64, "height": 64}
        | of_params
    )
    run = {
        "id": run_id or f"20260131-120000-{number:08x}",
        "params": params,
        "status": "complete",
        "created": f"2026-01-31T12:{number // 60 % 60:02d}:{number % 60:02d}.000+00:00",
        "initial_latents": latents(),
        "initial_sigma": 14.6,
        "total_steps": STEPS,
        "steps": tuple(
            Step(i, 900.0 - i, 1.0 / (i + 1), latents(), metrics={"norm": float(i)}) for i in range(STEPS)
        ),
        "images": (rng.integers(0, 256, (8, 8, 3), np.uint8),),
        "seconds": 0.5,
        "provenance": {"dtype": "float32", "versions": {"torch": "2.13.0"}},
        "capture": {"latents": True},
    }
    return Run(**run | changes)
