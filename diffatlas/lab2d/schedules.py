"""Noise schedules: x_t = alpha_t x0 + s_t eps at T levels, and the grid of noise levels sigma = s / alpha of Karras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diffatlas.errors import InvalidParams

#: Levels of a schedule.
T = 1000
#: The ends of the Karras grid (Karras et al. 2022, table 1), where the schedule reaches further.
SIGMA_MIN, SIGMA_MAX, RHO = 0.02, 80.0, 7.0


@dataclass(frozen=True)
class Schedule:
    """sigmas: (T,), rising; straight: whether alpha = 1 - s (flow matching) rather than alpha^2 + s^2 = 1."""

    name: str
    sigmas: np.ndarray
    straight: bool = False

    def alpha(self, sigma: float | np.ndarray) -> float | np.ndarray:
        """Return alpha at a noise level; s is sigma times it."""
        return 1 / (1 + sigma) if self.straight else 1 / np.sqrt(1 + np.square(sigma))

    def level(self, sigma: float) -> float:
        """Return the level t in [0, T - 1] at which the noise is ``sigma``; between two levels, in proportion."""
        if sigma <= self.sigmas[0]:
            return 0.0
        return float(np.interp(np.log(sigma), np.log(self.sigmas), np.arange(len(self.sigmas))))


def cosine() -> Schedule:
    """Nichol & Dhariwal 2021, eq. 17, betas clipped at 0.999."""
    steps = np.arange(T + 1) / T
    f = np.cos((steps + 0.008) / 1.008 * np.pi / 2) ** 2
    return _from_betas("cosine", np.minimum(1 - f[1:] / f[:-1], 0.999))


def linear() -> Schedule:
    """Ho et al. 2020: betas from 1e-4 to 0.02."""
    return _from_betas("linear", np.linspace(1e-4, 0.02, T))


def scaled_linear() -> Schedule:
    """Rombach et al. 2022 (Stable Diffusion): square roots of beta from 0.00085 to 0.012 rise evenly.

    Its last level is not pure noise (sigma 14.6), which a sampler that begins with noise ignores (Lin et al. 2024).
    """
    return _from_betas("scaled_linear", np.linspace(0.00085**0.5, 0.012**0.5, T) ** 2)


def straight() -> Schedule:
    """Flow matching: x_t = (1 - t) x0 + t eps (Lipman et al. 2023; Liu et al. 2023), t in the middle of each level."""
    t = (np.arange(T) + 0.5) / T
    return Schedule("straight", t / (1 - t), straight=True)


SCHEDULES: dict[str, Callable[[], Schedule]] = {
    "cosine": cosine,
    "linear": linear,
    "scaled_linear": scaled_linear,
    "straight": straight,
}


def schedule(name: str) -> Schedule:
    """Return a schedule. Raises `InvalidParams` for an unknown name."""
    if name not in SCHEDULES:
        raise InvalidParams(
            f"There is no schedule {name!r}: choose one of {', '.join(SCHEDULES)}.", field="schedule"
        )
    return SCHEDULES[name]()


def karras_sigmas(steps: int, sigma_min: float = SIGMA_MIN, sigma_max: float = SIGMA_MAX) -> np.ndarray:
    """Return ``steps`` falling noise levels and a last 0, (steps + 1,) (Karras et al. 2022, eq. 5, rho = 7)."""
    share = np.linspace(0, 1, steps)
    ends = sigma_max ** (1 / RHO), sigma_min ** (1 / RHO)
    return np.append((ends[0] + share * (ends[1] - ends[0])) ** RHO, 0.0)


def even_levels(steps: int) -> np.ndarray:
    """Return ``steps`` falling levels of T, evenly spaced from the last one (Song et al. 2021, DDIM; "trailing")."""
    return np.round(T * np.arange(steps, 0, -1) / steps).astype(int) - 1


def _from_betas(name: str, betas: np.ndarray) -> Schedule:
    remaining = np.cumprod(1 - betas)
    return Schedule(name, np.sqrt((1 - remaining) / remaining))
