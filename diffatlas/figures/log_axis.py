"""Logarithmic axes with ticks that a reader knows, and segments beside points: both as plain lines and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

#: The leads of ticks where an axis is about an octave.
_CLOSE = (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9)


def log_axis(low: float, high: float, ticks: Sequence[float] | None = None) -> dict[str, Any]:
    """Return a logarithmic axis from ``low`` to ``high``, both above 0, a little wider where they are too near.

    ticks: where they are wanted; without them at 1, at 1 and 3, at 1, 2 and 5 of each decade, or closer.
    The range is in powers of ten, as Plotly has it.
    """
    if high / low < 1.5:
        low, high = low / 1.25, high * 1.25
    at = [tick for tick in (ticks or _decades(low, high)) if low * 0.999 <= tick <= high * 1.001]
    return {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": at,
        "ticktext": [number(tick) for tick in at],
    }


def number(value: float) -> str:
    """Return a tick: "2,000", "0.05", "1e−5"."""
    if value and abs(value) < 0.001:
        return f"{value:.0e}".replace("e-0", "e-").replace("-", "−")
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def segments(pairs: Iterable[tuple[Any, Any]]) -> list[Any]:
    """Return the coordinates of separate lines for one trace: a, b, None, and so on."""
    return [part for a, b in pairs for part in (a, b, None)]


def _decades(low: float, high: float) -> list[float]:
    span = high / low
    leads: tuple[float, ...] = (1,)
    for most, closer in ((300, (1, 3)), (20, (1, 2, 5)), (4, (1, 1.5, 2, 3, 4, 5, 7)), (2.2, _CLOSE)):
        if span <= most:
            leads = closer
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high))
    return [lead * 10.0**power for power in range(first, last + 1) for lead in leads]
