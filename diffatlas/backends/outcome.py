"""What a pipeline call leaves: its pictures, and the signs that it went wrong."""

from __future__ import annotations

import numpy as np

from diffatlas.errors import BlackImage, NonFiniteLatents
from diffatlas.events import Step


class Stopped(Exception):
    """Leaves the pipeline's loop when a run is stopped; never leaves the backend."""


def check_finite(step: Step) -> None:
    """Raise `NonFiniteLatents` naming the step where NaN or infinity is in the latents."""
    if step.latents is not None and not np.isfinite(step.latents).all():
        raise NonFiniteLatents(
            f"NaN or infinity appeared in the latents at step {step.index + 1} (timestep {step.timestep:g}): "
            "try dtype fp32, more steps, a lower guidance scale or another scheduler."
        )


def check_light(index: int, pixels: np.ndarray, dtype: str) -> None:
    """Raise `BlackImage` for a final image that is black everywhere."""
    if not pixels.any():
        raise BlackImage(
            f"Image {index} is black everywhere: the decoder may have overflowed in "
            f"{dtype}; try vae=fp32 in the model's line (docs/loading.md), dtype fp32, another seed or a lower "
            "guidance scale."
        )
