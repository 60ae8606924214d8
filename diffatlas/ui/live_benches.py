"""The benches that run now, and those that were opened last: so that a page that asks often is answered at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffatlas.bench.bench import Bench
from diffatlas.bench.kept import CELLS, MARKS, PACK, VERDICTS, Benches
from diffatlas.library.shelf import TITLE
from diffatlas.library.study import Cell

#: Benches that are kept as they were read.
KEPT = 8
_FILES = (Benches.file, PACK, CELLS, VERDICTS, MARKS, TITLE)


class LiveBenches:
    """What is known of benches without reading them anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: OrderedDict[Path, tuple[Any, Bench]] = OrderedDict()
        self._running: dict[tuple[str, str], Mapping[str, Cell]] = {}

    def begin(self, visitor: str, bench_id: str, cells: Mapping[str, Cell]) -> None:
        """A bench runs. cells: by key, as they become."""
        with self._lock:
            self._running[visitor, bench_id] = cells

    def end(self, visitor: str, bench_id: str) -> None:
        """It has ended."""
        with self._lock:
            self._running.pop((visitor, bench_id), None)

    def cells(self, visitor: str, bench_id: str) -> Mapping[str, Cell] | None:
        """Return the cells of a bench that runs, by key; None where none of that id does."""
        with self._lock:
            return self._running.get((visitor, bench_id))

    def open(self, benches: Benches, bench_id: str, said: bool = True) -> Bench:
        """Return a stored bench, read where it has changed since. Raises `RunNotFound` or `DamagedRun`.

        said: whether what is said of its images must be as it is now.
        """
        folder = benches.folder / bench_id
        now = _stamp(folder)
        with self._lock:
            before, bench = self._read.get(folder, (None, None))
            same = bench is not None and all(
                before[name] == now[name] for name in _FILES if said or name not in (VERDICTS, MARKS)
            )
            if bench is not None and same:
                self._read.move_to_end(folder)
                return bench
        bench = benches.open(bench_id)
        # Whether the one who runs it is alive is told by no file.
        if bench.study.status != "running":
            with self._lock:
                self._read[folder] = now, bench
                while len(self._read) > KEPT:
                    self._read.popitem(last=False)
        return bench


def _stamp(folder: Path) -> dict[str, Any]:
    """When each of its files was written last, and how large it is."""
    found: dict[str, Any] = {}
    for name in _FILES:
        try:
            told = (folder / name).stat()
            found[name] = told.st_mtime_ns, told.st_size
        except (OSError, ValueError):
            found[name] = None
    return found
