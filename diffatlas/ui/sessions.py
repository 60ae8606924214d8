"""Who is running what: a stop signal for each visitor."""

from __future__ import annotations

import threading

#: The seed that was asked, None where there was none, and the one that follows it.
Moved = tuple[int | None, int | None]

#: Visitors whose next seed is remembered: of a script it is never said that it has gone.
REMEMBERED = 2000


class Sessions:
    """The stop signal and the next seed of each visitor, kept in server memory only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stops: dict[str, threading.Event] = {}
        self._seeds: dict[str, Moved] = {}
        self._confirmed: set[str] = set()
        self._over: dict[str, str] = {}

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

    def end(self, visitor: str, signal: threading.Event, seeds: Moved | None) -> None:
        """Note that runs ended, and the seed that comes next; a later run of the same visitor keeps its signal."""
        with self._lock:
            if self._stops.get(visitor) is signal:
                del self._stops[visitor]
                if seeds is not None:
                    self._keep(visitor, seeds)

    def note(self, visitor: str, seeds: Moved) -> None:
        """Note the seed that comes next for a visitor."""
        with self._lock:
            self._keep(visitor, seeds)

    def _keep(self, visitor: str, seeds: Moved) -> None:
        self._seeds[visitor] = seeds
        while len(self._seeds) > REMEMBERED:
            del self._seeds[next(iter(self._seeds))]

    def next_seed(self, visitor: str) -> Moved | None:
        """Return the seed that the visitor's last run was asked for, and the one that follows it.

        None where none has run to an end.
        """
        with self._lock:
            return self._seeds.get(visitor)

    def confirm(self, visitor: str) -> None:
        """Note that the visitor wants the next run though it is expected to take long."""
        with self._lock:
            self._confirmed.add(visitor)

    def confirmed(self, visitor: str) -> bool:
        """Return whether the visitor has confirmed the run that begins now; once."""
        with self._lock:
            found = visitor in self._confirmed
            self._confirmed.discard(visitor)
            self._over.pop(visitor, None)
            return found

    def refuse(self, visitor: str, question: str = "") -> None:
        """Note that the visitor's run was refused because of what it is expected to take.

        question: what any visitor is asked then, on a shared server too; "" where the form says it.
        """
        with self._lock:
            self._over[visitor] = question

    def refused(self, visitor: str) -> bool:
        """Return whether the visitor's last run was refused so."""
        with self._lock:
            return visitor in self._over

    def question(self, visitor: str) -> str:
        """Return what the visitor is to be asked whose last run was refused; "" for nothing of its own."""
        with self._lock:
            return self._over.get(visitor, "")

    def forget(self, visitor: str) -> None:
        """Stop the visitor's run and drop what is known of them: their tab was closed."""
        self.stop(visitor)
        with self._lock:
            self._confirmed.discard(visitor)
            self._over.pop(visitor, None)
            self._seeds.pop(visitor, None)
