"""The maps of attention of a dataset, written into the runs that have been built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas.formats.dataset import checks
from diffatlas.formats.dataset.rows import MAX_RUN_BYTES
from diffatlas.library import format as layout
from diffatlas.library import reader


def write_maps(ready: Path, attended: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the maps that rows hold into the runs in ``ready``.

    attended: the runs that list maps. The rows must be the maps that they list, each once, those of a run and of a step
    one after the other. Raises `RefusedDataset` for anything else.
    """
    waiting = set(attended)
    run: _Maps | None = None
    for row in rows:
        run_id = row["run_id"]
        if run is None or run_id != run.id:
            if run is not None:
                run.end()
            if run_id not in waiting:
                raise _unlisted(run_id)
            waiting.remove(run_id)
            run = _Maps(ready / run_id)
        run.take(row)
    if run is not None:
        run.end()
    if waiting:
        raise checks.refused(min(waiting), "its maps of attention are missing")


class _Maps:
    """The maps of one run, written step by step as they come."""

    def __init__(self, folder: Path) -> None:
        self.id, self._folder = folder.name, folder
        lines = (reader.parse_line(folder, index, line) for index, line in enumerate(reader.lines_of(folder)))
        self._missing = {line["index"]: set(line["attention"]) for line in lines if line["attention"]}
        self._step = -1
        self._held: dict[str, np.ndarray] = {}

    def take(self, row: Mapping[str, Any]) -> None:
        """Check a map and hold it; write those of its step once all are there."""
        from safetensors.numpy import save

        step = row["step"] - 1 if isinstance(row["step"], int) else -1
        key = f"{row['kind']}:{row['layer']}"
        if self._held and step != self._step:
            self.end()
        if key not in self._missing.get(step, ()):
            raise _unlisted(self.id)
        self._step, self._held[key] = step, checks.maps(self.id, row["maps"])
        self._missing[step].remove(key)
        if not self._missing[step]:
            layout.attention_file(self._folder, step).write_bytes(save(self._held))
            del self._missing[step]
            self._held = {}
        elif sum(array.nbytes for array in self._held.values()) > MAX_RUN_BYTES:
            raise checks.refused(self.id, "the maps of attention of a step come to too many bytes")

    def end(self) -> None:
        """Raise `RefusedDataset` where a map has not come."""
        if self._missing:
            step = self._step if self._held else min(self._missing)
            raise checks.refused(
                self.id, f"maps of attention of step {step + 1} are missing, or are not in order"
            )


def _unlisted(run_id: object) -> checks.RefusedDataset:
    return checks.refused(
        run_id, "there is a map of attention that no step lists, or one is there twice or not in order"
    )
