"""The charts of a study's report as vectors: lines and dots in a plane with two axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffatlas.export.lettering import fit
from diffatlas.export.named import plain
from diffatlas.export.vector_axes import ticks
from diffatlas.look import PAPER
from diffatlas.measured import finite

if TYPE_CHECKING:
    from reportlab.graphics.shapes import Drawing

BURGUNDY, GOLD, INK, MUTED, RULE = PAPER.burgundy, PAPER.gold, PAPER.ink, PAPER.muted, PAPER.rule
_LEFT, _RIGHT, _TOP, _BOTTOM = 32, 10, 17, 24
#: Labels of an axis are cut after so many characters, and drawn only where they have room.
_LABEL = 12
_CHARACTER = 3.75


@dataclass(frozen=True)
class Line:
    """Points (x, y) joined in order; a y of None breaks the line. ``dots`` marks each point."""

    points: tuple[tuple[float, float | None], ...]
    colour: str
    width: float = 1.1
    dots: bool = False
    dash: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Dot:
    """A point with a word beside it; ``ring`` is the colour of a circle around it."""

    x: float
    y: float
    colour: str
    radius: float = 1.7
    words: str = ""
    ring: str | None = None


@dataclass(frozen=True)
class Chart:
    """A chart. ``marks``: x positions of upright rules. ``true_scale``: one unit is as long on both axes.

    ``x_ticks`` are (position, label) pairs; without them the axis has round numbers. ``zero``: y begins at 0.
    """

    title: str
    lines: tuple[Line, ...] = ()
    dots: tuple[Dot, ...] = ()
    x_title: str = ""
    x_ticks: tuple[tuple[float, str], ...] = ()
    marks: tuple[float, ...] = ()
    true_scale: bool = False
    zero: bool = False


def grid(charts: Sequence[Chart], width: float, height: float, across: int) -> Drawing:
    """Return charts, ``across`` in a row, each row ``height`` points tall and ``width`` wide."""
    from reportlab.graphics.shapes import Drawing

    rows = -(-len(charts) // across)
    drawing = Drawing(width, rows * height)
    for number, chart in enumerate(charts):
        row, column = divmod(number, across)
        _draw(drawing, chart, (column * width / across, (rows - 1 - row) * height, width / across, height))
    return drawing


def ramp(share: float) -> str:
    """Return the colour at a share from 0 (gold) to 1 (burgundy), straight in sRGB."""
    ends = [[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in (GOLD, BURGUNDY)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(*ends, strict=True))


def _draw(drawing: Drawing, chart: Chart, box: tuple[float, float, float, float]) -> None:
    from reportlab.graphics.shapes import Circle, PolyLine, String
    from reportlab.graphics.shapes import Line as Rule
    from reportlab.lib.colors import HexColor

    left, bottom = box[0] + _LEFT, box[1] + _BOTTOM
    wide, tall = box[2] - _LEFT - _RIGHT, box[3] - _TOP - _BOTTOM
    label = {"fontName": "Courier", "fontSize": 6.2, "fillColor": HexColor(MUTED)}
    title = {"fontName": "Times-Bold", "fontSize": 8.5, "fillColor": HexColor(INK)}
    drawing.add(String(left, bottom + tall + 6, plain(chart.title), **title))
    lines = [(line, [(x, finite(y)) for x, y in line.points]) for line in chart.lines]
    known = [(x, y) for _, points in lines for x, y in points if y is not None]
    known += [(dot.x, dot.y) for dot in chart.dots if finite(dot.x) is not None and finite(dot.y) is not None]
    if not known:
        words = {**label, "fontName": "Times-Italic", "fontSize": 8}
        drawing.add(String(left, bottom + tall / 2, "Not measured in this study.", **words))
        return
    xs = [x for x, _ in known] + [x for x, _ in chart.x_ticks] + list(chart.marks)
    (x0, x1), (y0, y1) = _spread(xs), _spread([y for _, y in known], chart.zero)
    if chart.true_scale:
        (x0, x1), (y0, y1) = _true((x0, x1), (y0, y1), wide / tall)

    def across(x: float) -> float:
        return left + wide * (x - x0) / (x1 - x0)

    def up(y: float) -> float:
        return bottom + tall * (y - y0) / (y1 - y0)

    for tick in ticks(y0, y1, 4):
        at = up(tick)
        drawing.add(Rule(left, at, left + wide, at, strokeColor=HexColor(RULE), strokeWidth=0.4))
        drawing.add(
            String(left - 3, at - 2, fit(tick if abs(tick) > 1e-12 else 0.0, 7), textAnchor="end", **label)
        )
    free = left - 100.0
    for tick, words in chart.x_ticks or [(tick, fit(tick, 7)) for tick in ticks(x0, x1, 5)]:
        at, shown = across(tick), plain(words)[:_LABEL]
        drawing.add(Rule(at, bottom, at, bottom - 2, strokeColor=HexColor(MUTED), strokeWidth=0.4))
        half = len(shown) * _CHARACTER / 2
        if at - half > free:
            drawing.add(String(at, bottom - 8.5, shown, textAnchor="middle", **label))
            free = at + half + 2
    if chart.x_title:
        drawing.add(String(left + wide, bottom - 17, plain(chart.x_title), textAnchor="end", **label))
    drawing.add(Rule(left, bottom, left + wide, bottom, strokeColor=HexColor(MUTED), strokeWidth=0.5))
    for mark in chart.marks:
        at = across(mark)
        drawing.add(
            Rule(
                at,
                bottom,
                at,
                bottom + tall,
                strokeColor=HexColor(BURGUNDY),
                strokeWidth=0.7,
                strokeDashArray=[2, 2],
            )
        )
    for line, points in lines:
        placed = [(across(x), None if y is None else up(y)) for x, y in points]
        for part in _unbroken(placed):
            if len(part) > 1:
                flat = [number for point in part for number in point]
                drawing.add(
                    PolyLine(
                        flat,
                        strokeColor=HexColor(line.colour),
                        strokeWidth=line.width,
                        strokeLineJoin=1,
                        strokeDashArray=list(line.dash) if line.dash else None,
                    )
                )
            for x, y in part if line.dots or len(part) == 1 else ():
                drawing.add(
                    Circle(x, y, 1.5, fillColor=HexColor(line.colour), strokeColor=None, strokeWidth=0)
                )
    for dot in chart.dots:
        if finite(dot.x) is None or finite(dot.y) is None:
            continue
        x, y = across(dot.x), up(dot.y)
        if dot.ring:
            drawing.add(
                Circle(x, y, dot.radius + 2, fillColor=None, strokeColor=HexColor(dot.ring), strokeWidth=1.2)
            )
        drawing.add(Circle(x, y, dot.radius, fillColor=HexColor(dot.colour), strokeColor=None, strokeWidth=0))
        if dot.words:
            # To the left of a point that is near the right edge.
            end = "end" if x > left + wide * 0.8 else "start"
            away = -4.5 if end == "end" else 4.5
            drawing.add(String(x + away, y - 2, plain(dot.words)[:_LABEL], textAnchor=end, **label))


def _spread(values: Iterable[float], zero: bool = False) -> tuple[float, float]:
    values = [*values, 0.0] if zero else list(values)
    low, high = min(values), max(values)
    margin = (high - low) * 0.06 or abs(high) * 0.06 or 1.0
    return (low if zero and low == 0 else low - margin), high + margin


def _true(
    x: tuple[float, float], y: tuple[float, float], aspect: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Widen one of two ranges until their lengths are in the proportion of the box."""
    wide = max(x[1] - x[0], (y[1] - y[0]) * aspect)
    grown = []
    for (low, high), length in ((x, wide), (y, wide / aspect)):
        middle = (low + high) / 2
        grown.append((middle - length / 2, middle + length / 2))
    return grown[0], grown[1]


def _unbroken(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """Return the stretches of points whose values are known."""
    parts: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None:
            parts.append([])
        else:
            parts[-1].append((x, y))
    return [part for part in parts if part]
