"""One producer thread per run, a bounded queue, and a generator that only drains it.

A generator may be resumed on another thread at each ``next()``, and a torch context held across a ``yield``
would be lost or leak. So everything that touches torch happens in ``work``, on one thread, which computes with as many
threads as the caller's would (`diffatlas.backends.threads`).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from typing import Any

from diffatlas.backends import threads
from diffatlas.events import Event

Put = Callable[[Event], None]
Stopping = Callable[[], bool]

QUEUE_SIZE = 64
_END = object()


def stream(
    work: Callable[[Put, Stopping], None], stop: threading.Event | None = None
) -> Generator[Event, None, None]:
    """Run ``work(put, stopping)`` on a thread of its own and yield what it puts.

    ``work`` must return soon after ``stopping()`` turns true, and must not raise; if it does, the exception
    is raised here, after the events that came before it. Closing the generator waits for ``work`` to return.
    """
    events: queue.Queue[Any] = queue.Queue(QUEUE_SIZE)
    closed = threading.Event()
    raised: list[BaseException] = []
    number, asked = threads.number_here(), threads.asked_here()

    def stopping() -> bool:
        return closed.is_set() or (stop is not None and stop.is_set())

    def put(event: Any) -> None:
        while not closed.is_set():
            try:
                events.put(event, timeout=0.1)
            except queue.Full:
                continue
            return

    def run() -> None:
        try:
            with threads.computing_with(number), threads.asking_for(asked):
                work(put, stopping)
        except BaseException as error:
            raised.append(error)
        finally:
            put(_END)

    thread = threading.Thread(target=run, name="diffatlas-producer", daemon=True)
    thread.start()
    try:
        while (event := events.get()) is not _END:
            yield event
    finally:
        closed.set()
        thread.join()
    if raised:
        raise raised[0]
