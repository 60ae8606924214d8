"""What the charts of a study's report show: drift, guidance by step, growth and maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diffatlas.export.study_charts import Chart, Dot, Line, ramp
from diffatlas.library.study import Cell, Lane, Study
from diffatlas.look import GROUPS, LANES, PAPER
from diffatlas.measured import finite
from diffatlas.studies.numbers import (
    FIELD_WORDS,
    base_column,
    cell_numbers,
    distances,
    lane_measures,
)

#: Fields of a sweep whose values lie on a line; of the others each value has a place of its own.
NUMERIC = ("guidance_scale", "num_inference_steps")
#: The colours of basins, in order, and again from the first.
#: Of lanes in order, so that one shows through another that lies on it.
_DASHES = (None, (4, 2), (1.5, 1.5), (6, 2, 1.5, 2))
#: Dots of a scatter at most; of more pairs an even selection is drawn.
MOST_DOTS = 1200


def positions(study: Study) -> dict[int, float]:
    """Return where each column of a sweep lies across: at its value where that is a number, else in order."""
    values = {cell.column: cell.value for cell in study.cells}
    if study.spec.get("field") in NUMERIC and all(isinstance(v, (int, float)) for v in values.values()):
        return {column: float(value) for column, value in values.items()}
    return {column: float(column) for column in values}


def value_colours(cells: Sequence[Cell]) -> dict[int, str]:
    """Return the colour of each column, from gold for the first to burgundy for the last."""
    columns = sorted({cell.column for cell in cells})
    return {column: ramp(place / max(len(columns) - 1, 1)) for place, column in enumerate(columns)}


def drift_charts(study: Study, measures: Mapping[str, Any]) -> list[Chart]:
    """Return the charts by value: each drift, then what became of the images; a line per lane.

    Charts of which nothing was measured are left out.
    """
    at = positions(study)
    numbers = cell_numbers(study, measures)
    field = study.spec.get("field")
    labels = {cell.column: cell.label for cell in study.cells}
    marked: dict[str, list[float]] = {"diversity": [], "clipped": []}
    series: dict[str, tuple[str, list[list[tuple[float, float | None]]]]] = {}

    def add(key: str, title: str, values: Mapping[int, float | None]) -> None:
        series.setdefault(key, (title, []))[1].append(
            [(at[c], values.get(c)) for c in sorted(at, key=at.get)]
        )

    for lane in study.lanes:
        measured = lane_measures(measures, lane.key)
        for entry in distances(study, measures):
            curve = (measured.get("curves") or {}).get(entry["key"]) or ()
            add(entry["key"], entry["label"], dict(enumerate(curve)))
        for key, title in (("clipped", "Clipped share"), ("saturation", "Saturation")):
            add(key, title, _means(study.in_lane(lane.key), numbers, key))
        add("diversity", "Diversity", dict(enumerate(measured.get("diversity") or ())))
        for key, name in (("diversity", "collapse"), ("clipped", "clipping")):
            column = (measured.get(name) or {}).get("column")
            if column in at:
                marked[key].append(at[column])
    return [
        Chart(
            title,
            tuple(
                Line(
                    tuple(points),
                    LANES[place % len(LANES)],
                    dots=True,
                    dash=_DASHES[place % len(_DASHES)],
                )
                for place, points in enumerate(lines)
            ),
            x_title=FIELD_WORDS.get(field, ""),
            x_ticks=tuple(
                (at[c], f"{at[c]:g}" if field in NUMERIC else labels[c]) for c in sorted(at, key=at.get)
            ),
            marks=tuple(marked.get(key, ())),
        )
        for key, (title, lines) in series.items()
        if any(finite(y) is not None for points in lines for _, y in points)
    ]


def guidance_charts(study: Study, lane: Lane, measures: Mapping[str, Any]) -> list[Chart]:
    """Return guidance norm and angle by step for the first seed of a lane, a line per value; none without guidance."""
    cells = [cell for cell in study.in_lane(lane.key) if cell.row == 0]
    colours = value_colours(cells)
    known = measures.get("cells") or {}
    charts = []
    for key, title in (("guidance_norm", "Guidance norm"), ("guidance_angle", "Guidance angle, degrees")):
        lines = []
        for cell in cells:
            values = (known.get(cell.key) or {}).get(key) or ()
            if any(value is not None for value in values):
                points = tuple((float(step), value) for step, value in enumerate(values, start=1))
                lines.append(Line(points, colours[cell.column]))
        if lines:
            charts.append(Chart(title, tuple(lines), x_title="step"))
    return charts


def growth_charts(study: Study, lane: Lane, measures: Mapping[str, Any]) -> list[Chart]:
    """Return how image distance grows with that of the starts, and with that of the final latents."""
    measured = lane_measures(measures, lane.key)
    jumps = {frozenset((jump["a"], jump["b"])) for jump in measured.get("jumps") or ()}
    found = [(measured.get("growth"), jumps), (measured.get("growth_latent"), set())]
    charts = (_growth_chart(growth, marked) for growth, marked in found if growth)
    return [chart for chart in charts if chart is not None]


def _growth_chart(growth: Mapping[str, Any], jumps: set[frozenset[str]]) -> Chart | None:
    """Return a dot per pair, the medians, and the slope at 0; None without a pair."""
    pairs = [
        p for p in growth.get("pairs") or () if finite(p["x"]) is not None and finite(p["y"]) is not None
    ]
    if not pairs:
        return None
    every = -(-len(pairs) // MOST_DOTS)
    dots = []
    for number, pair in enumerate(pairs):
        jump = frozenset((pair["a"], pair["b"])) in jumps
        if jump or number % every == 0:
            dots.append(Dot(pair["x"], pair["y"], PAPER.muted, 1.1, ring=PAPER.burgundy if jump else None))
    # The origin belongs to it: there the slope is taken.
    dots.append(Dot(0.0, 0.0, PAPER.muted, 0.4))
    lines = []
    curve = [(x, y) for x, y in growth.get("curve") or () if finite(x) is not None]
    if curve:
        lines.append(Line(tuple(curve), PAPER.gold, 1.6, dots=True))
    slope = finite(growth.get("slope"))
    if slope is not None and slope > 0:
        reach = min(max(p["x"] for p in pairs), max(p["y"] for p in pairs) / slope)
        lines.append(Line(((0.0, 0.0), (reach, slope * reach)), PAPER.burgundy, 1.2, dash=(4, 2)))
    far, near = (str(growth.get(side) or side) for side in ("far", "near"))
    title = f"{far.capitalize()} distance against {near} distance"
    return Chart(title, tuple(lines), tuple(dots), x_title=f"{near} distance", zero=True)


def map_charts(study: Study, lane: Lane, measures: Mapping[str, Any]) -> list[Chart]:
    """Return the maps of a neighbourhood: MDS, or PCA where there is none, of the images and of the latents."""
    measured = lane_measures(measures, lane.key)
    keys = list(measured.get("cells") or ())
    columns = {cell.key: cell.column for cell in study.in_lane(lane.key)}
    labels = (measured.get("basins") or {}).get("labels") or ()
    count = len(set(labels))
    charts = []
    for of, title in (("image", "images"), ("latent", "final latents")):
        drawn = (measured.get("maps") or {}).get(of) or {}
        kind = next((kind for kind in ("mds", "pca") if (drawn.get(kind) or {}).get("coords")), None)
        if kind is None:
            continue
        dots = []
        for place, (key, point) in enumerate(zip(keys, drawn[kind]["coords"], strict=False)):
            basin = labels[place] if place < len(labels) else None
            colour = PAPER.muted if count < 2 or basin is None else GROUPS[basin % len(GROUPS)]
            column = columns.get(key)
            ring = PAPER.gold if column == base_column(study, measures) else None
            words = "" if column is None else str(column)
            dots.append(Dot(point[0], point[1], colour, 2.4, words, ring))
        note = drawn[kind].get("stress") if kind == "mds" else None
        said = f", stress {note:.2g}" if finite(note) is not None else ""
        charts.append(Chart(f"{kind.upper()} of the {title}{said}", dots=tuple(dots), true_scale=True))
    return charts


def _means(
    cells: Sequence[Cell], numbers: Mapping[str, Mapping[str, Any]], key: str
) -> dict[int, float | None]:
    """Return the mean of a number over the seeds, by column."""
    found: dict[int, list[float]] = {}
    for cell in cells:
        value = numbers[cell.key].get(key)
        if value is not None:
            found.setdefault(cell.column, []).append(value)
    return {column: float(np.mean(values)) for column, values in found.items()}
