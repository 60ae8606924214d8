"""A study as the page shows it: events in, a plain JSON value out.

The value only ever grows while a study runs, because Gradio sends the difference to the last one:

    request    changes with every study
    status     idle, waiting, loading, running, complete, stopped or failed
    message    what is being done, while loading
    ahead      how many runs come first, while waiting
    wait       how long that should take, in words, where it is known
    study      what was asked: id, operation, title, created, spec, lanes, columns, rows, cells
    cells      by key: status, step, total, preview, image, run, cached, batched, seconds, error, unread, and wait:
               {message, seconds, at} of what it waits for, or null; "at" tells the wait from another one
    lanes      by key: status, message
    notes      sentences: what the models do not read of the prompts
    known      [kind, words] that a model was taught, where a prompt had others
    error      {field, message} or null
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

from diffatlas.errors import DiffAtlasError
from diffatlas.formats import told
from diffatlas.formats.code import study_code
from diffatlas.formats.wire import rounded
from diffatlas.library.study import Cell, Study
from diffatlas.params import GenerationParams
from diffatlas.studies.plan_hosted import not_sent
from diffatlas.studies.run import (
    CellBegan,
    CellEnded,
    CellStep,
    CellWaits,
    LaneChanged,
    StudyChanged,
    StudyEvent,
)
from diffatlas.ui.components.form import query_of
from diffatlas.ui.components.pictures import image_url, preview_uri
from diffatlas.ui.components.run_view import FORM_FIELDS
from diffatlas.ui.turns import Place, about

IDLE: dict[str, Any] = {
    "request": "",
    "status": "idle",
    "message": "",
    "ahead": 0,
    "wait": "",
    "study": None,
    "cells": {},
    "lanes": {},
    "notes": [],
    "known": [],
    "error": None,
}
#: So many notes are told before the rest is counted: the prompts of the cells may all differ.
MOST_NOTES = 6


class StudyView:
    """Collects the events of one study. Each method returns the value to show now."""

    def __init__(self, visitor: str, value: dict[str, Any] | None = None) -> None:
        self._visitor = visitor
        self._value = {**(value or IDLE), "request": uuid.uuid4().hex[:8], "error": None}

    @property
    def status(self) -> str:
        """The status shown last."""
        return self._value["status"]

    def waiting(self, place: Place) -> dict[str, Any]:
        """Other runs come first."""
        wait = "" if place.seconds is None else about(place.seconds)
        return self._set(status="waiting", ahead=place.ahead, wait=wait)

    def loading(self, message: str) -> dict[str, Any]:
        """The model is being made ready."""
        return self._set(status="loading", message=message)

    def failed(self, error: DiffAtlasError) -> dict[str, Any]:
        """The study could not begin, or go on; what is finished stays."""
        field = FORM_FIELDS.get(error.field, error.field)
        return self._set(status="failed", error={"field": field, "message": error.message})

    def value(self) -> dict[str, Any]:
        """Return what to show now, as a new value: Gradio compares it with the one before."""
        return {**self._value, "cells": dict(self._value["cells"]), "lanes": dict(self._value["lanes"])}

    def add(self, event: StudyEvent) -> None:
        """Take in one event."""
        if isinstance(event, StudyChanged):
            self._take(event.study)
        elif isinstance(event, CellBegan):
            began = {"status": "running", "run": event.run_id, "total": event.total, "step": 0}
            self._cell(event.key, **began, error=None, wait=None)
            self.unread(event.key, event.prompt)
        elif isinstance(event, CellStep):
            changes: dict[str, Any] = {"step": event.index + 1, "total": event.total, "wait": None}
            if event.preview is not None:
                changes["preview"] = preview_uri(event.preview)
            self._cell(event.key, **changes)
        elif isinstance(event, CellWaits):
            self._cell(event.key, wait=wait_told(event))
        elif isinstance(event, CellEnded):
            image = None if event.image is None else image_url(event.image, self._visitor)
            thumb = {} if event.image is None else {"preview": preview_uri(event.image)}
            self._cell(event.key, **outcome(event.cell), image=image, **thumb)
        elif isinstance(event, LaneChanged):
            lanes = {**self._value["lanes"], event.key: {"status": event.status, "message": event.message}}
            self._set(lanes=lanes)

    def unread(self, key: str, prompt: Any) -> None:
        """Take in what is not read of a cell's prompts, as ``provenance["prompt"]`` of its run says."""
        self._cell(key, unread=told.unread({"prompt": prompt}))
        self._set(notes=self._notes(), known=self._value["known"] or told.known_words({"prompt": prompt}))

    def _notes(self) -> list[str]:
        """Return the sentences of all cells, each once; under a lane's name where it is not of all lanes."""
        study, cells = self._value["study"], self._value["cells"]
        if study is None:
            return []
        by_lane: dict[str, list[str]] = {lane["name"]: [] for lane in study["lanes"]}
        names = {lane["key"]: lane["name"] for lane in study["lanes"]}
        for cell in study["cells"]:
            by_lane[names[cell["lane"]]] += cells.get(cell["key"], BLANK)["unread"]
        notes = [
            sentence if all(sentence in said for said in by_lane.values()) else f"{name}: {sentence}"
            for name, own in by_lane.items()
            for sentence in own
        ]
        distinct = list(dict.fromkeys(notes))
        more = len(distinct) - MOST_NOTES
        return [*distinct[:MOST_NOTES], *([f"And {more} more, each in its own run."] if more > 0 else [])]

    def _take(self, study: Study) -> None:
        known = self._value["cells"]
        cells = {cell.key: {**BLANK, **known.get(cell.key, {}), **outcome(cell)} for cell in study.cells}
        lanes = {lane.key: self._value["lanes"].get(lane.key, NO_LANE) for lane in study.lanes}
        status = "running" if study.status == "waiting" else study.status
        self._set(status=status, study=study_fields(study), cells=cells, lanes=lanes, message="")

    def _cell(self, key: str, **changes: Any) -> None:
        cells = self._value["cells"]
        self._set(cells={**cells, key: {**cells.get(key, BLANK), **changes}})

    def _set(self, **changes: Any) -> dict[str, Any]:
        self._value = {**self._value, **changes}
        return self._value


BLANK: dict[str, Any] = {
    "status": "waiting",
    "step": 0,
    "total": None,
    "preview": None,
    "image": None,
    "run": None,
    "cached": False,
    "batched": False,
    "seconds": None,
    "error": None,
    "unread": [],
    "wait": None,
}
NO_LANE = {"status": "waiting", "message": ""}


def wait_told(wait: CellWaits) -> dict[str, Any]:
    """Return what a cell waits for, as the page has it: "at" is when it was told, in seconds since the epoch."""
    return {"message": wait.message, "seconds": wait.seconds, "at": round(time.time(), 3)}


def outcome(cell: Cell) -> dict[str, Any]:
    """Return what became of a cell."""
    return {
        "wait": None,
        "status": cell.status,
        "run": cell.run_id,
        "cached": cell.cached,
        "batched": cell.batched,
        "seconds": None if cell.seconds is None else rounded(cell.seconds),
        "error": None
        if cell.error is None
        else {"message": cell.error.get("message"), "code": cell.error.get("code")},
    }


def study_fields(study: Study) -> dict[str, Any]:
    """Return what was asked of a study: its lanes, columns and rows, and each cell's parameters."""
    first = study.lanes[0].key
    columns = {
        cell.column: {
            "column": cell.column,
            "value": cell.value,
            "label": cell.label,
            "caption": cell.caption,
        }
        for cell in reversed(study.in_lane(first))
    }
    rows = {cell.row: {"row": cell.row, "seed": cell.params.seed} for cell in reversed(study.in_lane(first))}
    base = study.spec.get("base")
    return {
        "id": study.id,
        "operation": study.operation,
        "title": study.title,
        "created": study.created,
        "spec": dict(study.spec),
        "python": study_code(study) if base else "",
        "query": query_of(
            GenerationParams.from_dict(base) if base else study.cells[0].params, study.lanes[0].backend
        ),
        "lanes": [
            {
                "key": lane.key,
                "name": lane.name,
                "backend": lane.backend,
                "changes": dict(lane.changes),
                "not_sent": not_sent(study.in_lane(lane.key)[0].params.model, lane.backend),
            }
            for lane in study.lanes
        ],
        "columns": [columns[at] for at in sorted(columns)],
        "rows": [rows[at] for at in sorted(rows)],
        "cells": [
            {
                "key": cell.key,
                "lane": cell.lane,
                "row": cell.row,
                "column": cell.column,
                "label": cell.label,
                "caption": cell.caption,
                "params": cell.params.to_dict(),
            }
            for cell in study.cells
        ],
    }


def stored_value(
    study: Study, images: Mapping[str, np.ndarray], prompts: Mapping[str, Any], visitor: str
) -> dict[str, Any]:
    """Return a stored study as a live one would show it at its end.

    images: pixels by cell. prompts: ``provenance["prompt"]`` of their runs, by cell.
    """
    view = StudyView(visitor)
    view.add(StudyChanged(study))
    for key, pixels in images.items():
        view.add(CellEnded(key, study.cell(key), pixels))
    for key, prompt in prompts.items():
        view.unread(key, prompt)
    return {**view.value(), "request": f"stored-{study.id}"}
