"""The studies of a library: a folder each, in ``.studies`` beside the runs.

::

    <library>/.studies/<study id>/
      study.json             what was asked, and what became of each cell
      title.json             the title that a person gave it, where one did
      images/a-0-3.png       the images of cells that left no run

The runs themselves are in the library. Deleting a study leaves them there, and a run may go before its study.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas import files
from diffatlas.described import Check, Wrong, by_name, finite, flag, listed, maybe, text, whole
from diffatlas.described import fields as fields_of
from diffatlas.errors import (
    BackendFailure,
    DamagedRun,
    DiffAtlasError,
    InvalidParams,
    RunNotFound,
    Unreadable,
)
from diffatlas.library import format as layout
from diffatlas.library import shipped, trash
from diffatlas.library.format import is_run_id
from diffatlas.library.study import FIELDS, MODES, OPERATIONS, STATUSES, Cell, Lane, Study, cell_key
from diffatlas.params import GenerationParams

FOLDER = ".studies"
FORMAT_VERSION = 1
FILE = "study.json"
TITLE = "title.json"
MAX_TITLE = 120
#: A study file larger than this (bytes) is none of ours.
MAX_BYTES = 16_000_000
MAX_CELLS = 100_000

#: Folders of the studies that this process runs now.
_RUNNING: set[Path] = set()
_CLAIMING = threading.Lock()


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


class Studies:
    """Keeps studies in the library folder ``library``."""

    def __init__(self, library: str | Path) -> None:
        self.folder = Path(library).expanduser() / FOLDER

    def save(self, study: Study) -> None:
        """Write a study whole, in one rename. Raises `BackendFailure` where the disk refuses."""
        folder = self._folder(study.id)
        data: dict[str, Any] = {"format": FORMAT_VERSION, **_plain(study)}
        if study.status == "running":
            data["writer"] = _this_process()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            layout.write_atomically(folder / FILE, _json(data))
        except OSError as error:
            raise _refused(folder, error) from error

    def open(self, study_id: str) -> Study:
        """Read a study.

        One that was running in a process that is gone reads as stopped, and so do its cells that were not finished.
        Those that come with the project (`diffatlas.library.shipped.EXAMPLES`) are found too.

        Raises `RunNotFound`, or `DamagedRun` where it cannot be read.
        """
        folder = self._find(study_id, shipped.EXAMPLES / FOLDER)
        with _reading(folder):
            data = _read(folder)
            study = _study(data, study_id)
        title = _given_title(folder)
        study = replace(study, title=title) if title else study
        return _stopped(study) if study.status == "running" and not _alive(folder, data) else study

    def list(self, operation: str | None = None) -> list[StudyInfo]:
        """Return the studies of one operation, or of all, newest first.

        Those that cannot be read come last, whatever their operation, so that they can be deleted.
        """
        infos = [_info(self.folder / name) for name in self._names()]
        wanted = [i for i in infos if operation in (None, i.operation) or i.status == "damaged"]
        return sorted(wanted, key=lambda i: (i.status != "damaged", i.created, i.id), reverse=True)

    def delete(self, study_id: str) -> None:
        """Delete a study; its runs stay. Raises `RunNotFound`, or `InvalidParams` for one that is running."""
        folder = self._find(study_id)
        if self.is_running(study_id):
            raise InvalidParams("This study is still running: stop it first.", field="study")
        trash.tidy(self.folder)
        try:
            trash.delete(folder)
        except OSError as error:
            raise _refused(folder, error) from error

    def trash(self, study_id: str) -> None:
        """Move a study to the trash; its runs stay. Raises what `delete` raises."""
        folder = self._find(study_id)
        if self.is_running(study_id):
            raise InvalidParams("This study is still running: stop it first.", field="study")
        try:
            trash.move_to_trash(self.folder, study_id)
        except OSError as error:
            raise _refused(folder, error) from error

    def restore(self, study_id: str) -> None:
        """Bring a study back from the trash. Raises `RunNotFound`."""
        try:
            trash.restore(self.folder, study_id)
        except RunNotFound:
            raise RunNotFound(f"The trash has no study {study_id!r:.80}.") from None

    @property
    def deleted(self) -> Studies:
        """The studies in the trash, to be listed, read and deleted for good as the others are."""
        found = Studies(self.folder.parent)
        found.folder = self.folder / trash.TRASH
        return found

    def rename(self, study_id: str, title: str) -> None:
        """Give a study another title; white space is collapsed.

        The title has a file of its own: a study that is running is written again and again, by somebody else.

        Raises `RunNotFound`, or `InvalidParams` for an empty or overlong title.
        """
        folder = self._find(study_id)
        words = " ".join(_text(title).split()) if isinstance(title, str) else ""
        if not 1 <= len(words) <= MAX_TITLE:
            raise InvalidParams(f"A title is text of 1 to {MAX_TITLE} characters.", field="title")
        try:
            layout.write_atomically(folder / TITLE, _json({"title": words}))
        except OSError as error:
            raise _refused(folder, error) from error

    def save_image(self, study_id: str, cell: str, pixels: np.ndarray) -> None:
        """Keep the image of a cell, (H, W, 3) uint8, without loss. Raises `RunNotFound` or `BackendFailure`."""
        from PIL import Image

        path = self._image_file(study_id, cell)
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=1)
        try:
            path.parent.mkdir(exist_ok=True)
            layout.write_atomically(path, buffer.getvalue())
        except OSError as error:
            raise _refused(path.parent, error) from error

    def image(self, study_id: str, cell: str) -> np.ndarray:
        """Read an image that the study keeps, (H, W, 3) uint8.

        Raises `RunNotFound` where there is none, or `DamagedRun` where it cannot be read.
        """
        path = self._image_file(study_id, cell)
        if not path.is_file() or path.is_symlink():
            raise RunNotFound(f"The study {study_id!r} keeps no image of the cell {cell!r}.")
        with _reading(path.parent.parent):
            return np.asarray(files.open_png(path).convert("RGB"))

    def is_running(self, study_id: str) -> bool:
        """Return whether a process that is alive runs the study now."""
        folder = self._folder(study_id)
        try:
            data = _read(folder)
            return data.get("status") == "running" and _alive(folder, data)
        except Exception:
            # It cannot be read, so nobody is at it.
            return _key(folder) in _RUNNING

    @contextmanager
    def running(self, study_id: str) -> Iterator[None]:
        """Claim a study for a run of its cells, until the block is left.

        Raises `InvalidParams` where somebody runs it already.
        """
        key = _key(self._folder(study_id))
        with _CLAIMING:
            if key in _RUNNING or self.is_running(study_id):
                raise InvalidParams(
                    "This study is running already: wait until it has ended, or stop it.", field="study"
                )
            _RUNNING.add(key)
        try:
            yield
        finally:
            _RUNNING.discard(key)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._names())

    def _names(self) -> list[str]:
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        folders = ((name, self.folder / name) for name in names if is_run_id(name))
        return [name for name, folder in folders if folder.is_dir() and not folder.is_symlink()]

    def _folder(self, study_id: str) -> Path:
        if not is_run_id(study_id):
            raise RunNotFound(f"{study_id!r:.80} cannot be the id of a study.")
        return self.folder / study_id

    def _find(self, study_id: str, otherwise: Path | None = None) -> Path:
        folder = self._folder(study_id)
        if otherwise is not None and not folder.is_dir():
            folder = otherwise / study_id
        if not folder.is_dir() or folder.is_symlink():
            raise RunNotFound(
                f"The library has no study {study_id!r}: `diffatlas studies` lists those it has."
            )
        return folder

    def _image_file(self, study_id: str, cell: str) -> Path:
        # An id has neither separators nor dots, and a cell's key is of the same letters.
        if not is_run_id(cell):
            raise RunNotFound(f"{cell!r:.80} cannot be a cell of a study.")
        return self._find(study_id, shipped.EXAMPLES / FOLDER) / "images" / f"{cell}.png"


def _plain(study: Study) -> dict[str, Any]:
    """The study in plain JSON types."""
    data = {name: value for name, value in vars(study).items() if name not in ("lanes", "cells")}
    data["lanes"] = [{**vars(lane), "changes": dict(lane.changes)} for lane in study.lanes]
    data["cells"] = [{**vars(cell), "params": cell.params.to_dict()} for cell in study.cells]
    return data


def _json(data: Any) -> bytes:
    return (layout.dumps(data, indent=1) + "\n").encode("utf-8", "replace")


def _read(folder: Path) -> dict[str, Any]:
    data = files.read_object(folder / FILE, MAX_BYTES, finite=True)
    version = data.get("format")
    _must(
        type(version) is int and version == FORMAT_VERSION,
        f"it is of format {version!r:.20}, this version reads {FORMAT_VERSION}",
    )
    _FILE(data)
    return data


def _study(data: dict[str, Any], study_id: str) -> Study:
    """Build a study from a file that may have been written by anybody. Raises for whatever does not fit."""
    _must(data["id"] == study_id, "it has the id of another study")
    operation = _one_of(data["operation"], OPERATIONS)
    lanes = tuple(_lane(lane) for lane in data["lanes"])
    keys = [lane.key for lane in lanes]
    _must(bool(lanes) and len(set(keys)) == len(keys), "its lanes are not told apart")
    cells = tuple(_cell(cell, keys) for cell in data["cells"])
    _must(bool(cells) and len({cell.key for cell in cells}) == len(cells), "its cells are not told apart")
    return Study(
        id=study_id,
        operation=operation,
        title=_text(data["title"]),
        created=_text(data["created"]),
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
    _must(isinstance(spec, dict), "it does not say what was asked")
    if operation == "sweep":
        _one_of(spec["field"], FIELDS)
        _must(isinstance(spec["values"], list) and len(spec["values"]) == len(columns), "it lacks values")
        _must(spec["baseline"] in columns, "its baseline is none of its columns")
    else:
        _one_of(spec["mode"], MODES)
    if "base" in spec:
        GenerationParams.from_dict(spec["base"]).validate(prompted=False)
    return spec


def _lane(data: dict[str, Any]) -> Lane:
    lane = Lane(**_known(Lane, data))
    _must(is_run_id(lane.key) and "-" not in lane.key, "a lane has no key")
    _must(isinstance(lane.changes, dict), "a lane does not say what it changes")
    return replace(lane, name=_text(lane.name), backend=_text(lane.backend))


def _cell(data: dict[str, Any], lanes: list[str]) -> Cell:
    cell = Cell(**{**_known(Cell, data), "params": GenerationParams.from_dict(data["params"]).validate()})
    for place in (cell.row, cell.column):
        _must(type(place) is int and 0 <= place < 10_000, "a cell has no place")
    _must(
        cell.lane in lanes and cell.key == cell_key(cell.lane, cell.row, cell.column), "a cell has no place"
    )
    _one_of(cell.status, STATUSES)
    _must(cell.run_id is None or is_run_id(cell.run_id), "a cell names no run")
    _must(cell.value is None or isinstance(cell.value, (str, int, float)), "a cell has no value")
    _plain_value(cell.value)
    for said in (cell.cached, cell.batched, cell.image):
        _must(isinstance(said, bool), "a cell says neither yes nor no")
    maybe(finite)(cell.seconds)
    return replace(cell, label=_text(cell.label), caption=_text(cell.caption), error=_error(cell.error))


def _error(error: Any) -> dict[str, Any] | None:
    if error is None:
        return None
    field = error.get("field")
    return {
        "code": _text(error["code"]),
        "message": _text(error["message"]),
        "field": None if field is None else _text(field),
    }


def _stopped(study: Study) -> Study:
    """The study as its dead process left it: what was finished stays, the rest is stopped."""
    cells = tuple(
        replace(cell, status="stopped") if cell.status in ("waiting", "running") else cell
        for cell in study.cells
    )
    return replace(study, cells=cells, status="stopped")


def _info(folder: Path) -> StudyInfo:
    """What a list shows; the parameters of the cells are not read, because a list may be long."""
    title = _given_title(folder)
    try:
        with _reading(folder):
            data = _read(folder)
        statuses = [_one_of(cell["status"], STATUSES) for cell in data["cells"]]
        status = _one_of(data["status"], STATUSES)
        if status == "running" and not _alive(folder, data):
            status = "stopped"
        return StudyInfo(
            id=folder.name,
            operation=_one_of(data["operation"], OPERATIONS),
            title=title or _text(data["title"]),
            created=_text(data["created"]),
            status=status,
            cells=len(statuses),
            done=statuses.count("complete"),
        )
    except Exception as error:
        told = error.message if isinstance(error, DiffAtlasError) else _damaged(folder, error).message
        return StudyInfo(folder.name, "", title or "A study that cannot be read", "", "damaged", 0, 0, told)


def _given_title(folder: Path) -> str:
    """The title that a person gave; empty where none did, or where the file cannot be read."""
    try:
        return _text(files.read_object(folder / TITLE, MAX_TITLE * 100)["title"])[:MAX_TITLE]
    except (FileNotFoundError, ValueError, KeyError):
        return ""


def _alive(folder: Path, data: dict[str, Any]) -> bool:
    """Whether the process that wrote "running" is still at it."""
    import psutil

    writer = data.get("writer")
    try:
        if writer["pid"] == os.getpid():
            return _key(folder) in _RUNNING
        return abs(psutil.Process(writer["pid"]).create_time() - writer["started"]) < 1
    except (psutil.Error, KeyError, TypeError, ValueError, OverflowError):
        return False


def _this_process() -> dict[str, Any]:
    import psutil

    return {"pid": os.getpid(), "started": psutil.Process().create_time()}


def _key(folder: Path) -> Path:
    return folder.resolve()


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Turn whatever goes wrong while a study is read into `DamagedRun`."""
    try:
        yield
    except FileNotFoundError as error:
        raise DamagedRun(f"The study in {folder.name} has no readable {FILE}: it is missing.") from error
    except Unreadable as error:
        raise DamagedRun(f"The study in {folder.name} is damaged: {error.message}") from error
    except DiffAtlasError as error:
        raise DamagedRun(f"The study in {folder.name} cannot be read: {error.message}") from error
    except Exception as error:
        raise _damaged(folder, error) from error


def _damaged(folder: Path, error: Exception) -> DamagedRun:
    if isinstance(error, OSError):
        what = files.reason_of(error)
    elif isinstance(error, KeyError):
        what = f"it has no {error.args[0]!s:.40}"
    elif isinstance(error, ValueError):
        what = str(error)
    else:
        what = "its parts do not fit each other"
    return DamagedRun(f"The study in {folder.name} is damaged: {' '.join(what.split())[:200].rstrip('.')}.")


def _refused(folder: Path, error: OSError) -> BackendFailure:
    return BackendFailure(
        f"The study cannot be written to {folder} ({error.strerror or error}): free some space or choose another "
        "folder."
    )


def _known(kind: type, data: Any) -> dict[str, Any]:
    """The entries that are fields of ``kind``; a newer version may have written more."""
    return {f.name: data[f.name] for f in fields(kind) if f.name in data}


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Wrong("", otherwise)


def _one_of(value: Any, choices: tuple[str, ...]) -> str:
    _must(value in choices, f"{value!r:.40} is none of {', '.join(choices)}")
    return value


def _text(value: Any) -> str:
    _must(isinstance(value, str), f"{value!r:.40} is not text")
    # A lone surrogate, which JSON can spell, can be neither shown nor stored.
    return value.encode("utf-8", "replace").decode()
