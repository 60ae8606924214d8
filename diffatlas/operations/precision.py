"""How far a run in half precision is from the same run in float32: at each step, and in the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffatlas.backends.local import LocalBackend
from diffatlas.capture.spec import Capture
from diffatlas.errors import InvalidParams
from diffatlas.params import GenerationParams
from diffatlas.run import Run, collect

#: What is compared with float32.
HALVES = ("bf16", "fp16")


@dataclass(frozen=True)
class Apart:
    """The differences of a run in ``dtype`` from one in float32. Arrays (steps,), in the units of the latents.

    largest, mean: of the absolute differences of the latents after each step. relative: the norm of their difference
    against the norm of those in float32. image_largest, image_mean: in levels of 255. The VAE runs in ``dtype`` too,
    but where it would overflow (`diffatlas.backends.placement`).
    """

    dtype: str
    largest: np.ndarray
    mean: np.ndarray
    relative: np.ndarray
    image_largest: int
    image_mean: float


def compare_dtypes(
    params: GenerationParams, dtypes: Sequence[str] = HALVES, device: str = "auto"
) -> tuple[Apart, ...]:
    """Run a request in float32 and in each of ``dtypes``, one model in memory at a time, and return how far apart.

    dtypes: of "bf16" and "fp16". device: as of `LocalBackend`.

    Raises `InvalidParams` for another dtype, and what a run raises: a half precision that overflows ends in
    `NonFiniteLatents` or `BlackImage`.
    """
    for dtype in dtypes:
        if dtype not in HALVES:
            raise InvalidParams(f"The dtype {dtype!r} is none to compare: give bf16 or fp16.", field="dtype")
    whole = _run(params, "fp32", device)
    return tuple(apart(whole, _run(params, dtype, device), dtype) for dtype in dtypes)


def apart(whole: Run, half: Run, dtype: str) -> Apart:
    """Return how far two runs of one request are apart, ``half`` in ``dtype`` and ``whole`` in float32."""
    pairs = [
        (a.latents.astype(np.float64), b.latents.astype(np.float64))
        for a, b in zip(whole.steps, half.steps, strict=True)
    ]
    levels = np.abs(whole.images[0].astype(np.int64) - half.images[0])
    return Apart(
        dtype,
        np.array([np.abs(b - a).max() for a, b in pairs]),
        np.array([np.abs(b - a).mean() for a, b in pairs]),
        np.array([np.linalg.norm(b - a) / np.linalg.norm(a) for a, b in pairs]),
        int(levels.max()),
        float(levels.mean()),
    )


def _run(params: GenerationParams, dtype: str, device: str) -> Run:
    backend = LocalBackend(device, dtype)
    try:
        return collect(backend.trace(params, Capture(previews="off"))).raise_for_error()
    finally:
        backend.close()
