"""What the path of a run says of its image: guidance, length, turns, and when it parts from those of other seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffatlas.bench.why.case import Found
from diffatlas.bench.why.reading import Reading
from diffatlas.geometry.compare import parting_step
from diffatlas.measured import NO_GUIDANCE

#: Two estimates of the clean latents are apart where they differ by more than this share of the mean of their norms.
#: Those of two seeds are alike at the start, where they show what all images of a prompt have in common; the 5% by
#: which the states of two runs are told apart would be passed at the first step.
PARTED = 0.5
NO_PATH = "Its path was not kept, or changes its shape on the way."
ONE_IMAGE = "Its prompt has one image, which parts from none."
NO_ESTIMATES = "What the model took the clean image for at each step was not kept."


def mean_guidance_angle(read: Reading) -> Found:
    """Return the mean over the steps of the guidance angle, in degrees."""
    angles = [value for _, value in read.guidance_angles]
    return float(np.mean(angles)) if angles else NO_GUIDANCE


def largest_guidance_angle(read: Reading) -> Found:
    """Return the largest guidance angle of all steps, in degrees."""
    angles = [value for _, value in read.guidance_angles]
    return max(angles) if angles else NO_GUIDANCE


def path_length(read: Reading) -> Found:
    """Return the sum of the step lengths of the path."""
    value = read.totals["path_length"]
    return NO_PATH if value is None else float(value)


def mean_curvature(read: Reading) -> Found:
    """Return the mean turning angle between steps, in degrees."""
    value = read.totals["mean_curvature"]
    return NO_PATH if value is None else float(value)


def parting_steps(images: Sequence[Reading]) -> list[Found]:
    """Return for each image of a prompt the step at which it parts from the others, the mean over them.

    The step, from 1, from which on the estimates of the clean latents of two runs stay apart by more than `PARTED`
    (`diffatlas.geometry.compare.parting_step`).
    """
    if len(images) < 2:
        return [ONE_IMAGE] * len(images)
    found: list[Found] = []
    steps = np.full((len(images), len(images)), np.nan)
    for i, one in enumerate(images):
        for j, other in enumerate(images[:i]):
            steps[i, j] = steps[j, i] = _parting(one.estimates, other.estimates)
    for one, own in zip(images, steps, strict=True):
        known = own[np.isfinite(own)]
        if one.estimates is None:
            found.append(one.unseen or NO_ESTIMATES)
        elif len(known):
            found.append(float(known.mean()))
        else:
            found.append(
                "It parts from no other image of its prompt, or from none that can be compared with it."
            )
    return found


def _parting(a: np.ndarray | None, b: np.ndarray | None) -> float:
    """The step from 1 at which two runs part; NaN where they do not, or cannot be compared."""
    if a is None or b is None or a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return np.nan
    first = parting_step(a, b, PARTED)
    return np.nan if first is None else first + 1.0
