"""Numbers on their way to a browser."""

from __future__ import annotations

import base64
import math

import numpy as np

#: Significant digits of a number: what a curve can show.
DIGITS = 6


def rounded(value: float | None) -> float | None:
    """Return a number to `DIGITS` significant digits; None for NaN and infinity, which JSON has not."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")


def floats(values: np.ndarray) -> str:
    """Return numbers as base64 of little-endian float32."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode()


def shorts(values: np.ndarray, extent: float) -> str:
    """Return numbers within +-extent as base64 of little-endian int16, `extent` being 32767; others are clipped."""
    scaled = np.nan_to_num(np.clip(values / extent, -1, 1)) * 32767
    return base64.b64encode(scaled.round().astype("<i2").tobytes()).decode()
