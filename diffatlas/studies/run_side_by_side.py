"""Several threads that take from one list."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context

from diffatlas.backends.threads import computing_with, number_here
from diffatlas.library.study import Cell

#: What is run at one time: a batch of cells, or one.
Unit = Sequence[Cell]


class Units:
    """What is still to be run, the first one first; threads may take from it at the same time."""

    def __init__(self, units: Iterable[Unit]) -> None:
        self._left = deque(units)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._left)

    def take(self) -> Unit | None:
        """Return the next one, and take it away; None where none is left."""
        with self._lock:
            return self._left.popleft() if self._left else None

    def put_back(self, units: Sequence[Unit]) -> None:
        """Put some before all others, in their order."""
        with self._lock:
            self._left.extendleft(reversed(units))


def side_by_side(work: Callable[[], None], times: int) -> None:
    """Do ``work``, which raises nothing, so many times at the same time, and wait for all; once on this thread."""
    number = number_here()

    def run() -> None:
        with computing_with(number):
            work()

    name = threading.current_thread().name
    others = [
        threading.Thread(target=copy_context().run, args=(run,), name=f"{name}-{at}", daemon=True)
        for at in range(1, times)
    ]
    for thread in others:
        thread.start()
    work()
    for thread in others:
        thread.join()
