"""The curves of the PDF report, drawn as vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffatlas.export.lettering import fit
from diffatlas.look import PAPER
from diffatlas.measured import State, finite

if TYPE_CHECKING:
    from reportlab.graphics.shapes import Drawing

INK, MUTED, RULE, SHEET = PAPER.ink, PAPER.muted, PAPER.rule, PAPER.paper
GOLD, BURGUNDY = PAPER.gold, PAPER.burgundy


@dataclass(frozen=True)
class Chart:
    """A small chart: its title, the metrics it draws, and a word for each where it draws two."""

    title: str
    metrics: tuple[str, ...]
    words: tuple[str, ...] = ()


CHARTS = (
    Chart("Norm", ("norm",)),
    Chart("Step length", ("step_length",)),
    Chart("Distance to end", ("distance_to_end",)),
    Chart("Cosine", ("cosine_to_start", "cosine_to_end"), ("to start", "to end")),
    Chart("Guidance norm", ("guidance_norm",)),
    Chart("Guidance angle, degrees", ("guidance_angle",)),
)
ACROSS = 3
_LEFT, _RIGHT, _TOP, _BOTTOM = 30, 8, 16, 13


def curves(states: Sequence[State], colour: str, width: float, height: float) -> Drawing:
    """Return `CHARTS` of a run's states, three in a row, ``height`` points a row; ``colour`` is the layer's."""
    from reportlab.graphics.shapes import Drawing

    rows = -(-len(CHARTS) // ACROSS)
    drawing = Drawing(width, rows * height)
    for number, chart in enumerate(CHARTS):
        row, column = divmod(number, ACROSS)
        x, y = column * width / ACROSS, (rows - 1 - row) * height
        _draw(drawing, chart, states, colour, (x, y, width / ACROSS, height))
    return drawing


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return about ``count`` round numbers from ``low`` to ``high``: multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * power for factor in (1, 2, 5) if factor * power >= rough), 10 * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _draw(
    drawing: Drawing,
    chart: Chart,
    states: Sequence[State],
    colour: str,
    box: tuple[float, float, float, float],
) -> None:
    from reportlab.graphics.shapes import Circle, Line, PolyLine, String
    from reportlab.lib.colors import HexColor
    from reportlab.pdfbase.pdfmetrics import stringWidth

    left, bottom = box[0] + _LEFT, box[1] + _BOTTOM
    wide, tall = box[2] - _LEFT - _RIGHT, box[3] - _TOP - _BOTTOM
    muted, rule = HexColor(MUTED), HexColor(RULE)
    title = {"fontName": "Times-Bold", "fontSize": 8.5, "fillColor": HexColor(INK)}
    label = {"fontName": "Courier", "fontSize": 6.2, "fillColor": muted}
    at = left
    for words, ink in ((chart.title, INK), *zip(chart.words, (GOLD, BURGUNDY), strict=False)):
        drawing.add(String(at, bottom + tall + 6, words, **{**title, "fillColor": HexColor(ink)}))
        at += stringWidth(words, "Times-Bold", 8.5) + 5

    series = {name: [(s.step, finite(s.metrics[name])) for s in states] for name in chart.metrics}
    values = [v for points in series.values() for _, v in points if v is not None]
    if not values:
        words = "Not measured in this run."
        drawing.add(
            String(left, bottom + tall / 2, words, **{**label, "fontName": "Times-Italic", "fontSize": 8})
        )
        return
    low, high = min(values), max(values)
    margin = (high - low) * 0.06 or abs(high) * 0.06 or 1.0
    low, high = low - margin, high + margin
    last = max(states[-1].step, 1)

    def across(step: float) -> float:
        return left + wide * step / last

    def up(value: float) -> float:
        return bottom + tall * (value - low) / (high - low)

    for tick in ticks(low, high, 5):
        drawing.add(Line(left, up(tick), left + wide, up(tick), strokeColor=rule, strokeWidth=0.4))
        drawing.add(String(left - 3, up(tick) - 2, fit(tick, 7), textAnchor="end", **label))
    for tick in ticks(0, last):
        if tick == int(tick):
            drawing.add(
                Line(across(tick), bottom, across(tick), bottom - 2, strokeColor=muted, strokeWidth=0.4)
            )
            drawing.add(String(across(tick), bottom - 8.5, str(int(tick)), textAnchor="middle", **label))
    drawing.add(Line(left, bottom, left + wide, bottom, strokeColor=muted, strokeWidth=0.5))
    strokes = [colour] if len(series) == 1 else [GOLD, BURGUNDY]
    for stroke, points in zip(strokes, series.values(), strict=True):
        for part in _unbroken(points):
            placed = [(across(step), up(value)) for step, value in part]
            if len(placed) > 1:
                flat = [number for point in placed for number in point]
                drawing.add(PolyLine(flat, strokeColor=HexColor(stroke), strokeWidth=1.1, strokeLineJoin=1))
        known = [(across(step), up(value)) for step, value in points if value is not None]
        for end, dot in ((known[:1], GOLD), (known[-1:], BURGUNDY)):
            for x, y in end:
                drawing.add(Circle(x, y, 1.7, fillColor=HexColor(dot), strokeColor=None, strokeWidth=0))


def _unbroken(points: Sequence[tuple[int, float | None]]) -> list[list[tuple[int, float]]]:
    """Return the stretches of points whose values are known."""
    parts: list[list[tuple[int, float]]] = [[]]
    for step, value in points:
        if value is None:
            parts.append([])
        else:
            parts[-1].append((step, value))
    return [part for part in parts if part]
