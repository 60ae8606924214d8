"""How different two pictures are, and how far a picture is driven to its limits. Pictures: (H, W, 3) uint8, sRGB."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.fft import dctn

from diffatlas.errors import InvalidParams
from diffatlas.geometry.common_basis import distances_from, gram
from diffatlas.geometry.image_stats import luma

#: The luma is reduced to a square of this many times the side of the hash before its frequencies are taken.
OVERSAMPLING = 4
#: Coefficients below this (luma runs from 0 to 255) are rounding and count as 0.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Clipped:
    """Shares of the channel values: at 0 (``low``), at 255 (``high``), and at either (``share``); 0 to 1."""

    share: float
    low: float
    high: float


def phash(pixels: np.ndarray, size: int = 16) -> np.ndarray:
    """Perceptual hash by the discrete cosine transform (Zauner 2010, section 3.2.1): (size^2 - 1,) of bool.

    The luma (`diffatlas.geometry.image_stats.luma`), averaged over the cells of a square grid, is transformed
    (DCT-II); a bit says whether a coefficient of the size x size lowest frequencies, without the constant one, lies
    above their median. So the hash sees forms and their places. It does not see brightness or contrast, and it sees
    colour only by its luma: read it beside a distance of colours.
    size: 8 (63 bits) to 64.
    """
    if not 8 <= size <= 64:
        raise InvalidParams(f"A perceptual hash has a side of 8 to 64, not {size}.")
    side = OVERSAMPLING * size
    grey = luma(pixels)
    small = _overlaps(grey.shape[0], side) @ grey @ _overlaps(grey.shape[1], side).T
    lowest = dctn(small, norm="ortho")[:size, :size].ravel()[1:]
    lowest[np.abs(lowest) < ROUNDING] = 0.0
    return lowest > np.median(lowest)


def hash_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Share of the bits in which two hashes differ (Hamming): 0 to 1; unrelated pictures lie near 0.5."""
    a, b = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if a.shape != b.shape:
        raise InvalidParams(f"Hashes of {a.size} and of {b.size} bits cannot be compared.")
    return float((a != b).mean())


def image_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean square of the difference of all R, G and B values, as shares of 255: 0 to 1.

    That is the Euclidean (L2) distance of the pictures over the square root of the number of values.

    Raises `InvalidParams` for pictures of different sizes.
    """
    return float(image_distances([a, b])[0, 1])


def image_distances(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """`image_distance` of all pairs of n pictures of one size: (n, n), from exact inner products of whole numbers."""
    pictures = [np.asarray(p) for p in pictures]
    if not pictures:
        return np.zeros((0, 0))
    for p in pictures:
        if p.shape != pictures[0].shape or p.dtype != np.uint8 or p.size == 0:
            raise InvalidParams(
                f"Pictures of one size, of uint8, can be compared; these are {pictures[0].shape} of"
                f" {pictures[0].dtype} and {p.shape} of {p.dtype}."
            )
    stack = np.stack(pictures)
    products = gram(stack, stack)
    squares = products.diagonal()
    return np.minimum(distances_from(products, squares, squares) / (255 * np.sqrt(pictures[0].size)), 1.0)


def distances(items: Sequence[Any], measure: Callable[[Any, Any], float]) -> np.ndarray:
    """A symmetric measure between all pairs of n items: (n, n), 0 on the diagonal.

    With `image_distance` the pairs are worked out together, by `image_distances`.
    """
    if measure is image_distance:
        return image_distances(items)
    n = len(items)
    result = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1, n):
            result[i, j] = result[j, i] = measure(items[i], items[j])
    return result


def clipped(pixels: np.ndarray) -> Clipped:
    """Shares of the channel values that are as low or as high as they can be."""
    pixels = np.asarray(pixels)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise InvalidParams(
            f"A picture is (height, width, 3) of uint8, not {pixels.shape} of {pixels.dtype}."
        )
    low, high = float((pixels == 0).mean()), float((pixels == 255).mean())
    return Clipped(low + high, low, high)


def _overlaps(pixels: int, cells: int) -> np.ndarray:
    """(cells, pixels) weights that average over equal cells: the part of each pixel in each cell; rows sum to 1."""
    edges = np.linspace(0, pixels, cells + 1)
    starts = np.arange(pixels)
    inside = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return inside.clip(0) * cells / pixels
