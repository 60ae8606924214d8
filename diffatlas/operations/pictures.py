"""Pictures of one step of a run: its state, and what the model took it for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from diffatlas.capture.drawing import linear_drawer
from diffatlas.capture.schedule import latent_scale_of
from diffatlas.events import Step

#: From clean latents (1, ...) as the pipeline holds them to pictures (1, H, W, 3), uint8.
Decode = Callable[[np.ndarray], np.ndarray]


class StepReader(Protocol):
    """What is needed of a run: `diffatlas.library.StoredRun` has it."""

    @property
    def provenance(self) -> Mapping[str, Any]: ...  # noqa: D102

    @property
    def capture(self) -> Mapping[str, Any]: ...  # noqa: D102

    def step(self, index: int) -> Step: ...  # noqa: D102


def step_pictures(run: StepReader, index: int, decode: Decode | None = None) -> dict[str, np.ndarray]:
    """Return pictures (H, W, 3), uint8, of step ``index`` for the first image of the batch.

    Keys, each absent where it cannot be made:

    - ``x0``: the model's estimate of the clean latents. Without a decoder this is the stored preview, where
      the step has one.
    - ``x_t``: the state after the step, divided by its standard deviation where that exceeds 1: a noisy state
      of a variance-exploding scheduler is far off the range that a decoder knows.
    - ``cond``, ``uncond``: the estimates that the conditional and the unconditional prediction alone would
      have given (`estimate`).

    decode: None makes pictures by the linear map of the run's provenance, of the size of its previews. They
        need no model; a packing that the provenance does not describe leaves them out.

    Raises what ``run.step`` and ``decode`` raise.
    """
    step = run.step(index)
    scale = np.float32(latent_scale_of(run.provenance.get("scheduler", {}).get("config", {})))
    draw = decode or linear_drawer(run.provenance, run.capture.get("preview_size"))
    pictures: dict[str, np.ndarray] = {}
    if decode is None and step.preview is not None:
        pictures["x0"] = step.preview[0]
    for key, latents in _latents(step).items():
        if key in pictures:
            continue
        clean = latents[:1].astype(np.float32) / scale
        drawn = draw(_tamed(clean) if key == "x_t" else clean)
        if drawn is not None:
            pictures[key] = drawn[0]
    return pictures


def estimate(step: Step, prediction: np.ndarray) -> np.ndarray:
    """Return the clean latents (B, ...), float32, that ``prediction`` would have given in this step.

    prediction: (B, ...) in the form of `Step.noise_pred`, such as `Step.cond_pred`.

    x0 is affine in the prediction, so it is `x0_pred` moved by `x0_gain` times the difference: exact where the
    scheduler neither clips nor thresholds x0. Raises ValueError where the step holds no x0, gain or prediction.
    """
    if step.x0_pred is None or step.x0_gain is None or step.noise_pred is None:
        raise ValueError("The step was captured without x0 or without predictions.")
    channels = step.x0_pred.shape[1]  # a learned variance follows the prediction of the noise
    difference = prediction[:, :channels].astype(np.float32) - step.noise_pred[:, :channels].astype(
        np.float32
    )
    return step.x0_pred + np.float32(step.x0_gain) * difference


def _latents(step: Step) -> dict[str, np.ndarray]:
    """Return the latents to draw that the step allows, in the scheduler's scaling."""
    found = {"x0": step.x0_pred, "x_t": step.latents}
    if step.x0_pred is not None and step.x0_gain is not None and step.noise_pred is not None:
        for key, prediction in (("cond", step.cond_pred), ("uncond", step.uncond_pred)):
            if prediction is not None:
                found[key] = estimate(step, prediction)
    return {key: latents for key, latents in found.items() if latents is not None}


def _tamed(latents: np.ndarray) -> np.ndarray:
    spread = float(latents.std())
    return latents / np.float32(spread) if spread > 1 else latents
