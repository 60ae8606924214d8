"""A backend that runs elsewhere as far as anyone who uses it can tell: all that passes to and fro is bytes."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from typing import Any

from diffatlas.backends import wire
from diffatlas.backends.local import LocalBackend
from diffatlas.backends.wrapped import WrappedBackend
from diffatlas.capture.spec import Capture
from diffatlas.errors import KeyRefused
from diffatlas.events import Event
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import GenerationParams
from diffatlas.registry import ModelEntry

#: The token that an Atlas at `GUARDED` asks for.
TOKEN, GUARDED = "a-token-of-a-test-4711", "http://127.0.0.1:9"
#: What the other Atlas calls the model that both have.
NAME = "Shapes, elsewhere"


class ElsewhereBackend(WrappedBackend):
    """Another Atlas with one model, on this machine's pipeline. `asked` holds the requests that have reached it."""

    asked: list[wire.Asked] = []  # noqa: RUF012  of all of them: each run opens its own
    #: Those that are open.
    open: list[ElsewhereBackend] = []  # noqa: RUF012

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        super().__init__(shared_local_backend())
        self.open.append(self)
        self._refused = url == GUARDED and token != TOKEN

    @property
    def name(self) -> str:
        return "remote"

    def models(self) -> list[ModelEntry]:
        self._check()
        return [ModelEntry("shapes", NAME, "Runs at another Atlas.", size=64, steps=12, guidance=4.0)]

    def info(self, model: str) -> Any:
        self._check()
        return LocalBackend.info(self._backend, model)

    def close(self) -> None:
        self.open.remove(self)

    def is_loaded(self, model: str) -> bool:
        return self._backend.is_loaded(model)

    def trace(
        self, params: GenerationParams, capture: Capture | None = None, stop: threading.Event | None = None
    ) -> Generator[Event, None, None]:
        for _, event in self._answers(wire.asked_of(params, capture), stop):
            yield event

    def trace_batch(
        self,
        cells: Sequence[GenerationParams],
        capture: Capture | None = None,
        stop: threading.Event | None = None,
    ) -> Generator[tuple[int, Event], None, None]:
        return self._answers(wire.asked_of(cells, capture), stop)

    def _answers(
        self, asked: wire.Asked, stop: threading.Event | None
    ) -> Generator[tuple[int, Event], None, None]:
        self._check()
        asked = wire.asked_from_bytes(wire.asked_to_bytes(asked))
        self.asked.append(asked)
        for position, event in wire.answers(self._backend, asked, stop):
            yield wire.answer_from_bytes(wire.answer_to_bytes(position, event))

    def _check(self) -> None:
        if self._refused:
            raise KeyRefused("This Atlas asks for a token: give it one.", field="key")
