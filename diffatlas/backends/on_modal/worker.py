"""What a container on Modal does: it runs a request, and puts the events on a partition of a queue."""

from __future__ import annotations

import logging
import queue as queues
import threading
import time
from contextlib import closing
from typing import Any, Protocol

from diffatlas.backends import wire
from diffatlas.backends.base import Backend
from diffatlas.backends.on_modal import frames
from diffatlas.errors import BackendFailure, DiffAtlasError
from diffatlas.events import Failed

log = logging.getLogger("diffatlas")

#: Bytes of one request to the queue, about, and items of it.
BUNDLE_BYTES, BUNDLE_ITEMS = frames.ITEM_BYTES, 100
#: Events that wait here to be sent before the denoiser waits for them.
WAITING = 64
#: Seconds that nobody may take anything from a full partition before the run is given up; of one that is to stop.
PATIENCE, PATIENCE_STOPPED = 120.0, 10.0
#: Seconds that a partition is kept after the last event was put on it.
KEPT_SECONDS = 3600
#: Seconds between two looks at whether the run is to stop, and between two tries at a full partition.
LOOK, AGAIN = 1.0, 0.2
_END = object()


class Queue(Protocol):
    """What is used of a `modal.Queue`."""

    def put_many(
        self, vs: list[Any], block: bool = True, *, partition: str | None = None, partition_ttl: int = 0
    ) -> None:
        """Put items; raises `queue.Full` where they do not fit."""

    def get(self, block: bool = True, *, partition: str | None = None) -> Any:
        """Return the next item; None where there is none and ``block`` is False."""


def stop_of(run: str) -> str:
    """Return the partition on which something is put to stop a run."""
    return f"{run}.stop"


def run(backend: Backend, queue: Queue, asked: bytes, name: str) -> dict[str, Any]:
    """Run a request and put its events on the partition ``name``; return {"seconds", "frames"}.

    asked: as `wire.asked_to_bytes` writes it. What goes wrong is an event; nothing is raised but what ends this thread
    from outside, as Modal's cancelling does. The run then stops within one step, and says so on the queue, before that
    goes on its way. It stops too where something is put on `stop_of` the run, or nobody reads.
    """
    stop, begun = threading.Event(), time.monotonic()
    sender = _Sender(queue, name, stop)
    work = threading.Thread(target=_work, args=(backend, asked, sender, stop), name="diffatlas-run")
    work.start()
    try:
        while work.is_alive():
            work.join(LOOK)
            if work.is_alive() and _is_to_stop(queue, name):
                stop.set()
                work.join()
    except BaseException:
        stop.set()
        work.join()
        raise
    finally:
        sender.close()
    return {"seconds": time.monotonic() - begun, "frames": sender.number}


def _is_to_stop(queue: Queue, name: str) -> bool:
    """Whether somebody has put a word on the run's own partition; where that cannot be known, it goes on."""
    try:
        return queue.get(block=False, partition=stop_of(name)) is not None
    except Exception as error:
        log.info("Whether the run is to stop cannot be seen: %s", error)
        return False


def _work(backend: Backend, asked: bytes, sender: _Sender, stop: threading.Event) -> None:
    cells = 1
    try:
        request = wire.asked_from_bytes(asked)
        cells = len(request.cells)
        with closing(wire.answers(backend, request, stop)) as answers:
            for position, event in answers:
                sender.put(wire.answer_to_bytes(position, event))
    except Exception as error:
        if isinstance(error, DiffAtlasError):
            failed = Failed(error.code, error.message, error.field)
        else:
            log.error("A run failed.", exc_info=error)
            failed = Failed(
                BackendFailure.code, f"The run on Modal failed with {type(error).__name__}: {error}"
            )
        for position in range(cells):
            sender.put(wire.answer_to_bytes(position, failed))
    finally:
        sender.end()


class _Sender:
    """Puts frames on a partition from a thread of its own, as many in one request as fit.

    Where the partition is full it waits, and with it the denoiser. Where nobody takes anything, ``stop`` is set.
    """

    def __init__(self, queue: Queue, name: str, stop: threading.Event) -> None:
        self._queue, self._name, self._stop = queue, name, stop
        self._attempt = frames.new_attempt()
        self.number = 0
        self._lost = False
        self._waiting: queues.Queue[Any] = queues.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="diffatlas-sender", daemon=True)
        self._thread.start()

    def put(self, frame: bytes) -> None:
        """Send a frame after those that came before."""
        for item in frames.items_of(self._attempt, self.number, frame):
            self._waiting.put(item)
        self.number += 1

    def end(self) -> None:
        """Send that there is no more."""
        self._waiting.put(frames.end_of(self._attempt, self.number))
        self._waiting.put(_END)

    def close(self) -> None:
        """Wait until all is sent, or nobody takes it."""
        self._thread.join()

    def _run(self) -> None:
        item = self._waiting.get()
        while item is not _END:
            bundle, size = [item], len(item)
            item = None
            while item is None and len(bundle) < BUNDLE_ITEMS:
                try:
                    item = self._waiting.get_nowait()
                except queues.Empty:
                    break
                if item is not _END and size + len(item) <= BUNDLE_BYTES:
                    bundle.append(item)
                    size, item = size + len(item), None
            self._send(bundle)
            if item is None:
                item = self._waiting.get()

    def _send(self, items: list[bytes]) -> None:
        """Put items on the partition as soon as they fit; they are dropped once nobody takes them."""
        since = time.monotonic()
        while not self._lost:
            try:
                self._queue.put_many(items, block=False, partition=self._name, partition_ttl=KEPT_SECONDS)
                return
            except queues.Full:
                patience = PATIENCE_STOPPED if self._stop.is_set() else PATIENCE
                self._lost = time.monotonic() - since > patience
                time.sleep(AGAIN)
            except Exception as error:
                log.error("The events of a run cannot be sent: %s", error)
                self._lost = True
        self._stop.set()
