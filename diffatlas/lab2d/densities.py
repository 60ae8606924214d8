"""The density of a model on a grid, beside that of its target, and how far apart they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diffatlas.lab2d.fields import density, grid
from diffatlas.lab2d.likelihood import LOW, Divergence, log_likelihood
from diffatlas.lab2d.mixtures import Labels, Target, draw, log_density
from diffatlas.lab2d.targets import EXTENT
from diffatlas.lab2d.training import Learned

#: Cells a side of a model's density, and the steps of its ODE.
CELLS, STEPS = 48, 64
#: Points over which the divergence of two densities is averaged.
POINTS = 1000

Denoise = Callable[[np.ndarray, float, Labels], np.ndarray]


@dataclass(frozen=True)
class Densities:
    """The density of a model and that of its target at noise level `likelihood.LOW`.

    model, exact: (cells, cells), rows from the lowest y, over the square of half width `targets.EXTENT`. mass: the sum
    of the model's over the square. divergence: KL of the model from the target, E log p(x) - log p_model(x), in nats.
    error: its standard error. label: the class, or None for all together.
    """

    target: Target
    model: np.ndarray
    exact: np.ndarray
    mass: float
    divergence: float
    error: float
    label: int | None = None


def densities(model: Learned, target: Target, label: int | None = None, cells: int = CELLS) -> Densities:
    """Compute the density of a trained model on cells x cells places: seconds for those of the page."""
    values = model_density(model, model.divergence, label, cells)
    gap, error = kl_divergence(model, model.divergence, target, label)
    return Densities(target, values, density(target, LOW, 1.0, label, cells), mass(values), gap, error, label)


def model_density(
    denoise: Denoise, divergence: Divergence, label: int | None = None, cells: int = CELLS
) -> np.ndarray:
    """Return the density that a denoiser defines, (cells, cells); see `likelihood.log_likelihood`."""
    places = grid(cells)
    return np.exp(log_likelihood(denoise, divergence, places, _given(label, places), STEPS)).reshape(
        cells, cells
    )


def mass(values: np.ndarray) -> float:
    """Return what a density on a grid sums to over the square; 1 where all of it lies there."""
    return float(values.sum()) * (2 * EXTENT / (len(values) - 1)) ** 2


def kl_divergence(
    denoise: Denoise, divergence: Divergence, target: Target, label: int | None = None, n: int = POINTS
) -> tuple[float, float]:
    """Return (E log p(x) - log p_model(x) in nats, its standard error) over ``n`` points of the target."""
    x, _ = draw(target if label is None else target.only(label), n, np.random.default_rng(3))
    given = _given(label, x)
    gap = log_density(target, x, LOW, given) - log_likelihood(denoise, divergence, x, given)
    return float(gap.mean()), float(gap.std() / math.sqrt(n))


def _given(label: int | None, x: np.ndarray) -> Labels:
    return None if label is None else np.full(len(x), label)
