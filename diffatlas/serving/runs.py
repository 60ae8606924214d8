"""Runs for other Atlases: one has the model at a time, and the events of each are kept until they are collected."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from diffatlas.backends import wire
from diffatlas.backends.bounds import BoundedBackend, bounds_here, together
from diffatlas.backends.remote.protocol import end_frame, event_frame
from diffatlas.errors import BackendFailure, DiffAtlasError, NetworkError, RunNotFound, TooMuch
from diffatlas.events import Event, Waiting
from diffatlas.operations.expected import expected
from diffatlas.serving.limits import Limits

log = logging.getLogger("diffatlas")

LOOK = 0.1
#: Seconds from one look for runs that ended long ago to the next.
SWEEP = 10.0
#: Bytes that are handed to a connection at a time.
PART = 1_000_000


class Turns(Protocol):
    """Who has the model next (`diffatlas.ui.turns.Turns`)."""

    def join(self, visitor: str = "", seconds: float | None = None, begun: bool = False) -> Any:
        """Ask for a turn."""

    def waiting(self, ticket: Any, ended: Callable[[], bool], every: float = 0.5) -> Iterator[Any]:
        """Yield where a ticket stands until it is its turn."""

    def leave(self, ticket: Any) -> None:
        """Give a turn up."""


class Ending(threading.Event):
    """Ends a run: set by its client, or by the clock where nobody has asked for it for too long."""

    def __init__(self, most: float) -> None:
        super().__init__()
        self._most = most
        self._heard = time.monotonic()
        #: Whether the client was gone.
        self.gone = False

    def heard(self) -> None:
        """Note that the client wants the run."""
        self._heard = time.monotonic()

    def give_up(self) -> None:
        """End the run because its client does not collect it."""
        if not super().is_set():
            self.gone = True
            self.set()

    def is_set(self) -> bool:
        """Whether the run is to end."""
        if time.monotonic() - self._heard > self._most:
            self.give_up()
        return super().is_set()


class KeptRun:
    """One run of a client. Safe to use from any thread.

    id, client: secrets of the client. packing: whether its frames are packed.
    """

    def __init__(self, id: str, client: str, packing: bool, limits: Limits) -> None:
        self.id = id
        self.client = client
        self.ending = Ending(limits.gone)
        self._packing = packing
        self._limits = limits
        self._changed = threading.Condition()
        self._frames: deque[bytes] = deque()
        #: Numbers of the first event that is kept, and of the first that was given to no connection.
        self._first = self._given = 0
        self._end: bytes | None = None
        self._listening: set[Callable[[], None]] = set()
        #: Bytes of the events that are kept.
        self.bytes = 0
        #: When it ended, by `time.monotonic`; None while it is under way.
        self.ended_at: float | None = None

    def put(self, position: int, event: Event) -> None:
        """Keep an event; wait where there is no room until the client has collected some."""
        found = event_frame(wire.answer_to_bytes(position, event), self._packing)
        with self._changed:
            since, given = time.monotonic(), self._given
            while self._unsent() > self._limits.run_bytes and not self.ending.is_set():
                self._changed.wait(LOOK)
                if self._given != given:
                    since, given = time.monotonic(), self._given
                elif time.monotonic() - since > self._limits.stalled:
                    self.ending.give_up()
            self._frames.append(found)
            self.bytes += len(found)
            self._trim()
        self._tell()

    def end(self, error: DiffAtlasError | None) -> None:
        """Note that no more events come."""
        with self._changed:
            self._end = end_frame(error)
            self.ended_at = time.monotonic()
        self._tell()

    def check(self, at: int) -> None:
        """Raise `RunNotFound` where the event of this number is not kept any more, or never was to come next."""
        with self._changed:
            if not self._first <= at <= self._first + len(self._frames):
                raise RunNotFound("These events of the run are no longer kept here: run it again.")

    def frames(self, at: int) -> tuple[list[bytes], bytes | None]:
        """Return frames from the event of this number on, and the last frame where they reach to the end.

        Raises as `check`.
        """
        with self._changed:
            self.check(at)
            found, size = [], 0
            for number in range(at - self._first, len(self._frames)):
                found.append(self._frames[number])
                size += len(found[-1])
                if size > PART:
                    break
            reached = at + len(found)
            self._given = max(self._given, reached)
            self._trim()
            self._changed.notify_all()
            return found, self._end if reached == self._first + len(self._frames) else None

    def listen(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called whenever there is more."""
        with self._changed:
            self._listening.add(wake)

    def leave(self, wake: Callable[[], None]) -> None:
        """Call it no longer."""
        with self._changed:
            self._listening.discard(wake)

    def _unsent(self) -> int:
        """Return the bytes of the events that were given to no connection."""
        left = self._first + len(self._frames) - self._given
        return sum(len(self._frames[-1 - i]) for i in range(left))

    def _trim(self) -> None:
        while self.bytes > self._limits.run_bytes and self._first < self._given:
            self.bytes -= len(self._frames.popleft())
            self._first += 1

    def _tell(self) -> None:
        with self._changed:
            listening = list(self._listening)
        for wake in listening:
            wake()


@dataclass(frozen=True)
class Work:
    """What a server runs on. backend: makes the runs. shared: whether strangers ask it."""

    backend: Callable[[], Any]
    turns: Turns
    shared: bool = False


class Runs:
    """The runs of a server. Safe to use from any thread."""

    def __init__(self, work: Work, limits: Limits) -> None:
        self.work = work
        self.limits = limits
        self._lock = threading.Lock()
        self._runs: dict[str, KeptRun] = {}
        self._sweeping = False

    def begin(self, id: str, client: str, asked: wire.Asked, packing: bool) -> KeptRun:
        """Begin a run; the one that is under way where this very client has begun it already.

        Raises `TooMuch` where too many are under way, `RunNotFound` where the id is another client's.
        """
        backend = self.work.backend()
        seconds = _seconds(backend, asked)
        self.sweep()
        with self._lock:
            if (known := self._runs.get(id)) is not None:
                if known.client != client:
                    raise RunNotFound("This id of a run is taken.")
                known.ending.heard()
                return known
            self._check_room(client)
            ticket = self.work.turns.join(f"remote {client}", seconds)
            run = self._runs[id] = KeptRun(id, client, packing, self.limits)
            if not self._sweeping:
                self._sweeping = True
                threading.Thread(target=self._sweep, name="diffatlas-remote-sweep", daemon=True).start()
        threading.Thread(
            target=self._work, args=(run, asked, backend, ticket), name="diffatlas-remote-run", daemon=True
        ).start()
        return run

    def find(self, id: str) -> KeptRun:
        """Return a run, whose client is heard by that. Raises `RunNotFound`."""
        self.sweep()
        with self._lock:
            run = self._runs.get(id)
        if run is None:
            raise RunNotFound("This run is not kept here any more: run it again.")
        run.ending.heard()
        return run

    def stop(self, id: str) -> None:
        """End a run that is under way, forget one that has ended. No harm where there is none."""
        with self._lock:
            run = self._runs.get(id)
            if run is None:
                return
            run.ending.set()
            if run.ended_at is not None:
                del self._runs[id]

    def sweep(self) -> None:
        """Forget runs that ended long ago, or for which there is no room."""
        now = time.monotonic()
        with self._lock:
            ended = sorted(
                (run for run in self._runs.values() if run.ended_at is not None), key=lambda r: r.ended_at
            )
            held = sum(run.bytes for run in self._runs.values())
            for run in ended:
                if now - run.ended_at > self.limits.kept or held > self.limits.all_bytes:
                    held -= run.bytes
                    del self._runs[run.id]

    def _sweep(self) -> None:
        """Sweep now and then, as long as there are runs."""
        while True:
            time.sleep(min(self.limits.kept, SWEEP))
            self.sweep()
            with self._lock:
                if not self._runs:
                    self._sweeping = False
                    return

    def close(self, seconds: float = 0.0) -> None:
        """End all runs, and wait for that at most so long."""
        with self._lock:
            runs = list(self._runs.values())
            for run in runs:
                run.ending.set()
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(run.ended_at is None for run in runs):
            time.sleep(LOOK / 2)

    @property
    def counts(self) -> tuple[int, int]:
        """How many runs are under way or wait, and how many bytes of events are kept."""
        with self._lock:
            under_way = sum(run.ended_at is None for run in self._runs.values())
            return under_way, sum(run.bytes for run in self._runs.values())

    def _check_room(self, client: str) -> None:
        under_way = [run for run in self._runs.values() if run.ended_at is None]
        if sum(run.client == client for run in under_way) >= self.limits.of_client:
            raise TooMuch(
                f"You have {self.limits.of_client} runs under way at this Atlas already; stop one or wait."
            )
        if len(under_way) >= self.limits.in_all:
            raise TooMuch(
                f"{len(under_way)} runs are under way at this Atlas already; try again in a minute."
            )

    def _work(self, run: KeptRun, asked: wire.Asked, backend: Any, ticket: Any) -> None:
        """Wait for the turn of a run, and make it; every outcome is kept."""
        error: DiffAtlasError | None = None
        try:
            said = ""
            for place in self.work.turns.waiting(ticket, run.ending.is_set, LOOK):
                words = f"Waits there for its turn: {place.words}."
                if words != said:
                    run.put(0, Waiting(words))
                    said = words
            if self.work.shared and not run.ending.is_set():
                bounds = bounds_here(shared=True)
                bounds.check(expected(backend, asked.cells, asked.capture, None, run.ending, bounds))
                backend = BoundedBackend(backend, bounds)
            with closing(wire.answers(backend, asked, run.ending)) as answers:
                for position, event in answers:
                    if run.ending.gone:
                        # It was not its client who stopped it.
                        break
                    run.put(position, event)
        except DiffAtlasError as fault:
            error = fault
        except Exception:
            log.exception("A run for another Atlas failed.")
            error = BackendFailure("The run failed at this Atlas, whose log says why.")
        finally:
            self.work.turns.leave(ticket)
            if run.ending.gone:
                error = NetworkError(
                    "The run was ended at the Atlas where it ran, because nobody asked for it for "
                    f"{self.limits.gone:g} s: run it again."
                )
            run.end(error)


def _seconds(backend: Any, asked: wire.Asked) -> float | None:
    """Return what a request should take, None where that is not known."""
    found = []
    for cell in asked.cells:
        # What is wrong with a request is for its run to say.
        with suppress(DiffAtlasError):
            found.append(backend.estimate(cell, asked.capture))
    known = together(found)
    return None if known is None else known.seconds
