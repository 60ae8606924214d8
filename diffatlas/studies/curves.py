"""The curves of a sweep: each of its numbers by value, as a mean over the seeds of a lane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffatlas.library.study import Study
from diffatlas.measured import finite
from diffatlas.studies.numbers import cell_numbers, lane_measures, number_names


@dataclass(frozen=True)
class Curve:
    """A number by column, in their order: ``values``, None where unknown, and how many ``seeds`` each is a mean of."""

    values: tuple[float | None, ...]
    seeds: tuple[int, ...]


def columns_of(study: Study) -> list[int]:
    """Return the columns of a study in their order."""
    return sorted({cell.column for cell in study.cells})


def lane_curves(
    study: Study, measures: Mapping[str, Any], lane: str, row: int | None = None
) -> dict[str, Curve]:
    """Return the curves of a sweep's lane, by the names of `number_names`, and "diversity".

    measures: what `measure_sweep` found, as plain JSON types. Drifts and diversity are those of its lanes; the other
    numbers are means over the cells of a column. row: of the one seed that is told; diversity is between all of them.
    """
    columns = columns_of(study)
    cells = [cell for cell in study.in_lane(lane) if row is None or cell.row == row]
    measured, numbers = lane_measures(measures, lane), cell_numbers(study, measures)
    found = {}
    for name in number_names(study, measures):
        known = [
            [v for cell in cells if cell.column == column and (v := numbers[cell.key][name]) is not None]
            for column in columns
        ]
        values = [float(np.mean(own)) if own else None for own in known]
        if name.startswith("drift_") and row is None:
            values = (measured.get("curves") or {}).get(name.removeprefix("drift_")) or values
        found[name] = Curve(_filled(values, len(columns)), tuple(map(len, known)))
    # Diversity is between the pictures, and a picture that was read has a saturation.
    pictures = [
        sum(
            numbers[cell.key]["saturation"] is not None
            for cell in study.in_lane(lane)
            if cell.column == column
        )
        for column in columns
    ]
    found["diversity"] = Curve(_filled(measured.get("diversity") or (), len(columns)), tuple(pictures))
    return found


def _filled(values: Any, count: int) -> tuple[float | None, ...]:
    known = [finite(value) for value in values]
    return (*known, *[None] * (count - len(known)))[:count]
