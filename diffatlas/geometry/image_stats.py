"""Numbers that describe a picture: (H, W, 3) uint8, sRGB.

Luma is the weighted sum of Rec. ITU-R BT.709, 0.2126 R + 0.7152 G + 0.0722 B, of the sRGB values as they are
(no linearisation), 0 to 255.
"""

from __future__ import annotations

import numpy as np

from diffatlas.errors import InvalidParams

#: A pixel is on an edge where the Sobel magnitude of luma / 255 exceeds this (a step of 1/16 gives 0.25).
EDGE = 0.25


def luma(pixels: np.ndarray) -> np.ndarray:
    """Rec. 709 luma of (H, W, 3) uint8 pixels: (H, W) float64, 0 to 255."""
    r, g, b = (_checked(pixels)[..., c] for c in range(3))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def histogram(pixels: np.ndarray, bins: int = 64) -> np.ndarray:
    """Counts of R, G, B and luma (rounded to whole levels) in equal bins of 0..255: (4, bins) int64.

    bins: 1 to 256. Each row sums to H * W.
    """
    if not 1 <= bins <= 256:
        raise InvalidParams(f"A histogram has 1 to 256 bins, not {bins}.")
    levels = [*np.moveaxis(_checked(pixels), -1, 0), _levels(luma(pixels))]
    return np.stack([np.bincount(v.ravel().astype(np.int64) * bins // 256, minlength=bins) for v in levels])


def statistics(pixels: np.ndarray) -> dict[str, float]:
    """Return the statistics of one picture.

    ``entropy``: Shannon entropy, in bits, of the luma in 256 levels, 0 to 8.
    ``edge_density``: share of pixels whose Sobel magnitude exceeds `EDGE` (see `sobel`).
    ``high_frequency``: see `high_frequency`.
    ``centroid_x``, ``centroid_y``: luma-weighted centre, 0 (left, top) to 1; 0.5 for a black picture.
    ``luma_mean``, ``luma_std``: of luma / 255, 0 to 1.
    ``saturation``: mean saturation in HSV, (max - min) / max of R, G, B; black counts as 0.
    """
    pixels = _checked(pixels)
    grey = luma(pixels)
    counts = np.bincount(_levels(grey).ravel(), minlength=256)
    shares = counts[counts > 0] / grey.size
    x, y = _centroid(grey)
    return {
        "entropy": abs(float((shares * np.log2(shares)).sum())),
        "edge_density": float((sobel(grey / 255) > EDGE).mean()),
        "high_frequency": high_frequency(grey),
        "centroid_x": x,
        "centroid_y": y,
        "luma_mean": float(grey.mean() / 255),
        "luma_std": luma_std(grey),
        "saturation": saturation(pixels),
    }


def saturation(pixels: np.ndarray) -> float:
    """Mean saturation in HSV of (H, W, 3) uint8 pixels, (max - min) / max of R, G, B; black counts as 0."""
    high, low = pixels.max(-1).astype(np.float64), pixels.min(-1)
    return float(((high - low) / np.maximum(high, 1)).mean())


def luma_std(grey: np.ndarray) -> float:
    """Standard deviation of luma (H, W) from 0 to 255, as a share of 255: 0 to 0.5, a measure of contrast."""
    return float(grey.std() / 255)


def sobel(values: np.ndarray) -> np.ndarray:
    """Magnitude of the Sobel gradient of (H, W) values: (H, W).

    The plain kernels, [1, 2, 1] across [-1, 0, 1], not divided by 8: an upright step of height s gives 4 s on
    both sides of it. The border repeats the outermost pixels.
    """
    v = np.pad(np.asarray(values, dtype=np.float64), 1, mode="edge")
    across, down = v[:, 2:] - v[:, :-2], v[2:] - v[:-2]
    gx = across[:-2] + 2 * across[1:-1] + across[2:]
    gy = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    return np.hypot(gx, gy)


def high_frequency(values: np.ndarray) -> float:
    """Share of the energy of (H, W) values about their mean at frequencies above half the Nyquist frequency.

    Energy is the squared magnitude of the discrete Fourier transform without its constant term; the frequency
    of a term is sqrt(fx^2 + fy^2), counted above 1/4 cycle per pixel. 0 for a flat picture. White noise gives
    about 0.80, the share of the plane of frequencies outside that circle.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.max() == values.min():
        return 0.0
    height, width = values.shape
    spectrum = np.abs(np.fft.rfft2(values - values.mean())) ** 2
    spectrum[0, 0] = 0.0
    # The half that rfft2 leaves out mirrors every column but the first and, for an even width, the last.
    spectrum[:, 1 : (width + 1) // 2] *= 2
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    return float(spectrum[frequency > 0.25].sum() / spectrum.sum())


def _centroid(grey: np.ndarray) -> tuple[float, float]:
    total = grey.sum()
    if total <= 0:
        return 0.5, 0.5
    height, width = grey.shape
    x = grey.sum(0) @ (np.arange(width) + 0.5) / (total * width)
    y = grey.sum(1) @ (np.arange(height) + 0.5) / (total * height)
    return float(x), float(y)


def _levels(grey: np.ndarray) -> np.ndarray:
    return np.rint(grey).astype(np.int64)


def _checked(pixels: np.ndarray) -> np.ndarray:
    pixels = np.asarray(pixels)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise InvalidParams(
            f"A picture is (height, width, 3) of uint8, not {pixels.shape} of {pixels.dtype}."
        )
    return pixels
