"""The library: a folder of runs."""

from __future__ import annotations

import logging
import os
import shutil
import stat
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from diffatlas.errors import InvalidParams, RunNotFound
from diffatlas.events import Event, Started
from diffatlas.files import plain_name, reason_of
from diffatlas.library import format as layout
from diffatlas.library import shipped, trash
from diffatlas.library.claimed import held_runs
from diffatlas.library.find import Found
from diffatlas.library.format import RunInfo, is_run_id
from diffatlas.library.index import Index
from diffatlas.library.marks import marks_to_change, write_marks
from diffatlas.library.reader import harm_of, read_info, read_run
from diffatlas.library.shelf import BENCHES
from diffatlas.library.stored import StoredRun
from diffatlas.library.studies import Studies
from diffatlas.library.study_lock import locked_runs
from diffatlas.library.trash import Trashed
from diffatlas.library.writer import RunWriter, beside, refused
from diffatlas.run import Run, timestamp

if TYPE_CHECKING:
    from diffatlas.bench.kept import Benches
    from diffatlas.formats.source.take import Taken

log = logging.getLogger("diffatlas")

#: Seconds that a run stays in the trash before an eviction deletes it for good.
TRASH_SECONDS = 7 * 86_400


@dataclass(frozen=True)
class Usage:
    """What a library takes: its runs, their bytes, and the bytes that they may take (0: no limit)."""

    runs: int
    bytes: int
    cap: int


class HasRun(Protocol):
    """What is a run in another form: the trace of a call."""

    @property
    def run(self) -> Run:
        """The run."""
        ...


class Library:
    """Keeps runs in ``folder`` (None: that of the settings), one folder each.

    cap: bytes that the runs may take before `evict` deletes some; 0 for no limit, None for that of the settings.

    Several processes and threads may use one library: runs never share a file, and the index that they do share can
    be made again from the folders at any time.

    The recorded runs that come with the project (`diffatlas.library.shipped.EXAMPLES`) can be opened by their ids. They
    are not listed; one that is marked is copied in first, and is a run like others then.
    """

    def __init__(self, folder: str | Path | None = None, cap: int | None = None) -> None:
        if folder is None:
            from diffatlas.settings import settings

            folder = place_of(settings().library)
        self.folder = Path(folder).expanduser()
        self._cap = cap
        self._index = Index(self.folder)
        self._tidied = False
        #: Requests that were answered by a stored run since this library was opened.
        self.served = 0

    def record(self, events: Iterable[Event], kind: str = "trace") -> Generator[Event, None, None]:
        """Yield ``events`` unchanged, each after it is on disk. ``kind`` is the operation that makes the run.

        Closing this generator closes ``events`` too and marks the run as "stopped". When the run has ended, `evict`
        makes room for the next one.
        """
        begun: list[str] = []

        def folder_for(started: Started) -> Path:
            folder = self._new_folder(started.run_id)
            begun.append(started.run_id)
            return folder

        try:
            with closing(_record(events, folder_for, kind)) as recorded:
                for event in recorded:
                    if isinstance(event, Started):
                        self._index.update(event.run_id)
                    yield event
        finally:
            for run_id in begun:
                self._ended(run_id)

    def save(self, run: Run | HasRun) -> str:
        """Write a whole run, replacing one of the same id but for its marks; return its id.

        run: also the trace of a call (`diffatlas.observe`), as the run that it is. One that came out of this library,
            perhaps with less than was captured, does not replace itself.
        """
        run = run if isinstance(run, Run) else run.run
        target = self._new_folder(run.id)
        if run.cached_from == run.id and target.is_dir():
            return run.id
        fresh = beside(target, "tmp")

        def place() -> None:
            if (target / layout.MARKS).is_file():
                shutil.copyfile(target / layout.MARKS, fresh / layout.MARKS)
            trash.put_in_place(fresh, target)

        try:
            fresh.mkdir(parents=True)
            with RunWriter(fresh) as writer:
                writer.write_run(run)
            if target.is_dir():
                # Nobody marks it between the copy of its marks and its end.
                self._index.change(run.id, place)
            else:
                place()
        except OSError as error:
            raise refused(self.folder, error) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        self._index.update(run.id)
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
        """Return the runs, newest first; damaged ones are listed as such."""
        return [*self.search(limit=None).runs]

    def search(
        self,
        text: str = "",
        *,
        model: str | None = None,
        kind: str | None = None,
        status: str | None = None,
        since: str | date | None = None,
        until: str | date | None = None,
        tags: Iterable[str] = (),
        locked: bool | None = None,
        key: str | None = None,
        attention: bool | str | None = None,
        sort: str = "created",
        descending: bool = True,
        limit: int | None = 100,
        offset: int = 0,
    ) -> Found:
        """Return the runs that fit all that is asked, ``limit`` of them from ``offset``, and how many there are.

        text: words; each must begin a word of the prompt, name, note, tags, model or id, in any order and case.
        since, until: ISO 8601 or `datetime`, UTC where they do not say; a day in ``until`` is part of it.
        tags: a run must have all of them.
        key: the cache key of a result.
        attention: True for runs with attention, False for those without; "cross" or "self" for those that captured
            this kind, "all" for those that captured both.
        sort: "created", "name" (or the prompt of a run without one), "prompt", "model", "seed", "steps", "bytes" or
            "used".
        limit: None for all.

        Raises `InvalidParams` for what cannot be looked for.
        """
        if not place_of(self.folder).is_dir():
            return Found((), 0)
        self._tidy_once()
        return self._index.search(
            sort,
            descending,
            limit,
            offset,
            text=text,
            model=model,
            kind=kind,
            status=status,
            since=since,
            until=until,
            tags=tags,
            locked=locked,
            key=key,
            attention=attention,
        )

    def models(self) -> Sequence[str]:
        """Return the models that the library has runs of, sorted."""
        return self._index.distinct("model") if self.folder.is_dir() else []

    def tags(self) -> Sequence[str]:
        """Return the tags that runs of the library have, sorted."""
        return self._index.distinct("tag") if self.folder.is_dir() else []

    def refresh(self) -> None:
        """Bring the index in line with the folders now; `list` and `search` do so about once a second."""
        if self.folder.is_dir():
            trash.tidy(self.folder)
            self._index.refresh()

    def rebuild(self) -> None:
        """Make the index again from the folders; it forgets when runs were used."""
        if self.folder.is_dir():
            trash.tidy(self.folder)
            self._index.rebuild()

    def mark(
        self,
        run_id: str,
        *,
        name: str | None = None,
        tags: Iterable[str] | None = None,
        note: str | None = None,
        locked: bool | None = None,
    ) -> RunInfo:
        """Change what is said of a run; None leaves a mark as it is. See `diffatlas.library.marks`.

        Raises `RunNotFound`, `InvalidParams` for nonsense, and `BackendFailure` where the disk refuses.
        """
        folder = self.adopt(run_id)

        def act() -> None:
            write_marks(folder, marks_to_change(folder).changed(name, tags, note, locked))

        try:
            info = self._index.change(run_id, act)
        except OSError as error:
            self._find(run_id)
            raise refused(folder, error) from error
        return info or read_info(self._find(run_id))

    def check(self, run_id: str) -> RunInfo:
        """Look whether a run's files are what its steps list, without reading an array; return what a list shows of it.

        One of which they are not is listed as "damaged" from then on, with a sentence. A list itself sees what is cut
        short or empty, because that is known from the sizes. Raises `RunNotFound`.
        """
        folder = self._find(run_id)
        info = read_info(folder)
        # One that is being written is whole as far as it goes.
        harm = None if info.status == "running" else harm_of(folder)
        if folder.parent == self.folder:
            info = self._index.harmed(run_id, harm) or info
        elif harm:
            info = replace(info, status="damaged", error=harm)
        return info

    def delete(self, run_id: str) -> None:
        """Delete a run and its files, for good. Raises `RunNotFound`."""
        trash.delete(self._own(run_id))
        self._index.update(run_id)

    def trash(self, run_id: str) -> None:
        """Move a run to the trash, from which `restore` brings it back.

        Raises `RunNotFound`, and `InvalidParams` for a run that is still being recorded.
        """
        folder = self._own(run_id)
        if read_info(folder).status == "running":
            raise InvalidParams(f"The run {run_id} is still being recorded: stop it first.", field="run")
        try:
            trash.move_to_trash(self.folder, run_id)
        except FileNotFoundError as error:
            raise RunNotFound(f"The run {run_id} is no longer in the library.") from error
        except OSError as error:
            raise refused(folder, error) from error
        self._index.update(run_id)

    def restore(self, run_id: str) -> None:
        """Bring a run back from the trash. Raises `RunNotFound`, or `InvalidParams` where its place is taken."""
        trash.restore(self.folder, run_id)
        self._index.update(run_id)

    def trashed(self) -> Sequence[RunInfo]:
        """Return the runs in the trash, the last that was moved there first."""
        return trash.trashed(self.folder)

    def in_trash(self) -> Sequence[Trashed]:
        """Return the runs, studies and benches in the trash, the last that was moved there first."""
        return trash.all_trashed(self.folder, {"study": self.studies, "bench": self.benches})

    def open_trashed(self, run_id: str) -> StoredRun:
        """Return a handle that reads a run in the trash. Raises `RunNotFound` or `DamagedRun`."""
        return StoredRun.open(trash.find(self.folder, run_id))

    def delete_trashed(self, run_id: str) -> None:
        """Delete a run in the trash, for good. Raises `RunNotFound`."""
        trash.delete(trash.find(self.folder, run_id))

    def empty_trash(self, older_than_seconds: float = 0) -> Sequence[str]:
        """Delete what has been in the trash for longer than that, for good; return the ids."""
        return [one for folder in self._with_trash for one in trash.empty(folder, older_than_seconds)]

    @property
    def trash_count(self) -> int:
        """How many runs, studies and benches are in the trash."""
        return sum(len(trash.times(folder)) for folder in self._with_trash)

    @property
    def _with_trash(self) -> tuple[Path, ...]:
        return self.folder, self.studies.folder, self.folder / BENCHES

    @property
    def trash_seconds(self) -> int | None:
        """How long the trash keeps what is in it; None where it keeps it until somebody deletes it."""
        return TRASH_SECONDS if self._limit(None) else None

    def usage(self) -> Usage:
        """Return what the library takes. The trash is not counted."""
        runs, size = self._index.usage() if self.folder.is_dir() else (0, 0)
        return Usage(runs, size, self._limit(None))

    def evict(self, cap: int | None = None) -> Sequence[str]:
        """Delete the least recently used runs until the library takes no more than ``cap`` bytes; return their ids.

        Runs that are locked, noted, tagged, running, damaged, of a locked study or of one that still runs stay, even
        where the library is then too large. Runs that have been in the trash for longer than `TRASH_SECONDS` are
        deleted first. cap: None for that of this library, 0 for no limit.
        """
        return self._evict(self._limit(cap), keep=None)

    def loose(self) -> Usage:
        """Return what `clear` would delete, as far as it is known without a look at each folder."""
        if not self.folder.is_dir():
            return Usage(0, 0, self._limit(None))
        studied = locked_runs(self.studies) | held_runs()
        sizes = [size for run_id, size in self._index.evictable()[1] if run_id not in studied]
        return Usage(len(sizes), sum(sizes), self._limit(None))

    def clear(self) -> Sequence[str]:
        """Delete all runs that `evict` may, whatever the library takes, and return their ids."""
        return self._evict(1, keep=None)

    def touch(self, run_id: str) -> None:
        """Note that a run was used now. Raises `RunNotFound`."""
        if self._find(run_id).parent == self.folder:
            self._index.touch(run_id, timestamp())

    def adopt(self, run_id: str) -> Path:
        """Make a run that comes with the project one of this library, by a copy; return the folder of the run here.

        Nothing changes where it is one already. Raises `RunNotFound`, or `BackendFailure` where the disk refuses.
        """
        return self._copied(self._find(run_id), run_id)

    def take_in(self, stored: StoredRun) -> Path:
        """Make a run of another library one of this one too, by a copy under its id; return its folder here.

        Nothing changes where it is here already. Raises `BackendFailure` where the disk refuses.
        """
        if (self.folder / stored.id).is_dir():
            return self.folder / stored.id
        return self._copied(stored.folder, stored.id)

    def _copied(self, folder: Path, run_id: str) -> Path:
        target = self._new_folder(run_id)
        if folder == target:
            return folder
        fresh = beside(target, "tmp")
        try:
            shutil.copytree(folder, fresh)
            trash.put_in_place(fresh, target)
        except OSError as error:
            raise refused(self.folder, error) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        self._index.update(run_id)
        return target

    def is_example(self, run_id: Any) -> bool:
        """Return whether a run comes with the project, also where this library has a copy."""
        return isinstance(run_id, str) and _example(run_id) is not None

    def path(self, run_id: str) -> Path:
        """Return the folder of a run. Raises `RunNotFound`."""
        return self._find(run_id)

    @property
    def studies(self) -> Studies:
        """The studies of this library: which of its runs were asked for together."""
        return Studies(self.folder)

    @property
    def benches(self) -> Benches:
        """The benches of this library, whose images are runs of it."""
        from diffatlas.bench.kept import Benches

        return Benches(self.folder)

    def export_dataset(self, folder: str | Path, run_ids: Sequence[str], **options: Any) -> Path:
        """Write runs as a Hugging Face dataset; see `diffatlas.formats.dataset.write.export_dataset`."""
        from diffatlas.formats.dataset.write import export_dataset

        return export_dataset(self, Path(folder), run_ids, **options)

    def import_runs(self, source: str | Path, **options: Any) -> Taken:
        """Read runs from a folder, a zip, a URL or the Hub; see `diffatlas.formats.source.take.import_runs`."""
        from diffatlas.formats.source.take import import_runs

        return import_runs(self, source, **options)

    def import_dataset(self, source: str | Path, **options: Any) -> Sequence[str]:
        """Read runs and studies from a dataset; see `diffatlas.formats.dataset.read.import_all`."""
        from diffatlas.formats.dataset.read import import_dataset

        return import_dataset(self, source, **options)

    def _own(self, run_id: str, otherwise: Path | None = None) -> Path:
        """The folder of a run of this library, or ``otherwise``."""
        folder = self.folder / run_id if is_run_id(run_id) else None
        if folder is not None and trash.is_there(folder) and not folder.is_symlink():
            return folder
        if otherwise is None:
            raise RunNotFound(f"The library has no run {run_id!r}: `diffatlas runs` lists those it has.")
        return otherwise

    def _find(self, run_id: str) -> Path:
        return self._own(run_id, _example(run_id))

    def _new_folder(self, run_id: str) -> Path:
        if not is_run_id(run_id):
            raise RunNotFound(f"{run_id!r} cannot be the id of a run.")
        return self.folder / run_id

    def _tidy_once(self) -> None:
        if not self._tidied and self.folder.is_dir():
            self._tidied = True
            trash.tidy(self.folder)

    def _limit(self, cap: int | None) -> int:
        if cap is None:
            cap = self._cap
        if cap is None:
            from diffatlas.settings import settings

            cap = settings().library_cap
        if isinstance(cap, bool) or not isinstance(cap, (int, float)) or not cap >= 0:
            raise InvalidParams(f"The library's cap is a number of bytes from 0, not {cap!r}.", field="cap")
        return int(cap)

    def _ended(self, run_id: str) -> None:
        """See to the index and to the room on the disk; a run that has been recorded never fails by it."""
        try:
            self._index.update(run_id)
            self._evict(self._limit(None), keep=run_id)
        except Exception as error:
            log.warning("The library in %s cannot make room: %s", self.folder, error)

    def _evict(self, cap: int, keep: str | None) -> list[str]:
        if not cap or not self.folder.is_dir():
            return []
        self.empty_trash(TRASH_SECONDS)
        held, loose = self._index.evictable()
        studied = locked_runs(self.studies) | held_runs() if held > cap else set()
        gone: list[str] = []
        for run_id, size in loose:
            if held <= cap:
                break
            # What the folder says counts, not what the index remembers.
            info = read_info(self.folder / run_id)
            wanted = info.locked or info.note or info.tags or info.status in ("running", "damaged")
            if run_id == keep or wanted or run_id in studied:
                continue
            trash.delete(self.folder / run_id)
            self._index.update(run_id)
            gone.append(run_id)
            held -= size
        if gone:
            log.info("%d runs were deleted from %s to make room.", len(gone), self.folder)
        return gone


def place_of(folder: str | Path) -> Path:
    """Return the folder of a library. Raises `InvalidParams` where there is, and can be, no folder of that name."""
    path = Path(folder).expanduser()
    try:
        found = os.stat(path)
        wrong = None if stat.S_ISDIR(found.st_mode) else "it is a file"
        if wrong is None and not os.access(path, os.R_OK | os.X_OK):
            wrong = "there is no permission to read it"
    except FileNotFoundError:
        # It is made when the first run comes.
        wrong = "it is a link to what is not there" if os.path.islink(path) else None
    except (OSError, ValueError) as error:
        wrong = reason_of(error)
    if wrong:
        raise InvalidParams(
            f"The library {plain_name(str(path))} cannot be used: {wrong}. Name another folder with DIFFATLAS_LIBRARY.",
            field="library",
        )
    return path


def _example(run_id: str) -> Path | None:
    """The folder of a run that comes with the project, or None."""
    folder = shipped.EXAMPLES / run_id if is_run_id(run_id) else None
    return folder if folder is not None and folder.is_dir() else None


def record_into(folder: Path, events: Iterable[Event]) -> Generator[Event, None, None]:
    """Yield ``events`` unchanged, each after it is written to the run folder ``folder``.

    A folder that holds a run already is replaced, file by file; the caller has asked.
    """
    return _record(events, lambda _: folder)


def _record(
    events: Iterable[Event], folder_for: Callable[[Started], Path], kind: str = "trace"
) -> Generator[Event, None, None]:
    with ExitStack() as stack:
        if hasattr(events, "close"):
            stack.enter_context(closing(events))
        writer: RunWriter | None = None
        for event in events:
            if isinstance(event, Started):
                writer = stack.enter_context(RunWriter(folder_for(event), kind))
            if writer is not None:
                writer.write(event)
            yield event
