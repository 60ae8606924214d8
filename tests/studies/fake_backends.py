"""Backends without a model, whose every run goes as a test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffatlas.backends.base import Capabilities
from diffatlas.errors import BackendFailure
from diffatlas.events import Event, Failed, Finished, Image, Started, Step
from diffatlas.params import GenerationParams
from diffatlas.run import new_run_id

TOTAL = 2


@dataclass(frozen=True)
class Limited(Failed):
    """A failure after which the backend wants to be asked again."""

    retry_after: float | None = 0.0


class LimitedError(BackendFailure):
    """The same, as it is raised."""

    retry_after = 0.01


def picture(params: GenerationParams) -> np.ndarray:
    """A picture that tells the runs apart."""
    return np.full((4, 4, 3), 1 + params.seed % 250, np.uint8)


def whole_run(
    params: GenerationParams, stop: threading.Event | None, **provenance: Any
) -> Generator[Event, None, None]:
    """A run of `TOTAL` steps that can be stopped."""
    state = np.full((1, 1, 2, 2), float(params.seed), np.float32)
    yield Started(new_run_id(), params, state, 1.0, TOTAL, provenance, {"latents": True})
    for index in range(TOTAL):
        if stop is not None and stop.is_set():
            yield Finished("stopped", 0.1)
            return
        yield Step(index, 10.0 - index, 0.5, state, preview=picture(params)[None])
    yield Image(0, picture(params))
    yield Finished("complete", 0.5)


class FakeBackend:
    """``plan(params, attempt)`` says how a run goes: None for a whole one, a `Failed` or an exception for its end."""

    capabilities = Capabilities(trace=True, cancel=True)

    def __init__(
        self,
        plan: Callable[[GenerationParams, int], Any] = lambda params, attempt: None,
        name: str = "fake",
        pause: float = 0.0,
        begins: Callable[[GenerationParams], bool] = lambda params: True,
    ) -> None:
        self.name = name
        self.asked: list[GenerationParams] = []
        self.most_at_once = 0
        self._plan = plan
        self._pause = pause
        self._begins = begins
        self._now = 0
        self._lock = threading.Lock()

    def trace(
        self, params: GenerationParams, capture: Any = None, stop: Any = None
    ) -> Generator[Event, None, None]:
        with self._counted(params):
            yield from self._one(params, stop)

    def _one(self, params: GenerationParams, stop: Any, **provenance: Any) -> Generator[Event, None, None]:
        with self._lock:
            self.asked.append(params)
            attempt = self.asked.count(params)
        end = self._plan(params, attempt)
        time.sleep(self._pause)
        run = whole_run(params, stop, **provenance)
        if end is None:
            yield from run
            return
        if self._begins(params):
            yield next(run)
            yield next(run)
        if isinstance(end, Exception):
            raise end
        yield end

    def _counted(self, params: GenerationParams) -> Any:
        backend = self

        class Counted:
            def __enter__(self) -> None:
                with backend._lock:
                    backend._now += 1
                    backend.most_at_once = max(backend.most_at_once, backend._now)

            def __exit__(self, *error: Any) -> None:
                with backend._lock:
                    backend._now -= 1

        return Counted()


class ImageBackend(FakeBackend):
    """A hosted service: a picture and no steps."""

    capabilities = Capabilities()

    def _one(self, params: GenerationParams, stop: Any, **provenance: Any) -> Generator[Event, None, None]:
        for event in super()._one(params, stop, **provenance):
            if not isinstance(event, (Started, Step)):
                yield event


class BatchingBackend(FakeBackend):
    """Takes several cells at once; more than ``fits`` are too many for its memory."""

    capabilities = Capabilities(trace=True, cancel=True)

    def __init__(self, *args: Any, fits: int = 100, **options: Any) -> None:
        super().__init__(*args, **options)
        self.batches: list[int] = []
        self._fits = fits

    def trace_batch(
        self, cells: Sequence[GenerationParams], capture: Any = None, stop: Any = None
    ) -> Generator[tuple[int, Event], None, None]:
        self.batches.append(len(cells))
        runs = [
            self._one(params, stop, batch={"size": len(cells), "index": i}) for i, params in enumerate(cells)
        ]
        for index, run in enumerate(runs):
            yield index, next(run)
        if len(cells) > self._fits:
            for index in range(len(cells)):
                yield index, Failed("out_of_memory", "The device ran out of memory.")
            return
        for index, run in enumerate(runs):
            for event in run:
                yield index, event
