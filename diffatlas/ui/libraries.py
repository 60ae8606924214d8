"""Whose library: one for everybody on a personal machine, one for each visitor on a shared server."""

from __future__ import annotations

import shutil
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from diffatlas.library import Library
from diffatlas.ui import private_files

#: A shared server keeps a visitor's runs this long after their last visit.
KEPT_SECONDS = 86_400
SWEEP_EVERY = 600
#: What one visitor of a shared server may keep, in bytes.
SHARED_CAP = 500_000_000
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
        self._open: dict[str, Library] = {}
        self._next_sweep = 0.0
        # Two that delete one folder at the same time would leave the half of it.
        self._sweeping = threading.Lock()

    def of(self, visitor: str) -> Library:
        """Return the library in which this visitor's runs are."""
        with self._lock:
            key = visitor if self.shared else ""
            if key not in self._open:
                folder = self.root / "visitors" / visitor if self.shared else self.root
                self._open[key] = Library(folder, cap=SHARED_CAP) if self.shared else Library(folder)
            library = self._open[key]
            due = time.monotonic() >= self._next_sweep
            if due:
                self._next_sweep = time.monotonic() + SWEEP_EVERY
        if due:
            threading.Thread(target=self.sweep, name="diffatlas-sweep", daemon=True).start()
        if self.shared:
            library.folder.mkdir(parents=True, exist_ok=True)
            (library.folder / _VISITED).touch()
        return library

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
