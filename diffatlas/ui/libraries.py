"""Whose library: one for everybody on a personal machine, one for each visitor on a shared server."""

from __future__ import annotations

import shutil
import threading
import time
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path

from diffatlas.backends.bounds import size_words
from diffatlas.bench.kept import Benches
from diffatlas.errors import TooMuch
from diffatlas.library import Library
from diffatlas.library.format import size_of
from diffatlas.library.shelf import BENCHES
from diffatlas.library.trash import TRASH
from diffatlas.settings import settings
from diffatlas.ui import private_files

#: A shared server keeps a visitor's runs this long after their last visit.
KEPT_SECONDS = 86_400
SWEEP_EVERY = 600
#: Libraries whose indexes are in memory.
OPEN = 100
#: Studies that one visitor of a shared server may keep.
MOST_STUDIES = 200
_VISITED = ".visited"


class Libraries:
    """The libraries of the visitors below ``root``.

    shared: each visitor has a library of their own, which no other reaches, kept for `KEPT_SECONDS` after the last
        visit. Otherwise ``root`` is the library of them all.
    """

    def __init__(self, root: Path, shared: bool = False) -> None:
        self.root = Path(root)
        self.shared = shared
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Library] = OrderedDict()
        self._next_sweep = 0.0
        # Two that delete one folder at the same time would leave the half of it.
        self._sweeping = threading.Lock()

    def of(self, visitor: str) -> Library:
        """Return the library in which this visitor's runs are."""
        with self._lock:
            key = visitor if self.shared else ""
            if key not in self._open:
                folder = self.root / "visitors" / visitor if self.shared else self.root
                self._open[key] = self._library(folder)
            library = self._open[key]
            self._open.move_to_end(key)
            while len(self._open) > OPEN:
                self._open.popitem(last=False)
            due = time.monotonic() >= self._next_sweep
            if due:
                self._next_sweep = time.monotonic() + SWEEP_EVERY
        if due:
            threading.Thread(target=self.sweep, name="diffatlas-sweep", daemon=True).start()
        if self.shared:
            library.folder.mkdir(parents=True, exist_ok=True)
            (library.folder / _VISITED).touch()
        return library

    def check_room(self, visitor: str) -> None:
        """Raise `TooMuch` where a visitor of a shared server keeps all that one may, so that no run can come to it.

        What may go makes room first: runs that are not locked, noted, tagged or of a locked study, and the trash.
        """
        if not self.shared:
            return
        library = self.of(visitor)
        cap = settings().visitor_library
        if self._held(library) > cap:
            library.evict()
            if self._held(library) > cap:
                library.empty_trash()
        if self._held(library) > cap:
            raise TooMuch(
                f"Your library is full: its {size_words(cap)} are taken by runs that are locked, noted or tagged, "
                "or whose study is locked. Unlock or delete some in the Library, or delete a study's layer, and run "
                "again."
            )

    def check_study(self, visitor: str) -> None:
        """Raise `TooMuch` where a visitor of a shared server has as many studies as one may, or no room for runs."""
        self.check_room(visitor)
        if self.shared and self.of(visitor).studies.count >= MOST_STUDIES:
            raise TooMuch(
                f"You have {MOST_STUDIES} studies, as many as one visitor may keep: delete some of the earlier ones "
                "below, and run again."
            )

    def check_bench(self, visitor: str) -> None:
        """Raise `TooMuch` where a visitor of a shared server has as many benches as one may, or no room for runs."""
        self.check_room(visitor)
        if self.shared and Benches(self.of(visitor).folder).count >= MOST_STUDIES:
            raise TooMuch(
                f"You have {MOST_STUDIES} benches, as many as one visitor may keep: delete some of the earlier ones "
                "below, and run again."
            )

    @staticmethod
    def _held(library: Library) -> int:
        folders = (library.folder / TRASH, library.studies.folder, library.folder / BENCHES)
        return library.usage().bytes + sum(size_of(folder) for folder in folders if folder.is_dir())

    def _library(self, folder: Path) -> Library:
        return Library(folder, cap=settings().visitor_library) if self.shared else Library(folder)

    def expires(self, visitor: str) -> str | None:
        """Return when the visitor's runs go, ISO time, if they do not come back; None where runs stay."""
        if not self.shared:
            return None
        return datetime.fromtimestamp(time.time() + KEPT_SECONDS, UTC).isoformat(timespec="minutes")

    def sweep(self) -> None:
        """Delete the libraries whose visitors have been away too long, and files that nobody has asked for since."""
        with self._sweeping:
            private_files.sweep(KEPT_SECONDS)
            if not self.shared:
                return
            for folder in (self.root / "visitors").glob("*"):
                mark = folder / _VISITED
                last = mark.stat().st_mtime if mark.exists() else folder.stat().st_mtime
                if time.time() - last > KEPT_SECONDS:
                    with self._lock:
                        self._open.pop(folder.name, None)
                    shutil.rmtree(folder, ignore_errors=True)
