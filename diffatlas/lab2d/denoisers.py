"""Denoisers D(x; sigma, class), an estimate of E[x0 | x] at x = x0 + sigma eps: learned, exact, empirical, guided.

The other quantities that a field can show are affine in it (`convert`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from diffatlas.lab2d.mixtures import Boxes, Gaussians, Labels, Target, denoise
from diffatlas.lab2d.schedules import Schedule

#: D(x (n, 2), sigma, labels (n,) or None) -> (n, 2)
Denoiser = Callable[[np.ndarray, float, Labels], np.ndarray]
#: The same with its classes settled, as a sampler wants it.
Bound = Callable[[np.ndarray, float], np.ndarray]

QUANTITIES = ("score", "eps", "x0", "v", "flow")


def exact(target: Target) -> Denoiser:
    """Return the denoiser that minimises the training loss over the whole target."""

    def of(x: np.ndarray, sigma: float, labels: Labels = None) -> np.ndarray:
        return denoise(target, x, sigma, labels)

    return of


def bound(denoiser: Denoiser, labels: Labels) -> Bound:
    """Return ``denoiser`` for these classes, one a point; None for no class."""
    return lambda x, sigma: denoiser(x, sigma, labels)


def guided(
    denoiser: Denoiser,
    labels: np.ndarray,
    weight: float,
    interval: tuple[float, float] | None = None,
    weak: Denoiser | None = None,
) -> Bound:
    """Return the guided denoiser, (1 + w) D_c - w D_weak.

    That is eps = (1 + w) eps_c - w eps_null (Ho & Salimans 2022, eq. 6), since eps is affine in D; w = 0 is the plain
    conditional one, which is then called alone. weak: what is pushed away from; None for the same denoiser without
    classes (classifier-free guidance), or a worse model with classes (autoguidance, Karras et al. 2024). interval:
    noise levels (low, high] outside of which w is 0 (Kynkaanniemi et al. 2024).
    """

    def of(x: np.ndarray, sigma: float) -> np.ndarray:
        towards = denoiser(x, sigma, labels)
        if weight == 0 or (interval is not None and not interval[0] < sigma <= interval[1]):
            return towards
        away = denoiser(x, sigma, None) if weak is None else weak(x, sigma, labels)
        return (1 + weight) * towards - weight * away

    return of


def widened(target: Target, by: float) -> Target:
    """Return the target with every component widened by ``by``: the exact counterpart of a weaker model."""
    parts = target.parts
    if isinstance(parts, Boxes):
        wide: Gaussians | Boxes = Boxes(parts.low, parts.high, float(np.hypot(parts.soft, by)))
    else:
        wide = Gaussians(parts.means, parts.covariances + by**2 * np.eye(2))
    return replace(target, parts=wide, _of={})


def convert(
    quantity: str, x: np.ndarray, estimate: np.ndarray, sigma: float, schedule: Schedule
) -> np.ndarray:
    """Return a quantity of a schedule's x_t = alpha x from D(x; sigma), (n, 2).

    score = -eps / s, the gradient of log p_t at x_t; v and flow as in `objectives.target_of`.
    """
    a = float(schedule.alpha(sigma))
    s = a * sigma
    eps = (x - estimate) / sigma
    match quantity:
        case "score":
            return -eps / s
        case "eps":
            return eps
        case "x0":
            return estimate
        case "v":
            return a * eps - s * estimate
        case _:
            return eps - estimate
