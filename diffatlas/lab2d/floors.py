"""What a loss cannot go below, and how far above it a model is, by noise level.

E|eps - eps_theta|^2 = E tr Cov[eps | x]  +  E|eps_theta - E[eps | x]|^2
   (training loss)        (Bayes floor)        (excess: the model's error)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffatlas.lab2d import objectives
from diffatlas.lab2d.denoisers import Denoiser
from diffatlas.lab2d.mixtures import Labels, Target, denoise, draw, posterior_variance
from diffatlas.lab2d.schedules import Schedule, T

#: Noise levels at which floor and excess are measured: the middles of so many equal parts of the schedule.
LEVELS = 13


def levels(count: int = LEVELS) -> np.ndarray:
    """Return the schedule's levels at which to measure, (count,)."""
    return ((np.arange(count) + 0.5) / count * T).astype(int)


def floor(target: Target, sigma: float, n: int, rng: np.random.Generator, conditional: bool) -> float:
    """Return E tr Cov[eps | x] at a noise level, from the exact posterior variance at ``n`` noisy points."""
    x, labels = _noisy(target, sigma, n, rng)
    return float(np.mean(posterior_variance(target, x, sigma, labels if conditional else None)) / sigma**2)


def loss_floor(
    target: Target, schedule: Schedule, objective: str, label_drop: float, n: int = 400, count: int = 40
) -> float:
    """Return the least loss that any network can reach (mean over levels, points and both coordinates).

    Of the points, the share ``label_drop`` is seen without class. Of a training set (`points_target`) it is the
    loss of having learned it by heart.
    """
    rng = np.random.default_rng(0)
    at = ((np.arange(count) + 0.5) / count * T).astype(int)
    sigma = schedule.sigmas[at]
    a = schedule.alpha(sigma)
    gain = objectives.per_eps(objective, a, a * sigma) ** 2
    known = np.array([floor(target, float(s), n, rng, True) for s in sigma])
    hidden = np.array([floor(target, float(s), n, rng, False) for s in sigma])
    return float(np.mean(gain * ((1 - label_drop) * known + label_drop * hidden)) / 2)


@dataclass(frozen=True)
class Excess:
    """Errors by noise level: levels (L,), sigmas (L,), floor and excess in E|.|^2 of eps, (L,) each."""

    levels: np.ndarray
    sigmas: np.ndarray
    floor: np.ndarray
    excess: np.ndarray

    @property
    def relative(self) -> float:
        """Excess over floor, the mean over the levels of both."""
        return float(self.excess.mean() / self.floor.mean())


def excess(
    denoiser: Denoiser,
    target: Target,
    schedule: Schedule,
    conditional: bool,
    n: int = 512,
    seed: int = 0,
) -> Excess:
    """Return floor and excess of a denoiser by noise level, on ``n`` noisy points of the target a level.

    conditional: with the class of each point, or without (the null token).
    """
    rng = np.random.default_rng(seed)
    at = levels()
    sigmas = schedule.sigmas[at]
    floors, errors = np.empty(len(at)), np.empty(len(at))
    for k, sigma in enumerate(map(float, sigmas)):
        x, labels = _noisy(target, sigma, n, rng)
        given: Labels = labels if conditional else None
        error = (denoiser(x, sigma, given) - denoise(target, x, sigma, given)) / sigma
        errors[k] = np.mean(np.sum(error**2, axis=1))
        floors[k] = np.mean(posterior_variance(target, x, sigma, given)) / sigma**2
    return Excess(at, sigmas, floors, errors)


def _noisy(target: Target, sigma: float, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x0, labels = draw(target, n, rng)
    return x0 + sigma * rng.standard_normal((n, 2)), labels
