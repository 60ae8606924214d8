"""Maps from distances alone: points in a plane whose distances are as nearly as can be those of the items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffatlas.errors import InvalidParams, NonFiniteLatents
from diffatlas.geometry.projection import axis_signs, from_gram

#: The stress is taken as settled when a round lowers its square by less than this part.
SETTLED = 1e-9
MOST_ROUNDS = 2000


@dataclass(frozen=True)
class Scaling:
    """A map: ``coords`` (n, k), about the mean, largest extent first; ``stress``: Kruskal's stress-1, 0 if exact."""

    coords: np.ndarray
    stress: float


def classical_mds(distances: np.ndarray, dimensions: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Classical scaling (Torgerson 1952): ((n, k) coords, (k,) explained ratio).

    For Euclidean distances these are the principal component scores. Other distances have axes of negative
    variance as well; those are left out, and the ratio is the share of the positive ones. Signed as
    `diffatlas.geometry.projection.pca` signs its axes.
    """
    distances = _checked(distances)
    if not len(distances):
        return np.zeros((0, dimensions)), np.zeros(dimensions)
    coords, ratio = from_gram(-(distances**2) / 2, dimensions)
    return coords * axis_signs(coords), ratio


def mds(distances: np.ndarray, dimensions: int = 2, seed: int = 0) -> Scaling:
    """Metric multidimensional scaling: the map of least raw stress, sum over pairs of (distance - drawn distance)^2.

    Majorisation (SMACOF; de Leeuw 1977, the Guttman transform), started from classical scaling; an axis on which
    that has no extent is started with slight seeded noise. It finds the least stress near that start, not
    necessarily the least of all. The map is turned to its principal axes and signed as `pca` signs them.

    ``stress`` is Kruskal's stress-1 (1964), sqrt(sum (distance - drawn)^2 / sum drawn^2): below 0.05 good, above 0.2
    poor, by his own words.
    """
    distances = _checked(distances)
    n = len(distances)
    coords, _ = classical_mds(distances, dimensions)
    if n < 2 or not distances.any():
        return Scaling(np.zeros((n, dimensions)), 0.0)
    extent = np.abs(coords).max()
    flat = np.abs(coords).max(0) < 1e-6 * extent
    if n > 2 and flat.any() and not _exact(distances, coords):
        noise = np.random.default_rng(seed).normal(scale=1e-3 * distances.max(), size=coords.shape)
        coords = np.where(flat, noise, coords)

    before = np.inf
    for _ in range(MOST_ROUNDS):
        drawn = _drawn(coords)
        squared = ((distances - drawn) ** 2).sum()
        if squared > (1 - SETTLED) * before or squared <= 1e-24 * (distances**2).sum():
            break
        before = squared
        # The Guttman transform: X <- B(X) X / n, with B from the ratios of wanted and drawn distances.
        ratios = np.divide(distances, drawn, out=np.zeros_like(drawn), where=drawn > 0)
        coords = (ratios.sum(1)[:, None] * coords - ratios @ coords) / n
    centred = coords - coords.mean(0)
    turned, _ = from_gram(centred @ centred.T, dimensions)
    turned *= axis_signs(turned)
    drawn = _drawn(turned)
    return Scaling(turned, float(np.sqrt(((distances - drawn) ** 2).sum() / (drawn**2).sum())))


def _drawn(coords: np.ndarray) -> np.ndarray:
    return np.linalg.norm(coords[:, None] - coords, axis=-1)


def _exact(distances: np.ndarray, coords: np.ndarray) -> bool:
    return bool(np.abs(distances - _drawn(coords)).max() <= 1e-7 * distances.max())


def _checked(distances: np.ndarray) -> np.ndarray:
    distances = np.asarray(distances, dtype=np.float64)
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1]:
        raise InvalidParams(f"A map needs a square matrix of distances, not one of shape {distances.shape}.")
    if not np.isfinite(distances).all():
        raise NonFiniteLatents("A distance is NaN or infinite, so no map can be drawn.")
    return (distances + distances.T) / 2
