from __future__ import annotations

import colorsys

import numpy as np
import pytest
from scipy import ndimage

from diffatlas.errors import InvalidParams
from diffatlas.geometry.image_stats import luma, saturation
from diffatlas.geometry.perceptual import (
    clipped,
    distances,
    hash_distance,
    image_distance,
    image_distances,
    phash,
)

RNG = np.random.default_rng(0)


def scene(seed: int, size: int = 128) -> np.ndarray:
    """A smooth coloured picture: blurred noise stretched over the whole range."""
    noise = np.random.default_rng(seed).normal(size=(size, size, 3))
    smooth = ndimage.gaussian_filter(noise, (size / 16, size / 16, 0))
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return (40 + 160 * smooth).astype(np.uint8)


def cosines(values: np.ndarray) -> np.ndarray:
    """DCT-II from its definition."""
    n = len(values)
    basis = np.cos(np.pi * (np.arange(n) + 0.5) * np.arange(n)[:, None] / n)
    return basis @ values @ basis.T


def test_the_hash_is_the_signs_of_the_lowest_frequencies() -> None:
    picture = scene(1)
    blocks = luma(picture).reshape(64, 2, 64, 2).mean((1, 3))
    # The orthogonal form has the first row and column at 1 / sqrt(2).
    scaled = cosines(blocks)
    scaled[0] /= np.sqrt(2)
    scaled[:, 0] /= np.sqrt(2)
    lowest = scaled[:16, :16].ravel()[1:]
    assert (phash(picture) == (lowest > np.median(lowest))).all()
    assert phash(picture).shape == (255,)
    assert phash(picture, size=8).shape == (63,)


def test_the_hash_holds_under_what_the_eye_forgives() -> None:
    picture = scene(2)
    same = phash(picture)
    brighter = (picture * 1.1 + 12).astype(np.uint8)
    noisy = (picture + RNG.integers(-6, 7, picture.shape)).clip(0, 255).astype(np.uint8)
    larger = picture.repeat(2, 0).repeat(2, 1)
    odd = ndimage.zoom(picture, (1.23, 1.23, 1), order=1)
    for variant in (brighter, noisy, larger, odd):
        assert hash_distance(same, phash(variant)) < 0.15
    others = [hash_distance(same, phash(scene(seed))) for seed in range(10, 30)]
    assert np.mean(others) == pytest.approx(0.5, abs=0.05)
    assert min(others) > 0.35
    assert hash_distance(same, phash(255 - picture)) > 0.95
    assert hash_distance(same, phash(picture[:, ::-1])) > 0.3


def test_flat_pictures_share_one_hash() -> None:
    flat = [phash(np.full((37, 53, 3), v, np.uint8)) for v in (0, 1, 128, 255)]
    assert not any(h.any() for h in flat)
    assert phash(np.zeros((5, 3, 3), np.uint8)).shape == (255,)


def test_hashes_of_different_sizes_are_not_compared() -> None:
    with pytest.raises(InvalidParams):
        hash_distance(phash(scene(1)), phash(scene(1), size=8))
    with pytest.raises(InvalidParams):
        phash(scene(1), size=4)


def test_image_distance_is_the_root_mean_square() -> None:
    a, b = (RNG.integers(0, 256, (9, 14, 3), dtype=np.uint8) for _ in range(2))
    expected = np.sqrt((((a.astype(float) - b) / 255) ** 2).mean())
    assert image_distance(a, b) == pytest.approx(expected, rel=1e-12)
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert image_distance(black, white) == 1
    # One level of one channel of one pixel is not lost in rounding.
    almost = white.copy()
    almost[3, 4, 1] = 254
    assert image_distance(white, almost) == pytest.approx(1 / 255 / np.sqrt(192), rel=1e-12)
    assert image_distance(white, white) == 0


def test_all_pairs_agree_with_one_by_one() -> None:
    pictures = [RNG.integers(0, 256, (9, 14, 3), dtype=np.uint8) for _ in range(4)]
    pictures.append(pictures[1])
    quick = image_distances(pictures)
    slow = distances(pictures, lambda a, b: np.sqrt((((a.astype(float) - b) / 255) ** 2).mean()))
    np.testing.assert_allclose(quick, slow, rtol=1e-12)
    assert (distances(pictures, image_distance) == quick).all()
    assert quick[1, 4] == 0
    hashes = [phash(p) for p in pictures]
    found = distances(hashes, hash_distance)
    assert (found == found.T).all()
    assert not found.diagonal().any()
    assert found[0, 2] == (hashes[0] ^ hashes[2]).mean()
    assert distances([], hash_distance).shape == (0, 0)
    assert image_distances([]).shape == (0, 0)


def test_pictures_of_different_sizes_are_refused() -> None:
    with pytest.raises(InvalidParams, match="one size"):
        image_distance(scene(1), scene(1, 64))
    with pytest.raises(InvalidParams, match="uint8"):
        image_distance(scene(1) / 255, scene(1) / 255)


def test_clipped_counts_the_channel_values_at_the_limits() -> None:
    picture = np.full((4, 5, 3), 100, np.uint8)
    picture[0, 0] = (0, 255, 255)
    picture[2, 3, 1] = 0
    picture[3, 3] = (1, 254, 128)
    found = clipped(picture)
    assert (found.low, found.high) == (pytest.approx(2 / 60), pytest.approx(2 / 60))
    assert found.share == pytest.approx(4 / 60)
    with pytest.raises(InvalidParams):
        clipped(picture[..., 0])
    with pytest.raises(InvalidParams):
        clipped(picture.astype(float))


def test_saturation_agrees_with_colorsys() -> None:
    picture = RNG.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    expected = np.mean([colorsys.rgb_to_hsv(*(p / 255))[1] for p in picture.reshape(-1, 3)])
    assert saturation(picture) == pytest.approx(expected)
