from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from diffatlas.errors import InvalidParams, NonFiniteLatents
from diffatlas.geometry import common_basis
from diffatlas.geometry.common_basis import CommonBasis, common_pca, distances, gram
from diffatlas.geometry.projection import dimensions_for, pca


def walk(seed: int, states: int, shape: tuple[int, ...] = (4, 8, 8), dtype=np.float32) -> np.ndarray:
    """A path like a denoising one: from noise of spread 14 to a target of spread 1, bent, with some jitter."""
    rng = np.random.default_rng(seed)
    noise, target, bend = rng.normal(size=(3, *shape))
    s = np.linspace(1, 0, states).reshape(-1, *[1] * len(shape))
    path = 14 * s * noise + (1 - s) * target + 9 * s * (1 - s) * bend
    return (path + 0.05 * rng.normal(size=path.shape)).astype(dtype)


def grams(paths: list[np.ndarray]) -> list[list[np.ndarray]]:
    return [[gram(a, b) for b in paths] for a in paths]


def rows(path: np.ndarray) -> np.ndarray:
    return path.reshape(len(path), -1).astype(np.float64)


def check(result: CommonBasis, paths: list[np.ndarray], fit: int | None) -> None:
    """Compare with scikit-learn, fitted on the same rows as they are, to 1e-5 up to one sign an axis."""
    fitted = np.concatenate([rows(p) for p in paths]) if fit is None else rows(paths[fit])
    model = PCA(n_components=3, svd_solver="full").fit(fitted)
    theirs = [model.transform(rows(p)) for p in paths]
    together, ours = np.concatenate(theirs), np.concatenate(result.coords)
    signs = np.sign((together * ours).sum(0))
    np.testing.assert_allclose(ours * signs, together, atol=1e-5)
    np.testing.assert_allclose(result.explained_variance_ratio, model.explained_variance_ratio_, atol=1e-5)
    assert [len(c) for c in result.coords] == [len(p) for p in paths]
    for path, coords, captured in zip(paths, theirs, result.captured, strict=True):
        assert captured == pytest.approx(coords.var(0).sum() / rows(path).var(0).sum(), abs=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("fit", [None, 0, 1, 2])
def test_agrees_with_scikit_learn(dtype: type, fit: int | None) -> None:
    paths = [walk(seed, n, dtype=dtype) for seed, n in enumerate([21, 11, 31])]
    check(common_pca(grams(paths), fit=fit), paths, fit)


@pytest.mark.parametrize("fit", [None, 1])
def test_agrees_with_scikit_learn_at_the_size_of_sdxl(fit: int | None) -> None:
    paths = [walk(seed, n, (4, 128, 128)) for seed, n in enumerate([13, 21])]
    check(common_pca(grams(paths), fit=fit), paths, fit)


@pytest.mark.parametrize("fit", [None, 2])
def test_agrees_with_scikit_learn_where_only_the_leading_vectors_are_sought(fit: int | None) -> None:
    paths = [walk(seed, 200) for seed in range(4)]
    assert common_basis.FULL_EIGH < 200
    check(common_pca(grams(paths), fit=fit), paths, fit)


def test_one_path_gives_its_own_pca_with_the_same_signs() -> None:
    path = walk(5, 20)
    alone, fitted = pca(rows(path)), common_pca(grams([path, walk(6, 9)]), fit=0)
    np.testing.assert_allclose(common_pca(grams([path])).coords[0], alone.coords, atol=1e-8)
    np.testing.assert_allclose(fitted.coords[0], alone.coords, atol=1e-8)


@pytest.mark.parametrize("states", [20, 90])
def test_repeated_calls_are_bit_equal(states: int) -> None:
    blocks = grams([walk(seed, states) for seed in range(3)])
    first, second = common_pca(blocks), common_pca(blocks)
    for a, b in zip(first.coords, second.coords, strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_the_upper_blocks_are_read() -> None:
    blocks = grams([walk(seed, 9) for seed in range(3)])
    half = [[block if i <= j else None for j, block in enumerate(row)] for i, row in enumerate(blocks)]
    for fit in (None, 2):
        for a, b in zip(common_pca(blocks, fit=fit).coords, common_pca(half, fit=fit).coords, strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(distances(blocks), distances(half))


def test_a_shared_shift_and_a_rotation_change_nothing() -> None:
    paths = [walk(seed, 12, (30,), np.float64) for seed in range(2)]
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(30, 30)))
    moved = [p @ rotation + 40 for p in paths]
    for a, b in zip(common_pca(grams(paths)).coords, common_pca(grams(moved)).coords, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


@pytest.mark.parametrize("states", [5, 200])
def test_axes_that_the_data_do_not_fill_are_zero(states: int) -> None:
    """Paths on one line have one axis; what rounding leaves on the others is not drawn."""
    line = np.random.default_rng(0).normal(size=(1, 50))
    paths = [np.linspace(0, end, states)[:, None] * line for end in (1.0, 2.0)]
    for fit in (None, 0):
        result = common_pca(grams(paths), fit=fit)
        assert result.explained_variance_ratio == pytest.approx([1, 0, 0])
        assert all((c[:, 1:] == 0).all() for c in result.coords)
        assert np.ptp(result.coords[1][:, 0]) == pytest.approx(2 * np.linalg.norm(line))


def test_paths_that_do_not_move() -> None:
    still = [np.full((4, 9), 3.3), np.full((1, 9), 3.3)]
    result = common_pca(grams(still))
    assert result.captured == [1, 1]
    assert all((c == 0).all() for c in result.coords)
    assert (result.explained_variance_ratio == 0).all()
    # Fitted on a path that does not move, the others have no axis to be shown on.
    assert (common_pca(grams([still[0], walk(0, 5, (9,))]), fit=0).coords[1] == 0).all()


def test_a_path_off_the_fitted_axes_is_captured_in_part() -> None:
    """Along x the first path moves; the second moves along x and y as much: half of it is seen."""
    s = np.linspace(-1, 1, 9)[:, None]
    paths = [s * [1.0, 0, 0], s * [1.0, 1.0, 0]]
    assert common_pca(grams(paths), dimensions=1, fit=0).captured == pytest.approx([1, 0.5])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gram_sums_in_float64(dtype: type) -> None:
    a, b = (walk(seed, n, (4, 40, 40), dtype) for seed, n in ((0, 5), (1, 3)))
    expected = [[float(x @ y) for y in rows(b)] for x in rows(a)]
    np.testing.assert_allclose(gram(a, b), expected, rtol=1e-12, atol=1e-8)
    assert gram(a, b).dtype == np.float64
    np.testing.assert_array_equal(gram(a, a), gram(a, a).T)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distances_agree_with_scipy(dtype: type) -> None:
    paths = [walk(0, 21, dtype=dtype), walk(1, 11, dtype=dtype)]
    every = np.concatenate([rows(p) for p in paths])
    np.testing.assert_allclose(distances(grams(paths)), cdist(every, every), rtol=1e-9)


def test_equal_states_are_at_distance_zero() -> None:
    path = walk(0, 6, (4, 64, 64))
    found = distances(grams([path, path.copy()]))
    assert (found[np.arange(6), np.arange(6) + 6] == 0).all()
    np.testing.assert_array_equal(found, found.T)


def test_refusals() -> None:
    with pytest.raises(InvalidParams, match="4 × 8 × 8 and the other 4 × 4 × 4"):
        gram(walk(0, 3), walk(0, 3, (4, 4, 4)))
    blocks = grams([walk(0, 3)])
    with pytest.raises(InvalidParams, match="no paths"):
        common_pca([])
    for fit in (1, -1):
        with pytest.raises(InvalidParams, match="there are 1"):
            common_pca(blocks, fit=fit)
    broken = walk(0, 4)
    broken[2, 0, 0, 0] = np.nan
    for fit in (None, 0):
        with pytest.raises(NonFiniteLatents):
            common_pca(grams([walk(0, 3), broken]), fit=fit)
    with pytest.raises(NonFiniteLatents):
        distances(grams([broken]))


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.999, 1.0])
def test_dimensions_for_agrees_with_scikit_learn(share: float) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(40, 25)) * np.geomspace(10, 0.1, 25) + 100
    held = PCA().fit(points).explained_variance_ratio_.cumsum()
    assert dimensions_for(points.reshape(40, 5, 5), share) == np.flatnonzero(held >= share - 1e-12)[0] + 1


def test_dimensions_for_known_cases() -> None:
    # Variances 90, 6 and 4 parts of 100 along three axes.
    cross = np.concatenate([np.diag(np.sqrt([90, 6, 4])), -np.diag(np.sqrt([90, 6, 4]))])
    assert [dimensions_for(cross, s) for s in (0.9, 0.9001, 0.96, 0.97)] == [1, 2, 2, 3]
    assert dimensions_for(np.full((7, 4, 4), 0.1, np.float32)) == 0
    assert dimensions_for(np.ones((1, 5))) == 0
    for share in (0, 1.1):
        with pytest.raises(InvalidParams):
            dimensions_for(cross, share)
