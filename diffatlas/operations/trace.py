"""Trace: one run, step by step."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from functools import lru_cache
from typing import TYPE_CHECKING

from diffatlas.backends import open_backend
from diffatlas.backends.base import BatchBackend
from diffatlas.backends.batching import check_cells
from diffatlas.capture.spec import Capture
from diffatlas.errors import CapabilityError
from diffatlas.events import Event, Failed, Started
from diffatlas.operations import cache
from diffatlas.operations.recording import Recording
from diffatlas.params import GenerationParams
from diffatlas.run import Run, collect

if TYPE_CHECKING:
    from diffatlas.backends.base import Backend
    from diffatlas.library import Library


_chosen: Backend | None = None
_making = threading.Lock()


def use_as_local(backend: Backend | None) -> None:
    """Let `shared_local_backend` return this one, which runs the models of this machine in a way of its own.

    None: the usual one.
    """
    global _chosen
    _chosen = backend


def shared_local_backend() -> Backend:
    """Return the process's local backend, so that a model stays resident from call to call."""
    if _chosen is not None:
        return _chosen
    # `lru_cache` alone makes one for each of several threads that ask first at the same time.
    with _making:
        return _usual_backend()


@lru_cache(maxsize=1)
def _usual_backend() -> Backend:
    return open_backend("local")


def stream(
    params: GenerationParams,
    capture: Capture | None = None,
    backend: Backend | None = None,
    library: Library | None = None,
    stop: threading.Event | None = None,
    reuse: bool = True,
    kind: str = "trace",
) -> Generator[Event, None, None]:
    """Yield the events of one run, recording them into ``library`` as they arrive where one is given.

    A complete run of the same request in ``library`` (`diffatlas.operations.cache`) is served instead of
    running it again: no model is loaded, nothing is recorded, and `Started.cached_from` names that run.
    ``reuse=False`` runs in any case. ``kind`` is the operation that the run is recorded as part of.

    Errors arrive as `Failed` events; see `diffatlas.backends.base.Backend.trace` for how to end a run early.
    """
    return _stream(
        params, capture or Capture(), backend or shared_local_backend(), library, stop, reuse, kind
    )


def stream_batch(
    cells: Sequence[GenerationParams],
    capture: Capture | None = None,
    backend: Backend | None = None,
    library: Library | None = None,
    stop: threading.Event | None = None,
    reuse: bool = True,
    kind: str = "trace",
) -> Generator[tuple[int, Event], None, None]:
    """Yield (position in ``cells``, event) of several runs that share one pipeline call.

    Cells that ``library`` holds are served from it first, one after another: exact runs, or such as came out of a
    batch too (their `Started.provenance` has "batch"). The rest runs together (`BatchBackend.trace_batch`), each
    recorded into ``library`` as a run of its own, every event after it is on disk. A rest of one cell runs by itself,
    and so do, one after another, the cells of a pipeline that cannot take several.

    Closing this generator marks the runs in progress as stopped.

    Raises, at the call, `InvalidParams` for cells that cannot share a batch, and `CapabilityError` for a backend that
    runs none.
    """
    backend = backend or shared_local_backend()
    cells = tuple(cells)
    check_cells(cells)
    if not isinstance(backend, BatchBackend):
        raise CapabilityError(f"The backend {backend.name!r} runs no batches: run the cells one by one.")
    return _stream_batch(cells, capture or Capture(), backend, library, stop, reuse, kind)


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
    kind: str,
) -> Generator[Event, None, None]:
    if library is not None and reuse and not (stop is not None and stop.is_set()):
        stored = cache.lookup(library, backend, params, capture)
        if stored is not None:
            library.served += 1
            yield from cache.replayed(stored, capture)
            return
    taken = cache.taken(library, backend, params) if library is not None and reuse else ""
    running = backend.trace(params, capture, stop, **({"taken": taken} if taken else {}))
    events = cache.keyed(_placed(running, backend.name))
    yield from library.record(events, kind) if library is not None else events


def _stream_batch(
    cells: Sequence[GenerationParams],
    capture: Capture,
    backend: BatchBackend,
    library: Library | None,
    stop: threading.Event | None,
    reuse: bool,
    kind: str,
) -> Generator[tuple[int, Event], None, None]:
    stored = {}
    if library is not None and reuse and not (stop is not None and stop.is_set()):
        for i, params in enumerate(cells):
            if (found := cache.lookup(library, backend, params, capture, batched=True)) is not None:
                stored[i] = found
                library.served += 1
    for i, run in stored.items():
        for event in cache.replayed(run, capture):
            yield i, event
    rest = [i for i in range(len(cells)) if i not in stored]
    alone = rest if len(rest) == 1 else []
    if len(rest) > 1:
        batch = backend.trace_batch([cells[i] for i in rest], capture, stop)
        with closing(_recorded(batch, backend.name, library, kind)) as run:
            for position, event in run:
                if isinstance(event, Failed) and event.field == "batch":
                    # Before its start: nothing of it has been seen.
                    alone.append(rest[position])
                else:
                    yield rest[position], event
    for i in alone:
        with closing(_stream(cells[i], capture, backend, library, stop, False, kind)) as events:
            for event in events:
                yield i, event


def _placed(events: Generator[Event, None, None], backend: str) -> Generator[Event, None, None]:
    """Yield ``events``; `Started` says which backend made the run, where that runs elsewhere."""
    with closing(events):
        for event in events:
            yield cache.placed(event, backend) if isinstance(event, Started) else event


def _recorded(
    events: Generator[tuple[int, Event], None, None], backend: str, library: Library | None, kind: str
) -> Generator[tuple[int, Event], None, None]:
    """Yield the events of several runs, each after it is on disk as part of its own run."""
    with ExitStack() as stack:
        stack.enter_context(closing(events))
        recorders: dict[int, Recording] = {}
        for position, event in events:
            if position not in recorders:
                recorders[position] = stack.enter_context(Recording(library, kind))
            placed = cache.placed(event, backend) if isinstance(event, Started) else event
            yield position, recorders[position].take(placed)
