"""Turns at a backend that keeps one pipeline resident: lanes of one model alternate, models come one after another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

#: Seconds between two looks at whether a lane that waits was stopped.
LOOK = 0.05


class ModelTurns:
    """One lane at a time, first come, first served, among the lanes of the model that is resident.

    Another model has its turn when no lane of the resident one is left, so that no model is loaded twice.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._models: dict[str, str] = {}
        self._queue: list[str] = []
        self._holder: str | None = None
        self._resident: str | None = None
        self._first: str | None = None

    def join(self, lane: str, model: str) -> None:
        """Say that a lane will ask for turns. The first that joins has the first turn."""
        with self._changed:
            self._models[lane] = model
            self._first = self._first or lane

    def leave(self, lane: str) -> None:
        """Say that a lane asks for no more turns."""
        with self._changed:
            self._models.pop(lane, None)
            self._changed.notify_all()

    @contextmanager
    def turn(
        self, lane: str, stopping: Callable[[], bool], waits: Callable[[], None]
    ) -> Generator[bool, None, None]:
        """Wait for a turn and hold it for the block; yields False, without a turn, where ``stopping()`` came first.

        ``waits()`` is called once where the turn is not at hand.
        """
        held = self._take(lane, stopping, waits)
        try:
            yield held
        finally:
            if held:
                with self._changed:
                    self._holder = None
                    self._changed.notify_all()

    def _take(self, lane: str, stopping: Callable[[], bool], waits: Callable[[], None]) -> bool:
        with self._changed:
            self._queue.append(lane)
        told = False
        while True:
            with self._changed:
                if stopping():
                    self._queue.remove(lane)
                    self._changed.notify_all()
                    return False
                if self._next() == lane:
                    self._queue.remove(lane)
                    self._holder, self._resident = lane, self._models[lane]
                    return True
                if told:
                    self._changed.wait(LOOK)
                    continue
            # Outside the lock, because telling may have to wait for whoever listens.
            waits()
            told = True

    def _next(self) -> str | None:
        if self._holder is not None:
            return None
        if self._resident is None and self._first in self._models:
            return self._first if self._first in self._queue else None
        if self._resident in self._models.values():
            return next((lane for lane in self._queue if self._models[lane] == self._resident), None)
        return next((lane for lane in self._models if lane in self._queue), None)
