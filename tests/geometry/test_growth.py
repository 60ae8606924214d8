from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from diffatlas.errors import InvalidParams
from diffatlas.geometry.growth import growth, jumps

RNG = np.random.default_rng(0)


def between(points: np.ndarray) -> np.ndarray:
    return squareform(pdist(points))


def star(n: int, seed: int, dimensions: int = 200) -> np.ndarray:
    """A neighbourhood: an anchor and neighbours at evenly growing radii."""
    return np.random.default_rng(seed).normal(size=(n, dimensions)) * np.linspace(0, 1, n)[:, None]


def test_pairs_are_those_above_the_diagonal() -> None:
    near, far = between(RNG.normal(size=(6, 3))), between(RNG.normal(size=(6, 3)))
    found = growth(near, far)
    pairs = list(combinations(range(6), 2))
    assert found.x.tolist() == [near[i, j] for i, j in pairs]
    assert found.y.tolist() == [far[i, j] for i, j in pairs]


@pytest.mark.parametrize("seed", range(5))
def test_a_linear_map_has_its_own_slope(seed: int) -> None:
    near = between(star(9, seed))
    found = growth(near, 0.37 * near)
    assert found.slope == pytest.approx(0.37)
    assert found.slope_low == pytest.approx(0.37)
    assert found.slope_high == pytest.approx(0.37)
    np.testing.assert_allclose(found.curve_y, 0.37 * found.curve_x)


def test_the_slope_is_that_of_the_weighted_parabola_through_the_origin() -> None:
    """Against numpy's least squares on rows scaled by the root of the weight."""
    near, far = between(star(8, 1)), between(RNG.normal(size=(8, 4)))
    x, y = (m[np.triu_indices(8, 1)] for m in (near, far))
    root = np.exp(-(x**2) / (4 * np.quantile(x, 0.25) ** 2))
    expected = np.linalg.lstsq(np.stack([root * x, root * x**2], 1), root * y, rcond=None)[0][0]
    assert growth(near, far).slope == pytest.approx(expected)
    assert growth(x, y).slope == pytest.approx(expected)


def test_the_slope_at_0_is_not_that_of_the_whole_where_the_curve_levels_off() -> None:
    """1 - exp(-x / t) has slope 1 / t at 0; a line through the origin over all pairs is much flatter."""
    near = between(star(17, 2))
    t = near.max() / 2
    found = growth(near, 1 - np.exp(-near / t))
    plain = (found.x @ found.y) / (found.x @ found.x)
    assert plain < 0.6 / t
    assert found.slope == pytest.approx(1 / t, rel=0.12)
    assert (np.diff(found.curve_y) > 0).all()


def test_a_curve_that_starts_flat_has_no_slope_at_0() -> None:
    near = between(star(9, 2))
    assert growth(near, near**2).slope == pytest.approx(0, abs=1e-9)


def test_the_interval_holds_the_true_slope_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        near = between(star(14, seed))
        # Noise of the items, so that pairs with a common item err together.
        of_item = rng.normal(scale=0.1, size=14)
        far = 2 * near * (1 + (of_item[:, None] + of_item) / 2)
        found = growth(near, far, seed=seed)
        held += found.slope_low <= 2 <= found.slope_high
    assert 80 <= held <= 100


def test_the_interval_is_repeatable() -> None:
    near, far = between(star(8, 1)), between(RNG.normal(size=(8, 4)))
    a, b = growth(near, far), growth(near, far)
    assert (a.slope_low, a.slope_high) == (b.slope_low, b.slope_high)
    assert a.slope_low < a.slope < a.slope_high


def test_no_slope_where_no_pair_is_close() -> None:
    """Independent draws in many dimensions are all about equally far apart."""
    draws = between(RNG.normal(size=(9, 1000)))
    found = growth(draws, draws)
    assert found.slope is found.slope_low is found.slope_high is None
    assert len(found.x) == 36
    assert len(found.curve_x) == 8
    assert growth(np.zeros((4, 4)), np.zeros((4, 4))).slope is None
    for n in (0, 1, 2):
        assert growth(np.ones((n, n)), np.ones((n, n))).slope is None


def test_curve_points_are_medians_of_equal_groups() -> None:
    x = RNG.permutation(24).astype(float) + 1
    found = growth(x, x**2, bins=4)
    groups = np.sort(x).reshape(4, 6)
    assert found.curve_x.tolist() == np.median(groups, axis=1).tolist()
    assert found.curve_y.tolist() == np.median(groups**2, axis=1).tolist()
    assert len(growth(x[:7], x[:7]).curve_x) == 2


def test_missing_distances_count_for_nothing() -> None:
    near = between(star(9, 3))
    far = 0.5 * near
    far[4] = far[:, 4] = np.nan
    found = growth(near, far)
    assert found.slope == pytest.approx(0.5)
    assert np.isfinite([found.slope_low, found.slope_high]).all()
    assert np.isfinite(found.curve_y).all()
    assert len(found.y) == 36


def test_shapes_must_agree() -> None:
    for near, far in (((3, 3), (3,)), ((3, 4), (3, 4)), ((3,), (4,)), ((2, 2, 2), (2, 2, 2))):
        with pytest.raises(InvalidParams):
            growth(np.ones(near), np.ones(far))
    with pytest.raises(InvalidParams):
        growth(np.ones(3), np.ones(3), bins=0)
    with pytest.raises(InvalidParams):
        jumps(np.ones((3, 3)), np.ones((4, 4)))
    with pytest.raises(InvalidParams):
        jumps(np.ones((3, 3)), np.ones((3, 3)), labels=["a"])


def smooth_images(starts: np.ndarray, seed: int) -> np.ndarray:
    """Pictures that change smoothly with the start, at speeds that differ from place to place."""
    rng = np.random.default_rng(seed)
    to = rng.normal(size=(starts.shape[1], 20)) / np.sqrt(starts.shape[1])
    return np.tanh(starts @ to)


def test_no_jump_on_a_smooth_map() -> None:
    found = 0
    for seed in range(60):
        starts = star(9, seed)
        found += bool(jumps(between(starts), between(smooth_images(starts, seed + 1000))))
    assert found <= 3


def test_a_jump_between_close_starts_is_found() -> None:
    """One item of a smooth neighbourhood shows something else: every close pair with it jumps, and no other."""
    right = 0
    for seed in range(20):
        starts = star(12, seed)
        pictures = smooth_images(starts, seed + 1000)
        pictures[2] += 8
        found = jumps(between(starts), between(pictures))
        right += bool(found) and all(2 in (j.a, j.b) for j in found)
    assert right >= 19


def test_a_jump_says_where_and_how_much() -> None:
    near = between(star(10, 5))
    far = near.copy()
    far[1, 2] = far[2, 1] = 40 * near[1, 2]
    (found,) = jumps(near, far)
    assert (found.a, found.b, found.near, found.far) == (1, 2, near[1, 2], far[1, 2])
    assert found.ratio == pytest.approx(40)
    assert found.named is None
    # A far pair that is not close is no jump, however far.
    distant = near.copy()
    distant[8, 9] = distant[9, 8] = 1000 * near[8, 9]
    assert jumps(near, distant) == []


def test_names_make_a_jump_a_fact() -> None:
    near = between(star(10, 5))
    names = ["red circle"] * 10
    assert jumps(near, near, names) == []
    names[2] = "blue square"
    found = jumps(near, near, names)
    assert {2} == {j.a for j in found} & {j.b for j in found} | {2}
    assert found
    assert all(2 in (j.a, j.b) and j.named for j in found)
    names[1] = None
    assert not any(1 in (j.a, j.b) for j in jumps(near, near, names))
    far = near.copy()
    far[3, 4] = far[4, 3] = 40 * near[3, 4]
    strongest = jumps(near, far, names)[0]
    assert (strongest.a, strongest.b, strongest.named) == (3, 4, False)


def test_strongest_first() -> None:
    near = between(star(12, 6))
    far = near.copy()
    for (i, j), times in (((0, 1), 200), ((1, 2), 100), ((0, 2), 300)):
        far[i, j] = far[j, i] = times * near[i, j]
    assert [(j.a, j.b) for j in jumps(near, far)] == [(0, 2), (0, 1), (1, 2)]


def test_copies_and_strangers_have_no_jumps() -> None:
    assert jumps(np.zeros((9, 9)), between(RNG.normal(size=(9, 3)))) == []
    draws = between(RNG.normal(size=(9, 1000)))
    assert jumps(draws, draws, list("aabbccdde")) == []
    assert jumps(np.zeros((0, 0)), np.zeros((0, 0))) == []
    # Close pairs that all look the same, but one.
    near = between(star(10, 7))
    far = np.zeros((10, 10))
    far[0, 1] = far[1, 0] = 0.5
    far[8, 9] = far[9, 8] = far[7, 9] = far[9, 7] = far[6, 9] = far[9, 6] = 0.6
    (found,) = jumps(near, far)
    assert found.ratio == np.inf
