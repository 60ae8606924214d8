"""Tables of a study: CSV with a row per cell, JSON with all that was asked and measured."""

from __future__ import annotations

import csv as csv_writer
import io
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from diffatlas.formats.tables import units
from diffatlas.formats.tables.runs import ASKED, asked_of, written
from diffatlas.library import format as layout
from diffatlas.library.study import Cell, Study
from diffatlas.studies.numbers import caption_of, cell_numbers, lane_measures, number_names

FORMAT = "diffusion-atlas/study"
VERSION = 1
#: Before the numbers: what each cell is, and what was asked for.
COLUMNS = (
    "lane",
    "lane_name",
    "backend",
    "row",
    "column",
    "value",
    "label",
    "caption",
    "status",
    "run",
    "cached",
    "batched",
    "seconds",
    *ASKED,
    "error",
)


def csv(study: Study, images: Mapping[str, np.ndarray], measures: Mapping[str, Any]) -> bytes:
    """Return a UTF-8 CSV (RFC 4180): a row per cell, in the order of lanes, rows and columns.

    Numbers are written in full; a value that is unknown is an empty cell. A text that a spreadsheet would read as a
    formula gets an apostrophe before it. The numbers are those of `diffatlas.studies.numbers.cell_numbers`; the last
    column says their units, and "finding" before it, where there is one, why a lane has none of latents.
    """
    names, numbers = number_names(study, measures), cell_numbers(study, measures)
    findings = {lane.key: lane_measures(measures, lane.key).get("finding") for lane in study.lanes}
    columns = (*COLUMNS, *names, *(["finding"] if any(findings.values()) else []), units.COLUMN)
    of_all = units.units_cell(columns)
    text = io.StringIO()
    writer = csv_writer.writer(text)
    writer.writerow(columns)
    for cell in study.cells:
        known = {
            **_asked(study, cell),
            "caption": caption_of(cell, measures),
            **numbers[cell.key],
            "finding": findings[cell.lane],
            units.COLUMN: of_all,
        }
        writer.writerow([written(known.get(name)) for name in columns])
    return text.getvalue().encode()


def json(study: Study, images: Mapping[str, np.ndarray], measures: Mapping[str, Any]) -> bytes:
    """Return strict JSON: the study with the parameters of each cell, and the measures as they are.

    Numbers are numbers; null where one is unknown or not finite. ``units`` has the unit of each by its name.
    """
    document = {
        "format": FORMAT,
        "version": VERSION,
        "units": units.units_of((*COLUMNS, *number_names(study, measures))),
        "study": described(study, measures),
        "measures": measures or None,
    }
    # A lone surrogate becomes the escape by which JSON spells it.
    return (layout.dumps(_finite(document), indent=1) + "\n").encode("utf-8", "backslashreplace")


def described(study: Study, measures: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study in plain JSON types, with the captions that are measured."""
    return {
        "id": study.id,
        "operation": study.operation,
        "title": study.title,
        "created": study.created,
        "status": study.status,
        "spec": dict(study.spec),
        "lanes": [{**asdict(lane), "changes": dict(lane.changes)} for lane in study.lanes],
        "cells": [
            {
                **{name: value for name, value in vars(cell).items() if name != "image"},
                "caption": caption_of(cell, measures),
                "params": _params(cell),
            }
            for cell in study.cells
        ],
    }


def _params(cell: Cell) -> dict[str, Any]:
    return cell.params.to_dict()


def _asked(study: Study, cell: Cell) -> dict[str, Any]:
    lane = next((lane for lane in study.lanes if lane.key == cell.lane), None)
    return {
        **asked_of(cell.params),
        "lane": cell.lane,
        "lane_name": lane and lane.name,
        "backend": lane and lane.backend,
        "row": cell.row,
        "column": cell.column,
        "value": cell.value,
        "label": cell.label,
        "status": cell.status,
        "run": cell.run_id,
        "cached": cell.cached,
        "batched": cell.batched,
        "seconds": cell.seconds,
        "error": (cell.error or {}).get("message"),
    }


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
