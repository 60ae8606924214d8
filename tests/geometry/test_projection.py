import numpy as np
import pytest
from sklearn.decomposition import PCA

from diffatlas.geometry.projection import LiveFrame, align, pca


def walk(n: int = 20, d: int = 200, seed: int = 0) -> np.ndarray:
    """A path like a denoising one: a smooth drift from noise to a target, with a little jitter."""
    rng = np.random.default_rng(seed)
    noise, target, bend = rng.normal(size=(3, d))
    s = np.linspace(1, 0, n)[:, None]
    return s * noise + (1 - s) * 0.8 * target + s * (1 - s) * bend + 0.02 * rng.normal(size=(n, d))


def test_pca_agrees_with_scikit_learn():
    points = walk()
    ours, theirs = pca(points), PCA(n_components=3).fit(points)
    np.testing.assert_allclose(ours.explained_variance_ratio, theirs.explained_variance_ratio_, rtol=1e-9)
    np.testing.assert_allclose(np.abs(ours.coords), np.abs(theirs.transform(points)), atol=1e-9)


def test_pca_is_not_whitened():
    points = np.diag([12.0, 6.0, 1.5]) @ np.random.default_rng(1).normal(size=(3, 500))
    spread = pca(points.T).coords.std(0)
    np.testing.assert_allclose(spread / spread[2], [8, 4, 1], rtol=0.15)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_points_give_zeros_not_nan(n):
    result = pca(walk(n))
    assert result.coords.shape == (n, 3)
    assert np.isfinite(result.coords).all()
    assert np.isfinite(result.explained_variance_ratio).all()
    assert (result.coords[:, n:] == 0).all()


def test_identical_points_have_no_variance():
    result = pca(np.ones((5, 7)))
    np.testing.assert_allclose(result.coords, 0, atol=1e-6)
    assert np.isfinite(result.explained_variance_ratio).all()


def test_align_undoes_a_rigid_motion():
    rng = np.random.default_rng(3)
    target = rng.normal(size=(10, 3))
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    np.testing.assert_allclose(align(target @ q + 5, target, 10), target, atol=1e-9)


def test_live_frame_shows_pca_distances_and_does_not_jump():
    points = walk(30, 400)
    frame, before, jumps, naive_jumps, naive = LiveFrame(), None, [], [], None
    for i, point in enumerate(points):
        coords = frame.update(point)
        exact = pca(points[: i + 1]).coords
        np.testing.assert_allclose(
            np.linalg.norm(coords[:, None] - coords[None], axis=-1),
            np.linalg.norm(exact[:, None] - exact[None], axis=-1),
            atol=1e-6,
        )
        if i > 3:
            step = np.linalg.norm(points[i] - points[i - 1])
            jumps.append(np.linalg.norm(coords[:-1] - before, axis=1).max() / step)
            naive_jumps.append(np.linalg.norm(exact[:-1] - naive, axis=1).max() / step)
        before, naive = coords, exact
    assert max(jumps) < 0.5
    assert max(naive_jumps) > 1


def test_live_frame_ends_in_the_true_pca():
    points = walk(30, 400)
    frame = LiveFrame()
    for point in points:
        live = frame.update(point)
    end, exact = frame.finish(), PCA(n_components=3).fit(points)
    np.testing.assert_allclose(np.abs(end.coords), np.abs(exact.transform(points)), atol=1e-8)
    np.testing.assert_allclose(end.explained_variance_ratio, exact.explained_variance_ratio_, rtol=1e-9)
    flipped = end.coords * [-1, 1, 1]
    shown = live - live.mean(0)
    turn = np.linalg.lstsq(end.coords, shown, rcond=None)[0]
    assert turn[0, np.abs(turn[0]).argmax()] > 0
    assert not np.allclose(flipped, end.coords)


def test_live_frame_refuses_a_state_of_another_size():
    frame = LiveFrame()
    frame.update(np.zeros(4))
    with pytest.raises(ValueError, match="4"):
        frame.update(np.zeros(5))


@pytest.mark.parametrize("every", [1, 7, 200])
def test_live_frame_of_more_states_than_numbers_in_one_agrees_with_scikit_learn(every):
    points = walk(90, 40)
    frame = LiveFrame()
    for i, point in enumerate(points):
        frame.add(point)
        if i % every == every - 1:
            assert frame.view().shape == (i + 1, 3)
    ours, theirs = frame.finish(), PCA(n_components=3).fit(points)
    np.testing.assert_allclose(ours.explained_variance_ratio, theirs.explained_variance_ratio_, rtol=1e-9)
    np.testing.assert_allclose(np.abs(ours.coords), np.abs(theirs.transform(points)), atol=1e-9)
