"""Where one box stands to another, by GenEval's rule."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Share of the two boxes' sizes by which their offset is shortened before it counts.
SLACK = 0.1
#: What the offset has to be along an axis, of its whole length, for the box to stand on that side.
DIRECTION = 0.5


def offset(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Return the offset (x, y) of a box's centre from another's, each from -1 to 1.

    It is shortened on each axis by `SLACK` of the summed sizes, floored at 0, and divided by the length of the
    unshortened one; (0, 0) where nothing is left on either axis. A relation holds where it exceeds `DIRECTION` on its
    side, so that two can hold at once (Ghosh, Hajishirzi and Schmidt 2023, arXiv 2310.11513).

    a, b: (left, top, right, bottom) in pixels, y downwards.
    """
    apart = [(a[k] + a[k + 2]) / 2 - (b[k] + b[k + 2]) / 2 for k in (0, 1)]
    slack = [SLACK * (a[k + 2] - a[k] + b[k + 2] - b[k]) for k in (0, 1)]
    short = [math.copysign(max(abs(d) - s, 0.0), d) for d, s in zip(apart, slack, strict=True)]
    if max(abs(d) for d in short) < 1e-3:
        return 0.0, 0.0
    length = math.hypot(*apart)
    return short[0] / length, short[1] / length
