"""Fields on a grid: learned, exact, empirical, and how far apart they are, on the grid and where the points are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffatlas.lab2d.denoisers import Bound, Denoiser, convert
from diffatlas.lab2d.mixtures import Target, draw, log_density
from diffatlas.lab2d.schedules import Schedule
from diffatlas.lab2d.targets import EXTENT

#: Points a side of the score field.
SIDE = 16


def grid(side: int = SIDE, extent: float = EXTENT) -> np.ndarray:
    """Return side x side points over the square [-extent, extent], row by row from the lower left, (side^2, 2)."""
    axis = np.linspace(-extent, extent, side)
    x, y = np.meshgrid(axis, axis)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def field(denoise: Bound, quantity: str, places: np.ndarray, sigma: float, schedule: Schedule) -> np.ndarray:
    """Return a quantity (see `denoisers.convert`) at places x_t of the schedule's own coordinates, (n, 2)."""
    x = places / schedule.alpha(sigma)
    return convert(quantity, x, denoise(x, sigma), sigma, schedule)


@dataclass(frozen=True)
class Error:
    """How far a field is from the exact one. relative: |f - f*| / |f*| in L2. cosine: the mean over places of the
    cosine between the two."""

    relative: float
    cosine: float


def error(got: np.ndarray, want: np.ndarray) -> Error:
    """Return how far ``got`` is from ``want``, both (n, 2)."""
    lengths = np.linalg.norm(got, axis=1) * np.linalg.norm(want, axis=1)
    cosines = np.divide(np.sum(got * want, axis=1), lengths, out=np.ones(len(got)), where=lengths > 0)
    size = np.sqrt(np.sum(want**2))
    return Error(float(np.sqrt(np.sum((got - want) ** 2)) / size) if size > 0 else 0.0, float(cosines.mean()))


def on_distribution(
    denoiser: Denoiser,
    reference: Denoiser,
    target: Target,
    quantity: str,
    sigma: float,
    schedule: Schedule,
    label: int | None,
    n: int = 1000,
) -> Error:
    """Return the error of a field at ``n`` points of p_t itself, where a sampler goes. The same points at each call."""
    rng = np.random.default_rng(0)
    x0, _ = draw(target if label is None else target.only(label), n, rng)
    x = x0 + sigma * rng.standard_normal((n, 2))
    given = None if label is None else np.full(n, label)
    got, want = (convert(quantity, x, d(x, sigma, given), sigma, schedule) for d in (denoiser, reference))
    return error(got, want)


def density(
    target: Target, sigma: float, alpha: float, label: int | None, side: int, extent: float = EXTENT
) -> np.ndarray:
    """Return the density of x_t = alpha x on a grid, (side, side), rows from the lowest y."""
    places = grid(side, extent)
    given = None if label is None else np.full(len(places), label)
    values = np.exp(log_density(target, places / alpha, sigma, given)) / alpha**2
    return values.reshape(side, side)
