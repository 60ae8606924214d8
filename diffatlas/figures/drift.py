"""Drift of a sweep: how far each value leads from the baseline, and what becomes of the images, lane by lane."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go

from diffatlas.errors import InvalidParams
from diffatlas.figures.beside import Beside, Own
from diffatlas.figures.drift_beside import beside_words, fields_alike, lines_beside, trace_beside
from diffatlas.figures.drift_charts import Chart, charts_of, known_in
from diffatlas.figures.drift_marks import head_of, marks_of, note_of, shape_of
from diffatlas.figures.drift_words import says, spoken
from diffatlas.figures.figure import Figure, figure, text, wrapped
from diffatlas.figures.measures import check_study, field_of, lanes_of, plain_measures
from diffatlas.figures.panels import READING, ROW, lay_out, reading_lines, say_absent
from diffatlas.figures.template import dash, lane_colour, symbol
from diffatlas.figures.values import ValueAxis, value_axis
from diffatlas.library.study import Lane, Study
from diffatlas.studies.curves import Curve, lane_curves
from diffatlas.studies.numbers import asked

ACROSS = 3
#: Pixels of a row of marks, and of what lies between two rows of charts.
_LINE, _BETWEEN = 13, 58


def drift(
    study: Study,
    measures: Any,
    dark: bool = False,
    across: int = ACROSS,
    *,
    lane: str | None = None,
    row: int | None = None,
    own: Own | None = None,
    beside: Sequence[Beside] = (),
    read: bool = False,
) -> Figure:
    """Return the charts of a sweep by value: each distance from the baseline, then `CHARTS`; a line for each lane.

    measures: what `diffatlas.studies.measure_sweep.measure_sweep` found, or it as plain JSON types. A point is the
    mean over the seeds of a lane; where nothing is known the line is broken. Marked are the baseline (upright rule),
    the largest change of each distance (band), and where clipping and mode collapse begin (upright rules). What is not
    measured has a chart that says so.
    across: charts in a row, 1 or more.
    lane, row: of the one lane, and of the one seed, that are drawn; else of all. Diversity is between all seeds, and
    bands and marks are those of the means.
    beside: other sweeps, whose lines are means over their seeds, each against its own baseline; a sweep of another
    field is named and not drawn. own: name and colour of this one then.
    read: whether who shows it writes the values beneath the titles, for which room is left. The layout's ``meta`` has
    ``panels`` and ``reading`` as those of `diffatlas.figures.curves.frame`, and ``told``: what it says, by paragraphs.

    Raises `InvalidParams` for a study that is no sweep, for a lane that it does not have, and for what are no measures.
    """
    check_study(study, "sweep", "Drift")
    if across < 1:
        raise InvalidParams(f"{across} charts in a row cannot be drawn: give 1 or more.")
    measures = plain_measures(measures)
    lanes = lanes_of(study, lane)
    field = field_of(study, measures)
    others = [one for one in beside if fields_alike(one, field)]
    axis = value_axis(study, field, across, [one.study for one in others])
    charts = charts_of(study, measures)
    curves = {one.key: lane_curves(study, measures, one.key, row) for one in lanes}
    drawn = {
        chart.name: [one for one in lanes if known_in(curves[one.key].get(chart.name))] for chart in charts
    }
    told = says(study, measures, axis, drawn, lanes, row) + beside_words(study, measures, beside, row)
    summary = spoken(study, measures, charts, curves, axis, lanes, row)
    made = figure("drift", f"Drift · {study.title or asked(study)}", " ".join(told), summary, dark)
    _write(made, told, [one.name for one in lanes])
    named: set[str] = set()
    traces, shapes, notes = [], [], []
    company = {chart.name: lines_beside(chart, others, measures, axis) for chart in charts}
    count = len(lanes) + sum(len(one.study.lanes) for one in others)
    # A title and the value of a single line need not fit beside each other.
    readings = max(1, reading_lines(count)) if read else 0
    grid = _grid(made, [chart.title for chart in charts], across, len(lanes), readings)
    for number, (chart, axes) in enumerate(zip(charts, grid, strict=True)):
        known = {one.key: curves[one.key][chart.name] for one in drawn[chart.name]}
        if not known and not company[chart.name]:
            say_absent(made, axes, chart.absent)
            continue
        made.layout[_long(axes["xaxis"])].update(axis.layout)
        if number < len(charts) - across:
            made.layout[_long(axes["xaxis"])].title.text = None
        marks = marks_of(study, measures, chart.name, axis, dark, lanes)
        if own is not None:
            marks = [replace(mark, colour=own.colour) if mark.lane else mark for mark in marks]
        values = [*(curve.values for curve in known.values()), *(line.values for line in company[chart.name])]
        low, top, height = _reach(values, max((mark.row for mark in marks), default=-1) + 1)
        made.layout[_long(axes["yaxis"])].update({"range": [low, top]})
        for mark in marks:
            at = top - height * (mark.row + 0.6)
            shapes.append(shape_of(mark, axes))
            traces.append(head_of(mark, axes, at))
            # Bands are told above, and the baseline, which every chart has, in the first.
            if mark.to is None and (mark.kind != "baseline" or number == 0):
                notes.append(note_of(mark, axes, at, axis))
        for one in drawn[chart.name]:
            place = study.lanes.index(one)
            line = _line(axes, chart, study, one, place, known[one.key], axis, row, dark)
            line.showlegend = one.key not in named
            if own is not None:
                line.update(name=own.called(study, one), line_color=own.colour, marker_color=own.colour)
            traces.append(line)
            named.add(one.key)
        for line in company[chart.name]:
            traces.append(trace_beside(line, axes, chart.unit, line.key not in named))
            named.add(line.key)
    # At once: Plotly goes through all that it has for each that is added.
    made.add_traces(traces)
    made.layout.meta = {
        **made.layout.meta,
        "panels": [
            {
                "key": chart.term,
                "name": chart.title.removesuffix(", degrees"),
                "unit": chart.unit,
                "whole": chart.name == "parting",
            }
            for chart in charts
        ],
        "along": "value",
        "reading": readings * READING,
        "told": told,
    }
    made.update_layout(shapes=shapes, annotations=[*made.layout.annotations, *notes], showlegend=count > 1)
    return made


def _line(
    axes: Mapping[str, str],
    chart: Chart,
    study: Study,
    lane: Lane,
    place: int,
    curve: Curve,
    axis: ValueAxis,
    row: int | None,
    dark: bool,
) -> go.Scatter:
    """Return the line of a lane. Its ``meta`` has the key of a cell for each point: of the seed, or of the first."""
    columns = sorted(axis.order)
    order = [columns.index(column) for column in axis.order]
    colour = lane_colour(place, dark)
    over = "between" if chart.name == "diversity" else "mean of"
    seeds = [f", {over} {curve.seeds[k]} seeds" if curve.seeds[k] > 1 else "" for k in order]
    said = "%{customdata[0]}: %{y:.4g}" + chart.unit + "%{customdata[2]}"
    cells = {
        cell.column: cell.key for cell in reversed(study.in_lane(lane.key)) if row is None or cell.row == row
    }
    return go.Scatter(
        x=[axis.at[column] for column in axis.order],
        y=[curve.values[k] for k in order],
        mode="lines+markers",
        name=text(lane.name),
        legendgroup=lane.key,
        line={"color": colour, "width": 1.6, "dash": dash(place)},
        marker={"color": colour, "size": 6, "symbol": symbol(place)},
        customdata=[
            [text(axis.labels[column]), text(lane.name), count]
            for column, count in zip(axis.order, seeds, strict=True)
        ],
        hovertemplate=f"{said}<extra>%{{customdata[1]}}</extra>",
        meta={
            "lane": lane.key,
            "line": lane.key,
            "measure": chart.name,
            "columns": list(axis.order),
            "keys": [cells.get(column) for column in axis.order],
        },
        **axes,
    )


def _write(made: Figure, said: Sequence[str], names: Sequence[str]) -> None:
    """Write paragraphs beneath the title; the name of the lane that one begins with is bold."""
    lines = []
    for paragraph in said:
        line = wrapped(paragraph)
        name = next((own for one in names if line.startswith(own := f"{text(one)}: ")), "")
        lines.append(f"<b>{name}</b>{line.removeprefix(name)}" if name and len(names) > 1 else line)
    made.update_layout(title_subtitle_text="<br>".join(lines))
    made.update_layout(margin_t=78 + 17 * sum(line.count("<br>") + 1 for line in lines))


def _grid(
    made: Figure, titles: Sequence[str], across: int, lanes: int, readings: int
) -> list[dict[str, str]]:
    """Lay out charts with room for the marks of lanes, and for the titles of the axes above the legend."""
    axes = lay_out(made, titles, across, ROW + _LINE * (lanes - 1), readings)
    room, plots = 26, made.layout.height - made.layout.margin.t - made.layout.margin.b
    made.update_layout(
        height=made.layout.height + room, margin_b=made.layout.margin.b + room, legend_y=-(36 + 18) / plots
    )
    return axes


def _reach(values: Iterable[Sequence[float | None]], rows: int) -> tuple[float, float, float]:
    """Return the ends of a chart, with room for so many rows of marks above its lines, and the height of a row."""
    known = [value for own in values for value in own if value is not None]
    low, high = min(known), max(known)
    size = high - low
    if size < 1e-9 * max(1.0, abs(high)):
        size = abs(high) * 0.2 or 1.0
        low, high = low - size / 2, high + size / 2
    free = ROW - _BETWEEN - _LINE
    row = size * _LINE / free
    return low - 0.06 * size, high + row * (rows + 0.5), row


def _long(axis: str) -> str:
    """Return the name of an axis in a layout: "xaxis2" for "x2"."""
    return f"{axis[0]}axis{axis[1:]}"
