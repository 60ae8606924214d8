"""Distances: how far every cell of a neighbourhood lies from every other, as a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from diffatlas.figures.figure import Figure, figure, text
from diffatlas.figures.neighbours import (
    NOTHING,
    TOO_FEW,
    UNITS,
    Neighbours,
    capital,
    distance_word,
    neighbours_of,
    one_of,
)
from diffatlas.figures.panels import say_absent
from diffatlas.figures.template import RAMP_SCALE, ground
from diffatlas.library.study import Study
from diffatlas.look import PAPER
from diffatlas.measured import finite
from diffatlas.studies.numbers import DISTANCES
from diffatlas.studies.numbers import distances as measured_distances

#: Cells at most whose numbers are written into the squares.
NUMBERED = 14
#: How the cells can be ordered.
ORDERS = ("basin", "column")
#: Pixels of a square, and of the whole map.
_SQUARE, _LEAST, _MOST = 36, 420, 760
#: What lies below the map: the labels of the columns and the scale.
_FOOT = 150
#: Pixels of the labels of the rows, of the names of basins, of the bars without these; the width from which on there is
#: room for names; and of a digit in a square.
_LABELS, _NAMES, _BARS, _NAMES_FROM, _DIGIT = 96, 170, 24, 640, 6.6


def distances(
    study: Study,
    measures: Mapping[str, Any],
    lane: str | None = None,
    by: str = "image",
    dark: bool = False,
    *,
    order: str = "basin",
    width: int | None = None,
) -> Figure:
    """Return the matrix of distances of a lane's cells, ordered by basin where there are several, else as asked for.

    measures: what `diffatlas.studies.measure_neighbourhood` found, as plain JSON types. lane: its key, the first
    unless told. by: "start", "latent", "image", "hash" or "feature". A distance that is not known leaves a gap.
    order: "basin", or "column" for the order in which the cells were asked for. width: pixels that there are across, or
    None for enough: what has no room is left out, names of basins and numbers in the squares. The layout's ``meta`` has
    ``squares``: they can be pointed at; and ``farthest``, the keys of the two cells that lie farthest from each other.

    Raises `InvalidParams` for a study that is no neighbourhood, and for an unknown lane or distance.
    """
    own = neighbours_of(study, measures, lane)
    known = {entry["key"]: entry for entry in measured_distances(study, own.measures)}
    one_of(order, ORDERS, "order", "order")
    one_of(by, tuple({**known, **dict.fromkeys(DISTANCES["neighbourhood"])}), "distance", "by")
    label = (known.get(by) or {}).get("label") or by.capitalize()
    about = (known.get(by) or {}).get("about") or ""
    matrix = (own.found.get("matrices") or {}).get(by) or []
    by_basin = order == "basin"
    places = sorted(range(len(own.cells)), key=lambda k: (own.basin(own.cells[k]) or 0) if by_basin else k)
    keys = [own.cells[k] for k in places]
    if len(matrix) == len(keys) > 1:
        values = np.array([[np.nan if finite(v) is None else v for v in matrix[k]] for k in places])[
            :, places
        ]
        says, spoken = _says(own, by, about, keys, values, by_basin), _spoken(own, keys, values)
    else:
        values, says, spoken = None, f"{about} {_absence(own, by)}".strip(), ""
    title = f"{label} distances: {own.title}" if by != "hash" else f"{label}: {own.title}"
    made = figure("distances", title, says, f"{says} {spoken}".strip(), dark)
    axes = {"xaxis": "x", "yaxis": "y"}
    if values is None:
        say_absent(made, axes, _absence(own, by))
        return made
    pairs = _pairs(keys, values)
    made.layout.meta = {
        **made.layout.meta,
        "squares": True,
        "farthest": list(pairs[-1][1:]) if pairs else None,
    }
    named = by_basin and own.several and (width is None or width >= _NAMES_FROM)
    side = _side(len(keys))
    if width is not None:
        side = max(min(side, width - _LABELS - (_NAMES if named else _BARS)), 120)
    _draw(made, own, by, keys, values, side)
    if by_basin:
        _mark_basins(made, own, keys, ground(dark).ink, bool(named))
    _set_axes(made, own, keys, side, 0.8 if named else 0.97 if by_basin and own.several else 1.0)
    return made


def _draw(made: Figure, own: Neighbours, by: str, keys: Sequence[str], values: np.ndarray, side: int) -> None:
    unit = f", {UNITS[by]}" if by in UNITS else ""
    word = distance_word(by)
    hover = [
        [
            f"<b>{text(capital(own.called(a)))} and {text('itself' if a == b else own.called(b))}</b>"
            f"<br>{text(word)} {'not known' if np.isnan(value) else f'{value:.3g}{unit}'}"
            for b, value in zip(keys, row, strict=True)
        ]
        for a, row in zip(keys, values, strict=True)
    ]
    numbers = [
        ["" if i == j or np.isnan(value) else f"{value:.2g}" for j, value in enumerate(row)]
        for i, row in enumerate(values)
    ]
    longest = max((len(number) for row in numbers for number in row), default=0)
    written = len(keys) <= NUMBERED and side / len(keys) >= _DIGIT * longest
    made.add_trace(
        go.Heatmap(
            z=[[finite(float(value)) for value in row] for row in values],
            zmin=0.0,
            zmax=float(np.nanmax(values, initial=0.0)) or 1.0,
            colorscale=RAMP_SCALE,
            text=numbers if written else None,
            texttemplate="%{text}" if written else None,
            textfont={"size": 11},
            hovertext=hover,
            hovertemplate="%{hovertext}<extra></extra>",
            hoverongaps=True,
            colorbar={
                "orientation": "h",
                "x": 0.0,
                "xanchor": "left",
                "y": -46 / side,
                "yanchor": "top",
                "lenmode": "pixels",
                "len": min(320, side),
                "title": {"text": text(f"{word}{unit}"), "side": "top", "font": {"size": 12}},
                "tickfont": {"size": 11},
                "xpad": 0,
                "ypad": 0,
            },
            meta={**own.of(), "measure": f"matrices.{by}", "cells": list(keys)},
        )
    )


def _mark_basins(made: Figure, own: Neighbours, keys: Sequence[str], ink: str, named: bool) -> None:
    """Draw lines between the basins, and beside the map a bar in the colour of each; ``named``: with its name."""
    n = len(keys)
    for basin in range(own.several):
        places = [k for k, key in enumerate(keys) if own.basin(key) == basin]
        if not places:
            continue
        first, last = places[0] - 0.5, places[-1] + 0.5
        if first > 0:
            # Light on dark, so that it is seen on all of the ramp, which is the same on paper and at night.
            for colour, width in ((PAPER.ink, 4), (PAPER.sheet, 1.5)):
                line = {"color": colour, "width": width}
                made.add_shape(type="line", x0=-0.5, x1=n - 0.5, y0=first, y1=first, line=line, name="bound")
                made.add_shape(type="line", x0=first, x1=first, y0=-0.5, y1=n - 0.5, line=line, name="bound")
        colour, _ = own.mark(basin, ink)
        made.add_shape(
            type="rect",
            x0=n - 0.5 + 0.012 * n,
            x1=n - 0.5 + 0.03 * n,
            y0=first + 0.004 * n,
            y1=last - 0.004 * n,
            fillcolor=colour,
            line={"width": 0},
            name="basin",
        )
        if not named:
            continue
        made.add_annotation(
            text=text(own.basin_words(basin)),
            x=n - 0.5 + 0.04 * n,
            y=(first + last) / 2,
            xanchor="left",
            yanchor="middle",
            font={"size": 12},
            name="basin",
        )


def _set_axes(made: Figure, own: Neighbours, keys: Sequence[str], side: int, share: float) -> None:
    """Make the squares square, and write the cells' labels beside them."""
    n = len(keys)
    ticks = {"tickvals": list(range(n)), "tickfont": {"size": 11 if side >= 15 * n else 8}, "showgrid": False}
    made.update_layout(height=made.layout.margin.t + side + _FOOT, margin_b=_FOOT, hovermode="closest")
    made.update_xaxes(
        ticktext=[text(_beneath(own, key, side / n)) for key in keys],
        range=[-0.5, n - 0.5 + (0.05 * n if share < 1 else 0.0)],
        domain=[0.0, share],
        constrain="domain",
        constraintoward="left",
        showline=False,
        **ticks,
    )
    made.update_yaxes(
        ticktext=[text(own.label(key)) for key in keys],
        range=[n - 0.5, -0.5],
        scaleanchor="x",
        scaleratio=1,
        constrain="domain",
        constraintoward="top",
        ticks="outside",
        ticklen=4,
        **ticks,
    )


def _beneath(own: Neighbours, key: str, room: float) -> str:
    """Return what a column is called in so many pixels: its tag, "A" for an anchor, or its number."""
    tag = own.tag(key)
    if _DIGIT * len(tag) <= room:
        return tag
    return "A" if own.is_anchor(key) else str(own.column(key))


def _side(count: int) -> int:
    """Return the pixels of the side of a map of so many cells."""
    return min(max(_SQUARE * count, _LEAST), _MOST)


def _pairs(keys: Sequence[str], values: np.ndarray) -> list[tuple[float, str, str]]:
    """Return (distance, a, b) of all pairs that are known, the nearest first."""
    a, b = np.triu_indices(len(keys), 1)
    found = [(float(values[i, j]), keys[i], keys[j]) for i, j in zip(a, b, strict=True)]
    return sorted(one for one in found if not np.isnan(one[0]))


def _says(
    own: Neighbours, by: str, about: str, keys: Sequence[str], values: np.ndarray, by_basin: bool
) -> str:
    said = [about]
    if by == "start" and own.measures.get("note"):
        said.append(own.measures["note"])
    if pairs := _pairs(keys, values):
        (least, *near), (most, *far) = pairs[0], pairs[-1]
        median = float(np.median([value for value, *_ in pairs]))
        said.append(
            f"Nearest are {' and '.join(map(own.called, near))}, {least:.3g} apart; farthest are "
            f"{' and '.join(map(own.called, far))}, {most:.3g}; the median is {median:.3g}."
        )
    if own.basins.get("sentence"):
        said.append(own.basins["sentence"] + (" They are the blocks." if own.several and by_basin else ""))
    said.append(own.found.get("finding"))
    return " ".join(filter(None, said))


def _spoken(own: Neighbours, keys: Sequence[str], values: np.ndarray) -> str:
    """Return how far each cell is from the anchor, which is what the others are held against."""
    anchor = next((k for k, key in enumerate(keys) if own.is_anchor(key)), None)
    if anchor is None:
        return ""
    away = [
        f"{own.called(key)} {value:.3g}"
        for k, (key, value) in enumerate(zip(keys, values[anchor], strict=True))
        if k != anchor and not np.isnan(value)
    ]
    return f"From {own.called(keys[anchor])}: {', '.join(away)}." if away else ""


def _absence(own: Neighbours, by: str) -> str:
    """Return why there is no matrix."""
    if not own.measures:
        return NOTHING
    if len(own.cells) < 2:
        return TOO_FEW
    return f"The {distance_word(by)}s of this lane were not measured."
