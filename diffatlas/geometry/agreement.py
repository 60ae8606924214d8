"""How far two ways of running agree: curves, maps, groupings and distances of the same items, in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations as orders

import numpy as np

from diffatlas.errors import InvalidParams
from diffatlas.geometry.projection import flatten

#: A rank correlation of fewer points, or a comparison of maps of fewer, says nothing.
FEWEST = 3
#: Up to this many items all orders are tried (720); beyond, a seeded sample of them.
ALL_ORDERS = 6


def rank_correlation(a: Sequence[float | None], b: Sequence[float | None]) -> tuple[float | None, int]:
    """Spearman's rank correlation of two series of one length, ties sharing their mean rank, and how many points it
    rests on: (rho in [-1, 1], n).

    Points that are missing (None, NaN, infinite) in either series are left out. rho is None for fewer than
    `FEWEST` points, or where a series has one value throughout.
    """
    a, b = np.array(a, dtype=float), np.array(b, dtype=float)
    if a.shape != b.shape or a.ndim != 1:
        raise InvalidParams(f"Series of one length can be compared, not {a.shape} and {b.shape}.")
    known = np.isfinite(a) & np.isfinite(b)
    return _spearman(a[known], b[known]), int(known.sum())


def map_agreement(a: np.ndarray, b: np.ndarray) -> float | None:
    """Procrustes disparity of two maps of the same items, (n, k) and (n, l): 0 (the same form) to 1 (none shared).

    Each map is shifted to its mean, scaled to a sum of squares of 1, and the second is turned, mirrored and scaled
    onto the first; the disparity is the sum of squares that is left (Gower 1975; scipy.spatial.procrustes). A map
    of fewer axes is completed with zeros. None for fewer than `FEWEST` items, or where all items of a map are in
    one place.
    """
    laid = superpose(a, b)
    return None if laid is None else laid[2]


def superpose(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Return two maps of the same items as `map_agreement` lays them over each other, and its disparity.

    a, b: (n, k) and (n, l). Both come back (n, max(k, l)); the disparity is the sum of the squares of their difference.
    None where `map_agreement` is None.
    """
    from scipy.spatial import procrustes

    a, b = flatten(a), flatten(b)
    if len(a) != len(b):
        raise InvalidParams(f"Maps of the same items can be compared, not of {len(a)} and {len(b)}.")
    if len(a) < FEWEST or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    if not _spread(a) or not _spread(b):
        return None
    axes = max(a.shape[1], b.shape[1])
    a, b = (np.pad(m, ((0, 0), (0, axes - m.shape[1]))) for m in (a, b))
    a, b, disparity = procrustes(a, b)
    return a, b, float(min(max(disparity, 0.0), 1.0))


def cluster_agreement(labels_a: Sequence[int], labels_b: Sequence[int]) -> float | None:
    """Adjusted Rand index of two groupings of the same items (Hubert and Arabie 1985): 1 for the same groups, about 0
    for groups drawn by chance, below 0 for fewer shared pairs than by chance.

    Two groupings into one group each are the same, so 1; say so beside the number. None for fewer than 2 items.
    """
    from sklearn.metrics import adjusted_rand_score

    if len(labels_a) != len(labels_b):
        raise InvalidParams(
            f"Groupings of the same items can be compared, not of {len(labels_a)} and {len(labels_b)}."
        )
    return float(adjusted_rand_score(labels_a, labels_b)) if len(labels_a) > 1 else None


def matrix_agreement(
    a: np.ndarray, b: np.ndarray, permutations: int = 999, seed: int = 0
) -> tuple[float | None, float | None, int]:
    """Spearman's rank correlation of two (n, n) distance matrices over their pairs, and how likely as large a one is
    by chance: (rho, p, n), the Mantel test (Mantel 1967).

    The pairs of n items are not independent, so the items of b are put in other orders: p is the share of the orders
    that give at least the same rho. Up to `ALL_ORDERS` items all orders count (so p is at least 1 / n!); beyond,
    ``permutations`` seeded ones and the given one. An item that has a value in one of the matrices that is not
    finite is left out; n is the number of items that remain. None for fewer than `FEWEST` items, or where all
    distances of a matrix are equal.
    """
    from scipy.stats import rankdata

    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape != b.shape or a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise InvalidParams(f"Square matrices of one size can be compared, not {a.shape} and {b.shape}.")
    known = _known(a, b)
    a, b = a[np.ix_(known, known)], b[np.ix_(known, known)]
    n = len(a)
    upper = np.triu_indices(n, 1)
    rho = _spearman(a[upper], b[upper])
    if rho is None:
        return None, None, n

    # Ranks stay the same in every order, so a sum of products tells which order correlates more.
    first = rankdata(a[upper])
    ranks = np.zeros((n, n))
    ranks[upper] = rankdata(b[upper])
    ranks += ranks.T
    if n <= ALL_ORDERS:
        tried = [np.array(order) for order in orders(range(n))]
    else:
        rng = np.random.default_rng(seed)
        tried = [np.arange(n), *(rng.permutation(n) for _ in range(permutations))]
    products = np.array([first @ ranks[np.ix_(order, order)][upper] for order in tried])
    given = first @ ranks[upper]
    return rho, float((products >= given * (1 - 1e-12)).mean()), n


def _spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    from scipy.stats import spearmanr

    if len(a) < FEWEST or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)


def _spread(points: np.ndarray) -> bool:
    return bool(np.ptp(points, axis=0).max(initial=0) > 1e-12 * np.abs(points).max(initial=0))


def _known(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Indices of the items that remain when those with most missing values are left out, one by one."""
    missing = ~(np.isfinite(a) & np.isfinite(b))
    missing |= missing.T
    kept = np.arange(len(a))
    while missing[np.ix_(kept, kept)].any():
        kept = np.delete(kept, missing[np.ix_(kept, kept)].sum(0).argmax())
    return kept
