"""The library: a folder of runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, closing
from pathlib import Path

from diffatlas.errors import BackendFailure, RunNotFound
from diffatlas.events import Event, Started
from diffatlas.library.format import RunInfo, is_run_id
from diffatlas.library.reader import read_info, read_run
from diffatlas.library.stored import StoredRun
from diffatlas.library.writer import RunWriter
from diffatlas.run import Run


class Library:
    """Keeps runs in ``folder`` (None: that of the settings), one folder each.

    Several processes may use one library: runs never share a file.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        if folder is None:
            from diffatlas.settings import settings

            folder = settings().library
        self.folder = Path(folder).expanduser()

    def record(self, events: Iterable[Event]) -> Generator[Event, None, None]:
        """Yield ``events`` unchanged, each after it is on disk.

        Closing this generator closes ``events`` too and marks the run as "stopped".
        """
        return _record(events, self._new_folder)

    def save(self, run: Run) -> str:
        """Write a whole run, replacing one of the same id; return its id."""
        if not is_run_id(run.id):
            raise RunNotFound(f"{run.id!r} cannot be the id of a run.")
        target = self.folder / run.id
        fresh = self.folder / f".{run.id}.tmp"
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            with RunWriter(fresh) as writer:
                writer.write_run(run)
            if target.exists():
                shutil.rmtree(target)
            fresh.rename(target)
        except OSError as error:
            raise BackendFailure(f"The run cannot be written to {self.folder} ({error.strerror}).") from error
        return run.id

    def load(self, run_id: str) -> Run:
        """Read a run. Raises `RunNotFound`, or `DamagedRun` saying what cannot be read."""
        return read_run(self._find(run_id))

    def open(self, run_id: str) -> StoredRun:
        """Return a handle that reads a run in parts, also one that is still being written.

        Raises `RunNotFound`, or `DamagedRun` where the manifest cannot be read.
        """
        return StoredRun.open(self._find(run_id))

    def list(self) -> list[RunInfo]:
        """Return the runs, newest first, from their manifests alone; damaged ones are listed as such."""
        if not self.folder.is_dir():
            return []
        folders = [f for f in self.folder.iterdir() if is_run_id(f.name) and f.is_dir()]
        return sorted((read_info(f) for f in folders), key=lambda info: (info.created, info.id), reverse=True)

    def delete(self, run_id: str) -> None:
        """Delete a run and its files. Raises `RunNotFound`."""
        shutil.rmtree(self._find(run_id))

    def path(self, run_id: str) -> Path:
        """Return the folder of a run. Raises `RunNotFound`."""
        return self._find(run_id)

    def _find(self, run_id: str) -> Path:
        folder = self.folder / run_id if is_run_id(run_id) else None
        if folder is None or not folder.is_dir() or folder.is_symlink():
            raise RunNotFound(f"The library has no run {run_id!r}: `diffatlas runs` lists those it has.")
        return folder

    def _new_folder(self, started: Started) -> Path:
        if not is_run_id(started.run_id):
            raise RunNotFound(f"{started.run_id!r} cannot be the id of a run.")
        return self.folder / started.run_id


def record_into(folder: Path, events: Iterable[Event]) -> Generator[Event, None, None]:
    """Yield ``events`` unchanged, each after it is written to the run folder ``folder``.

    A folder that holds a run already is replaced, file by file; the caller has asked.
    """
    return _record(events, lambda _: folder)


def _record(events: Iterable[Event], folder_for: Callable[[Started], Path]) -> Generator[Event, None, None]:
    with ExitStack() as stack:
        if hasattr(events, "close"):
            stack.enter_context(closing(events))
        writer: RunWriter | None = None
        for event in events:
            if isinstance(event, Started):
                writer = stack.enter_context(RunWriter(folder_for(event)))
            if writer is not None:
                writer.write(event)
            yield event
