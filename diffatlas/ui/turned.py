"""A backend whose every run waits for its turn, so that a study of one visitor does not keep the others out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from diffatlas.backends.bounds import together
from diffatlas.backends.local import LocalBackend
from diffatlas.backends.wrapped import WrappedBackend
from diffatlas.capture.spec import Capture
from diffatlas.errors import DiffAtlasError
from diffatlas.events import Event
from diffatlas.params import GenerationParams
from diffatlas.ui.turns import Ticket, Turns


class Held:
    """A turn that was waited for before it was known which run takes it: the first to come does."""

    def __init__(self, turns: Turns, ticket: Ticket) -> None:
        self._turns = turns
        self._lock = threading.Lock()
        self._ticket: Ticket | None = ticket

    def take(self) -> Ticket | None:
        """Return the turn, which is then the caller's to give up; None where it is gone."""
        with self._lock:
            ticket, self._ticket = self._ticket, None
        return ticket

    def give_up(self) -> None:
        """Leave the turn to others, unless it was taken."""
        if ticket := self.take():
            self._turns.leave(ticket)


class TurnedBackend(WrappedBackend):
    """The local backend, each run and each batch of which takes a turn with those of other pages and visitors.

    who: between whom turns go round. held: a turn for the first run.
    """

    def __init__(self, backend: LocalBackend, turns: Turns, who: str = "", held: Held | None = None) -> None:
        super().__init__(backend)
        self._turns = turns
        self._who = who
        self._held = held
        self._listening = threading.local()

    def is_loaded(self, model: str) -> bool:
        """See `LocalBackend.is_loaded`."""
        return self._backend.is_loaded(model)

    @contextmanager
    def telling(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Tell, as long as this lasts, where a run that this thread begins stands in the queue, in words."""
        self._listening.tell = tell
        try:
            yield
        finally:
            self._listening.tell = None

    def trace(
        self, params: GenerationParams, capture: Capture | None = None, stop: threading.Event | None = None
    ) -> Generator[Event, None, None]:
        """See `LocalBackend.trace`."""
        yield from self._in_turn(lambda: self._backend.trace(params, capture, stop), [params], capture, stop)

    def trace_batch(
        self,
        cells: Sequence[GenerationParams],
        capture: Capture | None = None,
        stop: threading.Event | None = None,
    ) -> Generator[tuple[int, Event], None, None]:
        """See `LocalBackend.trace_batch`."""
        yield from self._in_turn(
            lambda: self._backend.trace_batch(cells, capture, stop), cells, capture, stop
        )

    def _in_turn(
        self,
        begin: Callable[[], Any],
        cells: Sequence[GenerationParams],
        capture: Capture | None,
        stop: threading.Event | None,
    ) -> Generator[Any, None, None]:
        ticket = self._held.take() if self._held else None
        if ticket is None:
            seconds = seconds_of(self._backend, cells, capture)
            ticket = self._turns.join(self._who, seconds, begun=True)
        try:
            tell = getattr(self._listening, "tell", None)
            for place in self._turns.waiting(ticket, lambda: stop is not None and stop.is_set(), 0.2):
                if tell:
                    tell(f"Waits for its turn: {place.words}.")
            yield from begin()
        finally:
            self._turns.leave(ticket)


def seconds_of(backend: Any, cells: Sequence[GenerationParams], capture: Capture | None) -> float | None:
    """Return what requests should take one after another, as far as it is known; None where nothing is."""
    found = []
    for cell in cells:
        # What is wrong with a request is for its run to say.
        with suppress(DiffAtlasError):
            found.append(backend.estimate(cell, capture or Capture()))
    known = together(found)
    return None if known is None else known.seconds
