"""Who is running what: a stop signal for each visitor, and a queue for the model."""

from __future__ import annotations

import itertools
import threading


class Sessions:
    """The stop signal and the next seed of each visitor, kept in server memory only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stops: dict[str, threading.Event] = {}
        self._seeds: dict[str, int] = {}

    def begin(self, visitor: str) -> threading.Event:
        """Return a fresh stop signal for a visitor's runs; one that the visitor still has running is stopped."""
        fresh = threading.Event()
        with self._lock:
            previous = self._stops.get(visitor)
            self._stops[visitor] = fresh
            self._seeds.pop(visitor, None)
        if previous:
            previous.set()
        return fresh

    def stop(self, visitor: str) -> None:
        """Stop the visitor's run, if there is one."""
        with self._lock:
            signal = self._stops.get(visitor)
        if signal:
            signal.set()

    def end(self, visitor: str, signal: threading.Event, seed: int | None) -> None:
        """Note that runs ended, and the seed that comes next; a later run of the same visitor keeps its signal."""
        with self._lock:
            if self._stops.get(visitor) is signal:
                del self._stops[visitor]
                if seed is not None:
                    self._seeds[visitor] = seed

    def note(self, visitor: str, seed: int) -> None:
        """Note the seed that comes next for a visitor."""
        with self._lock:
            self._seeds[visitor] = seed

    def next_seed(self, visitor: str) -> int | None:
        """Return the seed that follows the visitor's last run; None where none has run to an end."""
        with self._lock:
            return self._seeds.get(visitor)

    def forget(self, visitor: str) -> None:
        """Stop the visitor's run and drop what is known of them: their tab was closed."""
        self.stop(visitor)
        with self._lock:
            self._seeds.pop(visitor, None)


class Turns:
    """First come, first served: one run at a time, and each who waits knows how many are ahead."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[int] = []
        self._numbers = itertools.count()

    def join(self) -> int:
        """Take a place at the end and return it."""
        with self._changed:
            ticket = next(self._numbers)
            self._waiting.append(ticket)
            return ticket

    def ahead(self, ticket: int) -> int:
        """How many come before this place, the one that runs included; 0 when it is its turn."""
        with self._changed:
            return self._waiting.index(ticket)

    def wait(self, seconds: float) -> None:
        """Wait until a place was given up, at most this long."""
        with self._changed:
            self._changed.wait(seconds)

    def leave(self, ticket: int) -> None:
        """Give the place up; more than once does no harm."""
        with self._changed:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                self._changed.notify_all()
