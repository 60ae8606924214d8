"""A run on Modal followed from here: its call looked after, its events put together, its container replaced once."""

from __future__ import annotations

import hashlib
import queue as queues
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from diffatlas.backends import wire
from diffatlas.backends.on_modal import failures, frames
from diffatlas.backends.on_modal.prices import gpu_words
from diffatlas.backends.on_modal.worker import stop_of
from diffatlas.errors import BackendFailure, DiffAtlasError, NetworkError
from diffatlas.events import Event, Failed, Finished, Image, Started, Step, Waiting, to_bytes

#: Items that are taken from the queue at once, and seconds that are waited for the first.
ITEMS, LOOK = 64, 1.0
#: Seconds after which the wait for a container is told in other words.
SLOW = 20.0
#: Seconds that a stopped run has to say so itself, and that Modal may be out of reach.
STOP_SECONDS, AWAY_SECONDS = 15.0, 60.0
#: Seconds from one try to the next where Modal is out of reach.
AGAIN = 2.0
#: Times that a run is begun: again where its container was lost.
ATTEMPTS = 2


class Call(Protocol):
    """What is used of a `modal.FunctionCall`."""

    def get(self, timeout: float | None = None) -> Any:
        """Return the result; raises TimeoutError while there is none, and what the call ended with."""

    def cancel(self, terminate_containers: bool = False) -> None:
        """End it, wherever it is; with its container, if need be."""


class Queue(Protocol):
    """What is used of a `modal.Queue`."""

    def get_many(self, n_values: int, block: bool = True, timeout: float = 0, *, partition: str) -> list[Any]:
        """Take items; raises `queue.Empty` where none came in time."""

    def put(self, v: Any, block: bool = True, *, partition: str, partition_ttl: int = 0) -> None:
        """Put one item."""


@dataclass(frozen=True)
class Terms:
    """How long is waited, and what the errors name."""

    app: str
    gpu: str
    #: Seconds that no container may begin.
    wait: float
    #: Seconds that the app lets a run take.
    timeout: float | None = None


class Following:
    """One request from its first call to its end.

    Args:
        spawn: begins the request, as bytes, under a name, and returns its call.
        queue: where its events arrive.
        put: takes (position, event).
        stopping: whether it is to end.
    """

    def __init__(
        self,
        asked: wire.Asked,
        spawn: Callable[[bytes, str], Call],
        queue: Queue,
        put: Callable[[int, Event], None],
        stopping: Callable[[], bool],
        terms: Terms,
    ) -> None:
        self._asked = asked
        self._spawn = spawn
        self._queue = queue
        self._put = put
        self._stopping = stopping
        self._terms = terms
        count = len(asked.cells)
        #: What was passed on of each position, as hashes: another attempt has to say the same again.
        self._passed: list[list[bytes]] = [[] for _ in range(count)]
        self._seen = [0] * count
        self._ended: set[int] = set()
        self._begun = time.monotonic()
        self._said = ""
        #: What the method returned in the end; None where it did not.
        self.result: Any = None

    def run(self) -> None:
        """Follow it; every outcome is an event of each position, and nothing is raised."""
        try:
            for attempt in range(1, ATTEMPTS + 1):
                if self._stopping():
                    break
                if self._attempt(last=attempt == ATTEMPTS):
                    break
                self._wait_for("The container on Modal was lost: the run is taken up again in another.")
            self._end(Finished("stopped", time.monotonic() - self._begun) if self._stopping() else _UNENDED)
        except DiffAtlasError as error:
            self._end(Failed(error.code, error.message, error.field))
        except Exception as error:
            typed = self._typed(error)
            self._end(Failed(typed.code, typed.message, typed.field))

    def _attempt(self, last: bool) -> bool:
        """Follow one call to its end; return False where another is to be made."""
        name = uuid.uuid4().hex
        # In as many bytes as a partition's key may have.
        call = self._spawn(wire.asked_to_bytes(self._asked), name)
        self._seen = [0] * len(self._seen)
        joiner, arrived = frames.Joiner(), False
        since, stopped, away = time.monotonic(), None, None
        self._wait_for(f"Modal looks for {gpu_words(self._terms.gpu)} for the run.")
        try:
            while True:
                if stopped is None and self._stopping():
                    stopped = time.monotonic()
                    self._stop(call, name)
                try:
                    items = self._take(name, LOOK)
                    over = _UNDER_WAY if items else self._look(call)
                    away = None
                except Exception as error:
                    if not failures.away(error):
                        raise
                    away = away or time.monotonic()
                    if stopped or time.monotonic() - away > AWAY_SECONDS:
                        raise
                    self._wait_for("The connection to Modal is lost: it is tried again.")
                    time.sleep(AGAIN)
                    continue
                if not items and over is not _UNDER_WAY:
                    # What it had put before it ended.
                    items = self._take(name, 0)
                for item in items:
                    arrived = True
                    if self._pass_on(joiner, item):
                        with suppress(Exception):
                            self.result = call.get(timeout=LOOK)
                        return True
                if items:
                    continue
                if isinstance(over, Exception):
                    if stopped is not None:
                        return True
                    if last or not failures.died(over):
                        raise over
                    return False
                if over is not _UNDER_WAY:
                    raise NetworkError(frames.DAMAGED)
                if stopped is not None and time.monotonic() - stopped > STOP_SECONDS:
                    # It hears nothing: its container ends with it.
                    with suppress(Exception):
                        call.cancel(terminate_containers=True)
                    return True
                if not arrived and stopped is None:
                    self._waits(time.monotonic() - since)
        except BaseException:
            # Whatever it is, the GPU is not to go on for nobody.
            if stopped is None:
                with suppress(Exception):
                    self._stop(call, name)
            raise

    def _take(self, name: str, seconds: float) -> list[bytes]:
        try:
            return self._queue.get_many(ITEMS, timeout=seconds, partition=name)
        except queues.Empty:
            return []

    def _look(self, call: Call) -> Any:
        """Return `_UNDER_WAY`, or the call's result, or the exception that ended it."""
        try:
            return call.get(timeout=0)
        except TimeoutError:
            return _UNDER_WAY
        except Exception as error:
            if failures.away(error):
                raise
            return error

    def _stop(self, call: Call, name: str) -> None:
        """End a call. Modal cancels it, and should that not arrive, the run finds a word on its own partition."""
        with suppress(Exception):
            self._queue.put(b"stop", partition=stop_of(name), partition_ttl=600)
        with suppress(Exception):
            call.cancel()

    def _waits(self, seconds: float) -> None:
        if seconds > self._terms.wait:
            raise failures.no_gpu(self._terms.gpu or "container", self._terms.wait)
        if seconds > SLOW:
            self._wait_for(
                "Modal starts a container, which loads the model, or has none free yet: a first run takes a minute or "
                "two."
            )

    def _wait_for(self, words: str) -> None:
        if words != self._said:
            self._said = words
            for position in range(len(self._passed)):
                if position not in self._ended:
                    self._put(position, Waiting(words))

    def _pass_on(self, joiner: frames.Joiner, item: bytes) -> bool:
        """Take an item, and pass on the event that it completes; return whether it was the attempt's last."""
        before = joiner.attempt
        frame = joiner.take(item)
        if joiner.attempt != before:
            # Modal has handed the call to another container.
            self._seen = [0] * len(self._seen)
        if frame is None:
            return False
        if frame.content is None:
            return True
        position, event = wire.answer_from_bytes(frame.content)
        if position >= len(self._passed) or position in self._ended:
            return False
        if isinstance(event, (Started, Step, Image)):
            mark, at, passed = _mark(event), self._seen[position], self._passed[position]
            self._seen[position] += 1
            if at < len(passed):
                if mark != passed[at]:
                    raise BackendFailure(
                        "The container on Modal was lost, and the one that took the run up came to other numbers: run "
                        "it again."
                    )
                return False
            passed.append(mark)
        if isinstance(event, (Finished, Failed)):
            self._ended.add(position)
        self._said = ""
        self._put(position, event)
        return False

    def _end(self, event: Event) -> None:
        """End what has not ended."""
        for position in range(len(self._passed)):
            if position not in self._ended:
                self._ended.add(position)
                self._put(position, event)

    def _typed(self, error: Exception) -> DiffAtlasError:
        return failures.typed(error, self._terms.app, self._terms.timeout)


_UNDER_WAY = object()
_UNENDED = Failed(BackendFailure.code, "The run on Modal ended without saying how: run it again.")


def _mark(event: Started | Step | Image) -> bytes:
    """Return what is alike where the same run says the same again: not its id, nor what it ran on."""
    if isinstance(event, Started):
        event = replace(event, run_id="", provenance={})
    return hashlib.sha256(to_bytes(event)).digest()
