"""Small multiples: charts in a grid that share a legend, and how to read them out of a figure again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from diffatlas.figures.figure import Figure, text

#: Pixels of one row, of a line of text in it, and what lies between two charts of a row, as a share of the figure.
ROW = 190
READING = 19
#: Lines of a chart whose values a page writes beneath its title, at most, and values in a line of text.
MOST_READ, _IN_A_LINE = 6, 3
#: Pixels of the title of an axis beneath a chart that has another chart below.
AXIS_TITLE = 24
_BETWEEN = 0.075
#: The name of the annotations that are titles of charts.
TITLE = "panel"
#: The name of the one that says why a chart is empty, before that of the chart's x axis.
ABSENT = "absent"


@dataclass(frozen=True)
class Panel:
    """One chart: its title, its traces, its two axes, its marks (upright or level lines and bands) and its notes."""

    title: str
    traces: tuple[Any, ...]
    x: Any
    y: Any
    shapes: tuple[Any, ...] = field(default=())
    notes: tuple[Any, ...] = field(default=())


def reading_lines(lines: int) -> int:
    """Return the lines of text that the values of so many lines of a chart take beneath its title on a page."""
    return math.ceil(min(lines, MOST_READ) / _IN_A_LINE) if lines > 1 else 0


def panel_axes(count: int) -> list[dict[str, str]]:
    """Return the axes of each chart of a grid, as traces name them."""
    suffixes = ["" if k == 0 else str(k + 1) for k in range(count)]
    return [{"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"} for suffix in suffixes]


def lay_out(
    figure: Figure, titles: Sequence[str], across: int, row: int = ROW, readings: int = 0, foot: int = 0
) -> list[dict[str, str]]:
    """Give the figure a grid of charts, ``across`` in a row; return the axes of each, as traces name them.

    The axes are made; a title, which may hold any text, stands above each. readings: lines of text for which room is
    left beneath each title. foot: pixels that are left beneath each chart but those of the last row.
    """
    rows = -(-len(titles) // across)
    wide = (1 - _BETWEEN * (across - 1)) / across
    beneath = readings * READING
    row += beneath + (foot if rows > 1 else 0)
    head, end = (figure.layout.margin.t or 74) + beneath, 60
    height = head + end + rows * row
    gap = (58 + beneath + foot) / (rows * row)
    tall = (1 - gap * (rows - 1)) / rows
    axes = panel_axes(len(titles))
    for number, title in enumerate(titles):
        at, column = divmod(number, across)
        left, top = column * (wide + _BETWEEN), 1 - at * (tall + gap)
        suffix = "" if number == 0 else str(number + 1)
        figure.layout[f"xaxis{suffix}"] = {"domain": [left, min(left + wide, 1)], "anchor": f"y{suffix}"}
        figure.layout[f"yaxis{suffix}"] = {"domain": [max(top - tall, 0), top], "anchor": f"x{suffix}"}
        figure.add_annotation(
            name=TITLE,
            text=f"<b>{text(title)}</b>",
            xref="paper",
            yref="paper",
            x=left,
            y=top,
            xanchor="left",
            yanchor="bottom",
            yshift=3 + beneath,
            font={"size": 13},
        )
    figure.update_layout(height=height, margin_b=end, margin_t=head)
    figure.update_layout(legend_y=-36 / (rows * row))
    return axes


def say_absent(figure: Figure, axes: dict[str, str], words: str) -> None:
    """Write into a chart why it is empty."""
    # Plotly knows no axes that have no trace, so the place is that on the paper.
    places = {}
    for axis in axes.values():
        low, high = figure.layout[f"{axis[0]}axis{axis[1:]}"].domain or (0.0, 1.0)
        places[axis[0]] = (low + high) / 2
    figure.add_annotation(
        name=f"{ABSENT} {axes['xaxis']}",
        text=text(words),
        xref="paper",
        yref="paper",
        **places,
        xanchor="center",
        yanchor="middle",
        font={"size": 12},
        opacity=0.75,
    )


def panels(figure: Any) -> list[Panel]:
    """Return the charts of a figure in their order; one without a grid is one chart, called as the figure is."""
    titles = [note.text for note in figure.layout.annotations if note.name == TITLE]
    names = [axes["xaxis"] for axes in panel_axes(max(len(titles), 1))]
    found = []
    for k, name in enumerate(names):
        suffix = name[1:]
        own = {name, f"y{suffix}"}

        def within(one: Any, own: set[str] = own) -> bool:
            return {(ref or "paper").partition(" ")[0] for ref in (one.xref, one.yref)} == own

        found.append(
            Panel(
                titles[k] if titles else figure.layout.title.text or "",
                tuple(one for one in figure.data if (getattr(one, "xaxis", None) or "x") == name),
                figure.layout[f"xaxis{suffix}"],
                figure.layout[f"yaxis{suffix}"],
                tuple(one for one in figure.layout.shapes if within(one)),
                tuple(
                    one for one in figure.layout.annotations if within(one) or one.name == f"{ABSENT} {name}"
                ),
            )
        )
    return found
