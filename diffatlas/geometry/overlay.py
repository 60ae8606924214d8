"""A map laid over a picture in colour."""

from __future__ import annotations

import functools

import numpy as np

from diffatlas.errors import InvalidParams
from diffatlas.geometry.attention import resample
from diffatlas.look import RAMP

#: Linear RGB to the cone responses of OKLab, and their cube roots to lightness and two opponent colours
#: (Ottosson 2020, https://bottosson.github.io/posts/oklab).
_TO_CONES = np.array(
    [
        (0.4122214708, 0.5363325363, 0.0514459929),
        (0.2119034982, 0.6806995451, 0.1073969566),
        (0.0883024619, 0.2817188376, 0.6299787005),
    ]
)
_TO_LAB = np.array(
    [
        (0.2104542553, 0.793617785, -0.0040720468),
        (1.9779984951, -2.428592205, 0.4505937099),
        (0.0259040371, 0.7827717662, -0.808675766),
    ]
)


def colours(values: np.ndarray) -> np.ndarray:
    """Return the colours of values in [0, 1] by `ramp`: (...) to (..., 3), uint8. NaN counts as 0."""
    values = np.clip(np.nan_to_num(np.asarray(values, dtype=np.float64)), 0.0, 1.0)
    table = ramp()
    return table[np.floor(values * (len(table) - 1) + 0.5).astype(int)]


@functools.cache
def ramp() -> np.ndarray:
    """Return 256 colours through `diffatlas.look.RAMP`, (256, 3) uint8, of evenly rising lightness (OKLab).

    Where each stop lies follows from its lightness, so the ramp reads the same on light and on dark ground, and
    without colour vision.
    """
    rgb = np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in RAMP]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lab = np.cbrt(linear @ _TO_CONES.T) @ _TO_LAB.T
    places = (lab[:, 0] - lab[0, 0]) / (lab[-1, 0] - lab[0, 0])
    at = np.linspace(0, 1, 256)
    between = np.stack([np.interp(at, places, lab[:, c]) for c in range(3)], -1)
    cones = (between @ np.linalg.inv(_TO_LAB).T) ** 3
    linear = np.clip(cones @ np.linalg.inv(_TO_CONES).T, 0.0, 1.0)
    rgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.floor(255 * rgb + 0.5).astype(np.uint8)


def stretched(values: np.ndarray) -> np.ndarray:
    """Return a map moved and scaled to [0, 1], float64; one that is the same everywhere becomes 0."""
    values = np.asarray(values, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def overlay(
    image: np.ndarray,
    weights: np.ndarray,
    alpha: float = 0.6,
    limits: tuple[float, float] | None = None,
) -> np.ndarray:
    """Return a picture with a map laid over it, (H, W, 3) uint8.

    image: (H, W, 3) uint8. weights: (h, w), resampled bilinearly to the picture. alpha: the colour's share of the
    blend, 0 to 1. limits: the values that get the first and the last colour, so that several maps can share a
    scale; None for the map's own least and most.

    Raises `InvalidParams` for other shapes or an alpha out of range.
    """
    image, weights = np.asarray(image), np.asarray(weights)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InvalidParams(
            f"An overlay needs a picture (H, W, 3) of uint8, not {image.shape} of {image.dtype}."
        )
    if weights.ndim != 2:
        raise InvalidParams(f"An overlay needs one map (h, w), not one of shape {weights.shape}.")
    if not 0 <= alpha <= 1:
        raise InvalidParams(f"alpha is {alpha}: give a number from 0 to 1.", field="alpha")
    large = resample(weights, image.shape[:2]).astype(np.float64)
    if limits is None:
        large = stretched(large)
    else:
        low, high = limits
        large = (large - low) / (high - low) if high > low else np.zeros_like(large)
    mixed = (1 - alpha) * image.astype(np.float64) + alpha * colours(large)
    return mixed.round().clip(0, 255).astype(np.uint8)
