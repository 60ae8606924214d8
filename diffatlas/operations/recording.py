"""Recording a run whose events are pushed, one by one, rather than drawn from a stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from diffatlas.events import Event, Failed, Finished
from diffatlas.operations import cache

if TYPE_CHECKING:
    from diffatlas.library import Library


class Recording:
    """Passes the events of one run, as they come, through the generators that read from a stream."""

    def __init__(self, library: Library | None, kind: str = "trace") -> None:
        self._waiting: deque[Event | Exception] = deque()
        keyed = cache.keyed(self._arriving())
        self._events = library.record(keyed, kind) if library is not None else keyed

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """End the run where it has not ended: as stopped, or as failed by an error that is on its way."""
        if isinstance(error, Exception):
            # As if its own stream had broken; one that has ended already reads no further.
            self._waiting.append(error)
            with suppress(type(error), StopIteration):
                next(self._events)
        self._events.close()

    def take(self, event: Event) -> Event:
        """Return an event once it is recorded."""
        self._waiting.append(event)
        recorded = next(self._events)
        if isinstance(event, (Finished, Failed)):
            self._events.close()
        return recorded

    def _arriving(self) -> Iterator[Event]:
        while True:
            arrived = self._waiting.popleft()
            if isinstance(arrived, Exception):
                raise arrived
            yield arrived
