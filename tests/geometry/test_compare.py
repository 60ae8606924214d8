from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes as scaled_procrustes
from scipy.spatial.distance import cdist

from diffatlas.errors import InvalidParams, NonFiniteLatents
from diffatlas.geometry.compare import (
    angle_by_step,
    compare,
    cross_distances,
    distance_by_step,
    dtw,
    parting_step,
    procrustes,
    resample,
)

RNG = np.random.default_rng(0)


def curve(n: int, d: int = 40, seed: int = 0) -> np.ndarray:
    """n states of one smooth curve, by fraction of the run."""
    ends = np.random.default_rng(seed).normal(size=(3, d))
    s = np.linspace(0, 1, n)[:, None]
    return (1 - s) * ends[0] * 5 + s * ends[1] + s * (1 - s) * ends[2] * 4


def warpings(rows: int, columns: int) -> list[list[tuple[int, int]]]:
    """Every monotone sequence of pairs from (0, 0) to the last of both, by recursion."""
    if (rows, columns) == (1, 1):
        return [[(0, 0)]]
    before = [
        (r, c) for r, c in ((rows - 1, columns - 1), (rows - 1, columns), (rows, columns - 1)) if r and c
    ]
    return [[*path, (rows - 1, columns - 1)] for r, c in before for path in warpings(r, c)]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (4, 1), (3, 3), (5, 4), (4, 6)])
def test_dtw_agrees_with_trying_every_warping(rows: int, columns: int) -> None:
    every = warpings(rows, columns)
    for _ in range(20):
        cost = RNG.random((rows, columns))
        total, pairs = dtw(cost)
        best = min(every, key=lambda path: sum(cost[p] for p in path))
        assert total == pytest.approx(sum(cost[p] for p in best))
        assert [tuple(p) for p in pairs] == best


def test_dtw_breaks_ties_towards_the_diagonal() -> None:
    total, pairs = dtw(np.zeros((4, 4)))
    assert total == 0
    assert pairs.tolist() == [[k, k] for k in range(4)]
    # Pairs that cost nothing off the diagonal do not draw the path away from it at the end.
    assert dtw(np.zeros((5, 3)))[1].tolist() == [[0, 0], [1, 0], [2, 0], [3, 1], [4, 2]]


def test_dtw_undoes_a_change_of_pace() -> None:
    path = curve(9)
    slow = path[[0, 1, 1, 1, 2, 3, 4, 4, 5, 6, 7, 8, 8]]
    total, pairs = dtw(cross_distances(path, slow))
    assert total == 0
    assert pairs[:, 0].tolist() == [0, 1, 1, 1, 2, 3, 4, 4, 5, 6, 7, 8, 8]
    assert pairs[:, 1].tolist() == list(range(13))


def test_dtw_refuses_what_it_cannot_warp() -> None:
    for cost in (np.zeros((0, 3)), np.zeros(3), np.array([[np.nan]]), np.array([[1.0, np.inf]])):
        with pytest.raises(InvalidParams):
            dtw(cost)


def test_distances_and_angles_agree_with_scipy() -> None:
    a, b = RNG.normal(size=(2, 6, 3, 4, 4))
    flat_a, flat_b = a.reshape(6, -1), b.reshape(6, -1)
    np.testing.assert_allclose(distance_by_step(a, b), cdist(flat_a, flat_b).diagonal())
    cosines = 1 - cdist(flat_a, flat_b, "cosine").diagonal()
    np.testing.assert_allclose(angle_by_step(a, b), np.degrees(np.arccos(cosines)))
    np.testing.assert_allclose(cross_distances(a, b[:4]), cdist(flat_a, flat_b[:4]))


def test_equal_paths_are_at_zero() -> None:
    a = RNG.normal(size=(7, 4, 8, 8)).astype(np.float32)
    result = compare(a, a.copy())
    assert (result.distance == 0).all()
    assert (result.angle == 0).all()
    assert result.parting is None
    assert (cross_distances(a, a.copy()).diagonal() == 0).all()


@pytest.mark.parametrize(
    ("apart", "expected"),
    [
        ([0, 0, 0, 0], None),
        ([0, 0, 1, 1], 2),
        ([1, 1, 1, 1], 0),
        ([1, 1, 0, 0], None),
        ([0, 1, 0, 1], 3),
    ],
)
def test_parting_step(apart: list[int], expected: int | None) -> None:
    """Orthogonal changes of 0.04 and 0.06 of the norm lie on the two sides of the threshold of 0.05."""
    a = 10 * np.tile([1.0, 0.0, 0.0], (4, 1))
    b = a + 10 * np.where(np.array(apart)[:, None], 0.06, 0.04) * [0.0, 1.0, 0.0]
    assert parting_step(a, b) == expected
    assert compare(a, b).parting == expected
    assert parting_step(a, b, threshold=0.07) is None
    assert parting_step(a, b, threshold=0.01) == 0


def test_the_threshold_is_a_share_of_the_mean_norm() -> None:
    a, b = np.array([[1.0, 0.0]]), np.array([[3.0, 0.0]])
    assert parting_step(a, b, threshold=0.99) == 0
    assert parting_step(a, b, threshold=1.01) is None


def test_resample_is_linear_interpolation() -> None:
    points = RNG.normal(size=(6, 2, 3))
    found = resample(points, 11)
    for index in np.ndindex(2, 3):
        expected = np.interp(np.linspace(0, 5, 11), np.arange(6), points[:, *index])
        np.testing.assert_allclose(found[:, *index], expected)
    np.testing.assert_array_equal(found[::2], points)
    np.testing.assert_array_equal(resample(points, 6), points)
    np.testing.assert_array_equal(resample(points[:1], 3), np.repeat(points[:1], 3, axis=0))
    np.testing.assert_array_equal(resample(points, 1), points[:1])


@pytest.mark.parametrize(("n", "d"), [(12, 5), (8, 60)])
def test_procrustes_agrees_with_scipy(n: int, d: int) -> None:
    a, b = RNG.normal(size=(2, n, d))
    a0, b0 = a - a.mean(0), b - b.mean(0)
    rotation, _ = orthogonal_procrustes(b0, a0)
    left = a0 - b0 @ rotation
    result = procrustes(a, b)
    np.testing.assert_allclose(result.distance, np.linalg.norm(left, axis=1))
    assert result.disparity == pytest.approx((left**2).sum() / (a0**2).sum())
    # With both paths of one size, scipy's scaled disparity 1 - s^2 follows from ours, 2 - 2 s.
    same = b0 * np.linalg.norm(a0) / np.linalg.norm(b0)
    s = 1 - procrustes(a, same).disparity / 2
    assert 1 - s**2 == pytest.approx(scaled_procrustes(a, b)[2])


def test_procrustes_undoes_a_rigid_motion_but_no_scaling() -> None:
    path = curve(10, 30)
    turn, _ = np.linalg.qr(RNG.normal(size=(30, 30)))
    moved = path @ turn + 3
    assert procrustes(path, moved).disparity == pytest.approx(0, abs=1e-12)
    assert procrustes(path, 2 * moved).disparity == pytest.approx(1)
    assert distance_by_step(path, moved).min() > 1


def test_procrustes_resamples_to_the_longer_path() -> None:
    a, b = curve(5), curve(9)
    direct = procrustes(resample(a, 9), b)
    result = procrustes(a, b)
    np.testing.assert_allclose(result.distance, direct.distance)
    np.testing.assert_allclose(result.x, np.arange(9) / 2)
    np.testing.assert_array_equal(procrustes(b, a).x, np.arange(9))
    # Half the points, taken off the same curve, fit it closely; another form of curve does not.
    turns = np.linspace(0, 2 * np.pi, 9)
    circle = np.pad(8 * np.stack([np.cos(turns), np.sin(turns)], 1), ((0, 0), (0, 38)))
    assert result.disparity < 0.01 < 0.1 < procrustes(a, circle).disparity


def test_compare_chooses_by_length() -> None:
    a, b = curve(9), curve(13, seed=1)
    step = compare(a, a + 0.1)
    assert (step.align, step.total, step.disparity) == ("step", None, None)
    assert step.pairs.tolist() == [[k, k] for k in range(9)]
    assert step.x.tolist() == list(range(9))
    np.testing.assert_allclose(step.distance, 0.1 * math.sqrt(40))

    warped = compare(a, b)
    total, pairs = dtw(cdist(a, b))
    assert warped.align == "dtw"
    assert warped.total == pytest.approx(total)
    np.testing.assert_array_equal(warped.pairs, pairs)
    np.testing.assert_allclose(warped.distance, [cdist(a, b)[i, j] for i, j in pairs])
    np.testing.assert_allclose(warped.angle, angle_by_step(a[pairs[:, 0]], b[pairs[:, 1]]))

    turned = compare(a, b, "procrustes")
    assert turned.disparity == procrustes(a, b).disparity
    assert (turned.angle, turned.pairs, turned.parting, len(turned.distance)) == (None, None, None, 13)


def test_parting_after_warping_is_a_step_of_the_first_path() -> None:
    a, b = curve(9), curve(13)
    b[8:] += 50
    result = compare(a, b)
    first = result.parting
    apart = (
        result.distance
        > 0.05
        * (np.linalg.norm(a[result.pairs[:, 0]], axis=1) + np.linalg.norm(b[result.pairs[:, 1]], axis=1))
        / 2
    )
    k = np.flatnonzero(result.x == first)
    assert 0 < first < 9
    assert apart[k[-1] :].all()
    assert not apart[: k[-1]].all()


def test_refusals() -> None:
    a = curve(5)
    with pytest.raises(ValueError, match="different latent shapes"):
        compare(a, curve(5, 41))
    with pytest.raises(InvalidParams, match="4 and 6 steps"):
        compare(a, curve(7), "step")
    with pytest.raises(InvalidParams, match="4 and 0 steps"):
        distance_by_step(a, a[:1])
    with pytest.raises(InvalidParams, match="best"):
        compare(a, a, "best")
    with pytest.raises(InvalidParams, match="never moves"):
        procrustes(np.ones((4, 3)), RNG.normal(size=(4, 3)))
    broken = a.copy()
    broken[2, 3] = np.inf
    for align in ("step", "dtw", "procrustes"):
        with pytest.raises(NonFiniteLatents), np.errstate(invalid="ignore"):
            compare(a, broken, align)
