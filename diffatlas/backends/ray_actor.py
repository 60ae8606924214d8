"""What runs on each worker of a Ray cluster: a local backend that stays loaded, which is asked and answers in bytes.

It is an ordinary class that Ray makes an actor of, and imports nothing of Ray. Several of its methods run at a time,
each on a thread of its own. Nothing that is raised goes through Ray: errors are answers.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import threading
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from diffatlas.backends import wire
from diffatlas.errors import BackendFailure, DiffAtlasError, error_for
from diffatlas.events import Failed, Finished
from diffatlas.params import GenerationParams

log = logging.getLogger("diffatlas")

#: Answers of a run that wait to be fetched, and bytes that are fetched at a time, about.
MOST_WAITING = 16
MOST_FETCHED = 16_000_000
#: What ends the answers of a run.
END = b""
#: Packages whose versions decide the numbers of a run.
PACKAGES = ("torch", "diffusers", "transformers")


class RayActor:
    """One worker.

    Args:
        threads: how many threads torch computes with; None leaves it as it is there.
        options: those of `diffatlas.backends.local.LocalBackend`.
    """

    def __init__(self, threads: int | None, options: dict[str, Any]) -> None:
        # Before torch is imported, which reads them once, for all threads to come.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        if threads is not None:
            os.environ["OMP_NUM_THREADS"] = str(threads)
        import torch

        from diffatlas.backends.local import LocalBackend
        from diffatlas.registry import list_models

        if threads is not None:
            torch.set_num_threads(threads)
        self._threads = threads
        self._backend = LocalBackend(**options)
        with contextlib.suppress(DiffAtlasError):
            # Imports here, on one thread, what a run and a question would import at the same time.
            self._backend.identity(
                self._backend.resolve(GenerationParams(model=list_models()[0].id, prompt="a"))
            )
        self._runs: dict[str, _Run] = {}
        self._begun = self._whole = 0
        self._lock = threading.Lock()

    def hello(self) -> bytes:
        """Return who this is, as JSON: process id, version of what is spoken, and of what computes."""
        told = {
            "pid": os.getpid(),
            "wire": wire.VERSION,
            "versions": {name: version(name) for name in PACKAGES} | {"Python": platform.python_version()},
        }
        return json.dumps(told).encode()

    def counts(self) -> bytes:
        """Return how many cells this worker has begun, and made whole, as JSON."""
        with self._lock:
            return json.dumps({"begun": self._begun, "whole": self._whole}).encode()

    def ask(self, question: str, blob: bytes) -> bytes:
        """Return the answer to one of `QUESTIONS`; ``blob`` is what it is about. `read_answer` reads it."""
        return _answer(lambda: QUESTIONS[question](self._backend, blob))

    def begin(self, run: str, blob: bytes) -> bytes:
        """Begin a request, which is called ``run`` from then on. `read_answer` says whether it was taken."""

        def begin() -> bytes:
            asked = wire.asked_from_bytes(blob)
            with self._lock:
                self._begun += len(asked.cells)
                self._runs[run] = _Run(self._backend, asked, self._threads, self._count)
            return b""

        return _answer(begin)

    def fetch(self, run: str) -> list[bytes]:
        """Return the answers of a run that are there, in order; waits for one. The last of all is `END`."""
        with self._lock:
            found = self._runs.get(run)
        return [END] if found is None else found.fetch()

    def stop(self, run: str) -> None:
        """Stop a run within a step; its answers end as those of a run that was stopped."""
        with self._lock:
            found = self._runs.get(run)
        if found is not None:
            found.stop.set()

    def end(self, run: str) -> None:
        """End a run, if need be within a step, and forget it."""
        with self._lock:
            found = self._runs.pop(run, None)
        if found is not None:
            found.close()

    def _count(self) -> None:
        with self._lock:
            self._whole += 1


class _Run:
    """A request that is under way on a thread of its own, and its answers that wait to be fetched."""

    def __init__(
        self, backend: Any, asked: wire.Asked, threads: int | None, count: Callable[[], None]
    ) -> None:
        self.stop = threading.Event()
        self._ready: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(
            target=self._work, args=(backend, asked, threads, count), name="diffatlas-ray", daemon=True
        )
        self._thread.start()

    def _work(self, backend: Any, asked: wire.Asked, threads: int | None, count: Callable[[], None]) -> None:
        from diffatlas.backends.failures import as_event, as_typed
        from diffatlas.backends.threads import computing_with

        try:
            with computing_with(threads), closing(wire.answers(backend, asked, self.stop)) as found:
                for position, event in found:
                    if isinstance(event, Finished) and event.status == "complete":
                        count()
                    if not self._put(wire.answer_to_bytes(position, event)):
                        return
        except Exception as error:
            failed: Failed = as_event(as_typed(error, asked.cells[0]))
            for position in range(len(asked.cells)):
                self._put(wire.answer_to_bytes(position, failed))
        finally:
            self._put(END)

    def _put(self, answer: bytes) -> bool:
        """Add an answer when there is room; return False where nobody wants it any more."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._ready) < MOST_WAITING or self._closed)
            self._ready.append(answer)
            self._changed.notify_all()
            return not self._closed

    def fetch(self) -> list[bytes]:
        """Return what is ready, at least one."""
        found: list[bytes] = []
        size = 0
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._closed)
            while self._ready and size < MOST_FETCHED:
                found.append(self._ready.popleft())
                size += len(found[-1])
            self._changed.notify_all()
        return found or [END]

    def close(self) -> None:
        """End the request within a step, and wait for that."""
        self.stop.set()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()


def _resolve(backend: Any, blob: bytes) -> bytes:
    resolved = backend.resolve(wire.asked_from_bytes(blob).cells[0])
    return wire.asked_to_bytes(wire.asked_of(resolved, None))


def _identity(backend: Any, blob: bytes) -> bytes:
    asked = wire.asked_from_bytes(blob)
    return json.dumps(backend.identity(asked.cells[0], batched=asked.batch)).encode()


def _info(backend: Any, blob: bytes) -> bytes:
    found = backend.info(blob.decode())
    return json.dumps(None if found is None else asdict(found)).encode()


def _models(backend: Any, blob: bytes) -> bytes:
    from diffatlas.registry import list_models

    return json.dumps([asdict(entry) for entry in list_models()]).encode()


#: What a worker can be asked besides running something. A model is asked about by its id, a run by its request.
QUESTIONS: dict[str, Callable[[Any, bytes], bytes]] = {
    "resolve": _resolve,
    "identity": _identity,
    "info": _info,
    "models": _models,
}


def _answer(work: Callable[[], bytes]) -> bytes:
    """Return a plus and what ``work`` returns, or a minus and what it raises."""
    try:
        return b"+" + work()
    except DiffAtlasError as error:
        told = error
    except Exception as error:
        log.exception("A worker could not answer.")
        told = BackendFailure(
            f"A worker failed with {type(error).__name__}: the log of the cluster says more."
        )
    return b"-" + json.dumps([told.code, told.message, told.field]).encode()


def read_answer(blob: bytes) -> bytes:
    """Return what a worker answered. Raises the typed error where that is its answer."""
    if blob[:1] == b"+":
        return blob[1:]
    code, message, field = json.loads(blob[1:])
    error = error_for(code, message)
    error.field = field
    raise error
