"""What a figure of drift says: what is drawn, and what it shows of each lane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diffatlas.figures.drift_charts import Chart, known_in
from diffatlas.figures.values import ValueAxis
from diffatlas.library.study import Lane, Study
from diffatlas.studies.curves import Curve
from diffatlas.studies.numbers import base_column, lane_measures
from diffatlas.studies.words_sweep import agreement_sentences, lane_sentences


def says(
    study: Study,
    measures: Mapping[str, Any],
    axis: ValueAxis,
    drawn: Mapping[str, Sequence[Lane]],
    lanes: Sequence[Lane],
    row: int | None,
) -> list[str]:
    """Return what is drawn, then what it shows of each lane, a paragraph each."""
    if not any(drawn.values()):
        return ["Nothing of this sweep is measured yet."]
    seeds = {cell.row: cell.params.seed for cell in study.cells}
    about = f"By {axis.title}"
    if len(seeds) > 1:
        about += f", the mean over {len(seeds)} seeds" if row is None else f", of seed {seeds[row]}"
    about += "; a line for each lane." if len(lanes) > 1 else "."
    label = axis.labels.get(base_column(study, measures))
    about += f" Dotted rule: the baseline{f', {label}' if label else ''}."
    changes = [lane_measures(measures, lane.key).get("largest_change") or {} for lane in lanes]
    if any(change for lane in changes for change in lane.values()):
        about += " Bands: the largest change between neighbouring values."
    known = {lane.key for lanes in drawn.values() for lane in lanes}
    told = {lane.key: lane_sentences(study, measures, lane.key, row) for lane in lanes}
    if len(lanes) == 1:
        return [about, *(" ".join(own) for own in told.values() if own)]
    shared = [words for words in next(iter(told.values())) if all(words in own for own in told.values())]
    paragraphs = [about, *shared]
    for lane in lanes:
        own = [words for words in told[lane.key] if words not in shared]
        if lane.key not in known:
            own = ["Nothing is measured of it."]
        if own:
            paragraphs.append(f"{lane.name}: {' '.join(own)}")
    return [*paragraphs, *agreement_sentences(study, measures)]


def spoken(
    study: Study,
    measures: Mapping[str, Any],
    charts: Sequence[Chart],
    curves: Mapping[str, Mapping[str, Curve]],
    axis: ValueAxis,
    lanes: Sequence[Lane],
    row: int | None,
) -> str:
    """Return the least and the most of each curve, and where, then what is said of the lanes."""
    columns = sorted(axis.order)
    told = []
    for lane in lanes:
        parts = []
        for chart in charts:
            curve = curves[lane.key].get(chart.name)
            if not known_in(curve):
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
        told += lane_sentences(study, measures, lane.key, row)
    together = agreement_sentences(study, measures) if len(lanes) > 1 else []
    return " ".join([*told, *together])
