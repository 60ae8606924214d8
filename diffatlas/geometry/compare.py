"""Two paths side by side: how far apart they are step by step, where they part, and how they align.

Here a path is the (N, ...) states of one image, x_T first. Step 0 is x_T, step k the state after k steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diffatlas.errors import InvalidParams
from diffatlas.geometry import path
from diffatlas.geometry.common_basis import check_finite, check_shapes, distances_from, gram

Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """Two paths compared at K points.

    ``align``: "step", "dtw" or "procrustes". ``x`` (K,): the step of path a at each point (fractional for
    "procrustes" where a is the shorter path). ``pairs`` (K, 2): the states compared, as indices into a and b;
    None for "procrustes", whose points lie between states. ``distance`` (K,). ``angle`` (K,): between the two
    states, in degrees; None for "procrustes". ``parting``: the step of a from which the paths stay apart by
    more than ``threshold`` (see `parting_step`); None if they never do, and for "procrustes", which moves the
    paths. ``total``: the summed distance of the warping, for "dtw". ``disparity``: see `Procrustes`.
    """

    align: str
    x: np.ndarray
    pairs: np.ndarray | None
    distance: np.ndarray
    angle: np.ndarray | None
    parting: int | None
    threshold: float
    total: float | None = None
    disparity: float | None = None


@dataclass(frozen=True)
class Procrustes:
    """Path b turned and shifted onto path a.

    ``disparity``: sum of squares of what is left / sum of squares of a about its mean; 0 for paths of the same
    form and size. ``distance`` (n,): what is left at each resampled point. ``x`` (n,): the step of a that each
    point stands for.
    """

    disparity: float
    distance: np.ndarray
    x: np.ndarray


def compare(a: np.ndarray, b: np.ndarray, align: str = "auto", threshold: float = 0.05) -> Comparison:
    """Compare two paths, (Na, ...) and (Nb, ...) states of the same shape.

    align: "step" pairs equal steps and needs paths of equal length; "dtw" pairs states by dynamic time
        warping (`dtw`) over their distances; "procrustes" pairs equal fractions of the run and takes the best
        rigid motion off (`procrustes`); "auto" is "step" for equal lengths and "dtw" otherwise.
    threshold: for `parting_step`.

    Raises `InvalidParams` (a ValueError) for states of different shapes, an unknown ``align``, or "step" with
    different lengths; `NonFiniteLatents` for NaN or infinity.
    """
    a, b = np.asarray(a), np.asarray(b)
    check_shapes(a, b)
    if align == "auto":
        align = "step" if len(a) == len(b) else "dtw"
    if align == "procrustes":
        fit = procrustes(a, b)
        return Comparison(align, fit.x, None, fit.distance, None, None, threshold, disparity=fit.disparity)
    if align == "step":
        _check_lengths(a, b)
        pairs = np.repeat(np.arange(len(a))[:, None], 2, axis=1)
    elif align == "dtw":
        cost = cross_distances(a, b)
        check_finite(cost)
        _, pairs = dtw(cost)
    else:
        raise InvalidParams(f"Alignment must be auto, step, dtw or procrustes, not {align!r}.")
    left, right = a[pairs[:, 0]], b[pairs[:, 1]]
    distance = distance_by_step(left, right)
    check_finite(distance)
    parting = parting_step(left, right, threshold)
    return Comparison(
        align,
        x=pairs[:, 0].astype(np.float64),
        pairs=pairs,
        distance=distance,
        angle=angle_by_step(left, right),
        parting=None if parting is None else int(pairs[parting, 0]),
        threshold=threshold,
        total=float(distance.sum()) if align == "dtw" else None,
    )


def distance_by_step(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distance between the states of equal index of two (N, ...) paths: (N,)."""
    return _by_step(path.distance, a, b)


def angle_by_step(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle in degrees between the states of equal index of two (N, ...) paths: (N,)."""
    return _by_step(path.angle, a, b)


def parting_step(a: np.ndarray, b: np.ndarray, threshold: float = 0.05) -> int | None:
    """Index of the first state from which two (N, ...) paths stay apart to the end.

    Two states are apart where their distance exceeds ``threshold`` times the mean of their norms. 0 means
    apart from the start; None that the paths end together.
    """
    distances = distance_by_step(a, b)
    size = (_norms(a) + _norms(b)) / 2
    together = np.flatnonzero(distances <= threshold * size)
    first = int(together[-1]) + 1 if len(together) else 0
    return first if first < len(a) else None


def cross_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distances of every state of a to every state of b: (Na, Nb).

    States closer than rounding can tell (1e-7 of their norm) are at 0.
    """
    return distances_from(gram(a, b), _norms(a) ** 2, _norms(b) ** 2)


def dtw(cost: np.ndarray) -> tuple[float, np.ndarray]:
    """Dynamic time warping (Sakoe and Chiba 1978, symmetric form with equal weights, no window).

    cost: (Na, Nb) cost of pairing state i of one path with state j of the other.

    Returns (total, pairs): the least sum of costs over all sequences of pairs from (0, 0) to the last of both
    in which each index stays or grows by one, and such a sequence (K, 2). Ties are broken from the end
    backwards, towards the diagonal first and then towards a step of a alone.

    Raises `InvalidParams` for an empty or non-finite cost.
    """
    cost = np.asarray(cost, dtype=np.float64)
    if cost.ndim != 2 or cost.size == 0:
        raise InvalidParams("Time warping needs at least one state of each path.")
    if not np.isfinite(cost).all():
        raise InvalidParams("Time warping needs finite costs.")
    rows, columns = cost.shape
    best = np.full((rows + 1, columns + 1), np.inf)
    best[0, 0] = 0.0
    for i in range(rows):
        before = np.minimum(best[i, :-1], best[i, 1:]).tolist()
        here = np.inf
        line = []
        for value, above in zip(cost[i].tolist(), before, strict=True):
            here = value + min(above, here)
            line.append(here)
        best[i + 1, 1:] = line

    i, j = rows, columns
    pairs = [(i - 1, j - 1)]
    while (i, j) != (1, 1):
        # min takes the first of equals.
        i, j = min(((i - 1, j - 1), (i - 1, j), (i, j - 1)), key=lambda at: best[at])
        pairs.append((i - 1, j - 1))
    return float(best[-1, -1]), np.array(pairs[::-1])


def resample(points: np.ndarray, n: int) -> np.ndarray:
    """(N, ...) points at n equal fractions of the run, by linear interpolation: (n, ...) float64.

    The first and last points stay; n = 1 gives the first.
    """
    points = np.asarray(points)
    if len(points) == n:
        return points.astype(np.float64)
    at = np.linspace(0, len(points) - 1, n)
    low = np.minimum(at.astype(int), max(len(points) - 2, 0))
    high = np.minimum(low + 1, len(points) - 1)
    share = (at - low).reshape(-1, *[1] * (points.ndim - 1))
    return points[low] * (1 - share) + points[high] * share


def procrustes(a: np.ndarray, b: np.ndarray) -> Procrustes:
    """Turn and shift path b onto path a: the orthogonal Procrustes problem (Schönemann 1966), no scaling.

    a, b: (Na, ...) and (Nb, ...). Both are resampled to the longer of the two lengths, centred on their means,
    and b is turned by the orthogonal map R (rotations and reflections) that makes ||A - B R|| least. R acts on
    the span of both paths, in coordinates taken from their inner products, so D may be large.

    Raises `InvalidParams` for states of different shapes and for a path a that never moves.
    """
    a, b = np.asarray(a), np.asarray(b)
    check_shapes(a, b)
    n = max(len(a), len(b))
    both = np.concatenate([resample(a, n), resample(b, n)]).reshape(2 * n, -1)
    both[:n] -= both[:n].mean(0)
    both[n:] -= both[n:].mean(0)
    inner = gram(both, both)
    check_finite(inner)
    size = inner[:n, :n].trace()
    if size <= 0:
        raise InvalidParams("The first path never moves, so there is nothing to align the second one with.")
    values, vectors = np.linalg.eigh(inner)
    coords = vectors * np.sqrt(values.clip(0))
    target, moved = coords[:n], coords[n:]
    u, _, vt = np.linalg.svd(moved.T @ target)
    left = target - moved @ (u @ vt)
    return Procrustes(float((left**2).sum() / size), np.sqrt((left**2).sum(1)), np.linspace(0, len(a) - 1, n))


def _by_step(measure: Measure, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``measure`` of each pair of states, a state at a time: float64 copies of whole paths are large."""
    a, b = np.asarray(a), np.asarray(b)
    check_shapes(a, b)
    _check_lengths(a, b)
    return np.array([measure(a[k : k + 1], b[k : k + 1])[0] for k in range(len(a))])


def _check_lengths(a: np.ndarray, b: np.ndarray) -> None:
    if len(a) != len(b):
        raise InvalidParams(
            f"Paths of {len(a) - 1} and {len(b) - 1} steps cannot be compared step by step; align them by dtw or"
            " procrustes."
        )


def _norms(points: np.ndarray) -> np.ndarray:
    return np.array([path.norm(p[None])[0] for p in np.asarray(points)])
