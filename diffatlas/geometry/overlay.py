"""A map laid over a picture in colour."""

from __future__ import annotations

import numpy as np

from diffatlas.errors import InvalidParams
from diffatlas.geometry.attention import resample

#: Colours of the map from its least to its most, RGB: near-black, burgundy, gold, ivory; each lighter than the last.
RAMP = np.array(
    [(16, 12, 20), (92, 20, 44), (168, 48, 48), (214, 138, 48), (250, 240, 206)], dtype=np.float64
)


def colours(values: np.ndarray) -> np.ndarray:
    """Return the colours of values in [0, 1] by `RAMP`: (...) to (..., 3), uint8. NaN counts as 0."""
    values = np.clip(np.nan_to_num(np.asarray(values, dtype=np.float64)), 0.0, 1.0)
    stops = np.linspace(0, 1, len(RAMP))
    channels = [np.interp(values, stops, RAMP[:, c]) for c in range(3)]
    return np.stack(channels, -1).round().astype(np.uint8)


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
