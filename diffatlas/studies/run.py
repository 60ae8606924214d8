"""Running a study: its lanes side by side, each cell a run of its own."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Collection, Generator
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from diffatlas.backends.threads import computing_with, number_here
from diffatlas.capture.spec import Capture
from diffatlas.errors import BackendFailure, DiffAtlasError, InvalidParams
from diffatlas.library.study import Study
from diffatlas.studies.run_board import (
    Board,
    CellBegan,
    CellEnded,
    CellStep,
    CellWaits,
    Either,
    LaneChanged,
    StudyChanged,
    StudyEvent,
    StudyStore,
    outcome,
)
from diffatlas.studies.run_lane import LaneRun
from diffatlas.studies.run_turns import ModelTurns

if TYPE_CHECKING:
    from diffatlas.backends.base import Backend
    from diffatlas.library import Library

__all__ = [
    "CellBegan",
    "CellEnded",
    "CellStep",
    "CellWaits",
    "LaneChanged",
    "Stops",
    "StudyChanged",
    "StudyEvent",
    "run_study",
]

log = logging.getLogger("diffatlas")

QUEUE_SIZE = 256
_END = object()


class Stops:
    """The stop signals of a study: ``all`` stops it, those of `lane` one lane each."""

    def __init__(self, all: threading.Event | None = None) -> None:
        self.all = all or threading.Event()
        self._lanes: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def lane(self, key: str) -> threading.Event:
        """Return the stop signal of one lane, the same one each time."""
        with self._lock:
            return self._lanes.setdefault(key, threading.Event())


def run_study(
    study: Study,
    backends: Callable[[str], Backend],
    library: Library,
    capture: Capture | None = None,
    *,
    stops: Stops | None = None,
    only: Collection[str] | None = None,
    reuse: bool = True,
    store: StudyStore | None = None,
) -> Generator[StudyEvent, None, None]:
    """Run the cells of a study and yield what happens; the study is saved at every change.

    backends: opens a backend by the name that a lane has; called once for each name.
    capture: what each run keeps.
    stops: how to stop all of it, or one lane. What is finished stays, the rest is "stopped".
    only: the keys of the cells to run, again or for the first time; None for those that are not complete.
    reuse: whether a run that the library has already serves as a cell.
    store: keeps the study; None for the studies of ``library``.

    Each lane runs in a thread of its own. Lanes of one local pipeline take turns (`ModelTurns`). Unless the spec says
    "exact", the cells of a lane that can share a batch do (`diffatlas.studies.run_lane`). A lane runs as many cells at
    a time as its backend takes (``capabilities.concurrent``). A cell that fails leaves the others alone; a lane whose
    model cannot be loaded, or whose key, credit or budget is refused, fails without trying each cell: those under way
    come to their own ends.

    `StudyChanged` comes first and last, and `CellEnded` for every cell that was to run. Closing the generator stops
    everything within a step and waits for it.

    Raises, at the first event, `InvalidParams` for a cell that there is not or a study that is running already, and
    `BackendFailure` where the library cannot be written.
    """
    store = store or library.studies
    return _run(study, backends, library, capture or Capture(), stops or Stops(), only, reuse, store)


def _run(
    study: Study,
    backends: Callable[[str], Backend],
    library: Library,
    capture: Capture,
    stops: Stops,
    only: Collection[str] | None,
    reuse: bool,
    store: StudyStore,
) -> Generator[StudyEvent, None, None]:
    chosen = _chosen(study, only)
    study = replace(_reset(study, chosen), status="running")
    events: queue.Queue[Any] = queue.Queue(QUEUE_SIZE)
    closed = threading.Event()
    with store.running(study.id):
        store.save(study)
        board = Board(study, library, store, lambda event: _put(events, closed, event))
        threads: list[threading.Thread] = []
        number = number_here()
        try:
            yield StudyChanged(study)
            open_backend = _once(backends)
            turns: dict[str, ModelTurns] = {}
            lanes = []
            for lane in study.lanes:
                cells = [cell for cell in study.in_lane(lane.key) if cell.key in chosen]
                if cells:
                    stop = Either(closed, stops.all, stops.lane(lane.key))
                    own = turns.setdefault(lane.backend, ModelTurns())
                    own.join(lane.key, cells[0].params.model)
                    lanes.append(LaneRun(lane, cells, board, open_backend, own, stop, capture, reuse))
            for lane in lanes:
                run = _with_end(lane, events, closed, number)
                name = f"diffatlas-lane-{lane.key}"
                # A backend may go by who asks, which the caller's context says.
                target = copy_context().run
                threads.append(threading.Thread(target=target, args=(run,), name=name, daemon=True))
            for thread in threads:
                thread.start()
            for _ in threads:
                while (event := events.get()) is not _END:
                    yield event
        finally:
            closed.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            for cell in board.study.cells:
                if cell.key in chosen and cell.status in ("waiting", "running"):
                    board.change(cell.key, status="stopped")
            board.end(outcome(board.study.cells))
    yield StudyChanged(board.study)


def _with_end(
    lane: LaneRun, events: queue.Queue[Any], closed: threading.Event, number: int | None
) -> Callable[[], None]:
    def run() -> None:
        try:
            with computing_with(number):
                lane.run()
        finally:
            _put(events, closed, _END)

    return run


def _put(events: queue.Queue[Any], closed: threading.Event, event: Any) -> None:
    while not closed.is_set():
        try:
            events.put(event, timeout=0.1)
        except queue.Full:
            continue
        return


def _once(backends: Callable[[str], Backend]) -> Callable[[str], Backend]:
    """Open each backend once: lanes of the same name share it, and with it the pipeline that is resident."""
    lock = threading.Lock()
    opened: dict[str, Backend | Exception] = {}

    def open_backend(name: str) -> Backend:
        with lock:
            if name not in opened:
                try:
                    opened[name] = backends(name)
                except DiffAtlasError as error:
                    opened[name] = error
                except Exception as error:
                    log.warning("The backend %r cannot be opened.", name, exc_info=True)
                    opened[name] = BackendFailure(
                        f"The backend {name!r} cannot be opened ({type(error).__name__}): its log says why."
                    )
            found = opened[name]
        if isinstance(found, Exception):
            raise found
        return found

    return open_backend


def _chosen(study: Study, only: Collection[str] | None) -> set[str]:
    if only is None:
        return {cell.key for cell in study.cells if cell.status != "complete"}
    unknown = sorted(map(str, set(only) - {cell.key for cell in study.cells}))
    if unknown:
        raise InvalidParams(f"The study has no cell {unknown[0]!r:.40}.", field="cells")
    return set(only)


def _reset(study: Study, chosen: Collection[str]) -> Study:
    blank = {"status": "waiting", "run_id": None, "cached": False, "batched": False}
    blank |= {"seconds": None, "image": False, "error": None}
    cells = tuple(replace(cell, **blank) if cell.key in chosen else cell for cell in study.cells)
    return replace(study, cells=cells)
