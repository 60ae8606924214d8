"""Sweeps beside the one that is drawn: their lines over the same values, each against its own baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from diffatlas.figures.beside import Beside
from diffatlas.figures.drift_charts import FEATURES, Chart, known_in
from diffatlas.figures.figure import text
from diffatlas.figures.measures import field_of
from diffatlas.figures.template import dash, symbol
from diffatlas.figures.values import ValueAxis, value_key, values_of
from diffatlas.library.study import Study
from diffatlas.studies.curves import columns_of, lane_curves
from diffatlas.studies.numbers import FIELD_WORDS
from diffatlas.studies.words_sweep import labels_of


@dataclass(frozen=True)
class LineBeside:
    """A curve of a lane of another sweep: its places, its values, and the labels of these."""

    key: str
    name: str
    measure: str
    colour: str
    place: int
    at: tuple[float, ...]
    values: tuple[float | None, ...]
    labels: tuple[str, ...]


def lines_beside(
    chart: Chart, others: Sequence[Beside], measures: Mapping[str, Any], axis: ValueAxis
) -> list[LineBeside]:
    """Return the lines of other sweeps in a chart; features only where the same encoder has read the images."""
    found = []
    for other in others:
        if chart.name == FEATURES.name and other.measures.get("feature") != measures.get("feature"):
            continue
        labels, values = labels_of(other.study), values_of(other.study)
        columns = columns_of(other.study)
        at = {column: axis.places[value_key(values[column])] for column in columns}
        order = sorted(range(len(columns)), key=lambda k: at[columns[k]])
        for place, lane in enumerate(other.study.lanes):
            curve = lane_curves(other.study, other.measures, lane.key).get(chart.name)
            if not known_in(curve):
                continue
            several = len(other.study.lanes) > 1
            found.append(
                LineBeside(
                    f"{other.study.id} {lane.key}",
                    f"{other.name}, {lane.name}" if several else other.name,
                    chart.name,
                    other.colour,
                    place,
                    tuple(at[columns[k]] for k in order),
                    tuple(curve.values[k] for k in order),
                    tuple(labels[columns[k]] for k in order),
                )
            )
    return found


def trace_beside(line: LineBeside, axes: Mapping[str, str], unit: str, legend: bool) -> go.Scatter:
    """Return a line as Plotly draws it; legend: whether it stands for its lane in the legend."""
    return go.Scatter(
        x=list(line.at),
        y=list(line.values),
        mode="lines+markers",
        name=text(line.name),
        legendgroup=line.key,
        showlegend=legend,
        line={"color": line.colour, "width": 1.6, "dash": dash(line.place)},
        marker={"color": line.colour, "size": 6, "symbol": symbol(line.place)},
        customdata=[[text(label), text(line.name), ""] for label in line.labels],
        hovertemplate="%{customdata[0]}: %{y:.4g}" + unit + "<extra>%{customdata[1]}</extra>",
        meta={"line": line.key, "measure": line.measure},
        **axes,
    )


def beside_words(
    study: Study, measures: Mapping[str, Any], beside: Sequence[Beside], row: int | None
) -> list[str]:
    """Return what is to be known of the sweeps beside another, as one paragraph; none where there are none."""
    field = field_of(study, measures)
    others = [one for one in beside if _field(one) == field]
    said = []
    if others:
        said.append(
            "Each sweep is held against its own baseline. Bands and marks are those of the one in view."
        )
        if row is not None:
            said.append("The lines of the others are means over their seeds.")
    if any(one.measures.get("feature") != measures.get("feature") for one in others):
        said.append("Features that another encoder made are left out.")
    said += [
        f"“{one.name}” is not drawn here: it sweeps {_words(_field(one))}, and this one {_words(field)}."
        for one in beside
        if _field(one) != field
    ]
    return [" ".join(said)] if said else []


def fields_alike(one: Beside, field: str) -> bool:
    """Return whether another sweep is of the same field, and so on the same axis."""
    return _field(one) == field


def _field(one: Beside) -> str:
    return field_of(one.study, one.measures)


def _words(field: str) -> str:
    return FIELD_WORDS.get(field, field.replace("_", " "))
