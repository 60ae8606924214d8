"""Drift of a sweep: how far each value leads from the baseline, and what becomes of the images, lane by lane."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from diffatlas.errors import InvalidParams
from diffatlas.figures.drift_marks import head_of, marks_of, note_of, shape_of
from diffatlas.figures.figure import Figure, figure, text, wrapped
from diffatlas.figures.measures import check_study, plain_measures
from diffatlas.figures.panels import ROW, lay_out, say_absent
from diffatlas.figures.template import dash, lane_colour, symbol
from diffatlas.figures.values import ValueAxis, value_axis
from diffatlas.library.study import Lane, Study
from diffatlas.measured import NO_GUIDANCE
from diffatlas.studies.curves import Curve, lane_curves
from diffatlas.studies.numbers import asked, base_column, distances, lane_measures
from diffatlas.studies.words_sweep import agreement_sentences, lane_sentences

ACROSS = 3
#: Pixels of a row of marks, and of what lies between two rows of charts.
_LINE, _BETWEEN = 13, 58
ABSENT = "Not measured in this sweep."


@dataclass(frozen=True)
class Chart:
    """One chart: the name of its number, its title, its unit, and what is said where it is not known."""

    name: str
    title: str
    unit: str = ""
    absent: str = ABSENT


FEATURES = Chart("drift_feature", "Features", absent="No encoder has read these images.")
#: What became of the images and their paths; before these come the distances.
CHARTS = (
    Chart("clipped", "Clipped share"),
    Chart("saturation", "Saturation"),
    Chart("diversity", "Diversity between seeds", absent="It takes two seeds or more."),
    Chart("parting", "Parting step"),
    Chart("guidance_norm_mean", "Guidance norm, mean", absent=NO_GUIDANCE),
    Chart("guidance_angle_mean", "Guidance angle, mean, degrees", "°", NO_GUIDANCE),
    Chart("straightness", "Straightness"),
    Chart("latent_max", "Largest |latent|"),
)


def drift(study: Study, measures: Any, dark: bool = False, across: int = ACROSS) -> Figure:
    """Return the charts of a sweep by value: each distance from the baseline, then `CHARTS`; a line for each lane.

    measures: what `diffatlas.studies.measure_sweep.measure_sweep` found, or it as plain JSON types. A point is the
    mean over the seeds of a lane; where nothing is known the line is broken. Marked are the baseline (upright rule),
    the largest change of each distance (band), and where clipping and mode collapse begin (upright rules). What is not
    measured has a chart that says so.
    across: charts in a row, 1 or more.

    Raises `InvalidParams` for a study that is no sweep, and for what are no measures.
    """
    check_study(study, "sweep", "Drift")
    if across < 1:
        raise InvalidParams(f"{across} charts in a row cannot be drawn: give 1 or more.")
    measures = plain_measures(measures)
    field = str(measures.get("field") or study.spec.get("field") or "value")
    axis = value_axis(study, field, across)
    charts = charts_of(study, measures)
    curves = {lane.key: lane_curves(study, measures, lane.key) for lane in study.lanes}
    drawn = {
        chart.name: [lane for lane in study.lanes if _known(curves[lane.key].get(chart.name))]
        for chart in charts
    }
    said = _says(study, measures, axis, drawn)
    spoken = _spoken(study, measures, charts, curves, axis)
    made = figure("drift", f"Drift · {study.title or asked(study)}", " ".join(said), spoken, dark)
    _write(made, said, [lane.name for lane in study.lanes])
    named: set[str] = set()
    traces, shapes, notes = [], [], []
    grid = _grid(made, [chart.title for chart in charts], across, len(study.lanes))
    for number, (chart, axes) in enumerate(zip(charts, grid, strict=True)):
        own = {lane.key: curves[lane.key][chart.name] for lane in drawn[chart.name]}
        if not own:
            say_absent(made, axes, chart.absent)
            continue
        made.layout[_long(axes["xaxis"])].update(axis.layout)
        if number < len(charts) - across:
            made.layout[_long(axes["xaxis"])].title.text = None
        marks = marks_of(study, measures, chart.name, axis, dark)
        low, top, row = _reach(own.values(), max((mark.row for mark in marks), default=-1) + 1)
        made.layout[_long(axes["yaxis"])].update({"range": [low, top]})
        for mark in marks:
            height = top - row * (mark.row + 0.6)
            shapes.append(shape_of(mark, axes))
            traces.append(head_of(mark, axes, height))
            # Bands are told above, and the baseline, which every chart has, in the first.
            if mark.to is None and (mark.kind != "baseline" or number == 0):
                notes.append(note_of(mark, axes, height, axis))
        for lane in drawn[chart.name]:
            place = study.lanes.index(lane)
            traces.append(_line(axes, chart, lane, place, own[lane.key], axis, lane.key not in named, dark))
            named.add(lane.key)
    # At once: Plotly goes through all that it has for each that is added.
    made.add_traces(traces)
    made.update_layout(
        shapes=shapes, annotations=[*made.layout.annotations, *notes], showlegend=len(study.lanes) > 1
    )
    return made


def charts_of(study: Study, measures: Mapping[str, Any]) -> list[Chart]:
    """Return the charts: the distances that the measures list, the features where these are missing, and `CHARTS`."""
    found = [Chart(f"drift_{one['key']}", one["label"]) for one in distances(study, measures)]
    if FEATURES.name not in [chart.name for chart in found]:
        found.append(FEATURES)
    return [*found, *CHARTS]


def _line(
    axes: Mapping[str, str],
    chart: Chart,
    lane: Lane,
    place: int,
    curve: Curve,
    axis: ValueAxis,
    legend: bool,
    dark: bool,
) -> go.Scatter:
    """Return the line of a lane; legend: whether it stands for the lane in the legend."""
    columns = sorted(axis.order)
    order = [columns.index(column) for column in axis.order]
    colour = lane_colour(place, dark)
    over = "between" if chart.name == "diversity" else "mean of"
    seeds = [f", {over} {curve.seeds[k]} seeds" if curve.seeds[k] > 1 else "" for k in order]
    said = "%{customdata[0]}: %{y:.4g}" + chart.unit + "%{customdata[2]}"
    return go.Scatter(
        x=[axis.at[column] for column in axis.order],
        y=[curve.values[k] for k in order],
        mode="lines+markers",
        name=text(lane.name),
        legendgroup=lane.key,
        showlegend=legend,
        line={"color": colour, "width": 1.6, "dash": dash(place)},
        marker={"color": colour, "size": 6, "symbol": symbol(place)},
        customdata=[
            [text(axis.labels[column]), text(lane.name), count]
            for column, count in zip(axis.order, seeds, strict=True)
        ],
        hovertemplate=f"{said}<extra>%{{customdata[1]}}</extra>",
        meta={"lane": lane.key, "measure": chart.name, "columns": list(axis.order)},
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


def _grid(made: Figure, titles: Sequence[str], across: int, lanes: int) -> list[dict[str, str]]:
    """Lay out charts with room for the marks of lanes, and for the titles of the axes above the legend."""
    axes = lay_out(made, titles, across, ROW + _LINE * (lanes - 1))
    room, plots = 26, made.layout.height - made.layout.margin.t - made.layout.margin.b
    made.update_layout(
        height=made.layout.height + room, margin_b=made.layout.margin.b + room, legend_y=-(36 + 18) / plots
    )
    return axes


def _reach(curves: Iterable[Curve], rows: int) -> tuple[float, float, float]:
    """Return the ends of a chart, with room for so many rows of marks above its curves, and the height of a row."""
    known = [value for curve in curves for value in curve.values if value is not None]
    low, high = min(known), max(known)
    size = high - low
    if size < 1e-9 * max(1.0, abs(high)):
        size = abs(high) * 0.2 or 1.0
        low, high = low - size / 2, high + size / 2
    free = ROW - _BETWEEN - _LINE
    row = size * _LINE / free
    return low - 0.06 * size, high + row * (rows + 0.5), row


def _says(
    study: Study, measures: Mapping[str, Any], axis: ValueAxis, drawn: Mapping[str, Sequence[Lane]]
) -> list[str]:
    """Return what is drawn, then what it shows of each lane, a paragraph each."""
    if not any(drawn.values()):
        return ["Nothing of this sweep is measured yet."]
    seeds = len({cell.row for cell in study.cells})
    about = f"By {axis.title}"
    about += f", the mean over {seeds} seeds" if seeds > 1 else ""
    about += "; a line for each lane." if len(study.lanes) > 1 else "."
    label = axis.labels.get(base_column(study, measures))
    about += f" Dotted rule: the baseline{f', {label}' if label else ''}."
    lanes = [lane_measures(measures, lane.key) for lane in study.lanes]
    if any(change for lane in lanes for change in (lane.get("largest_change") or {}).values()):
        about += " Bands: the largest change between neighbouring values."
    known = {lane.key for lanes in drawn.values() for lane in lanes}
    told = {lane.key: lane_sentences(study, measures, lane.key) for lane in study.lanes}
    if len(study.lanes) == 1:
        return [about, *(" ".join(own) for own in told.values() if own)]
    shared = [words for words in next(iter(told.values())) if all(words in own for own in told.values())]
    paragraphs = [about, *shared]
    for lane in study.lanes:
        own = [words for words in told[lane.key] if words not in shared]
        if lane.key not in known:
            own = ["Nothing is measured of it."]
        if own:
            paragraphs.append(f"{lane.name}: {' '.join(own)}")
    return [*paragraphs, *agreement_sentences(study, measures)]


def _spoken(
    study: Study,
    measures: Mapping[str, Any],
    charts: Sequence[Chart],
    curves: Mapping[str, Mapping[str, Curve]],
    axis: ValueAxis,
) -> str:
    """Return the least and the most of each curve, and where, then what is said of the lanes."""
    columns = sorted(axis.order)
    told = []
    for lane in study.lanes:
        parts = []
        for chart in charts:
            curve = curves[lane.key].get(chart.name)
            if not _known(curve):
                continue
            found = [
                (value, axis.labels[columns[k]]) for k, value in enumerate(curve.values) if value is not None
            ]
            (low, at), (high, to) = min(found), max(found)
            parts.append(
                f"{chart.title} from {low:.3g} ({at}) to {high:.3g} ({to})"
                if low != high
                else f"{chart.title} {low:.3g} throughout"
            )
        told.append(f"{lane.name}: {'; '.join(parts) or 'nothing measured'}.")
        told += lane_sentences(study, measures, lane.key)
    return " ".join([*told, *agreement_sentences(study, measures)])


def _known(curve: Curve | None) -> bool:
    return curve is not None and any(value is not None for value in curve.values)


def _long(axis: str) -> str:
    """Return the name of an axis in a layout: "xaxis2" for "x2"."""
    return f"{axis[0]}axis{axis[1:]}"
