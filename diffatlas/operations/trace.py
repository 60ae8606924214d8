"""Trace: one run, step by step."""

from __future__ import annotations

import threading
from collections.abc import Generator
from functools import lru_cache
from typing import TYPE_CHECKING

from diffatlas.backends import open_backend
from diffatlas.capture.spec import Capture
from diffatlas.events import Event
from diffatlas.operations import cache
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
    reuse: bool = True,
) -> Generator[Event, None, None]:
    """Yield the events of one run, recording them into ``library`` as they arrive where one is given.

    A complete run of the same request in ``library`` (`diffatlas.operations.cache`) is served instead of
    running it again: no model is loaded, nothing is recorded, and `Started.cached_from` names that run.
    ``reuse=False`` runs in any case.

    Errors arrive as `Failed` events; see `diffatlas.backends.base.Backend.trace` for how to end a run early.
    """
    return _stream(params, capture or Capture(), backend or shared_local_backend(), library, stop, reuse)


def trace(
    params: GenerationParams,
    capture: Capture | None = None,
    backend: str | Backend = "local",
    library: Library | None = None,
    reuse: bool = True,
) -> Run:
    """Run ``params`` and return the whole `Run`, recorded into ``library`` or served from it (`stream`).

    Raises:
        DiffAtlasError: the run failed before it began (its class says why). A run that failed later is
            returned with status "failed"; `Run.raise_for_error` raises its error.
    """
    if isinstance(backend, str):
        backend = shared_local_backend() if backend == "local" else open_backend(backend)
    return collect(stream(params, capture, backend, library, reuse=reuse))


def _stream(
    params: GenerationParams,
    capture: Capture,
    backend: Backend,
    library: Library | None,
    stop: threading.Event | None,
    reuse: bool,
) -> Generator[Event, None, None]:
    if library is not None and reuse and not (stop is not None and stop.is_set()):
        stored = cache.lookup(library, backend, params, capture)
        if stored is not None:
            yield from cache.replayed(stored, capture)
            return
    events = cache.keyed(backend.trace(params, capture, stop))
    yield from library.record(events) if library is not None else events
