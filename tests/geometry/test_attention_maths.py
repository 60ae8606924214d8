"""The measures of attention maps, against torch, SciPy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy as scipy_entropy

from diffatlas.errors import InvalidParams
from diffatlas.geometry import attention as maths
from diffatlas.geometry.overlay import colours, overlay


@pytest.fixture
def maps() -> np.ndarray:
    """(tokens 6, h 5, w 7): probabilities over the tokens."""
    logits = np.random.default_rng(0).normal(size=(6, 5, 7)) * 2
    p = np.exp(logits)
    return (p / p.sum(0)).astype(np.float32)


@pytest.fixture
def other() -> np.ndarray:
    p = np.random.default_rng(1).random((6, 5, 7)) + 0.01
    return (p / p.sum(0)).astype(np.float32)


def test_entropy_is_scipys(maps):
    assert maths.entropy(maps) == pytest.approx(scipy_entropy(maps, axis=0), abs=1e-6)
    assert maths.mean_entropy(maps) == pytest.approx(scipy_entropy(maps, axis=0).mean(), abs=1e-6)
    assert maths.mean_entropy(maps, True) == pytest.approx(
        scipy_entropy(maps, axis=0, base=6).mean(), abs=1e-6
    )


def test_entropy_of_the_extremes():
    even, sharp = np.full((4, 2, 2), 0.25), np.zeros((4, 2, 2))
    sharp[1] = 1
    assert maths.mean_entropy(even) == pytest.approx(np.log(4))
    assert maths.mean_entropy(even, True) == pytest.approx(1)
    assert maths.mean_entropy(sharp.astype(np.float16)) == pytest.approx(0, abs=1e-5)
    assert maths.mean_entropy(np.ones((1, 2, 2)), True) == 0


def test_float16_zeros_make_no_nan(maps):
    """The references' fault: a floor of 1e-8 is 0 in float16, and 0 ln 0 is NaN."""
    small = np.where(maps < 0.1, 0, maps).astype(np.float16)
    assert np.isfinite(maths.entropy(small)).all()
    assert np.isfinite(maths.kl(small, maps)).all()
    assert np.isfinite(maths.kl(maps, small)).all()
    p = small.astype(np.float64)
    expected = scipy_entropy(np.maximum(p, 1e-8), axis=0).mean()
    assert maths.mean_entropy(small) == pytest.approx(expected, rel=1e-9)


def test_the_entropy_of_joint_attention_is_that_within_the_text(maps):
    assert maths.entropy(maps * 0.3) == pytest.approx(maths.entropy(maps), abs=1e-6)


def test_self_entropy_is_over_the_key_cells():
    p = np.random.default_rng(2).random((2, 3, 2, 3))
    rows = p.reshape(6, 6)
    assert maths.self_entropy(p) == pytest.approx(scipy_entropy(rows, axis=1).mean(), abs=1e-6)
    assert maths.self_entropy(p, True) == pytest.approx(scipy_entropy(rows, axis=1, base=6).mean(), abs=1e-6)


def test_kl_and_js_are_scipys(maps, other):
    assert maths.kl(maps, other) == pytest.approx(scipy_entropy(maps, other, axis=0), abs=1e-6)
    assert maths.js(maps, other) == pytest.approx(jensenshannon(maps, other, axis=0) ** 2, abs=1e-6)
    assert maths.js(maps, other) == pytest.approx(maths.js(other, maps), abs=1e-12)
    assert np.abs(maths.kl(maps, maps)).max() < 1e-12


def test_entropy_and_kl_in_one_go_are_those_by_themselves(maps, other):
    first, nothing, logs = maths.entropy_and_kl(other.astype(np.float16))
    entropy, divergence, _ = maths.entropy_and_kl(
        maps * 0.3, logs
    )  # joint attention: the text's share is 0.3
    assert first == pytest.approx(scipy_entropy(other, axis=0).mean(), abs=1e-3)
    assert np.isnan(nothing)
    assert entropy == pytest.approx(scipy_entropy(maps, axis=0).mean(), abs=1e-5)
    assert divergence == pytest.approx(scipy_entropy(maps, other, axis=0).mean(), abs=1e-3)
    with pytest.raises(InvalidParams, match="resample"):
        maths.entropy_and_kl(maps[:, :3], logs)


def test_spatial_js_is_over_the_places_and_blind_to_the_amount(maps, other):
    expected = jensenshannon(maps.reshape(6, -1), other.reshape(6, -1), axis=1) ** 2
    assert maths.spatial_js(maps, other) == pytest.approx(expected, abs=1e-6)
    assert maths.spatial_js(maps, maps * 7) == pytest.approx(np.zeros(6), abs=1e-12)
    left, right = np.zeros((2, 4)), np.zeros((2, 4))
    left[:, :2], right[:, 2:] = 1, 1
    assert maths.spatial_js(left, right) == pytest.approx(np.log(2), abs=1e-5)
    with pytest.raises(InvalidParams, match="resample"):
        maths.spatial_js(maps, maps[:, :3])


def test_spikes_are_what_stands_out():
    series = [None, 1.0, 1.1, 0.9, 1.05, 6.0, 0.95, float("nan"), 1.02]
    assert maths.spikes(series) == [5]
    known = np.array([v for v in series if v is not None and np.isfinite(v)])
    limit = np.median(known) + 3 * 1.4826 * np.median(np.abs(known - np.median(known)))
    assert maths.spikes([*series, limit - 0.01]) == [5]
    assert maths.spikes([1.0, 1.0, 1.0, 1.0, 1.0]) == []
    assert maths.spikes([None, 1.0, 9.0]) == []


def test_rank_can_leave_tokens_out():
    scores = np.array([0.5, 0.1, 0.3, 0.3])
    assert maths.rank(scores) == [0, 2, 3, 1]
    assert maths.rank(scores, [False, True, True, True]) == [2, 3, 1]
    assert maths.activation(np.arange(12).reshape(1, 3, 2, 2)) == pytest.approx(np.array([[1.5, 5.5, 9.5]]))


@pytest.mark.parametrize("size", [(8, 8), (10, 21), (3, 3), (5, 14), (1, 1), (13, 4)])
@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_resampling_is_torchs(maps, size, method):
    import torch
    from torch.nn.functional import interpolate

    expected = interpolate(torch.from_numpy(maps)[None], size=size, mode=method, align_corners=False)[
        0
    ].numpy()
    ours = maths.resample(maps, size, method)
    assert ours.dtype == np.float32
    assert np.abs(ours - expected).max() < 1e-5


def test_bilinear_keeps_the_sum_over_the_tokens(maps):
    assert maths.resample(maps, (16, 9)).sum(0) == pytest.approx(np.ones((16, 9)), abs=1e-5)


def test_area_is_the_mean_over_what_a_cell_covers(maps):
    even = np.random.default_rng(3).random((6, 8))
    assert maths.resample(even, (3, 2), "area") == pytest.approx(
        even.reshape(3, 2, 2, 4).mean((1, 3)), abs=1e-6
    )
    # 5 rows to 3: brute force on a grid that both divide.
    fine = np.repeat(np.repeat(maps, 3, 1), 4, 2)  # (6, 15, 28)
    expected = fine.reshape(6, 3, 5, 4, 7).mean((2, 4))
    assert maths.resample(maps, (3, 4), "area") == pytest.approx(expected, abs=1e-6)
    assert maths.resample(maps, (3, 4), "area").mean((1, 2)) == pytest.approx(maps.mean((1, 2)), abs=1e-6)


def test_resampling_refuses_what_it_does_not_know(maps):
    with pytest.raises(InvalidParams, match="bilinear"):
        maths.resample(maps, (4, 4), "nearest")
    with pytest.raises(InvalidParams, match="at least one"):
        maths.resample(maps, (0, 4))


def test_scaled_grids_keep_their_shape():
    assert maths.scaled_grid((8, 16), 32) == (16, 32)
    assert maths.scaled_grid((8, 16), None) == (8, 16)
    assert maths.scaled_grid((64, 3), 8) == (8, 1)
    assert maths.scaled_grid((8, 16), (5, 5)) == (5, 5)
    assert maths.common_grid([(8, 8), (16, 8), (4, 4)]) == (16, 8)
    for bad in (0, 5000, 2.5, True):
        with pytest.raises(InvalidParams, match="resolution"):
            maths.scaled_grid((8, 8), bad)


def test_daam_upsamples_cuts_off_and_then_averages():
    import torch
    from torch.nn.functional import interpolate

    rng = np.random.default_rng(4)
    sums = [
        rng.random((2, 6, 4, 4)).astype(np.float32) ** 4,
        rng.random((3, 6, 8, 8)).astype(np.float32) ** 4,
    ]
    merged = []
    for layer in sums:
        for head in layer:  # as DAAM: one map of every token for each layer and head
            large = interpolate(torch.from_numpy(head)[:, None], size=(16, 16), mode="bicubic").clamp_(min=0)
            merged.append(large[:, 0].numpy())
    ours = maths.daam(sums, (16, 16))
    assert ours == pytest.approx(np.mean(merged, 0), abs=1e-5)
    assert ours.min() >= 0
    with pytest.raises(InvalidParams, match="at least one"):
        maths.daam([], (4, 4))


def test_coverage_is_the_area_that_a_box_covers():
    box = (3, 10, 37, 22)
    fine = np.zeros((40, 60))
    fine[10:22, 3:37] = 1
    expected = fine.reshape(8, 5, 12, 5).mean((1, 3))
    assert maths.coverage((8, 12), box, (60, 40)) == pytest.approx(expected, abs=1e-12)
    assert maths.uniform_share(expected) == pytest.approx(34 * 12 / 2400)
    # Cells that do not divide the picture, by the total area.
    assert maths.coverage((7, 9), box, (60, 40)).sum() / 63 == pytest.approx(34 * 12 / 2400)


def test_share_and_iou_of_a_box():
    covered = maths.coverage((4, 4), (0, 0, 2, 2), (4, 4))
    inside, half_out = np.zeros((4, 4)), np.zeros((4, 4))
    inside[:2, :2] = 1
    half_out[:2, 1:3] = 1
    stack = np.stack([inside, half_out, np.ones((4, 4)), np.zeros((4, 4))])
    assert maths.share_inside(stack, covered) == pytest.approx([1, 0.5, 0.25, np.nan], nan_ok=True)
    assert maths.iou_at_half(stack[:3], covered) == pytest.approx([1, 2 / 6, 4 / 16])
    faint = inside * 0.9 + 0.1 * half_out  # below half its maximum does not count
    assert maths.iou_at_half(faint, covered) == pytest.approx(1)


def test_an_overlay_is_brightest_where_the_map_is():
    picture = np.full((8, 12, 3), 100, np.uint8)
    weights = np.zeros((2, 3))
    weights[1, 2] = 5
    out = overlay(picture, weights, alpha=0.5)
    assert out.shape == picture.shape
    assert out.dtype == np.uint8
    light = out.astype(int).sum(-1)
    assert light[7, 11] == light.max() > light[0].max()
    assert (overlay(picture, weights, alpha=0) == picture).all()
    assert (overlay(picture, np.ones((2, 2)), alpha=1) == colours(0)).all()
    assert (overlay(picture, np.ones((2, 2)), alpha=1, limits=(0, 1)) == colours(1)).all()
    ramp = colours(np.linspace(0, 1, 50)).astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(ramp) > 0).all()


@pytest.mark.parametrize(
    ("image", "weights", "alpha"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((2, 2)), 0.5),
        (np.zeros((4, 4, 3)), np.zeros((2, 2)), 0.5),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((1, 2, 2)), 0.5),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((2, 2)), 1.5),
    ],
)
def test_an_overlay_refuses_other_shapes(image, weights, alpha):
    with pytest.raises(InvalidParams):
        overlay(image, weights, alpha)
