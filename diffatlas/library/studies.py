"""The studies of a library: a folder each, in ``.studies`` beside the runs.

::

    <library>/.studies/<study id>/
      study.json             what was asked, and what became of each cell
      title.json             the title that a person gave it, where one did
      images/a-0-3.png       the images of cells that left no run

The runs themselves are in the library. Deleting a study leaves them there, and a run may go before its study.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from diffatlas import files
from diffatlas.described import Check, by_name, finite, flag, listed, maybe, text, whole
from diffatlas.described import fields as fields_of
from diffatlas.errors import DiffAtlasError
from diffatlas.library import format as layout
from diffatlas.library.claimed import is_alive, this_process
from diffatlas.library.format import is_run_id
from diffatlas.library.shelf import Shelf, as_json, given_title, must, plain_text
from diffatlas.library.study import FIELDS, MODES, OPERATIONS, STATUSES, Cell, Lane, Study, cell_key
from diffatlas.params import GenerationParams
from diffatlas.stored_version import check_version

FOLDER = ".studies"
FORMAT_VERSION = 1
FILE = "study.json"
#: A study file larger than this (bytes) is none of ours.
MAX_BYTES = 16_000_000
MAX_CELLS = 100_000


@dataclass(frozen=True)
class StudyInfo:
    """What a list of studies shows. ``status`` is the study's, or "damaged" for one that cannot be read."""

    id: str
    operation: str
    title: str
    created: str
    status: str
    #: How many cells there are, and how many of them are complete.
    cells: int
    done: int
    #: Why a damaged one cannot be read.
    error: str | None = None


class Studies(Shelf):
    """Keeps studies in the library folder ``library``."""

    noun, listed_by, place, file = "study", "`diffatlas studies`", FOLDER, FILE

    def save(self, study: Study) -> None:
        """Write a study whole, in one rename. Raises `BackendFailure` where the disk refuses."""
        folder = self._folder(study.id)
        data: dict[str, Any] = {"format": FORMAT_VERSION, **_plain(study)}
        if study.status == "running":
            data["writer"] = this_process()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            layout.write_atomically(folder / FILE, as_json(data))
        except OSError as error:
            raise self._refused(folder, error) from error

    def changed(self, study: Study, cell: str) -> None:
        """Write a study of which one cell has changed, or, where ``cell`` is empty, its status. Raises as `save`."""
        self.save(study)

    def open(self, study_id: str) -> Study:
        """Read a study.

        One that was running in a process that is gone reads as stopped, and so do its cells that were not finished.
        Those that come with the project (`diffatlas.library.shipped.EXAMPLES`) are found too.

        Raises `RunNotFound`, or `DamagedRun` where it cannot be read.
        """
        folder = self._find(study_id, self._examples)
        with self._reading(folder):
            data = _read(folder)
            study = _study(data, study_id)
        title = given_title(folder)
        study = replace(study, title=title) if title else study
        return (
            _stopped(study)
            if study.status == "running" and not is_alive(folder, data.get("writer"))
            else study
        )

    def list(self, operation: str | None = None) -> list[StudyInfo]:
        """Return the studies of one operation, or of all, newest first.

        Those that cannot be read come last, whatever their operation, so that they can be deleted.
        """
        infos = [self._info(self.folder / name) for name in self._names()]
        wanted = [i for i in infos if operation in (None, i.operation) or i.status == "damaged"]
        return sorted(wanted, key=lambda i: (i.status != "damaged", i.created, i.id), reverse=True)

    def _read(self, folder: Path) -> dict[str, Any]:
        return _read(folder)

    def _info(self, folder: Path) -> StudyInfo:
        """What a list shows; the parameters of the cells are not read, because a list may be long."""
        title = given_title(folder)
        try:
            with self._reading(folder):
                data = _read(folder)
            statuses = [_one_of(cell["status"], STATUSES) for cell in data["cells"]]
            status = _one_of(data["status"], STATUSES)
            if status == "running" and not is_alive(folder, data.get("writer")):
                status = "stopped"
            return StudyInfo(
                id=folder.name,
                operation=_one_of(data["operation"], OPERATIONS),
                title=title or plain_text(data["title"]),
                created=plain_text(data["created"]),
                status=status,
                cells=len(statuses),
                done=statuses.count("complete"),
            )
        except Exception as error:
            told = (
                error.message if isinstance(error, DiffAtlasError) else self._damaged(folder, error).message
            )
            return StudyInfo(
                folder.name, "", title or "A study that cannot be read", "", "damaged", 0, 0, told
            )


def _plain(study: Study) -> dict[str, Any]:
    """The study in plain JSON types."""
    data = {name: value for name, value in vars(study).items() if name not in ("lanes", "cells")}
    data["lanes"] = [{**vars(lane), "changes": dict(lane.changes)} for lane in study.lanes]
    data["cells"] = [{**vars(cell), "params": cell.params.to_dict()} for cell in study.cells]
    return data


def _read(folder: Path) -> dict[str, Any]:
    data = files.read_object(folder / FILE, MAX_BYTES, finite=True)
    check_version(data.get("format"), FORMAT_VERSION, f"The study in {folder.name}")
    _FILE(data)
    return data


def _study(data: dict[str, Any], study_id: str) -> Study:
    """Build a study from a file that may have been written by anybody. Raises for whatever does not fit."""
    must(data["id"] == study_id, "it has the id of another study")
    operation = _one_of(data["operation"], OPERATIONS)
    lanes = tuple(_lane(lane) for lane in data["lanes"])
    keys = [lane.key for lane in lanes]
    must(bool(lanes) and len(set(keys)) == len(keys), "its lanes are not told apart")
    cells = tuple(_cell(cell, keys) for cell in data["cells"])
    must(bool(cells) and len({cell.key for cell in cells}) == len(cells), "its cells are not told apart")
    return Study(
        id=study_id,
        operation=operation,
        title=plain_text(data["title"]),
        created=plain_text(data["created"]),
        spec=_spec(data["spec"], operation, {cell.column for cell in cells}),
        lanes=lanes,
        cells=cells,
        status=_one_of(data["status"], STATUSES),
    )


def _plain_value(value: Any) -> None:
    """A value that cells may have: a name, a number, a method with its options."""
    if value is not None and not isinstance(value, (str, bool)):
        (by_name(_plain_value, 100) if isinstance(value, dict) else finite)(value)


#: What every study says: enough to list it.
_FILE: Check = fields_of(
    {
        "title": text(100_000),
        "created": text(100),
        "lanes": listed(
            fields_of({"key": text(100), "name": text(10_000), "backend": text(1000)}, ("key", "name")),
            1000,
            1,
        ),
        "cells": listed(fields_of({"key": text(200)}, ("key", "status", "params")), MAX_CELLS, 1),
        "spec": fields_of(
            {
                "values": listed(_plain_value, 10_000),
                "baseline": whole(0, 10_000),
                "seeds": whole(1, 100_000),
                "exact": flag,
                "base": fields_of({"model": text()}, ("model",)),
                "capture": maybe(fields_of({})),
                "lanes": maybe(listed(fields_of({}), 1000)),
                "k": maybe(whole(0, 100_000)),
                "radius": maybe(finite),
                "spread": maybe(text(100)),
                "step": maybe(whole(0, 100_000)),
            }
        ),
    },
    ("id", "operation", "title", "created", "status", "spec", "lanes", "cells"),
)


def _spec(spec: Any, operation: str, columns: set[int]) -> dict[str, Any]:
    must(isinstance(spec, dict), "it does not say what was asked")
    if operation == "sweep":
        _one_of(spec["field"], FIELDS)
        must(isinstance(spec["values"], list) and len(spec["values"]) == len(columns), "it lacks values")
        must(spec["baseline"] in columns, "its baseline is none of its columns")
    else:
        _one_of(spec["mode"], MODES)
    if "base" in spec:
        GenerationParams.from_dict(spec["base"]).validate(prompted=False)
    return spec


def _lane(data: dict[str, Any]) -> Lane:
    lane = Lane(**_known(Lane, data))
    must(is_run_id(lane.key) and "-" not in lane.key, "a lane has no key")
    must(isinstance(lane.changes, dict), "a lane does not say what it changes")
    return replace(lane, name=plain_text(lane.name), backend=plain_text(lane.backend))


def _cell(data: dict[str, Any], lanes: list[str]) -> Cell:
    cell = Cell(**{**_known(Cell, data), "params": GenerationParams.from_dict(data["params"]).validate()})
    for place in (cell.row, cell.column):
        must(type(place) is int and 0 <= place < 10_000, "a cell has no place")
    must(cell.lane in lanes and cell.key == cell_key(cell.lane, cell.row, cell.column), "a cell has no place")
    _one_of(cell.status, STATUSES)
    must(cell.run_id is None or is_run_id(cell.run_id), "a cell names no run")
    must(cell.value is None or isinstance(cell.value, (str, int, float)), "a cell has no value")
    _plain_value(cell.value)
    for said in (cell.cached, cell.batched, cell.image):
        must(isinstance(said, bool), "a cell says neither yes nor no")
    maybe(finite)(cell.seconds)
    return replace(
        cell, label=plain_text(cell.label), caption=plain_text(cell.caption), error=_error(cell.error)
    )


def _error(error: Any) -> dict[str, Any] | None:
    if error is None:
        return None
    field = error.get("field")
    return {
        "code": plain_text(error["code"]),
        "message": plain_text(error["message"]),
        "field": None if field is None else plain_text(field),
    }


def _stopped(study: Study) -> Study:
    """The study as its dead process left it: what was finished stays, the rest is stopped."""
    cells = tuple(
        replace(cell, status="stopped") if cell.status in ("waiting", "running") else cell
        for cell in study.cells
    )
    return replace(study, cells=cells, status="stopped")


def _known(kind: type, data: Any) -> dict[str, Any]:
    """The entries that are fields of ``kind``; a newer version may have written more."""
    return {f.name: data[f.name] for f in fields(kind) if f.name in data}


def _one_of(value: Any, choices: tuple[str, ...]) -> str:
    must(value in choices, f"{value!r:.40} is none of {', '.join(choices)}")
    return value
