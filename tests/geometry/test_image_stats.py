from __future__ import annotations

import colorsys

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import entropy

from diffatlas.errors import InvalidParams
from diffatlas.geometry.image_stats import EDGE, high_frequency, histogram, luma, sobel, statistics

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, size=(21, 34, 3), dtype=np.uint8)


def flat(*colour: int, size: tuple[int, int] = (16, 24)) -> np.ndarray:
    return np.full((*size, 3), colour, np.uint8)


@pytest.mark.parametrize("bins", [1, 16, 48, 64, 256])
def test_histogram_agrees_with_numpy(bins: int) -> None:
    found = histogram(NOISE, bins)
    grey = np.rint(NOISE @ np.array([0.2126, 0.7152, 0.0722]))
    for row, values in zip(found, [*np.moveaxis(NOISE, -1, 0), grey], strict=True):
        expected, _ = np.histogram(values, bins=bins, range=(0, 256))
        assert row.tolist() == expected.tolist()
    assert found.sum(1).tolist() == [21 * 34] * 4


def test_histogram_of_the_ends_of_the_range() -> None:
    assert (histogram(flat(255, 255, 255))[:, 63] == 16 * 24).all()
    assert (histogram(flat(0, 0, 0))[:, 0] == 16 * 24).all()
    red = histogram(flat(255, 0, 0), 256)
    assert red[:, 0].tolist() == [0, 384, 384, 0]
    assert red[3, round(0.2126 * 255)] == 384


@pytest.mark.parametrize("value", range(0, 256, 15))
def test_luma_of_grey_is_its_level(value: int) -> None:
    assert luma(flat(value, value, value)) == pytest.approx(value)
    assert histogram(flat(value, value, value), 256)[3, value] == 384


def test_entropy_agrees_with_scipy() -> None:
    grey = np.rint(NOISE @ np.array([0.2126, 0.7152, 0.0722]))
    counts = np.unique(grey, return_counts=True)[1]
    assert statistics(NOISE)["entropy"] == pytest.approx(entropy(counts, base=2))
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    assert statistics(levels)["entropy"] == pytest.approx(8)


def test_sobel_and_edge_density_agree_with_scipy() -> None:
    picture = ndimage.gaussian_filter(NOISE.astype(float), (1.5, 1.5, 0)).astype(np.uint8)
    grey = picture @ np.array([0.2126, 0.7152, 0.0722]) / 255
    expected = np.hypot(*(ndimage.sobel(grey, axis, mode="nearest") for axis in (0, 1)))
    np.testing.assert_allclose(sobel(grey), expected, atol=1e-12)
    found = statistics(picture)["edge_density"]
    assert found == pytest.approx((expected > EDGE).mean())
    assert 0.05 < found < 0.95


def test_an_edge_is_counted_on_both_sides() -> None:
    """A step of 20 levels is an edge (4 * 20 / 255 > 0.25), one of 15 is not."""
    for height, expected in ((20, 2 / 24), (15, 0)):
        picture = flat(100, 100, 100)
        picture[:, 10:] += np.uint8(height)
        assert statistics(picture)["edge_density"] == pytest.approx(expected)


@pytest.mark.parametrize("size", [(16, 16), (15, 16), (16, 15), (9, 7), (1, 8), (8, 1)])
def test_high_frequency_agrees_with_the_whole_transform(size: tuple[int, int]) -> None:
    values = RNG.normal(size=size) + 5
    energy = np.abs(np.fft.fft2(values - values.mean())) ** 2
    fy, fx = np.meshgrid(np.fft.fftfreq(size[0]), np.fft.fftfreq(size[1]), indexing="ij")
    expected = energy[np.hypot(fx, fy) > 0.25].sum() / energy.sum()
    assert high_frequency(values) == pytest.approx(expected)


def test_high_frequency_of_waves() -> None:
    x = np.arange(64)
    low, high = np.sin(2 * np.pi * x * 4 / 64), np.sin(2 * np.pi * x * 20 / 64)
    assert high_frequency(np.tile(low, (64, 1))) == pytest.approx(0, abs=1e-12)
    assert high_frequency(np.tile(high, (64, 1)).T) == pytest.approx(1)
    # Energies 9 and 1.
    assert high_frequency(np.tile(3 * low + high, (64, 1))) == pytest.approx(0.1)
    assert high_frequency((np.indices((8, 8)).sum(0) % 2).astype(float)) == pytest.approx(1)
    assert high_frequency(RNG.normal(size=(256, 256))) == pytest.approx(1 - np.pi / 16, abs=0.01)


def test_centroid_agrees_with_scipy() -> None:
    found = statistics(NOISE)
    y, x = ndimage.center_of_mass(NOISE @ np.array([0.2126, 0.7152, 0.0722]))
    assert (found["centroid_x"], found["centroid_y"]) == pytest.approx(((x + 0.5) / 34, (y + 0.5) / 21))
    spot = flat(0, 0, 0)
    spot[12, 3] = 200
    found = statistics(spot)
    assert (found["centroid_x"], found["centroid_y"]) == pytest.approx((3.5 / 24, 12.5 / 16))


def test_luma_and_saturation_agree_with_plain_loops() -> None:
    found = statistics(NOISE)
    pixels = NOISE.reshape(-1, 3).tolist()
    saturations = [colorsys.rgb_to_hsv(r / 255, g / 255, b / 255)[1] for r, g, b in pixels]
    lumas = [(0.2126 * r + 0.7152 * g + 0.0722 * b) / 255 for r, g, b in pixels]
    assert found["saturation"] == pytest.approx(np.mean(saturations))
    assert found["luma_mean"] == pytest.approx(np.mean(lumas))
    assert found["luma_std"] == pytest.approx(np.std(lumas))


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (13, 200, 77)])
def test_a_flat_picture(colour: tuple[int, int, int]) -> None:
    for size in ((16, 24), (1, 1), (33, 7)):
        found = statistics(flat(*colour, size=size))
        assert set(found) == {
            "entropy",
            "edge_density",
            "high_frequency",
            "centroid_x",
            "centroid_y",
            "luma_mean",
            "luma_std",
            "saturation",
        }
        assert all(type(v) is float for v in found.values())
        assert (found["entropy"], found["edge_density"], found["high_frequency"]) == (0, 0, 0)
        assert (found["centroid_x"], found["centroid_y"]) == pytest.approx((0.5, 0.5))
        assert found["luma_std"] == pytest.approx(0, abs=1e-12)
        assert found["saturation"] == pytest.approx(1 - min(colour) / max(colour) if any(colour) else 0)


def test_refusals() -> None:
    for wrong in (NOISE[..., 0], NOISE / 255.0, np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(InvalidParams, match="uint8"):
            statistics(wrong)
    for bins in (0, 257):
        with pytest.raises(InvalidParams, match="bins"):
            histogram(NOISE, bins)
