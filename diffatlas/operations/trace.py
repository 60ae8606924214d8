"""Trace: one run, step by step."""

from __future__ import annotations

import threading
from collections.abc import Generator
from functools import lru_cache
from typing import TYPE_CHECKING

from diffatlas.backends import open_backend
from diffatlas.capture.spec import Capture
from diffatlas.events import Event
from diffatlas.params import GenerationParams
from diffatlas.run import Run, collect

if TYPE_CHECKING:
    from diffatlas.backends.base import Backend
    from diffatlas.library import Library


@lru_cache(maxsize=1)
def shared_local_backend() -> Backend:
    """Return the process's local backend, so that a model stays resident from call to call."""
    return open_backend("local")


def stream(
    params: GenerationParams,
    capture: Capture | None = None,
    backend: Backend | None = None,
    library: Library | None = None,
    stop: threading.Event | None = None,
) -> Generator[Event, None, None]:
    """Yield the events of one run, recording them into ``library`` as they arrive where one is given.

    Errors arrive as `Failed` events; see `diffatlas.backends.base.Backend.trace` for how to end a run early.
    """
    backend = backend or shared_local_backend()
    events = backend.trace(params, capture or Capture(), stop)
    return library.record(events) if library is not None else events


def trace(params: GenerationParams, capture: Capture | None = None, backend: str | Backend = "local") -> Run:
    """Run ``params`` and return the whole `Run`.

    Raises:
        DiffAtlasError: the run failed before it began (its class says why). A run that failed later is
            returned with status "failed"; `Run.raise_for_error` raises its error.
    """
    if isinstance(backend, str):
        backend = shared_local_backend() if backend == "local" else open_backend(backend)
    return collect(stream(params, capture, backend))
