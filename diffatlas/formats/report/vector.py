"""Draws a figure of `diffatlas.figures` as vectors, for the PDF report: lines, points, bars, heat maps and marks.

It reads what the figure says and adds nothing: its numbers, colours, dashes, symbols, ticks and titles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from diffatlas.formats.report.vector_axes import Axis, Place, axes_of
from diffatlas.formats.report.vector_ink import CORNERS, STROKES, Ink, ink, scaled, strokes, words_of
from diffatlas.look import PAPER

if TYPE_CHECKING:
    from reportlab.graphics.shapes import Drawing

    from diffatlas.figures.panels import Panel

#: Points around a chart: for the numbers of its axes and its title.
LEFT, RIGHT, TOP, BOTTOM = 32, 10, 17, 24
LEGEND = 12
#: Labels of an axis are cut after so many characters, and drawn only where they have room.
_LABEL, _CHARACTER = 14, 3.75
#: Plotly's pixels in points of a report, where a chart is about a third as wide.
_SCALE = 0.62


def draw(given: Any, width: float, row: float, across: int, empty: bool = True) -> Drawing:
    """Return the charts of a figure or of several, ``across`` in a row, each row ``row`` points tall.

    Above them is the legend of the first. empty: whether charts without a value are there and say why.
    """
    from reportlab.graphics.shapes import Drawing

    from diffatlas.figures.panels import panels

    figures = given if isinstance(given, Sequence) else [given]
    charts = [chart for one in figures for chart in panels(one) if empty or chart.traces]
    rows = -(-len(charts) // across)
    legend = list(_legend(figures[0], width))
    drawing = Drawing(width, rows * row + LEGEND * len(legend))
    for number, entries in enumerate(legend):
        _draw_legend(drawing, entries, rows * row + LEGEND * (len(legend) - number - 1) + 3)
    for number, chart in enumerate(charts):
        at, column = divmod(number, across)
        box = (column * width / across, (rows - 1 - at) * row, width / across, row)
        _draw(drawing, chart, box)
    return drawing


def _draw(drawing: Drawing, chart: Panel, box: tuple[float, float, float, float]) -> None:
    from reportlab.graphics.shapes import Line, String

    left, bottom = box[0] + LEFT, box[1] + BOTTOM
    place = Place(left, bottom, box[2] - LEFT - RIGHT, box[3] - TOP - BOTTOM)
    title = {"fontName": "Times-Bold", "fontSize": 8.5, "fillColor": ink(PAPER.ink).colour}
    drawing.add(String(left, place.top + 6, words_of(chart.title), **title))
    axes = axes_of(chart, place)
    if axes is None:
        said = next((words_of(note.text) for note in chart.notes), "Not measured.")
        drawing.add(String(left, bottom + place.tall / 2, said, **_small("Times-Italic", 8)))
        return
    x, y = axes
    _draw_axes(drawing, x, y, place)
    for shape in chart.shapes:
        _draw_shape(drawing, shape, x, y, place)
    for trace in chart.traces:
        if trace.visible in (None, True):
            _DRAWN[trace.type](drawing, trace, x, y)
    drawing.add(Line(left, bottom, place.right, bottom, strokeColor=ink(PAPER.muted).colour, strokeWidth=0.5))
    for note in chart.notes:
        _draw_note(drawing, note, x, y, place)


def _draw_axes(drawing: Drawing, x: Axis, y: Axis, place: Place) -> None:
    from reportlab.graphics.shapes import Line, String

    rule, muted, label = ink(PAPER.rule).colour, ink(PAPER.muted).colour, _small()
    for value, words in y.ticks:
        at = y.at(value)
        if y.grid:
            drawing.add(Line(place.left, at, place.right, at, strokeColor=rule, strokeWidth=0.4))
        drawing.add(
            String(place.left - 3, at - 2, words[: 7 if not y.words else _LABEL], textAnchor="end", **label)
        )
    free = place.left - 100.0
    for value, words in x.ticks:
        at, shown = x.at(value), words[:_LABEL]
        drawing.add(Line(at, place.bottom, at, place.bottom - 2, strokeColor=muted, strokeWidth=0.4))
        half = len(shown) * _CHARACTER / 2
        if at - half > free:
            drawing.add(String(at, place.bottom - 8.5, shown, textAnchor="middle", **label))
            free = at + half + 2
    if x.title:
        drawing.add(String(place.right, place.bottom - 17, words_of(x.title), textAnchor="end", **label))


def _draw_scatter(drawing: Drawing, trace: Any, x: Axis, y: Axis) -> None:
    from reportlab.graphics.shapes import Polygon, PolyLine

    xs, ys = x.values(trace.x), y.values(trace.y)
    mode = trace.mode or ("lines+markers" if len(xs) < 20 else "lines")
    placed = [None if a is None or b is None else (x.at(a), y.at(b)) for a, b in zip(xs, ys, strict=True)]
    opacity = 1.0 if trace.opacity is None else trace.opacity
    stroke = ink(trace.line.color, opacity, PAPER.burgundy)
    if trace.fill == "toself":
        flat = [number for point in placed if point for number in point]
        fill = ink(trace.fillcolor, opacity, PAPER.rule)
        drawing.add(
            Polygon(flat, fillColor=fill.colour, fillOpacity=fill.opacity, strokeColor=None, strokeWidth=0)
        )
    if "lines" in mode and (trace.line.width is None or trace.line.width > 0):
        for part in unbroken(placed):
            if len(part) > 1:
                drawing.add(
                    PolyLine(
                        [number for point in part for number in point],
                        strokeColor=stroke.colour,
                        strokeOpacity=stroke.opacity,
                        strokeWidth=(trace.line.width or 2) * _SCALE,
                        strokeLineJoin=1,
                        strokeDashArray=strokes(trace.line.dash),
                    )
                )
    if "markers" in mode:
        for k, point in enumerate(placed):
            if point:
                _draw_marker(drawing, trace.marker, k, point, opacity, stroke)
    if "text" in mode:
        for k, point in enumerate(placed):
            if point and (said := words_of(_nth(trace.text, k) or "")):
                away = 2.5 + (_radius(trace.marker, k) if "markers" in mode else 0.0)
                _draw_words(drawing, said, point, x, _nth(trace.textposition, k) or "", away)


def _draw_marker(
    drawing: Drawing,
    marker: Any,
    k: int,
    point: tuple[float, float],
    opacity: float,
    stroke: Ink,
    most: float = math.inf,
) -> None:
    from reportlab.graphics.shapes import Circle, Line, Polygon

    shape = str(_nth(marker.symbol, k) or "circle")
    hollow = shape.endswith("-open")
    shape = shape.removesuffix("-open")
    radius = min(_radius(marker, k), most)
    if marker.opacity is not None:
        opacity *= _nth(marker.opacity, k)
    given = _nth(marker.color, k)
    fill = stroke if given is None else ink(given, opacity)
    ring = _nth(marker.line.color, k) if marker.line.width and _nth(marker.line.width, k) else None
    edge = fill.colour if hollow else ink(ring).colour if ring else None
    style = {
        "fillColor": None if hollow else fill.colour,
        "fillOpacity": fill.opacity,
        "strokeColor": edge,
        "strokeWidth": max((_nth(marker.line.width, k) or 1.5) * _SCALE, 0.6) if edge else 0,
    }
    if shape in STROKES:
        for (ax, ay), (bx, by) in STROKES[shape]:
            ends = (
                point[0] + ax * radius,
                point[1] + ay * radius,
                point[0] + bx * radius,
                point[1] + by * radius,
            )
            drawing.add(Line(*ends, strokeColor=fill.colour, strokeWidth=1.1))
    elif shape in CORNERS:
        flat = [c for dx, dy in CORNERS[shape] for c in (point[0] + dx * radius, point[1] + dy * radius)]
        drawing.add(Polygon(flat, **style))
    else:
        drawing.add(Circle(*point, radius, **style))


def _radius(marker: Any, k: int) -> float:
    size = _nth(marker.size, k)
    return (6 if size is None else size) * _SCALE / 2


def _draw_bar(drawing: Drawing, trace: Any, x: Axis, y: Axis) -> None:
    from reportlab.graphics.shapes import Rect

    xs, ys = x.values(trace.x), y.values(trace.y)
    known = sorted({value for value in xs if value is not None})
    pitch = min((b - a for a, b in pairwise(known)), default=1.0)
    base = y.at(max(min(0.0, y.high), y.low))
    for k, (a, b) in enumerate(zip(xs, ys, strict=True)):
        if a is None or b is None:
            continue
        wide = _nth(trace.width, k) or pitch * 0.9
        fill = ink(
            _nth(trace.marker.color, k), 1.0 if trace.opacity is None else trace.opacity, PAPER.burgundy
        )
        low, high = sorted((base, y.at(b)))
        start, end = x.at(a - wide / 2), x.at(a + wide / 2)
        style = {"fillColor": fill.colour, "fillOpacity": fill.opacity, "strokeColor": None, "strokeWidth": 0}
        drawing.add(Rect(start, low, end - start, high - low, **style))


def _draw_heatmap(drawing: Drawing, trace: Any, x: Axis, y: Axis) -> None:
    from reportlab.graphics.shapes import Rect

    rows = [[_finite(value) for value in row] for row in trace.z]
    xs = x.values(trace.x) if trace.x is not None else list(range(len(rows[0])))
    ys = y.values(trace.y) if trace.y is not None else list(range(len(rows)))
    known = [value for row in rows for value in row if value is not None]
    if not known:
        return
    low = trace.zmin if trace.zmin is not None else min(known)
    high = trace.zmax if trace.zmax is not None else max(known)
    lefts, bottoms = edges(xs), edges(ys)
    for j, row in enumerate(rows):
        for i, value in enumerate(row):
            if value is None:
                continue
            share = (value - low) / (high - low) if high > low else 0.5
            colour = ink(scaled(trace.colorscale, share)).colour
            (left, right), (bottom, top) = (
                sorted(map(axis.at, pair)) for axis, pair in ((x, lefts[i]), (y, bottoms[j]))
            )
            style = {"fillColor": colour, "strokeColor": colour, "strokeWidth": 0.1}
            drawing.add(Rect(left, bottom, right - left, top - bottom, **style))


def _draw_shape(drawing: Drawing, shape: Any, x: Axis, y: Axis, place: Place) -> None:
    from reportlab.graphics.shapes import Line, Rect

    xs = [
        place.left + v * place.wide if "domain" in (shape.xref or "") else x.at(v)
        for v in x.values((shape.x0, shape.x1))
    ]
    ys = [
        place.bottom + v * place.tall if "domain" in (shape.yref or "") else y.at(v)
        for v in y.values((shape.y0, shape.y1))
    ]
    opacity = 1.0 if shape.opacity is None else shape.opacity
    if shape.type == "rect":
        fill = ink(shape.fillcolor, opacity, PAPER.rule)
        style = {"fillColor": fill.colour, "fillOpacity": fill.opacity, "strokeColor": None, "strokeWidth": 0}
        drawing.add(Rect(min(xs), min(ys), abs(xs[1] - xs[0]), abs(ys[1] - ys[0]), **style))
        if not shape.line.width:
            return
    stroke = ink(shape.line.color, opacity, PAPER.muted)
    dash = strokes(shape.line.dash)
    style = {"strokeColor": stroke.colour, "strokeOpacity": stroke.opacity, "strokeDashArray": dash}
    style["strokeWidth"] = (shape.line.width or 1) * _SCALE
    if shape.type == "rect":
        drawing.add(Rect(min(xs), min(ys), abs(xs[1] - xs[0]), abs(ys[1] - ys[0]), fillColor=None, **style))
    else:
        drawing.add(Line(xs[0], ys[0], xs[1], ys[1], **style))


def _draw_note(drawing: Drawing, note: Any, x: Axis, y: Axis, place: Place) -> None:
    from reportlab.graphics.shapes import String

    across, up = _across(note.x, note.xref, x, place), _up(note.y, note.yref, y, place)
    anchor = {"left": "start", "right": "end"}.get(note.xanchor or "", "middle")
    colour = ink(note.font.color, 1.0, PAPER.muted).colour
    drawing.add(
        String(across, up - 2, words_of(note.text), textAnchor=anchor, **{**_small(), "fillColor": colour})
    )


def _across(value: Any, ref: str | None, x: Axis, place: Place) -> float:
    """Return where a value lies across: on the axis, or as a share of the chart's width."""
    return place.left + value * place.wide if "domain" in (ref or "") else x.at(*x.values([value]))


def _up(value: Any, ref: str | None, y: Axis, place: Place) -> float:
    return place.bottom + value * place.tall if "domain" in (ref or "") else y.at(*y.values([value]))


def _draw_words(
    drawing: Drawing, said: str, point: tuple[float, float], x: Axis, side: str, away: float
) -> None:
    """Write beside a point: on the side that the figure says, else to its right, or to its left near the right edge."""
    from reportlab.graphics.shapes import String

    upright, _, level = (side or "middle").partition(" ")
    if not side:
        level = "left" if point[0] > x.start + (x.end - x.start) * 0.8 else "right"
    anchor = {"left": "end", "right": "start"}.get(level, "middle")
    across = {"left": -away, "right": away}.get(level, 0.0)
    up = {"top": away - 1, "bottom": -away - 3.5}.get(upright, -2.0)
    drawing.add(String(point[0] + across, point[1] + up, said[:_LABEL], textAnchor=anchor, **_small()))


_DRAWN = {"scatter": _draw_scatter, "bar": _draw_bar, "heatmap": _draw_heatmap}


def _legend(figure: Any, width: float) -> Iterator[list[tuple[Any, str, float]]]:
    """Yield lines of (trace, words, position) that fit the width; none where the figure shows no legend."""
    entries = [
        one for one in figure.data if one.showlegend is not False and one.name and one.type != "heatmap"
    ]
    if figure.layout.showlegend is False or len(entries) < 2:
        return
    line: list[tuple[Any, str, float]] = []
    at = 0.0
    for one in entries:
        said = words_of(one.name)
        wide = 22 + len(said) * _CHARACTER + 10
        if line and at + wide > width:
            yield line
            line, at = [], 0.0
        line.append((one, said, at))
        at += wide
    yield line


def _draw_legend(drawing: Drawing, entries: Sequence[tuple[Any, str, float]], up: float) -> None:
    from reportlab.graphics.shapes import Line, String

    for trace, said, at in entries:
        mode = trace.mode if trace.type == "scatter" else "markers"
        stroke = ink(trace.line.color if trace.type == "scatter" else None, 1.0, PAPER.burgundy)
        if "lines" in (mode or "lines"):
            dash = strokes(trace.line.dash)
            style = {"strokeColor": stroke.colour, "strokeWidth": 1.2, "strokeDashArray": dash}
            drawing.add(Line(at, up + 2, at + 18, up + 2, **style))
        if "markers" in (mode or ""):
            _draw_marker(drawing, trace.marker, 0, (at + 9, up + 2), 1.0, stroke, LEGEND / 3)
        drawing.add(String(at + 22, up, said, **_small()))


def unbroken(points: Sequence[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    """Return the stretches of points that are known."""
    parts: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            parts.append([])
        else:
            parts[-1].append(point)
    return [part for part in parts if part]


def edges(centres: Sequence[float]) -> list[tuple[float, float]]:
    """Return where the cells around centres begin and end: halfway to their neighbours."""
    if len(centres) == 1:
        return [(centres[0] - 0.5, centres[0] + 0.5)]
    between = [(a + b) / 2 for a, b in pairwise(centres)]
    lows = [2 * centres[0] - between[0], *between]
    highs = [*between, 2 * centres[-1] - between[-1]]
    return list(zip(lows, highs, strict=True))


def _nth(value: Any, k: int) -> Any:
    """Return what a figure says of the k-th point: one for all, or one for each."""
    if value is None or isinstance(value, str | int | float) or not hasattr(value, "__len__"):
        return value
    return value[k] if k < len(value) else None


def _finite(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _small(font: str = "Courier", size: float = 6.2) -> Mapping[str, Any]:
    return {"fontName": font, "fontSize": size, "fillColor": ink(PAPER.muted).colour}
