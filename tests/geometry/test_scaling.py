from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from sklearn.decomposition import PCA

from diffatlas.errors import InvalidParams, NonFiniteLatents
from diffatlas.geometry.scaling import classical_mds, mds

RNG = np.random.default_rng(0)


def between(points: np.ndarray) -> np.ndarray:
    return squareform(pdist(points))


def test_classical_scaling_of_euclidean_distances_is_pca() -> None:
    points = RNG.normal(size=(11, 6)) * [5, 4, 3, 2, 1, 0.5]
    coords, ratio = classical_mds(between(points), 3)
    reference = PCA(3).fit(points)
    np.testing.assert_allclose(np.abs(coords), np.abs(reference.transform(points)), atol=1e-9)
    np.testing.assert_allclose(ratio, reference.explained_variance_ratio_, atol=1e-12)
    assert (coords[np.abs(coords).argmax(0), range(3)] > 0).all()


def test_points_in_a_plane_are_drawn_as_they_are() -> None:
    points = RNG.normal(size=(9, 2)) @ RNG.normal(size=(2, 40))
    found = mds(between(points))
    assert found.stress < 1e-6
    np.testing.assert_allclose(between(found.coords), between(points), rtol=1e-5)


def test_the_stress_is_kruskals_and_no_worse_than_that_of_scikit_learn() -> None:
    from sklearn.manifold import smacof

    for seed in range(4):
        distances = between(np.random.default_rng(seed).normal(size=(14, 8)))
        found = mds(distances)
        drawn = between(found.coords)
        upper = np.triu_indices(14, 1)
        squared = ((distances - drawn)[upper] ** 2).sum()
        assert found.stress == pytest.approx(np.sqrt(squared / (drawn[upper] ** 2).sum()))
        start, _ = classical_mds(distances)
        assert squared < ((distances - between(start))[upper] ** 2).sum()
        other = between(smacof(distances, init=start, n_init=1, max_iter=3000, eps=1e-9)[0])
        assert squared <= 1.001 * ((distances - other)[upper] ** 2).sum()


def test_the_stress_cannot_be_lowered_by_a_small_move() -> None:
    distances = between(RNG.normal(size=(10, 5)))
    found = mds(distances)

    def raw(coords: np.ndarray) -> float:
        return ((distances - between(coords)) ** 2).sum()

    for _ in range(30):
        move = RNG.normal(size=found.coords.shape)
        slope = (raw(found.coords + 1e-5 * move) - raw(found.coords - 1e-5 * move)) / 2e-5
        assert abs(slope) < 1e-2 * np.linalg.norm(move) * np.sqrt(raw(found.coords))


def test_the_map_is_centred_on_its_principal_axes_and_repeatable() -> None:
    distances = between(RNG.normal(size=(12, 5)))
    found = mds(distances)
    np.testing.assert_allclose(found.coords.mean(0), 0, atol=1e-9)
    spread = found.coords.T @ found.coords
    assert abs(spread[0, 1]) < 1e-6 * spread[0, 0]
    assert spread[0, 0] >= spread[1, 1]
    assert (mds(distances).coords == found.coords).all()


def test_distances_that_no_space_has_are_drawn_all_the_same() -> None:
    """Three items near a fourth and far from each other: the far ones get a second axis, and stress is said."""
    distances = np.full((4, 4), 10.0)
    distances[3] = distances[:, 3] = 1.0
    np.fill_diagonal(distances, 0)
    found = mds(distances)
    assert np.isfinite(found.coords).all()
    assert 0.1 < found.stress < 1
    # Classical scaling of a line has no second axis; the distances, bent by a square root, have one.
    line = np.abs(np.arange(6.0)[:, None] - np.arange(6))
    assert mds(line).stress < 1e-9
    assert np.ptp(mds(np.sqrt(line)).coords, axis=0).min() > 0.1


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_items(n: int) -> None:
    points = RNG.normal(size=(n, 4))
    distances = between(points) if n > 1 else np.zeros((n, n))
    found = mds(distances)
    assert found.coords.shape == (n, 2)
    assert found.stress == pytest.approx(0, abs=1e-6)
    coords, ratio = classical_mds(distances)
    assert (coords.shape, ratio.shape) == ((n, 2), (2,))


def test_items_that_are_all_the_same() -> None:
    found = mds(np.zeros((5, 5)))
    assert not found.coords.any()
    assert found.stress == 0
    twins = between(np.repeat(RNG.normal(size=(4, 6)), 2, axis=0))
    assert between(mds(twins).coords)[0, 1] == pytest.approx(0, abs=1e-6)


def test_bad_matrices() -> None:
    with pytest.raises(InvalidParams):
        mds(np.ones((3, 4)))
    with pytest.raises(NonFiniteLatents):
        classical_mds(np.full((3, 3), np.nan))
