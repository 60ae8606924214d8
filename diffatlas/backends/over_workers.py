"""A request that is run by one of several workers, and by another one where that ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, Protocol

from diffatlas.backends import wire
from diffatlas.backends.failures import as_event
from diffatlas.backends.taken_over import Arrived
from diffatlas.errors import DiffAtlasError, WorkerLost
from diffatlas.events import Event, Failed, Finished, Started, Waiting

#: Workers that one request may take with it, and those that may have ended before it came to them.
TRIES = 3
IDLE_ENDS = 64
#: Seconds between two looks at what is waited for.
LOOK = 0.1


class WorkerEnded(Exception):
    """A worker is gone: killed, out of memory, or its machine is. ``begun``: whether it had begun the request."""

    def __init__(self, message: str, begun: bool = False) -> None:
        super().__init__(message)
        self.begun = begun


class Worker(Protocol):
    """What runs a request at a time. ``actor`` is the process that it is now, ``model`` what that has loaded."""

    actor: Any
    model: str | None

    def run(self, blob: bytes, stop: threading.Event | None) -> Generator[tuple[int, Event], None, None]:
        """Run a request and yield (position, event); raises `WorkerEnded` where the worker is gone."""
        ...


class Workers(Protocol):
    """Several of them."""

    def take(self, model: str) -> Worker | None:
        """Return a free one, which is the caller's until it is given back; None where all are busy."""
        ...

    def give_back(self, worker: Worker) -> None:
        """Say that a worker is free again."""
        ...

    def replace(self, worker: Worker, actor: Any) -> None:
        """Start another process in the place of one that is gone."""
        ...

    def waits_for(self) -> str:
        """Return what somebody waits for who finds no free worker, as a sentence."""
        ...


def over_workers(
    workers: Workers, asked: wire.Asked, stop: threading.Event | None
) -> Generator[tuple[int, Event], None, None]:
    """Yield (position, event) of a request, from as many workers, one after another, as it needs.

    Nothing is raised: every error is a `Failed`. Closing the generator ends the run within a step.
    """
    arrived = [Arrived() for _ in asked.cells]

    def to_all(event: Event) -> Generator[tuple[int, Event], None, None]:
        for position, cell in enumerate(arrived):
            if (out := cell.take(event)) is not None:
                yield position, out

    tries = idle = 0
    try:
        blob = wire.asked_to_bytes(asked)
        while not all(cell.ended for cell in arrived):
            worker = yield from _free(workers, asked.cells[0].model, stop, to_all)
            if worker is None:
                yield from to_all(Finished("stopped", 0.0))
                return
            try:
                yield from _on(workers, worker, blob, asked, arrived, stop)
                yield from to_all(Failed(WorkerLost.code, "The worker ended this run before it was whole."))
                return
            except WorkerEnded as ended:
                tries, idle = tries + ended.begun, idle + (not ended.begun)
                if tries == TRIES or idle == IDLE_ENDS:
                    yield from to_all(_lost(tries))
                    return
                if ended.begun:
                    yield from to_all(Waiting("A worker ended: its run goes on on another one."))
            for cell in arrived:
                cell.again()
    except DiffAtlasError as error:
        yield from to_all(as_event(error))


def _free(
    workers: Workers,
    model: str,
    stop: threading.Event | None,
    to_all: Callable[[Event], Generator[tuple[int, Event], None, None]],
) -> Generator[tuple[int, Event], None, Worker | None]:
    """Wait for a free worker, telling what for; return None where ``stop`` came first."""
    told = ""
    while stop is None or not stop.is_set():
        if (worker := workers.take(model)) is not None:
            return worker
        if (why := workers.waits_for()) != told:
            told = why
            yield from to_all(Waiting(why))
        time.sleep(LOOK)
    return None


def _on(
    workers: Workers,
    worker: Worker,
    blob: bytes,
    asked: wire.Asked,
    arrived: Sequence[Arrived],
    stop: threading.Event | None,
) -> Generator[tuple[int, Event], None, None]:
    """Yield the events of a request from one worker that have not arrived before. Raises `WorkerEnded`."""
    actor = worker.actor
    try:
        with closing(worker.run(blob, stop)) as found:
            for position, event in found:
                if isinstance(event, Started):
                    worker.model = asked.cells[position].model
                if (out := arrived[position].take(event)) is not None:
                    yield position, out
    except WorkerEnded:
        workers.replace(worker, actor)
        raise
    finally:
        workers.give_back(worker)


def _lost(tries: int) -> Failed:
    if tries < TRIES:
        message = "The workers of the cluster end one after another before they begin anything: see its logs."
    else:
        message = (
            f"{TRIES} workers ended while they made this, one after another: most often it needs more memory than one "
            "has. Ask for a smaller size or for fewer images at a time, or see why in the logs of the cluster."
        )
    return Failed(WorkerLost.code, message)
