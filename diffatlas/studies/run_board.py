"""What happens while a study runs: the events, and the one place where the study changes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from diffatlas.errors import DiffAtlasError
from diffatlas.library.claimed import hold, let_go
from diffatlas.library.study import Cell, Study

if TYPE_CHECKING:
    from diffatlas.library import Library

log = logging.getLogger("diffatlas")


@dataclass(frozen=True)
class StudyChanged:
    """The study as it is now: before anything runs, and at the end."""

    study: Study


@dataclass(frozen=True)
class CellBegan:
    """A cell runs, or runs again. Without a number of steps where the backend shows none, and without a run id where it
    leaves no run, or as long as none has begun.

    ``prompt``: what is not read of its prompts, as ``provenance["prompt"]`` of its run says.
    """

    key: str
    run_id: str | None = None
    total: int | None = None
    prompt: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CellStep:
    """A step of a cell is done: ``index`` is 0-based, ``preview`` (H, W, 3) uint8 or None."""

    key: str
    index: int
    total: int
    preview: np.ndarray | None = None


@dataclass(frozen=True)
class CellWaits:
    """A cell waits for something outside, until anything else happens to it.

    ``message``: for what, as a sentence. ``seconds`` until it goes on by itself, None where nobody knows: who listens
    counts them down, for the same wait is not told again.
    """

    key: str
    message: str
    seconds: float | None = None


@dataclass(frozen=True)
class CellEnded:
    """A cell came to an end: complete, failed or stopped. ``image`` (H, W, 3) uint8, where there is one."""

    key: str
    cell: Cell
    image: np.ndarray | None = None


@dataclass(frozen=True)
class LaneChanged:
    """A lane is "waiting" (for its turn, or because it was asked to), "running", "complete", "stopped" or "failed"."""

    key: str
    status: str
    message: str = ""


StudyEvent = StudyChanged | CellBegan | CellStep | CellWaits | CellEnded | LaneChanged


class Either(threading.Event):
    """A signal that is set while one of others is. It must not be set itself."""

    def __init__(self, *events: threading.Event) -> None:
        super().__init__()
        self._events = events

    def is_set(self) -> bool:
        """Whether one of the others is set."""
        return any(event.is_set() for event in self._events)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until one of the others is set, at most this many seconds; return whether one is."""
        left = float("inf") if timeout is None else timeout
        while left > 0 and not self.is_set():
            self._events[0].wait(min(left, 0.05))
            left -= 0.05
        return self.is_set()


class StudyStore(Protocol):
    """Where a study that runs is kept, as `diffatlas.library.studies.Studies` keeps one."""

    def running(self, study_id: str) -> AbstractContextManager[None]:
        """Claim a study until the block is left. Raises `InvalidParams` where somebody runs it."""

    def save(self, study: Study) -> None:
        """Write a study whole."""

    def changed(self, study: Study, cell: str) -> None:
        """Write a study of which one cell has changed, or, where ``cell`` is empty, its status."""

    def save_image(self, study_id: str, cell: str, pixels: np.ndarray) -> None:
        """Keep the image of a cell that left no run, (H, W, 3) uint8."""


class Board:
    """The study while it runs: lanes change their cells here, and say what happens."""

    def __init__(
        self, study: Study, library: Library, store: StudyStore, put: Callable[[StudyEvent], None]
    ) -> None:
        self.library = library
        self.store = store
        self.put = put
        self._study = study
        self._lock = threading.Lock()
        self._complained = False

    @property
    def study(self) -> Study:
        """The study as it is now."""
        return self._study

    def change(self, key: str, **changes: Any) -> Cell:
        """Change a cell, save the study, and return the cell."""
        with self._lock:
            self._study = self._study.with_cell(key, **changes)
            if changes.get("run_id"):
                hold(self._study.id, changes["run_id"])
            self._save(key)
            return self._study.cell(key)

    def end(self, status: str) -> None:
        """Say how the study ended, and save it."""
        with self._lock:
            self._study = replace(self._study, status=status)
            let_go(self._study.id)
            self._save("")

    def _save(self, cell: str) -> None:
        try:
            self.store.changed(self._study, cell)
        except DiffAtlasError as error:
            # The runs say themselves when they cannot be written; what is shown of the study goes on.
            if not self._complained:
                log.warning("%s", error)
            self._complained = True


def outcome(cells: Collection[Cell]) -> str:
    """Return the status of a study or a lane whose cells have come to these ends.

    "stopped" where one did not run to its end, "failed" where none is complete, else "complete".
    """
    statuses = {cell.status for cell in cells}
    if statuses - {"complete", "failed"}:
        return "stopped"
    return "complete" if "complete" in statuses else "failed"
