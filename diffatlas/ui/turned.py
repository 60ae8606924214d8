"""A backend whose every run waits for its turn, so that a study of one visitor does not keep the others out."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from typing import Any

from diffatlas.backends.base import Capabilities
from diffatlas.backends.local import LocalBackend
from diffatlas.capture.spec import Capture
from diffatlas.events import Event
from diffatlas.params import GenerationParams
from diffatlas.ui.sessions import Turns


class TurnedBackend:
    """The local backend, each run and each batch of which takes a turn with those of the other pages."""

    def __init__(self, backend: LocalBackend, turns: Turns) -> None:
        self._backend = backend
        self._turns = turns

    @property
    def name(self) -> str:
        """The backend's own name."""
        return self._backend.name

    @property
    def capabilities(self) -> Capabilities:
        """The backend's own capabilities."""
        return self._backend.capabilities

    def resolve(self, params: GenerationParams) -> GenerationParams:
        """See `LocalBackend.resolve`."""
        return self._backend.resolve(params)

    def identity(self, params: GenerationParams, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """See `LocalBackend.identity`."""
        return self._backend.identity(params, *args, **kwargs)

    def is_loaded(self, model: str) -> bool:
        """See `LocalBackend.is_loaded`."""
        return self._backend.is_loaded(model)

    def trace(
        self, params: GenerationParams, capture: Capture | None = None, stop: threading.Event | None = None
    ) -> Generator[Event, None, None]:
        """See `LocalBackend.trace`."""
        yield from self._in_turn(lambda: self._backend.trace(params, capture, stop), stop)

    def trace_batch(
        self,
        cells: Sequence[GenerationParams],
        capture: Capture | None = None,
        stop: threading.Event | None = None,
    ) -> Generator[tuple[int, Event], None, None]:
        """See `LocalBackend.trace_batch`."""
        yield from self._in_turn(lambda: self._backend.trace_batch(cells, capture, stop), stop)

    def _in_turn(self, begin: Any, stop: threading.Event | None) -> Generator[Any, None, None]:
        ticket = self._turns.join()
        try:
            while self._turns.ahead(ticket) and not (stop is not None and stop.is_set()):
                self._turns.wait(0.2)
            yield from begin()
        finally:
            self._turns.leave(ticket)
