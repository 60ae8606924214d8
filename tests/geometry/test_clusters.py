from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics import adjusted_rand_score, silhouette_samples

from diffatlas.errors import InvalidParams, NonFiniteLatents
from diffatlas.geometry.clusters import BASINS_METHOD, basins


def between(points: np.ndarray) -> np.ndarray:
    return squareform(pdist(points))


def clusters(k: int, n: int, dimensions: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """n points in k Gaussian clusters whose centres are at least 10 deviations apart, and twice as far as the
    points of a cluster in many dimensions."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(k, dimensions))
    centres *= max(10, 2 * np.sqrt(2 * dimensions)) / pdist(centres).min()
    labels = np.arange(n) % k
    return centres[labels] + rng.normal(size=(n, dimensions)), labels


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize(("n", "dimensions"), [(8, 2), (8, 1000), (13, 10), (24, 2), (40, 100)])
def test_separate_clusters_are_found(k: int, n: int, dimensions: int) -> None:
    right = 0
    for seed in range(3):
        points, labels = clusters(k, n, dimensions, seed)
        found = basins(between(points))
        right += found.count == k and adjusted_rand_score(found.labels, labels) == 1
    assert right >= 2


@pytest.mark.parametrize(
    ("dimensions", "unequal"),
    [(2, 1.0), (2, 0.1), (10, 1.0), (30, 0.7), (1000, 1.0), (1000, 0.8)],
)
def test_one_gaussian_is_one_basin(dimensions: int, unequal: float) -> None:
    """In at least 95 % of seeds; each axis is ``unequal`` times as long as the one before."""
    several = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n = (6, 9, 14, 40)[seed % 4]
        axes = unequal ** np.arange(dimensions)
        several += basins(between(rng.normal(size=(n, dimensions)) * axes)).count > 1
    assert several <= 1


def test_chance_is_kept_to_its_level() -> None:
    """p of one Gaussian along one axis, where the test is exact, is as small as the level in as many cases."""
    p = [basins(between(np.random.default_rng(s).normal(size=(7, 1))), seed=s).p for s in range(100)]
    assert 0.3 < np.mean(p) < 0.7
    assert np.mean(np.array(p) <= 0.1) <= 0.2


@pytest.mark.parametrize("n", [9, 20])
def test_a_neighbourhood_around_an_anchor_is_one_basin(n: int) -> None:
    """Radii that grow evenly: no Gaussian, and yet no valley anywhere."""
    for seed in range(4):
        points = np.random.default_rng(seed).normal(size=(n, 200)) * np.linspace(0, 1, n)[:, None]
        assert basins(between(points)).count == 1


@pytest.mark.parametrize("n", [8, 16, 40])
def test_an_even_path_is_one_basin(n: int) -> None:
    along = np.linspace(0, np.pi, n)
    assert basins(between(np.c_[np.cos(along), np.sin(along)])).count == 1


def test_one_stranger_is_a_basin_of_its_own() -> None:
    points = np.random.default_rng(0).normal(size=(9, 5))
    points[4] += 20
    found = basins(between(points))
    assert found.count == 2
    assert found.labels.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]


def test_copies_are_one_point() -> None:
    points = np.repeat(np.random.default_rng(1).normal(size=(3, 6)), 4, axis=0)
    found = basins(between(points))
    assert found.count == 3
    assert found.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert found.silhouette == pytest.approx(1)
    alike = basins(np.zeros((7, 7)))
    assert (alike.count, alike.silhouette) == (1, None)


def test_labels_are_numbered_by_first_appearance() -> None:
    points, labels = clusters(3, 15, 4, 2)
    order = np.random.default_rng(3).permutation(15)
    found = basins(between(points[order])).labels
    firsts = [found.tolist().index(label) for label in range(3)]
    assert firsts == sorted(firsts)
    assert adjusted_rand_score(found, labels[order]) == 1


def test_the_numbers_beside_the_count() -> None:
    points, labels = clusters(3, 18, 4, 1)
    distances = between(points)
    found = basins(distances)
    expected = silhouette_samples(points, labels).mean()
    assert found.silhouette == pytest.approx(expected)
    assert found.gap.shape == found.gap_error.shape == (8,)
    assert found.gap[0] == found.gap_error[0] == 0
    assert found.gap.argmax() == 2
    assert found.p <= 0.02
    assert found.method == BASINS_METHOD
    assert basins(distances, most=2).gap.shape == (2,)
    again = basins(distances)
    assert (again.gap == found.gap).all()


def test_the_gap_is_that_of_its_definition() -> None:
    """The mean over samples of one Gaussian, drawn here from another generator, of the log of the sum of squares."""
    from sklearn.cluster import AgglomerativeClustering

    points, _ = clusters(2, 12, 3, 0)
    centred = points - points.mean(0)

    def log_within(values: np.ndarray) -> float:
        labels = AgglomerativeClustering(2, linkage="ward").fit_predict(values)
        parts = [values[labels == label] for label in (0, 1)]
        squares = sum(((part - part.mean(0)) ** 2).sum() for part in parts)
        return np.log(squares / ((values - values.mean(0)) ** 2).sum())

    covariance = centred.T @ centred / 11
    rng = np.random.default_rng(5)
    samples = [log_within(rng.multivariate_normal(np.zeros(3), covariance, 12)) for _ in range(500)]
    found = basins(between(points))
    assert found.gap[1] == pytest.approx(np.mean(samples) - log_within(points), abs=0.15)
    assert found.gap_error[1] == pytest.approx(np.std(samples), rel=0.25)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_items_are_one_basin(n: int) -> None:
    found = basins(10.0 * (1 - np.eye(n)))
    assert (found.count, found.silhouette, found.p) == (1, None, None)
    assert found.labels.tolist() == [0] * n
    assert "Fewer than 4" in found.method


def test_items_all_equally_far_apart_are_one_basin() -> None:
    assert basins(1 - np.eye(10)).count == 1


def test_bad_matrices() -> None:
    with pytest.raises(InvalidParams):
        basins(np.ones((4, 5)))
    with pytest.raises(NonFiniteLatents):
        basins(np.full((5, 5), np.nan))
