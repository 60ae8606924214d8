"""Calls of a pipeline with steering, and their latents."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch

from diffatlas.capture import Capture, observe
from diffatlas.params import Noise
from diffatlas.steering.guided import own_scale, steer_guidance
from diffatlas.steering.methods import GuidancePlan
from diffatlas.steering.noise import steer_noise
from tests.pipelines import arguments

PROMPT = "a red circle"
#: Which arguments say how strong the guidance is.
SCALES = ("guidance_scale", "true_cfg_scale")


def call(pipe: Any, seeds: Sequence[int] = (7,), scale: float = 4.0, **options: Any) -> dict[str, Any]:
    """Return the arguments of a call with one image for each seed, that returns latents."""
    asked = arguments(pipe, scale=scale, prompts=(PROMPT,) * len(seeds), **options)
    asked["generator"] = [torch.Generator().manual_seed(seed) for seed in seeds]
    return asked | {"output_type": "latent"}


def plain(pipe: Any, seed: int = 7, scale: float = 4.0, **options: Any) -> np.ndarray:
    """Return the final latents of the pipeline's own call, (1, ...)."""
    return pipe(**call(pipe, (seed,), scale, **options)).images.numpy()


def steered(
    pipe: Any,
    plans: Sequence[GuidancePlan],
    seeds: Sequence[int] | None = None,
    noises: Sequence[Noise | None] | None = None,
    scale: float | None = None,
    **options: Any,
) -> tuple[np.ndarray, Any]:
    """Return the final latents (B, ...) and the trace of a steered call with one sample for each plan."""
    scale = own_scale(plans) if scale is None else scale
    asked = call(pipe, seeds or (7,) * len(plans), scale, **options)
    with ExitStack() as stack:
        stack.enter_context(steer_noise(pipe, noises or [None] * len(plans)))
        trace = stack.enter_context(observe(pipe, Capture()))
        stack.enter_context(steer_guidance(pipe, plans, scale, trace))
        return pipe(**asked).images.numpy(), trace


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference, relative to the largest value."""
    return float(np.abs(a - b).max() / np.abs(b).max())
