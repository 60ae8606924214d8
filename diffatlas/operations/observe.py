"""`observe` for a notebook: a pipeline's calls become runs, and are recorded as they happen where that is asked for."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from diffatlas.capture import observer
from diffatlas.capture.spec import Capture
from diffatlas.capture.trace import Trace
from diffatlas.errors import InvalidParams
from diffatlas.events import Event, Failed, Finished, Started, Step
from diffatlas.library import Library
from diffatlas.operations.recording import Recording

log = logging.getLogger("diffatlas")


@contextmanager
def observe(
    pipe: Any,
    capture: Capture | None = None,
    *,
    record: bool | str | os.PathLike[str] | Library = False,
    name: str | None = None,
    on_start: Callable[[Trace], None] | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Iterator[Trace]:
    """Record the calls of a diffusers image pipeline made inside the context; `diffatlas.capture.observer.observe`
    says how. The trace is that of the last call, and ``trace.run`` makes a run of it, which a library keeps.

    record: True to write each call into the library as it happens, step by step, as the app does; or a `Library`, or
        the folder of one. A run that is being written survives the end of its process. Where the disk refuses, a
        warning says so and the call goes on: the trace has all of it, and ``trace.missing["record"]`` says why.
    name: what the pipeline is called in its runs; its folder, its id on the Hub or its class where None.

    Raises `InvalidParams` for another ``record``, and what `diffatlas.capture.observer.observe` raises.
    """
    library = _library(record)
    with ExitStack() as stack:
        recorder = None if library is None else stack.enter_context(_Recorder(library))
        send = None if recorder is None else recorder.take
        trace = stack.enter_context(
            observer.observe(pipe, capture, on_start=on_start, on_step=on_step, on_event=send, name=name)
        )
        if recorder is not None:
            recorder.missing = trace.missing
        yield trace


def _library(record: Any) -> Library | None:
    if record is None or record is False:
        return None
    if record is True:
        return Library()
    if isinstance(record, (str, os.PathLike)):
        return Library(os.fspath(record))
    if isinstance(record, Library):
        return record
    raise InvalidParams(
        f"record is {record!r:.80}: give True, a library or the folder of one.", field="record"
    )


class _Recorder:
    """Writes one run after another into a library. What the disk refuses ends the recording, not the call."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._recording: Recording | None = None
        self.missing: dict[str, str] = {}

    def __enter__(self) -> _Recorder:
        return self

    def __exit__(self, *error: Any) -> None:
        self._close(*error)

    def take(self, event: Event) -> None:
        """Write an event."""
        if isinstance(event, Started):
            self._close(None, None, None)
            self._recording = Recording(self._library).__enter__()
        if self._recording is None:
            return
        try:
            self._recording.take(event)
        except Exception as refusal:
            self._recording = None
            self.missing["record"] = f"The run is not in the library: {refusal}"
            log.warning("Recording has ended, and the call goes on: %s", refusal)
        if isinstance(event, (Finished, Failed)):
            self._recording = None

    def _close(self, *error: Any) -> None:
        if self._recording is not None:
            self._recording.__exit__(*error)
            self._recording = None
