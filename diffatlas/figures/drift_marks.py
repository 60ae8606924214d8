"""What is marked in charts of drift: the baseline, the largest change, and where clipping and collapse begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from diffatlas.figures.figure import text
from diffatlas.figures.template import dash, ground, lane_colour
from diffatlas.figures.values import ValueAxis
from diffatlas.library.study import Lane, Study
from diffatlas.measured import finite
from diffatlas.studies.numbers import base_column, lane_measures

#: What begins, by the chart in which it is marked: its name among the measures, and its words.
BEGINS = {"clipped": ("clipping", "clipping begins"), "diversity": ("collapse", "mode collapse begins")}


@dataclass(frozen=True)
class Mark:
    """An upright rule at ``x``, or a band from ``x`` to ``to``.

    kind: "baseline", "largest_change", "clipping" or "collapse". lane: its key; empty for the baseline. row: in
    which its head lies, the first at the top, so that none hides another. said: what is told of it, as Plotly shows it.
    """

    kind: str
    x: float
    to: float | None
    words: str
    said: str
    colour: str
    dash: str
    lane: str = ""
    row: int = 0


def marks_of(
    study: Study,
    measures: Mapping[str, Any],
    name: str,
    axis: ValueAxis,
    dark: bool = False,
    lanes: Sequence[Lane] | None = None,
) -> list[Mark]:
    """Return the marks of the chart of a number: the baseline, and those of the lanes that are drawn, or of all."""
    drawn = study.lanes if lanes is None else lanes
    base = base_column(study, measures)
    found = []
    if base in axis.at:
        said = f"baseline: {text(axis.labels[base])}"
        found.append(Mark("baseline", axis.at[base], None, "baseline", said, ground(dark).muted, "dot"))
    for place, lane in enumerate(study.lanes):
        if lane not in drawn:
            continue
        measured = lane_measures(measures, lane.key)
        look = (lane_colour(place, dark), dash(place), lane.key)
        who = f"{text(lane.name)}: " if len(drawn) > 1 else ""
        change = (measured.get("largest_change") or {}).get(name.removeprefix("drift_"))
        if name.startswith("drift_") and change and {change["from"], change["to"]} <= set(axis.at):
            a, b = change["from"], change["to"]
            size = finite(change.get("size"))
            said = f"{who}largest change, {text(axis.labels[a])} to {text(axis.labels[b])}"
            said += "" if size is None else f" ({abs(size):.3g})"
            low, high = sorted((axis.at[a], axis.at[b]))
            found.append(Mark("largest_change", low, high, "largest change", said, *look, place + 1))
        kind, words = BEGINS.get(name, ("", ""))
        column = (measured.get(kind) or {}).get("column")
        if column in axis.at:
            said = f"{who}{words} at {text(axis.labels[column])}"
            found.append(Mark(kind, axis.at[column], None, words, said, *look, place))
    return found


def shape_of(mark: Mark, axes: Mapping[str, str]) -> dict[str, Any]:
    """Return the rule or the band of a mark, behind the lines of a chart."""
    ends = {"x0": mark.x, "x1": mark.x if mark.to is None else mark.to, "y0": 0, "y1": 1}
    on = {"xref": axes["xaxis"], "yref": f"{axes['yaxis']} domain", "layer": "below"}
    line = {"color": mark.colour, "dash": mark.dash}
    if mark.to is not None:
        return {
            "type": "rect",
            "fillcolor": mark.colour,
            "opacity": 0.2,
            "line": {**line, "width": 1},
            **ends,
            **on,
        }
    return {"type": "line", "line": {**line, "width": 1.1 if mark.kind == "baseline" else 1.6}, **ends, **on}


def head_of(mark: Mark, axes: Mapping[str, str], height: float) -> go.Scatter:
    """Return the head of a mark, which tells what it is; height: where it lies in the chart."""
    return go.Scatter(
        x=[_middle(mark)],
        y=[height],
        mode="markers",
        marker={"symbol": "triangle-down", "size": 8, "color": mark.colour},
        showlegend=False,
        legendgroup=mark.lane or None,
        customdata=[[mark.said]],
        hovertemplate="%{customdata[0]}<extra></extra>",
        meta={"mark": mark.kind, "lane": mark.lane},
        **axes,
    )


def note_of(mark: Mark, axes: Mapping[str, str], height: float, axis: ValueAxis) -> dict[str, Any]:
    """Return the words beside the head of a mark, on the side that has more room."""
    x = _middle(mark)
    late = x > (axis.low + axis.high) / 2
    return {
        "name": mark.kind,
        "text": mark.words,
        "xref": axes["xaxis"],
        "yref": axes["yaxis"],
        "x": x,
        "y": height,
        "xanchor": "right" if late else "left",
        "yanchor": "middle",
        "xshift": -7 if late else 7,
        "font": {"size": 11, "color": mark.colour},
    }


def _middle(mark: Mark) -> float:
    return mark.x if mark.to is None else (mark.x + mark.to) / 2
