"""Rows of a chart of a bench: a category's name, and beneath it a value with its interval for each that is compared.

Names stand above the marks, not beside them, so that long ones have room on a narrow page too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from diffatlas.bench.statistics import Rate
from diffatlas.figures.figure import Figure, text, wrapped
from diffatlas.figures.log_axis import segments
from diffatlas.figures.template import ground, symbol
from diffatlas.look import LANES, LAYERS
from diffatlas.names import cut

#: Pixels of a row's name, of each mark beneath it, and between two rows.
_HEAD, _MARK, _BETWEEN = 19, 12, 9
#: Letters of a name that are always kept.
_LEAST = 16
#: Pixels beneath a chart, for its axis and the legend.
FOOT = 96
SHARES = (0, 0.25, 0.5, 0.75, 1)
#: What is left free beyond 0 and 1, so that a mark at an end is whole.
EDGE = 0.02
WHOLE = (-EDGE, 1 + EDGE)


@dataclass(frozen=True)
class Rows:
    """The names of rows, from top to bottom, and how many marks each has. Places are in pixels from the top.

    values: what is written after each name, if anything; it is never cut.
    """

    names: tuple[str, ...]
    marks: int = 1
    values: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        """Pixels of all rows."""
        return len(self.names) * self._pitch + _BETWEEN

    @property
    def _pitch(self) -> int:
        return _HEAD + _MARK * self.marks + _BETWEEN

    def top(self, row: int) -> float:
        """Where a row begins."""
        return row * self._pitch + _BETWEEN

    def at(self, row: int, mark: int = 0) -> float:
        """Where a mark of a row lies."""
        return self.top(row) + _HEAD + _MARK * (mark + 0.5)


@dataclass(frozen=True)
class Point:
    """A value and its interval in a row, and what the pointer reads there."""

    row: int
    value: float
    low: float
    high: float
    said: str


def look_of(place: int, dark: bool = False) -> tuple[str, str]:
    """Return the colour and the symbol of what is compared, by its place."""
    colours = (ground(dark).burgundy, *LANES[1:], *(one for one in LAYERS if one not in LANES))
    return colours[place % len(colours)], symbol(place)


def lay_rows(
    made: Figure,
    axes: dict[str, str],
    rows: Rows,
    reach: tuple[float, float],
    ticks: Sequence[float],
    title: str,
    dark: bool,
    letters: int,
) -> None:
    """Give a chart the axes of rows, their names, and a thin line at each tick.

    reach: the ends of the horizontal axis. letters: those of a name and its value at most (`letters_of`).
    """
    made.layout[_long(axes["xaxis"])].update(
        range=[*reach],
        tickvals=[*ticks],
        ticktext=[f"{tick:g}" for tick in ticks],
        title={"text": text(title)},
    )
    made.layout[_long(axes["yaxis"])].update(range=[rows.height, 0], showticklabels=False, showgrid=False)
    made.add_trace(
        go.Scatter(
            x=segments((tick, tick) for tick in ticks),
            y=segments((0, rows.height) for _ in ticks),
            mode="lines",
            line={"color": ground(dark).rule, "width": 1},
            showlegend=False,
            hoverinfo="skip",
            meta={"part": "grid"},
            **axes,
        )
    )
    for row, name in enumerate(rows.names):
        value = rows.values[row] if rows.values else ""
        shown = cut(" ".join(name.split()), max(letters - len(value), _LEAST))
        note(made, axes, rows.top(row) + _HEAD / 2, shown + value, ground(dark).ink)


def letters_of(across: int, charts: int = 1) -> int:
    """Return the letters that a chart has room for.

    across: how many charts of a page as wide as this lie beside each other, 1 on a telephone. charts: of the figure.
    """
    return 52 if across == 1 else 28 if charts > 1 else 110


def note(made: Figure, axes: dict[str, str], at: float, words: str, colour: str, size: int = 12) -> None:
    """Write words at the left end of a chart of rows, at a place of theirs."""
    made.add_annotation(
        text=text(words),
        x=0,
        y=at,
        xref=f"{axes['xaxis']} domain",
        yref=axes["yaxis"],
        xanchor="left",
        yanchor="middle",
        xshift=3,
        font={"size": size, "color": colour},
    )


def draw_points(
    made: Figure,
    axes: dict[str, str],
    rows: Rows,
    name: str,
    points: Sequence[Point],
    place: int = 0,
    listed: bool = False,
    dark: bool = False,
    meta: dict[str, Any] | None = None,
) -> None:
    """Draw the values of one that is compared, each in the middle of its interval's line.

    place: that of its marks in a row, which decides colour and symbol. listed: whether it has a name in the legend.
    """
    colour, shape = look_of(place, dark)
    heights = [rows.at(one.row, place) for one in points]
    common = {"legendgroup": text(name), "meta": {"line": name, **(meta or {})}, **axes}
    made.add_trace(
        go.Scatter(
            x=segments((one.low, one.high) for one in points),
            y=segments((at, at) for at in heights),
            mode="lines",
            line={"color": colour, "width": 1.6},
            showlegend=False,
            hoverinfo="skip",
            **{**common, "meta": {**common["meta"], "part": "interval"}},
        )
    )
    made.add_trace(
        go.Scatter(
            x=[one.value for one in points],
            y=heights,
            mode="markers",
            name=text(name),
            marker={"color": colour, "symbol": shape, "size": 8},
            showlegend=listed,
            cliponaxis=False,
            hovertext=[wrapped(one.said, 60) for one in points],
            hovertemplate="%{hovertext}<extra></extra>",
            **{**common, "meta": {**common["meta"], "part": "value"}},
        )
    )


def write(made: Figure, told: Sequence[str], names: Iterable[str] = ()) -> None:
    """Write paragraphs beneath the title of a figure; the name that one begins with is bold."""
    lines = []
    for paragraph in told:
        line = wrapped(paragraph)
        name = next((own for one in names if line.startswith(own := f"{text(one)}: ")), "")
        lines.append(f"<b>{name}</b>{line.removeprefix(name)}")
    made.update_layout(title_subtitle_text="<br>".join(lines))
    made.update_layout(margin_t=78 + 17 * sum(line.count("<br>") + 1 for line in lines))
    made.layout.meta = {**made.layout.meta, "told": [*told]}


def one_chart(made: Figure, height: int, listed: bool) -> dict[str, str]:
    """Make a figure that of one chart, ``height`` pixels tall; return its axes."""
    made.update_layout(
        xaxis={"domain": [0, 1], "anchor": "y"},
        yaxis={"domain": [0, 1], "anchor": "x"},
        height=made.layout.margin.t + height + FOOT,
        margin_b=FOOT,
        margin_l=12,
        legend_y=-52 / height,
        showlegend=listed,
        hovermode="closest",
    )
    return {"xaxis": "x", "yaxis": "y"}


def rate_words(one: Rate) -> str:
    """Return a rate with its interval in words: "0.54 (0.42 to 0.67)"."""
    return f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"


def counted_words(count: int, thing: str) -> str:
    """Return a number of things: "1 image", "4 images"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _long(axis: str) -> str:
    return f"{axis[0]}axis{axis[1:]}"
