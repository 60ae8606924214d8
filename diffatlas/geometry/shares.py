"""Shares of a whole, and how well they are known."""

from __future__ import annotations

import math


def wilson(share: float, count: float, quantile: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's score interval (1927) of a share of ``count`` independent ones.

    quantile: of the standard normal distribution, by default for 95%.
    """
    square = quantile**2 / count
    middle = (share + square / 2) / (1 + square)
    spread = max(0.0, share * (1 - share)) / count + square / (4 * count)
    half = quantile * math.sqrt(spread) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)
