"""The outline of points in a plane."""

from __future__ import annotations

import numpy as np

from diffatlas.errors import InvalidParams


def hull(points: np.ndarray) -> np.ndarray:
    """Return the corners (m, 2) of the convex hull of points (n, 2), counter-clockwise from the leftmost.

    The monotone chain (Andrew 1979, doi 10.1016/0020-0190(79)90072-3). Points within an edge are no corners; of points
    on one line the two ends remain, of equal points one.

    Raises `InvalidParams` for points that are not in a plane.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise InvalidParams(f"An outline is of points (n, 2) in a plane, not of shape {points.shape}.")
    ordered = [tuple(point) for point in np.unique(points, axis=0)]
    if len(ordered) < 3:
        return np.array(ordered).reshape(-1, 2)
    return np.array(_half(ordered) + _half(ordered[::-1]))


def _half(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Corners from the first point to the last, which is left out, with all others to the left."""
    chain: list[tuple[float, float]] = []
    for x, y in ordered:
        while len(chain) > 1:
            (a, b), (c, d) = chain[-2], chain[-1]
            if (c - a) * (y - b) > (d - b) * (x - a):
                break
            chain.pop()
        chain.append((x, y))
    return chain[:-1]
