from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from diffatlas.errors import InvalidParams
from diffatlas.geometry.embedding import _start, umap


def clusters(n: int = 12) -> np.ndarray:
    """Two groups of n points, far apart."""
    points = np.random.default_rng(0).normal(size=(2 * n, 10))
    points[n:] += 30
    return points


@pytest.mark.filterwarnings("ignore:using precomputed metric")
def test_umap_is_seeded_and_keeps_neighbours() -> None:
    """Importing umap takes seconds, so one test looks at everything."""
    distances = cdist(clusters(), clusters())
    first = umap(distances, neighbours=5)
    np.testing.assert_array_equal(first, umap(distances, neighbours=5))
    assert first.shape == (24, 3)
    assert first.dtype == np.float64
    assert np.isfinite(first).all()
    shown = cdist(first, first)
    np.fill_diagonal(shown, np.inf)
    assert ((shown.argmin(1) < 12) == (np.arange(24) < 12)).all()

    from umap.umap_ import compute_membership_strengths, smooth_knn_dist
    from umap.utils import fast_knn_indices

    for compiled in (fast_knn_indices, smooth_knn_dist, compute_membership_strengths):
        assert compiled.stats.cache_path, "another process would compile it anew"


def test_the_start_is_that_of_classical_scaling() -> None:
    points = clusters()[:, :3]
    start = _start(cdist(points, points), 3, 42)
    np.testing.assert_allclose(cdist(start, start), cdist(points, points), atol=1e-6)
    np.testing.assert_array_equal(start, _start(cdist(points, points), 3, 42))


@pytest.mark.parametrize("points", [np.arange(7.0)[:, None], np.zeros((7, 2))])
def test_the_start_has_extent_on_every_axis(points: np.ndarray) -> None:
    """UMAP divides by the extent of each axis."""
    assert (np.ptp(_start(cdist(points, points), 3, 42), axis=0) > 0).all()


def test_refusals() -> None:
    with pytest.raises(ValueError, match="at least 5 states; there are 4"):
        umap(np.zeros((4, 4)))
    with pytest.raises(InvalidParams, match="square"):
        umap(np.zeros((6, 5)))
