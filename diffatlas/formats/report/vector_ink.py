"""The colours, words and symbols of a figure, as a drawing in vectors takes them."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from diffatlas.formats.named import plain
from diffatlas.look import PAPER, RAMP

#: Corners of the symbols, of radius 1 around the point.
CORNERS: dict[str, Sequence[tuple[float, float]]] = {
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "diamond": ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
    "triangle-up": ((-1.1, -0.8), (1.1, -0.8), (0, 1.2)),
    "triangle-down": ((-1.1, 0.8), (1.1, 0.8), (0, -1.2)),
    "star": tuple(
        (r * math.sin(k * math.pi / 5), r * math.cos(k * math.pi / 5))
        for k in range(10)
        for r in ((1.3, 0.55)[k % 2],)
    ),
    "pentagon": tuple((1.1 * math.sin(k * math.tau / 5), 1.1 * math.cos(k * math.tau / 5)) for k in range(5)),
    "hexagon": tuple((1.1 * math.sin(k * math.tau / 6), 1.1 * math.cos(k * math.tau / 6)) for k in range(6)),
}
#: Those that are strokes.
STROKES = {
    "x": (((-1, -1), (1, 1)), ((-1, 1), (1, -1))),
    "cross": (((-1.2, 0), (1.2, 0)), ((0, -1.2), (0, 1.2))),
}

#: Strokes and gaps of Plotly's dashes, in points.
_DASHES = {
    "dash": (4, 2),
    "dot": (1.5, 1.5),
    "dashdot": (6, 2, 1.5, 2),
    "longdash": (7, 2.5),
    "longdashdot": (8, 2, 1.5, 2),
}
#: Points of a pixel of other dashes.
_PIXEL = 0.45


@dataclass(frozen=True)
class Ink:
    """A colour as reportlab takes it, and how much of what is behind it is hidden."""

    colour: Any
    opacity: float = 1.0


def words_of(text: str | None) -> str:
    """Return what a text of a figure says, without the tags that are Plotly's."""
    return plain(html.unescape(re.sub(r"</?(?:b|i|br|span)\b[^<>]*>", " ", text or "")))


def ink(colour: Any, opacity: float = 1.0, otherwise: str = PAPER.ink) -> Ink:
    """Return a colour of a figure, "#rrggbb" or "rgba(r, g, b, a)"; ``otherwise`` where it names none."""
    from reportlab.lib.colors import Color, HexColor

    given = str(colour or otherwise)
    if given.startswith("rgb"):
        red, green, blue, *rest = (float(part) for part in re.findall(r"[\d.]+", given))
        return Ink(Color(red / 255, green / 255, blue / 255), opacity * (rest[0] if rest else 1.0))
    if len(given) == 9:
        opacity *= int(given[7:], 16) / 255
    return Ink(HexColor(given[:7]), opacity)


def strokes(dash: str | None) -> list[float] | None:
    """Return strokes and gaps of a line in points, by Plotly's name or "4px,2px"; None for a whole line."""
    if dash in _DASHES:
        return list(_DASHES[dash])
    found = [float(part) * _PIXEL for part in re.findall(r"([\d.]+)px", dash or "")]
    return found or None


def scaled(scale: Sequence[Sequence[Any]] | None, share: float) -> str:
    """Return the colour of a share from 0 to 1 on a scale of (share, "#rrggbb") pairs, straight in sRGB between two."""
    stops = scale or [[k / (len(RAMP) - 1), colour] for k, colour in enumerate(RAMP)]
    share = min(max(share, 0.0), 1.0)
    for (low, a), (high, b) in pairwise(stops):
        if share <= high:
            part = (share - low) / (high - low) if high > low else 0.0
            ends = [[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in (a, b)]
            return "#" + "".join(f"{round(p + (q - p) * part):02x}" for p, q in zip(*ends, strict=True))
    return str(stops[-1][1])
