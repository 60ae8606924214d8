"""How the values of an array are distributed, whatever its shape."""

from __future__ import annotations

import math

import numpy as np

from diffatlas.errors import InvalidParams, NonFiniteLatents


def value_counts(values: np.ndarray, bins: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Return how many values lie in each of equal bins: (counts (bins,), edges (bins + 1,)).

    The bins go from the least value to the largest. A bin holds its lower edge, the last its upper too; the counts sum
    to the number of values. Of values that are all the same the bins are 1 wide together, with the value in the middle.

    Raises `InvalidParams` for no value or no bin, and `NonFiniteLatents` for NaN or infinity.
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    if bins < 1 or not flat.size:
        raise InvalidParams(f"A distribution needs values and bins, and here are {flat.size} and {bins}.")
    if not np.isfinite(flat).all():
        raise NonFiniteLatents("These values hold NaN or infinity, so they have no distribution.")
    return np.histogram(flat, bins)


def densities(counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return counts (bins,) as a density, whose area between the edges (bins + 1,) is 1: (bins,)."""
    return counts / (counts.sum() * np.diff(edges))


def normal_density(x: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Return the density of the normal distribution at x, of the same shape.

    exp(-(x - mean)^2 / (2 std^2)) / (std sqrt(2 pi)).

    Raises `InvalidParams` where the standard deviation is not above 0.
    """
    if not std > 0:
        raise InvalidParams(f"A normal density needs a standard deviation above 0, not {std:g}.")
    x = (np.asarray(x, dtype=np.float64) - mean) / std
    return np.exp(-(x**2) / 2) / (std * math.sqrt(2 * math.pi))
