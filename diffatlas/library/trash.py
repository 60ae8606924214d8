"""Moving runs aside, so that a process that is killed leaves a run here or there, and never in between.

A run is moved by one rename. What is deleted for good, or replaced, is first renamed to a name that begins with a
dot and so is no run's: ``.<id>.<random>.gone`` is rubbish, ``.<id>.<random>.old`` a run whose replacement was about
to take its place, ``.<id>.<random>.tmp`` one that was being written. `tidy` sees to what a killed process left.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from diffatlas.errors import InvalidParams, RunNotFound
from diffatlas.library import leftovers
from diffatlas.library.format import RunInfo, is_run_id, size_of
from diffatlas.library.reader import read_info
from diffatlas.library.writer import beside
from diffatlas.run import timestamp

if TYPE_CHECKING:
    from diffatlas.bench.kept import BenchInfo
    from diffatlas.library.shelf import Shelf
    from diffatlas.library.studies import StudyInfo

TRASH = ".trash"
#: A folder that is being written is left alone for this long.
DAY = 86_400
#: How often a run is looked for while it is being replaced.
LOOKS = 50

_LEFT = re.compile(r"\.(?P<id>[A-Za-z0-9][A-Za-z0-9_-]*)\.[0-9a-f]{8}\.(?P<kind>tmp|old|gone)")


@dataclass(frozen=True)
class Trashed:
    """What a list of the trash shows."""

    #: "run", "study" or "bench".
    kind: str
    info: RunInfo | StudyInfo | BenchInfo
    #: When it was moved there, in UTC, ISO 8601.
    deleted: str
    #: What its files take on the disk.
    bytes: int

    @property
    def id(self) -> str:
        """The id of the run, study or bench."""
        return self.info.id


def move_to_trash(library: Path, run_id: str) -> None:
    """Move a run into the library's trash, in place of one of the same id there."""
    folder, target = library / run_id, library / TRASH / run_id
    target.parent.mkdir(exist_ok=True)
    # Its time in the trash counts from now.
    os.utime(folder)
    put_in_place(folder, target)


def restore(library: Path, run_id: str) -> None:
    """Move a run back from the trash. Raises `RunNotFound`, or `InvalidParams` where its place is taken."""
    try:
        find(library, run_id).rename(library / run_id)
    except FileNotFoundError:
        raise _absent(run_id) from None
    except OSError as error:
        if not _taken(error):
            raise
        raise InvalidParams(
            f"The library has a run {run_id} again: move that one to the trash first.", field="run"
        ) from error


def find(library: Path, run_id: str) -> Path:
    """Return the folder of a run in the trash. Raises `RunNotFound`."""
    folder = library / TRASH / run_id if is_run_id(run_id) else None
    if folder is None or not folder.is_dir() or folder.is_symlink():
        raise _absent(run_id)
    return folder


def trashed(library: Path) -> list[RunInfo]:
    """Return the runs in the trash, the last that was moved there first."""
    return [read_info(folder) for _, folder in sorted(_in_trash(library), reverse=True)]


def all_trashed(library: Path, shelves: Mapping[str, Shelf]) -> list[Trashed]:
    """Return the runs in the trash and what is in that of each shelf, by its kind; the last moved there first."""
    when = times(library)
    found = [Trashed("run", info, when.get(info.id, ""), info.bytes) for info in trashed(library)]
    for kind, shelf in shelves.items():
        when, infos = times(shelf.folder), shelf.deleted.list()
        bytes_of = room(shelf.folder, [info.id for info in infos])
        found += [Trashed(kind, info, when.get(info.id, ""), bytes_of[info.id]) for info in infos]
    return sorted(found, key=lambda one: (one.deleted, one.id), reverse=True)


def times(library: Path) -> dict[str, str]:
    """Return when each run in the trash was moved there, in UTC, ISO 8601, by id."""
    return {folder.name: _moment(moved) for moved, folder in _in_trash(library)}


def room(library: Path, ids: Iterable[str]) -> dict[str, int]:
    """Return the bytes that runs in the trash take, by id; 0 for one that is gone by now."""
    found = {}
    for run_id in ids:
        try:
            found[run_id] = size_of(find(library, run_id))
        except (OSError, RunNotFound):
            found[run_id] = 0
    return found


def empty(library: Path, older_than_seconds: float = 0) -> list[str]:
    """Delete the runs that have been in the trash for longer than that; return their ids."""
    limit = time.time() - older_than_seconds
    gone = [folder for moved, folder in _in_trash(library) if older_than_seconds <= 0 or moved < limit]
    for folder in gone:
        delete(folder)
    return [folder.name for folder in gone]


def delete(folder: Path) -> None:
    """Delete a run's folder for good: gone at once, its files after that. No error where it is gone already."""
    rubbish = beside(folder, "gone")
    try:
        folder.rename(rubbish)
    except FileNotFoundError:
        return
    shutil.rmtree(rubbish, ignore_errors=True)


def put_in_place(folder: Path, target: Path) -> None:
    """Rename ``folder`` to ``target``; a run that is there goes once its successor has taken its place."""
    replaced = []
    while True:
        try:
            folder.rename(target)
            break
        except OSError as error:
            if not _taken(error):
                raise
        old = beside(target, "old")
        try:
            target.rename(old)
            replaced.append(old)
        except FileNotFoundError:
            # Another process moved it.
            continue
    for old in replaced:
        shutil.rmtree(old, ignore_errors=True)


def is_there(folder: Path) -> bool:
    """Whether a run is in its place, also while another process puts its successor there.

    Between the two renames of `put_in_place` it is in neither; a killed process may have left it aside for good.
    """
    missed = 0
    for _ in range(LOOKS):
        if folder.is_dir():
            return True
        tidy(folder.parent)
        # Twice in a row with nothing aside: it is not here.
        missed = 0 if any(folder.parent.glob(f".{folder.name}.*.old")) else missed + 1
        if missed == 2:
            break
        time.sleep(0.002)
    return folder.is_dir()


def tidy(library: Path) -> None:
    """Finish what a killed process left: put a replaced run back where it has no successor, drop rubbish."""
    leftovers.sweep(library)
    leftovers.sweep_noted(library)
    for folder in (library, library / TRASH):
        if not folder.is_dir():
            continue
        for name in os.listdir(folder):
            left = _LEFT.fullmatch(name)
            if left is None:
                continue
            path = folder / name
            try:
                if left["kind"] == "old" and not (folder / left["id"]).exists():
                    path.rename(folder / left["id"])
                elif left["kind"] != "tmp" or time.time() - path.stat().st_mtime > DAY:
                    shutil.rmtree(path, ignore_errors=True)
            except OSError:
                # Another process was faster.
                continue


def _in_trash(library: Path) -> list[tuple[float, Path]]:
    """Return when each run was moved to the trash, and its folder."""
    trash = library / TRASH
    found = []
    for name in os.listdir(trash) if trash.is_dir() else ():
        folder = trash / name
        try:
            if is_run_id(name) and folder.is_dir() and not folder.is_symlink():
                found.append((folder.stat().st_mtime, folder))
        except OSError:
            continue
    return found


def _absent(run_id: str) -> RunNotFound:
    return RunNotFound(f"The trash has no run {run_id!r:.80}.")


def _moment(seconds: float) -> str:
    try:
        return timestamp(datetime.fromtimestamp(seconds, UTC))
    except (OverflowError, OSError, ValueError):
        # A file system may hold any time.
        return ""


def _taken(error: OSError) -> bool:
    return error.errno in (errno.ENOTEMPTY, errno.EEXIST)
