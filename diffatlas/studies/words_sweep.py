"""What a sweep shows, in sentences: where it changes most, where paths part, where clipping and collapse begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diffatlas.library.study import Cell, Study
from diffatlas.measured import finite
from diffatlas.studies.numbers import base_column, distances, lane_measures

APART = "The lanes have too little in common to be compared."


def lane_sentences(study: Study, measures: Mapping[str, Any], lane: str, row: int | None = None) -> list[str]:
    """Return what is to be said of a sweep's lane: its largest change, its parting steps, clipping,
    collapse, and why nothing of latents is told where nothing is.

    measures: what `measure_sweep` found, as plain JSON types. row: of the seed whose paths are told; else the first.
    """
    measured = lane_measures(measures, lane)
    said = [largest_change(study, measures, lane), parting(study, measures, lane, row)]
    said += [(measured.get(key) or {}).get("sentence") for key in ("clipping", "collapse")]
    said.append(measured.get("finding"))
    # Where the values have no order, both say so.
    return list(dict.fromkeys(filter(None, said)))


def agreement_sentences(study: Study, measures: Mapping[str, Any]) -> list[str]:
    """Return how alike every two lanes of a sweep are; none for a single lane, or before it is measured."""
    if len(study.lanes) < 2 or not measures:
        return []
    found = [pair.get("sentence") for pair in measures.get("agreement") or ()]
    return [sentence for sentence in found if sentence] or [APART]


def largest_change(study: Study, measures: Mapping[str, Any], lane: str) -> str | None:
    """Say between which neighbouring values a lane's drift changes most, by each distance; None where unknown."""
    labels = labels_of(study)
    changes = lane_measures(measures, lane).get("largest_change") or {}
    places: dict[str, list[str]] = {}
    for distance in distances(study, measures):
        change = changes.get(distance["key"]) or {}
        size = finite(change.get("size"))
        if size is not None:
            where = f"from {labels.get(change['from'], '?')} to {labels.get(change['to'], '?')}"
            places.setdefault(where, []).append(f"{_inside(distance['label'])} ({_digits(abs(size))})")
    if not places:
        return None
    parts = [f"{where} by {listed(names)}" for where, names in places.items()]
    return f"The largest change between neighbouring values is {listed(parts)}."


def parting(study: Study, measures: Mapping[str, Any], lane: str, row: int | None = None) -> str | None:
    """Say at which step the path of each value parts from that of the baseline; None where no path is known.

    row: that of the seed whose paths are told; else the first. The seed is named where there are several.
    """
    rows = sorted({cell.row for cell in study.cells})
    if row is None and rows:
        row = rows[0]
    base = base_column(study, measures)
    cells = [cell for cell in study.in_lane(lane) if cell.row == row]
    told = [cell for cell in cells if cell.column != base and _has_path(cell, measures)]
    steps = {cell.key: measures["cells"][cell.key].get("parting") for cell in told}
    parts = [f"{cell.label} at step {steps[cell.key]}" for cell in told if steps[cell.key] is not None]
    never = [cell.label for cell in told if steps[cell.key] is None]
    label = labels_of(study).get(base)
    baseline = f"the baseline ({label})" if label else "the baseline"
    if len(rows) > 1 and cells:
        baseline += f" of seed {cells[0].params.seed}"
    said = [f"The paths part from {baseline}: {listed(parts)}."] if parts else []
    if never:
        opening = listed(never) if parts else f"From {baseline}, {listed(never)}"
        do = "do" if len(never) > 1 else "does"
        said.append(
            f"{opening[:1].upper()}{opening[1:]} {do} not part, or cannot be held against it step by step."
        )
    return " ".join(said) or None


def labels_of(study: Study) -> dict[int, str]:
    """Return the label of each column: that of its first cell."""
    return {cell.column: cell.label for cell in reversed(study.cells)}


def listed(parts: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)


def _has_path(cell: Cell, measures: Mapping[str, Any]) -> bool:
    own = (measures.get("cells") or {}).get(cell.key) or {}
    return cell.status == "complete" and own.get("path_length") is not None


def _inside(label: str) -> str:
    """Return a label as it stands inside a sentence; an abbreviation keeps its capitals."""
    return label[:1].lower() + label[1:] if label[1:2].islower() else label


def _digits(value: float) -> str:
    """Return three significant digits."""
    return f"{value:#.3g}".rstrip(".") if value else "0"
