from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from diffatlas.errors import InvalidParams
from diffatlas.geometry.agreement import (
    cluster_agreement,
    map_agreement,
    matrix_agreement,
    rank_correlation,
)

RNG = np.random.default_rng(0)


def turned(points: np.ndarray) -> np.ndarray:
    """The same form: turned, mirrored, scaled and shifted."""
    k = points.shape[1]
    turn, _ = np.linalg.qr(np.random.default_rng(9).normal(size=(k, k)))
    turn[:, 0] *= -1
    return 3.7 * points @ turn + 5


def test_rank_correlation_without_ties_is_the_closed_form() -> None:
    a, b = RNG.permutation(12), RNG.permutation(12)
    expected = 1 - 6 * ((a - b) ** 2).sum() / (12 * (12**2 - 1))
    rho, n = rank_correlation(np.exp(a), b**3)
    assert (rho, n) == (pytest.approx(expected), 12)


def test_rank_correlation_shares_ranks_and_passes_over_what_is_missing() -> None:
    a = [1, 2, 2, None, 4, 9, float("nan"), 3]
    b = [2, 2, 5, 1, float("inf"), 7, 3, 3]
    ranks_a, ranks_b = [1, 2.5, 2.5, 5, 4], [1.5, 1.5, 4, 5, 3]
    rho, n = rank_correlation(a, b)
    assert n == 5
    assert rho == pytest.approx(np.corrcoef(ranks_a, ranks_b)[0, 1])


def test_rank_correlation_needs_points_and_variety() -> None:
    assert rank_correlation([1, 2], [1, 2]) == (None, 2)
    assert rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]) == (None, 4)
    assert rank_correlation([], []) == (None, 0)
    assert rank_correlation([1, 2, 3], [1, 2, 3]) == (pytest.approx(1), 3)
    with pytest.raises(InvalidParams):
        rank_correlation([1, 2, 3], [1, 2])


@pytest.mark.parametrize("k", [2, 3])
def test_maps_of_one_form_agree(k: int) -> None:
    points = RNG.normal(size=(9, k))
    assert map_agreement(points, turned(points)) == pytest.approx(0, abs=1e-12)
    noisy = turned(points) + RNG.normal(scale=0.5, size=(9, k))
    assert 0 < map_agreement(points, noisy) < map_agreement(points, RNG.normal(size=(9, k))) <= 1


def test_map_agreement_against_a_search_over_all_turns() -> None:
    """In the plane: the least sum of squares over angles and mirrors, with the best scale for each."""
    a, b = RNG.normal(size=(7, 2)), RNG.normal(size=(7, 2))
    unit_a, unit_b = ((m - m.mean(0)) / np.linalg.norm(m - m.mean(0)) for m in (a, b))
    best = 1.0
    for angle in np.linspace(0, 2 * np.pi, 20_000):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        for mirror in (1, -1):
            moved = unit_b * (1, mirror) @ turn
            best = min(best, 1 - max((unit_a * moved).sum(), 0) ** 2)
    assert map_agreement(a, b) == pytest.approx(best, abs=1e-6)


def test_a_map_with_fewer_axes_is_completed() -> None:
    flat = RNG.normal(size=(6, 2))
    assert map_agreement(flat, turned(np.c_[flat, np.zeros(6)])) == pytest.approx(0, abs=1e-12)


def test_maps_that_cannot_be_compared() -> None:
    points = RNG.normal(size=(5, 2))
    assert map_agreement(points, np.ones((5, 2))) is None
    assert map_agreement(points[:2], points[:2]) is None
    assert map_agreement(points, np.where(points > 1e9, points, np.nan)) is None
    with pytest.raises(InvalidParams):
        map_agreement(points, points[:4])


def test_cluster_agreement_counts_pairs() -> None:
    """Against the index worked out from every pair of items (Hubert and Arabie 1985)."""
    a, b = RNG.integers(0, 3, 20), RNG.integers(0, 4, 20)
    pairs = list(combinations(range(20), 2))
    in_a = np.array([a[i] == a[j] for i, j in pairs])
    in_b = np.array([b[i] == b[j] for i, j in pairs])
    chance = in_a.sum() * in_b.sum() / len(pairs)
    expected = ((in_a & in_b).sum() - chance) / ((in_a.sum() + in_b.sum()) / 2 - chance)
    assert cluster_agreement(a, b) == pytest.approx(expected)
    assert cluster_agreement([0, 0, 1, 1], [7, 7, 2, 2]) == 1
    assert cluster_agreement([0, 0, 0], [1, 1, 1]) == 1
    assert cluster_agreement([0], [0]) is None
    with pytest.raises(InvalidParams):
        cluster_agreement([0, 1], [0, 1, 1])


def test_matrix_agreement_of_few_items_tries_all_orders() -> None:
    a, b = (squareform(pdist(RNG.normal(size=(5, 3)))) for _ in range(2))
    upper = np.triu_indices(5, 1)
    given = spearmanr(a[upper], b[upper]).statistic
    every = [spearmanr(a[upper], b[np.ix_(o, o)][upper]).statistic for o in permutations(range(5))]
    rho, p, n = matrix_agreement(a, b)
    assert (rho, n) == (pytest.approx(given), 5)
    assert p == pytest.approx(np.mean(np.array(every) >= given - 1e-12))
    assert 1 / 120 <= p <= 1


def test_matrix_agreement_of_the_same_and_of_unrelated_maps() -> None:
    points = RNG.normal(size=(12, 3))
    a = squareform(pdist(points))
    rho, p, n = matrix_agreement(a, a**2)
    assert (rho, p, n) == (pytest.approx(1), 0.001, 12)
    assert matrix_agreement(a, a**2) == matrix_agreement(a, a**2, seed=0)
    chance = [matrix_agreement(a, squareform(pdist(RNG.normal(size=(12, 3)))), 99)[1] for _ in range(60)]
    # p of unrelated maps is uniform: its mean is 1 / 2 within 4 standard errors.
    assert np.mean(chance) == pytest.approx(0.5, abs=4 * 0.29 / np.sqrt(60))


def test_matrix_agreement_leaves_out_what_is_missing() -> None:
    a = squareform(pdist(RNG.normal(size=(8, 3))))
    b = squareform(pdist(RNG.normal(size=(8, 3))))
    holed = b.copy()
    holed[2] = holed[:, 2] = np.nan
    kept = [0, 1, 3, 4, 5, 6, 7]
    assert matrix_agreement(a, holed) == matrix_agreement(a[np.ix_(kept, kept)], b[np.ix_(kept, kept)])
    assert matrix_agreement(a, np.ones((8, 8))) == (None, None, 8)
    assert matrix_agreement(a[:2, :2], b[:2, :2]) == (None, None, 2)
    with pytest.raises(InvalidParams):
        matrix_agreement(a, b[:4, :4])
