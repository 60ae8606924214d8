"""Agreement: how alike two lanes lay out the same neighbours, in maps over each other and in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from diffatlas.figures.figure import Figure, figure, text, wrapped
from diffatlas.figures.map import draw_anchors, label_sides, square
from diffatlas.figures.neighbours import NOTHING, Neighbours, check, neighbours_of
from diffatlas.figures.panels import lay_out, say_absent
from diffatlas.figures.template import ground
from diffatlas.geometry.agreement import superpose
from diffatlas.library.study import Study
from diffatlas.look import GROUPS, Ground
from diffatlas.measured import finite
from diffatlas.names import cut
from diffatlas.studies.numbers import asked

#: The numbers, as the measures and as a reader calls them.
NUMBERS = (
    ("rank", "rank correlation"),
    ("rand", "adjusted Rand index"),
    ("procrustes", "Procrustes disparity"),
)
ROW = 300
ONE_LANE = "This neighbourhood has one lane: a second would show what hangs on it."
TOO_LITTLE = "The lanes have too little in common to be compared."
COLOURS = (
    "One colour is one basin of the first of two lanes (of the second, where the first has one basin), in both maps; "
    "symbols are the basins of each map's own lane."
)
WAYS = "Thin lines lead from where the first lane has a cell."
#: Cells at most that are labelled in the maps; of more the pointer tells which is which.
LABELLED = 30
_TITLE = 120
_NAME = 34


def agreement(study: Study, measures: Mapping[str, Any], dark: bool = False, *, across: int = 3) -> Figure:
    """Return, for every two lanes, the maps of their images beside each other and the numbers of their agreement.

    measures: what `diffatlas.studies.measure_neighbourhood` found, as plain JSON types. The maps are those by MDS
    over the cells that both lanes have, laid over each other as the Procrustes disparity has it
    (`diffatlas.geometry.agreement.superpose`): the disparity is the sum of the squares of the thin lines. across:
    charts in a row.

    Raises `InvalidParams` for a study that is no neighbourhood.
    """
    check(study)
    found = list((measures or {}).get("agreement") or ())
    absence = NOTHING if not measures else ONE_LANE if len(study.lanes) < 2 else TOO_LITTLE
    title = f"Agreement of lanes: {cut(study.title or asked(study), _TITLE)}"
    sentences = " ".join(filter(None, (one.get("sentence") for one in found)))
    several = any(neighbours_of(study, measures, one[side]).several for one in found for side in "ab")
    says = " ".join(filter(None, (sentences, COLOURS if several else "", WAYS))) if found else absence
    made = figure(
        "agreement", title, says, f"{sentences} {_spoken(study, found)}" if found else absence, dark
    )
    if not found:
        say_absent(made, {"xaxis": "x", "yaxis": "y"}, absence)
        return made
    titles, lanes = [], []
    for one in found:
        a, b = (neighbours_of(study, measures, one[side]) for side in "ab")
        first, second = (cut(own.lane.name, _NAME) for own in (a, b))
        cells = f"{one.get('n', 0)} {'cell' if one.get('n') == 1 else 'cells'}"
        titles += [first, f"{second}, turned onto {first}", f"In numbers, {cells}"]
        lanes.append((a, b))
    axes = lay_out(made, titles, across, ROW)
    legend: set[tuple[str, int]] = set()
    for row, (one, (a, b)) in enumerate(zip(found, lanes, strict=True)):
        left, right, numbers = axes[3 * row : 3 * row + 3]
        _draw_maps(made, (left, right), (a, b), ground(dark), legend)
        _draw_numbers(made, numbers, one, (a, b), ground(dark))
    height = -(-len(titles) // across) * ROW
    made.update_layout(
        hovermode="closest", legend_y=-52 / height, margin_b=90, height=made.layout.height + 30
    )
    return made


def _common(a: Neighbours, b: Neighbours) -> tuple[list[tuple[str, str]], np.ndarray, np.ndarray]:
    """Return the keys of the cells that both lanes have, and their places in the maps of the images, (n, 2) each."""
    at = []
    for own in (a, b):
        coords = (((own.found.get("maps") or {}).get("image") or {}).get("mds") or {}).get("coords") or ()
        at.append({own.column(key): (key, point) for key, point in zip(own.cells, coords, strict=False)})
    columns = sorted(column for column in at[0].keys() & at[1].keys() if column is not None)
    keys = [(at[0][column][0], at[1][column][0]) for column in columns]
    first, second = (np.array([one[column][1] for column in columns], float).reshape(-1, 2) for one in at)
    return keys, first, second


def _draw_maps(
    made: Figure,
    sides: tuple[dict[str, str], dict[str, str]],
    lanes: tuple[Neighbours, Neighbours],
    on: Ground,
    legend: set[tuple[str, int]],
) -> None:
    a, b = lanes
    keys, first, second = _common(a, b)
    if not keys:
        for axes in sides:
            say_absent(made, axes, "There are no maps of the images of both.")
        return
    laid = superpose(first, second)
    if laid is not None:
        first, second, _ = laid
        _draw_ways(made, sides[1], b, first, second, on)
    # The basins that are coloured: those of the first lane, or of the second where the first has but one.
    place = 0 if a.several or not b.several else 1
    labelled = len(keys) <= LABELLED
    groups = [lanes[place].basin(pair[place]) for pair in keys]
    for side, (own, axes, points) in enumerate(zip(lanes, sides, (first, second), strict=True)):
        places = {pair[side]: tuple(point) for pair, point in zip(keys, points.tolist(), strict=True)}
        meta = {**own.of(), "measure": "maps.image.mds", "turned": laid is not None}
        beside = label_sides(places, 300)
        draw_anchors(made, axes, own, places, beside, on, meta, legend=False)
        for group in dict.fromkeys(sorted(groups, key=lambda one: -1 if one is None else one)):
            these = [key for key, one in zip(places, groups, strict=True) if one == group]
            known = (lanes[place].lane.key, -1 if group is None else group)
            made.add_trace(
                go.Scatter(
                    x=[places[key][0] for key in these],
                    y=[places[key][1] for key in these],
                    mode="markers+text",
                    marker={
                        "size": 11 if labelled else 8,
                        "color": on.muted if group is None else GROUPS[group % len(GROUPS)],
                        "symbol": [own.mark(own.basin(key), on.muted)[1] for key in these],
                        "line": {"color": on.paper, "width": 1},
                    },
                    text=[text(own.tag(key)) if labelled and not own.is_end(key) else "" for key in these],
                    textposition=[beside[key] for key in these],
                    textfont={"size": 10, "color": on.ink},
                    cliponaxis=False,
                    name="a cell"
                    if group is None
                    else text(f"basin {group + 1} of {cut(lanes[place].lane.name, _NAME)}"),
                    legendgroup=f"{known}",
                    showlegend=known not in legend,
                    customdata=these,
                    hovertext=[wrapped(own.told(key), 70) for key in these],
                    hovertemplate="%{hovertext}<extra></extra>",
                    meta={**meta, "part": "cells", "group": group},
                    **axes,
                )
            )
            legend.add(known)
        square(made, axes, [*map(tuple, first), *map(tuple, second)] if laid is not None else points.tolist())


def _draw_ways(
    made: Figure, axes: dict[str, str], own: Neighbours, first: np.ndarray, second: np.ndarray, on: Ground
) -> None:
    """Draw a line for each cell, from its place in the first lane to that in the second."""
    points = [
        one for a, b in zip(first.tolist(), second.tolist(), strict=True) for one in (a, b, (None, None))
    ]
    made.add_trace(
        go.Scatter(
            x=[x for x, _ in points],
            y=[y for _, y in points],
            mode="lines",
            line={"color": on.muted, "width": 1},
            hoverinfo="skip",
            showlegend=False,
            meta={**own.of(), "measure": "procrustes", "part": "ways"},
            **axes,
        )
    )


def _draw_numbers(
    made: Figure,
    axes: dict[str, str],
    found: Mapping[str, Any],
    lanes: tuple[Neighbours, Neighbours],
    on: Ground,
) -> None:
    values = [finite(found.get(key)) for key, _ in NUMBERS]
    p = finite(found.get("p"))
    written = ["" if value is None else f"{value:.2f}" for value in values]
    if values[0] is not None and p is not None:
        written[0] += f"<br>p = {p:.3g}"
    if values[1] is not None and all(own.basins.get("count") == 1 for own in lanes):
        written[1] += "<br>one basin each"
    definitions = lanes[0].measures.get("definitions") or {}
    made.add_trace(
        go.Bar(
            x=[_in_lines(name) for _, name in NUMBERS],
            y=values,
            text=written,
            textposition="outside",
            cliponaxis=False,
            marker={"color": on.muted, "line": {"width": 0}},
            width=0.5,
            showlegend=False,
            hovertext=[wrapped(definitions.get(key) or name, 60) for key, name in NUMBERS],
            hovertemplate="%{y:.3g}<br>%{hovertext}<extra></extra>",
            meta={
                "study": lanes[0].study.id,
                "lanes": [found["a"], found["b"]],
                "measure": "agreement",
                "keys": [key for key, _ in NUMBERS],
                "n": found.get("n"),
                "p": p,
            },
            **axes,
        )
    )
    for value, (_, name) in zip(values, NUMBERS, strict=True):
        if value is None:
            made.add_annotation(
                text="not known",
                x=_in_lines(name),
                y=0,
                xref=axes["xaxis"],
                yref=axes["yaxis"],
                yanchor="bottom",
                font={"size": 11},
            )
    low = min([0.0, *(value for value in values if value is not None)])
    made.layout[f"yaxis{axes['yaxis'][1:]}"].update(
        range=[-1.25 if low < 0 else 0.0, 1.35],
        tickvals=[-1, -0.5, 0, 0.5, 1] if low < 0 else [0, 0.5, 1],
        zeroline=True,
        zerolinecolor=on.muted,
    )


def _in_lines(name: str) -> str:
    """Return the name of a number as it stands beneath its bar, where there is little room."""
    return name.replace(" ", "<br>", 1)


def _spoken(study: Study, found: list[Mapping[str, Any]]) -> str:
    """Return the numbers of each two lanes."""
    names = {lane.key: lane.name for lane in study.lanes}
    said = []
    for one in found:
        between = " and ".join(names.get(one[side], one[side]) for side in "ab")
        values = {name: finite(one.get(key)) for key, name in (*NUMBERS, ("p", "p"))}
        told = ", ".join(f"{name} {value:.3g}" for name, value in values.items() if value is not None)
        said.append(f"{between}, {one.get('n', 0)} cells: {told or 'nothing is known'}.")
    return " ".join(said)
