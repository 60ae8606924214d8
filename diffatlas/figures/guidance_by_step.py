"""Guidance by step: how long the guidance vector of each value of a sweep is, and how far it turns the prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from diffatlas.figures.figure import Figure, figure, text
from diffatlas.figures.measures import check_study, lanes_of, plain_measures
from diffatlas.figures.panels import READING, lay_out, reading_lines, say_absent
from diffatlas.figures.template import dash, symbol
from diffatlas.figures.values import value_colour
from diffatlas.library.study import Cell, Lane, Study
from diffatlas.measured import finite
from diffatlas.studies.curves import columns_of
from diffatlas.studies.numbers import asked
from diffatlas.studies.words_sweep import listed

#: The numbers by step, with their titles and units.
CHARTS = (("guidance_norm", "Guidance norm", ""), ("guidance_angle", "Guidance angle, degrees", "°"))
ABSENT = "Guidance was off, or these runs show no steps."
#: Steps up to which every one has a point.
POINTS = 60


def guidance_by_step(
    study: Study,
    measures: Any,
    lane: str | None = None,
    dark: bool = False,
    *,
    row: int | None = None,
    across: int = len(CHARTS),
    read: bool = False,
) -> Figure:
    """Return norm and angle (degrees) of the guidance vector at each step, a line for each value of a sweep.

    measures: what `diffatlas.studies.measure_sweep.measure_sweep` found, or it as plain JSON types. lane: its key;
    else the first. row: the number of a seed; else the first that the lane has. Values go from gold to burgundy in
    their order. across: charts in a row. read: see `diffatlas.figures.drift`.

    Raises `InvalidParams` for a study that is no sweep, for a lane that it does not have, and for what are no measures.
    """
    check_study(study, "sweep", "Guidance by step")
    measures = plain_measures(measures)
    own = lanes_of(study, lane)[0]
    cells = study.in_lane(own.key)
    first = min((cell.row for cell in cells), default=0) if row is None else row
    cells = tuple(sorted((cell for cell in cells if cell.row == first), key=lambda cell: cell.column))
    series = {name: _series(cells, measures, name) for name, _, _ in CHARTS}
    made = figure(
        "guidance_by_step",
        _title(study, own, cells),
        _says(cells, series),
        _spoken(cells, series),
        dark,
    )
    lines = len({key for one in series.values() for key in one})
    readings = reading_lines(lines) if read else 0
    last = max((len(values) for one in series.values() for values in one.values()), default=0)
    named: set[str] = set()
    columns = columns_of(study)
    for (name, _, unit), axes in zip(CHARTS, _grid(made, across, readings), strict=True):
        if not series[name]:
            say_absent(made, axes, ABSENT)
        for cell in cells:
            if cell.key in series[name]:
                place = columns.index(cell.column)
                colour = value_colour(place, len(columns), dark)
                _draw(made, axes, cell, place, colour, name, series[name][cell.key], unit, named)
        made.layout[f"xaxis{axes['xaxis'][1:]}"].update(_steps(last))
    made.layout.meta = {
        **made.layout.meta,
        "panels": [
            {"key": name, "name": title.removesuffix(", degrees"), "unit": unit}
            for name, title, unit in CHARTS
        ],
        "along": "step",
        "reading": readings * READING,
    }
    made.update_layout(showlegend=bool(named))
    return made


def _series(cells: Sequence[Cell], measures: Mapping[str, Any], name: str) -> dict[str, list[float | None]]:
    """Return the values of complete cells by step, by key; none for a cell of which nothing is known."""
    found = {}
    for cell in cells:
        values = ((measures.get("cells") or {}).get(cell.key) or {}).get(name) or ()
        known = [finite(value) for value in values]
        if cell.status == "complete" and any(value is not None for value in known):
            found[cell.key] = known
    return found


def _draw(
    made: Figure,
    axes: dict[str, str],
    cell: Cell,
    place: int,
    colour: str,
    name: str,
    values: Sequence[float | None],
    unit: str,
    named: set[str],
) -> None:
    label = text(cell.label)
    made.add_trace(
        go.Scatter(
            x=list(range(1, len(values) + 1)),
            y=list(values),
            mode="lines+markers",
            name=label,
            legendgroup=cell.key,
            showlegend=cell.key not in named,
            line={"color": colour, "width": 1.6, "dash": dash(place)},
            marker={"color": colour, "size": 5 if len(values) <= POINTS else 3, "symbol": symbol(place)},
            customdata=[[label]] * len(values),
            hovertemplate=f"step %{{x}}: %{{y:.4g}}{unit}<extra>%{{customdata[0]}}</extra>",
            meta={"line": cell.key, "run": cell.run_id, "lane": cell.lane, "measure": name},
            **axes,
        )
    )
    named.add(cell.key)


def _grid(made: Figure, across: int, readings: int) -> list[dict[str, str]]:
    axes = lay_out(made, [title for _, title, _ in CHARTS], across, row=260, readings=readings)
    made.update_layout(height=made.layout.height + 24, margin_b=made.layout.margin.b + 24, legend_y=-54 / 260)
    return axes


def _steps(last: int) -> dict[str, Any]:
    """Return the axis of the steps: the first, the last, and round ones between."""
    end = max(last, 2)
    every = next(n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**6) if end / n <= 8)
    between = [k for k in range(every, end, every) if k > 1 and end - k >= every / 2]
    ticks = sorted({1, *between, end})
    pad = 0.02 * (end - 1)
    return {"title.text": "step", "range": [1 - pad, end + pad], "tickvals": ticks}


def _title(study: Study, lane: Lane, cells: Sequence[Cell]) -> str:
    parts = ["Guidance by step"]
    if len(study.lanes) > 1:
        parts.append(lane.name)
    if len({cell.row for cell in study.cells}) > 1 and cells:
        parts.append(f"seed {cells[0].params.seed}")
    return " · ".join([*parts, study.title or asked(study)])


def _says(cells: Sequence[Cell], series: Mapping[str, Mapping[str, Any]]) -> str:
    drawn = [cell for cell in cells if any(cell.key in one for one in series.values())]
    if not drawn:
        return ABSENT
    said = "The guidance vector is the conditional minus the unconditional prediction; the angle is that between it "
    said += "and the conditional one."
    if len(drawn) > 1:
        said += " A line for each value, in their order from gold to burgundy."
    off = [cell.label for cell in cells if cell not in drawn and cell.status == "complete"]
    if off:
        said += f" No line for {listed(off)}: guidance was off, or no steps are shown."
    unended = [f"{cell.label} ({cell.status})" for cell in cells if cell.status != "complete"]
    if unended:
        said += f" Not complete: {listed(unended)}."
    return said


def _spoken(cells: Sequence[Cell], series: Mapping[str, Mapping[str, Sequence[float | None]]]) -> str:
    """Return of each value where norm and angle begin and end."""
    told = []
    for cell in cells:
        parts = []
        for name, title, unit in CHARTS:
            known = [(k, v) for k, v in enumerate(series[name].get(cell.key, ()), 1) if v is not None]
            if known:
                (first, start), (last, end) = known[0], known[-1]
                parts.append(
                    f"{title.partition(',')[0].lower()} {start:.3g}{unit} at step {first}"
                    f" and {end:.3g}{unit} at step {last}"
                )
        if parts:
            told.append(f"{cell.label}: {'; '.join(parts)}.")
    return " ".join(told) or ABSENT
