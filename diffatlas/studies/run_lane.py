"""One lane of a study: its cells in batches, one by one or several at a time, with its own waits, retries and stop."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.backends.base import BatchBackend
from diffatlas.capture.spec import Capture
from diffatlas.errors import (
    BackendFailure,
    BlackImage,
    DiffAtlasError,
    GpuRefused,
    KeyRefused,
    ModelLoadError,
    NonFiniteLatents,
    NotDeployed,
    NotEnoughMemory,
    OutOfMemory,
    OverBudget,
    PaymentRequired,
    UnknownModel,
)
from diffatlas.events import Event, Failed, Finished, Image, Started, Step, Waiting
from diffatlas.guidance import METHODS
from diffatlas.library.study import Cell, Lane
from diffatlas.operations import trace as tracing
from diffatlas.params import GenerationParams
from diffatlas.studies.plan_lanes import hints
from diffatlas.studies.refused import refusal
from diffatlas.studies.run_board import Board, CellBegan, CellEnded, CellStep, LaneChanged, outcome
from diffatlas.studies.run_side_by_side import Units, side_by_side
from diffatlas.studies.run_turns import ModelTurns
from diffatlas.studies.run_waits import Waits

if TYPE_CHECKING:
    from diffatlas.backends.base import Backend

log = logging.getLogger("diffatlas")

#: Cells of one batch, at most; and pixels of all its images, so that large ones do not ask for too much memory.
BATCH = 8
BATCH_PIXELS = BATCH * 512 * 512
#: Times that a cell is tried where the backend asks to wait, and the longest wait (seconds) that is granted.
ATTEMPTS = 4
LONGEST_WAIT = 900
#: What can end one cell of a batch and leave the others alone. All else ends the whole call, for whosever sake.
OF_A_CELL = frozenset({NonFiniteLatents.code, BlackImage.code})
#: What is wrong with every cell of a lane when it is wrong with one that has not begun.
OF_THE_LANE = frozenset(
    {
        UnknownModel.code,
        ModelLoadError.code,
        NotEnoughMemory.code,
        KeyRefused.code,
        PaymentRequired.code,
        OverBudget.code,
        NotDeployed.code,
        GpuRefused.code,
    }
)


@dataclass
class _Running:
    """What has arrived of a cell that is running."""

    cell: Cell
    run_id: str | None = None
    cached: bool = False
    total: int | None = 0
    image: np.ndarray | None = None
    ended: bool = False


@dataclass
class _Again:
    """Cells to try again: after so many seconds, or (None) in batches of at most ``most``."""

    cells: list[Cell]
    seconds: float | None
    most: int = BATCH
    note: str = ""


class LaneRun:
    """Runs some cells of a lane; `run` is for a thread of its own."""

    def __init__(
        self,
        lane: Lane,
        cells: Sequence[Cell],
        board: Board,
        open_backend: Callable[[str], Backend],
        turns: ModelTurns,
        stop: threading.Event,
        capture: Capture,
        reuse: bool,
    ) -> None:
        self.key = lane.key
        self._lane = lane
        self._cells = list(cells)
        self._board = board
        self._open_backend = open_backend
        self._turns = turns
        self._stop = stop
        self._capture = capture
        self._reuse = reuse
        self._lock = threading.Lock()
        self._said: tuple[str, str] | None = None
        #: What is worth knowing of the lane as long as it runs.
        self._note = ""
        #: Cells of one batch, at most, as far as is known by now.
        self._most = BATCH
        #: What no cell of this lane can do anything about.
        self._fatal: DiffAtlasError | Failed | None = None
        self._waits = Waits(board.put)
        #: Whether cells run at the same time as others of this lane.
        self._among_others = False

    def run(self) -> None:
        """Run the cells; nothing is raised, every outcome is an event and in the study."""
        try:
            self._guarded(self._run_all)
        finally:
            self._turns.leave(self.key)
        self._finish()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do some work of the lane, which ends where that raises."""
        try:
            work()
        except DiffAtlasError as error:
            self._end_with(error)
        except Exception as error:
            log.exception("A lane of a study failed.")
            self._end_with(
                BackendFailure(f"The lane failed with {type(error).__name__}: the log of the app says more.")
            )

    def _end_with(self, fatal: DiffAtlasError | Failed) -> None:
        """Take no further cell, because of this. Cells that are under way go on to their own ends."""
        with self._lock:
            self._fatal = self._fatal or fatal

    def _ends(self) -> bool:
        return self._fatal is not None or self._stop.is_set()

    def _run_all(self) -> None:
        """Run the cells in units, a batch or one cell each, as many at a time as the backend takes."""
        if self._stop.is_set():
            return
        backend = self._open_backend(self._lane.backend)
        cells = self._able(backend)
        workers = 1 if _one_at_a_time(backend) else backend.capabilities.concurrent
        if not self._batches(backend):
            units = Units([cell] for cell in cells)
        else:
            fit, unfit = [], []
            for cell in cells:
                (fit if _resolves(backend, cell.params) else unfit).append(cell)
            groups = shared(fit)
            if workers > 1:
                groups = [
                    part
                    for group in groups
                    for part in split(
                        group, even_size(len(cells), workers, batch_size(backend, group[0].params))
                    )
                ]
            # One that cannot run would take those in its batch with it.
            units = Units([*groups, *([cell] for cell in unfit)])
        workers = min(workers, len(units))
        self._among_others = workers > 1
        side_by_side(lambda: self._guarded(lambda: self._work(backend, units)), workers)

    def _work(self, backend: Backend, units: Units) -> None:
        """Run one unit after another, until none is left."""
        while not self._ends() and (unit := units.take()):
            limit = min(self._most, batch_size(backend, unit[0].params))
            if len(unit) > limit:
                units.put_back(split(unit, limit))
                continue
            for attempt in range(1, ATTEMPTS + 1):
                again, fatal = self._take_turn(backend, unit, last=attempt == ATTEMPTS)
                if fatal is not None:
                    self._end_with(fatal)
                    return
                if again is None or again.seconds is None or not self._wait(again, attempt):
                    break
                unit = again.cells
            if self._ends():
                return
            if again is not None and again.seconds is None:
                units.put_back(split(again.cells, again.most))
                if again.note:
                    self._most, self._note = again.most, again.note

    def _batches(self, backend: Backend) -> bool:
        return isinstance(backend, BatchBackend) and not self._board.study.spec.get("exact")

    def _able(self, backend: Backend) -> list[Cell]:
        """Return the cells that the backend can run; the others fail at once, each with the reason."""
        able = []
        for cell in self._cells:
            if why := refusal(cell.params, backend, self._board.study):
                self._fail(_Running(cell), why)
            else:
                able.append(cell)
        return able

    def _take_turn(
        self, backend: Backend, unit: Sequence[Cell], last: bool
    ) -> tuple[_Again | None, Failed | None]:
        """Run a unit once. Returns the cells to try again, and what is wrong with the whole lane."""
        if not _one_at_a_time(backend):
            return self._play(backend, unit, last)
        words = "Waits for its turn: lanes on one pipeline go one after another."
        waits = partial(self._say, "waiting", words)
        with self._turns.turn(self.key, self._stop.is_set, waits) as held:
            return self._play(backend, unit, last) if held else (None, None)

    def _play(
        self, backend: Backend, unit: Sequence[Cell], last: bool
    ) -> tuple[_Again | None, Failed | None]:
        running = [_Running(cell) for cell in unit]
        again: dict[int, Failed] = {}
        fatal: Failed | None = None
        self._say("running", self._loading(backend))
        if not backend.capabilities.trace:
            # No event of its own says that a run begins.
            for cell in unit:
                self._board.change(cell.key, status="running")
                self._board.put(CellBegan(cell.key))
        try:
            # A backend whose runs wait for those of others says so.
            telling = getattr(backend, "telling", None)
            told = telling(partial(self._say, "waiting")) if telling else nullcontext()
            with told, closing(self._events(backend, unit)) as events:
                for index, event in events:
                    now = running[index]
                    if not isinstance(event, Failed):
                        self._take_in(now, event)
                    elif event.code in OF_THE_LANE and now.run_id is None:
                        fatal = event
                    elif self._may_try_again(event, unit, last):
                        again[index] = event
                    else:
                        self._fail(now, event)
        except Exception as error:
            failure = _as_failed(error)
            for index, now in enumerate(running):
                if not now.ended and index not in again:
                    if self._may_try_again(failure, unit, last):
                        again[index] = failure
                    else:
                        self._fail(now, failure)
        for index, now in enumerate(running):
            if not now.ended and index not in again and fatal is None and not self._stop.is_set():
                self._fail(now, Failed(BackendFailure.code, "The backend ended this run without an image."))
        return self._to_try_again(running, again, last), fatal

    def _events(self, backend: Backend, unit: Sequence[Cell]) -> Generator[tuple[int, Event], None, None]:
        library, stop, reuse = self._board.library, self._stop, self._reuse
        kind = self._board.study.operation
        if self._batches(backend):
            # Also of one cell: a run that came out of a batch before will do.
            params = [cell.params for cell in unit]
            yield from tracing.stream_batch(params, self._capture, backend, library, stop, reuse, kind)
            return
        with closing(
            tracing.stream(unit[0].params, self._capture, backend, library, stop, reuse, kind)
        ) as events:
            for event in events:
                yield 0, event

    def _take_in(self, now: _Running, event: Event) -> None:
        key = now.cell.key
        if isinstance(event, Waiting):
            self._waits.told(key, event.message, event.seconds)
            return
        self._waits.over(key)
        if isinstance(event, Started):
            now.run_id, now.total, now.cached = event.run_id, event.total_steps, event.cached_from is not None
            batched = "batch" in event.provenance
            self._board.change(key, status="running", run_id=now.run_id, cached=now.cached, batched=batched)
            self._say("running", self._note)
            unread = event.provenance.get("prompt") or {}
            self._board.put(CellBegan(key, event.run_id, event.total_steps, unread))
        elif isinstance(event, Step):
            preview = None if event.preview is None else event.preview[0]
            self._board.put(CellStep(key, event.index, now.total, preview))
        elif isinstance(event, Image):
            if event.index == 0:
                now.image = event.pixels
        elif isinstance(event, Finished):
            now.ended = True
            status = "complete" if event.status == "complete" else "stopped"
            kept = False
            if status == "complete" and now.run_id is None and now.image is not None:
                self._board.store.save_image(self._board.study.id, key, now.image)
                kept = True
            cell = self._board.change(key, status=status, seconds=event.seconds, image=kept)
            self._board.put(CellEnded(key, cell, now.image))

    def _fail(self, now: _Running, error: DiffAtlasError | Failed) -> None:
        now.ended = True
        self._waits.over(now.cell.key)
        reason = {"code": error.code, "message": error.message, "field": error.field}
        cell = self._board.change(now.cell.key, status="failed", error=reason)
        self._board.put(CellEnded(now.cell.key, cell, now.image))

    def _may_try_again(self, error: Failed, unit: Sequence[Cell], last: bool) -> bool:
        """Whether a cell goes on after this failure: after a wait, or out of the batch that it was in."""
        return _waits(error, last) is not None or (len(unit) > 1 and error.code not in OF_A_CELL)

    def _to_try_again(
        self, running: Sequence[_Running], again: dict[int, Failed], last: bool
    ) -> _Again | None:
        if not again:
            return None
        for index in again:
            now = running[index]
            if now.run_id is not None and not now.cached:
                # It goes on as another run; nobody asked for what is left of this one.
                with suppress(DiffAtlasError):
                    self._board.library.delete(now.run_id)
            self._board.change(now.cell.key, status="waiting", run_id=None, cached=False, batched=False)
        waits = [wait for error in again.values() if (wait := _waits(error, last)) is not None]
        cells, size = [running[index].cell for index in again], len(running)
        if waits:
            return _Again(cells, max(waits))
        codes = {error.code for error in again.values()}
        if codes != {OutOfMemory.code}:
            return _Again(cells, None, 1)
        words = "one cell at a time" if size < 4 else f"{size // 2} cells at a time"
        note = f"A batch of {size} did not fit into memory: {words} from there on."
        return _Again(cells, None, size // 2, note)

    def _wait(self, again: _Again, attempt: int) -> bool:
        """Wait as the backend asks, counting down; return False where the lane ends meanwhile."""
        end = time.monotonic() + (again.seconds or 0)
        then = f"then attempt {attempt + 1} of {ATTEMPTS}"
        for cell in again.cells:
            self._waits.told(cell.key, f"The backend asks to wait, {then}", again.seconds)
        while (left := end - time.monotonic()) > 0 and not self._ends():
            if not self._among_others:
                self._say("waiting", f"The backend asks to wait: {math.ceil(left)} s left, {then}.")
            self._stop.wait(min(1.0, left))
        return not self._ends()

    def _loading(self, backend: Backend) -> str:
        model = self._cells[0].params.model
        if not hasattr(backend, "is_loaded") or backend.is_loaded(model):
            return self._note
        entry = hints(model, self._lane.backend)
        return f"Loading {entry.name if entry else model}."

    def _finish(self) -> None:
        """Settle the cells that have not ended, and say how the lane ended."""
        fatal = self._fatal
        for cell in self._board.study.in_lane(self.key):
            if cell.key not in {own.key for own in self._cells} or cell.status not in ("waiting", "running"):
                continue
            if fatal is not None:
                self._fail(_Running(cell), fatal)
            else:
                stopped = self._board.change(cell.key, status="stopped")
                self._board.put(CellEnded(cell.key, stopped))
        cells = self._board.study.in_lane(self.key)
        failed = sum(cell.status == "failed" for cell in cells)
        done = sum(cell.status == "complete" for cell in cells)
        status = outcome(cells)
        if fatal is not None:
            message = fatal.message
        elif status == "stopped":
            message = f"Stopped: {done} of {len(cells)} cells are complete."
        else:
            message = f"{failed} of {len(cells)} cells failed." if failed else self._note
        self._say(status, message)

    def _say(self, status: str, message: str) -> None:
        with self._lock:
            if self._said == (status, message):
                return
            self._said = (status, message)
        self._board.put(LaneChanged(self.key, status, message))


@dataclass(frozen=True)
class _Limited(Failed):
    """A failure after which the backend wants to be asked again."""

    retry_after: Any = None


def shared(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Return the cells in groups that can share a batch: all alike but for seed, guidance and noise.

    Methods that call the denoiser once more do so for a whole batch, so each of them has batches of its own.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        method = cell.params.guidance_method
        own = {"seed": 0, "guidance_scale": 0.0, "guidance_options": None, "noise": None}
        own["guidance_method"] = method if method is not None and METHODS[method].perturbs else None
        groups.setdefault(cell.params.replace(**own).key(), []).append(cell)
    return list(groups.values())


def split(unit: Sequence[Cell], most: int) -> list[list[Cell]]:
    """Return as few parts of at most ``most`` cells as there can be, of nearly the same size."""
    parts = math.ceil(len(unit) / most)
    ends = [round(len(unit) * i / parts) for i in range(parts + 1)]
    return [list(unit[a:b]) for a, b in pairwise(ends)]


def even_size(cells: int, workers: int, most: int) -> int:
    """Return how many cells a batch may have at most so that each of several workers has about as many to do.

    cells: in all. most: cells that may share a batch. As few rounds of batches as there can be, and all of a size: 24
    cells of which 8 may share are 4 batches of 6 on two workers, not 3 of 8.
    """
    rounds = math.ceil(cells / (workers * most))
    return math.ceil(cells / (workers * rounds))


def batch_size(backend: Any, params: GenerationParams) -> int:
    """Return how many cells like this one may share a batch."""
    try:
        params = backend.resolve(params)
    except Exception:
        # Its run will say what is wrong.
        return BATCH
    pixels = (params.width or 512) * (params.height or 512)
    return max(1, min(BATCH, BATCH_PIXELS // pixels))


def _resolves(backend: Any, params: GenerationParams) -> bool:
    """Whether nothing is known to be wrong with a request, as far as can be seen without running it."""
    try:
        if hasattr(backend, "resolve"):
            backend.resolve(params)
    except DiffAtlasError:
        return False
    return True


def _one_at_a_time(backend: Any) -> bool:
    """Whether the backend keeps one pipeline and runs one request at a time."""
    return getattr(backend, "one_at_a_time", backend.name == "local")


def _waits(error: Any, last: bool) -> float | None:
    """Seconds to wait before another attempt; None where there is to be none."""
    seconds = getattr(error, "retry_after", None)
    if last or isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return None
    return float(max(seconds, 0)) if seconds <= LONGEST_WAIT else None


def _as_failed(error: Exception) -> Failed:
    if isinstance(error, DiffAtlasError):
        fields = (error.code, error.message, error.field)
        seconds = getattr(error, "retry_after", None)
        return Failed(*fields) if seconds is None else _Limited(*fields, retry_after=seconds)
    log.error("A cell of a study failed.", exc_info=error)
    return Failed(
        BackendFailure.code, f"The cell failed with {type(error).__name__}: the log of the app says more."
    )
