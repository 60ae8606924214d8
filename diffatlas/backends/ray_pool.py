"""The workers of a Ray cluster: one run each at a time, and another in the place of one that ends."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from diffatlas.backends import wire
from diffatlas.backends.over_workers import LOOK, WorkerEnded
from diffatlas.backends.ray_actor import END, RayActor, read_answer
from diffatlas.errors import BackendFailure, CapabilityError, DiffAtlasError, ProviderTimeout
from diffatlas.events import Event

log = logging.getLogger("diffatlas")

#: Times that a worker may end before it is up, one after another, before its place is given up.
STARTS = 3
#: Seconds for which nobody waits any longer for the first worker to be up, such as on a cluster that is full.
LONGEST_START = 600.0
#: Seconds after which a worker that does not answer a question counts as ended.
LONGEST_ANSWER = 300.0
#: Methods of a worker that may run at a time: a run is begun, fetched and stopped while others ask questions.
AT_ONCE = 8


@dataclass(eq=False)
class Worker:
    """A place for a worker, and the actor that holds it now."""

    actor: Any
    #: The answer to its first question, as long as it has not come.
    hello: Any
    told: dict[str, Any] = field(default_factory=dict)
    busy: bool = False
    #: The model of its last run that began.
    model: str | None = None
    used: float = 0.0
    #: Times that it ended before it was up, and why nothing more is tried.
    starts: int = 0
    broken: DiffAtlasError | None = None

    @property
    def up(self) -> bool:
        """Whether it can be asked."""
        return self.hello is None and self.broken is None

    def run(self, blob: bytes, stop: threading.Event | None) -> Generator[tuple[int, Event], None, None]:
        """Run a request and yield (position, event); closing this generator ends the run within a step.

        Raises `WorkerEnded` where the worker is gone, and the typed error of a request that it does not take.
        """
        import ray

        run, actor, told = uuid.uuid4().hex, self.actor, False

        def tell_stop() -> None:
            nonlocal told
            if not told and stop is not None and stop.is_set():
                told = True
                actor.stop.remote(run)

        with _gone_is_ended():
            read_answer(ray.get(actor.begin.remote(run, blob), timeout=LONGEST_ANSWER))
        with _gone_is_ended(begun=True):
            try:
                coming = actor.fetch.remote(run)
                while True:
                    while not ray.wait([coming], timeout=LOOK)[0]:
                        tell_stop()
                    found = ray.get(coming)
                    if found[-1] != END:
                        # The next ones are under way while these are consumed.
                        coming = actor.fetch.remote(run)
                    for answer in found:
                        if answer == END:
                            return
                        tell_stop()
                        yield wire.answer_from_bytes(answer)
            finally:
                ray.get(actor.end.remote(run))

    def ask(self, question: str, blob: bytes = b"") -> bytes:
        """Return the answer to one of `diffatlas.backends.ray_actor.QUESTIONS`.

        Raises `WorkerEnded`, or the typed error that is the answer.
        """
        import ray

        with _gone_is_ended():
            return read_answer(ray.get(self.actor.ask.remote(question, blob), timeout=LONGEST_ANSWER))

    def counts(self) -> dict[str, int]:
        """Return how many cells it has begun, and made whole. Raises `WorkerEnded`."""
        import ray

        with _gone_is_ended():
            return json.loads(ray.get(self.actor.counts.remote(), timeout=LONGEST_ANSWER))


class Pool:
    """So many workers, each made by ``actor_options`` of Ray, with ``arguments`` of `RayActor`.

    Several threads may use it at a time.
    """

    def __init__(self, number: int, actor_options: dict[str, Any], arguments: tuple[Any, ...]) -> None:
        import ray

        self._made = ray.remote(RayActor).options(max_concurrency=AT_ONCE, **actor_options)
        self._arguments = arguments
        self._lock = threading.Lock()
        self._closed = False
        self._versions: dict[str, str] | None = None
        self._workers = [Worker(*self._start()) for _ in range(number)]
        #: When a worker was up last.
        self._seen_up = time.monotonic()

    def take(self, model: str) -> Worker | None:
        """Return a worker that is up and free, and keep it busy; None where there is none now.

        One that has the model loaded comes first, then the one that has been idle longest. Raises the typed error that
        keeps all of them from starting, and `ProviderTimeout` where none has been up for long.
        """
        with self._lock:
            self._look()
            free = [worker for worker in self._workers if worker.up and not worker.busy]
            if not free:
                return None
            worker = min(free, key=lambda one: (one.model != model, one.used))
            worker.busy = True
            return worker

    def give_back(self, worker: Worker) -> None:
        """Say that a worker is free again."""
        with self._lock:
            worker.busy = False
            worker.used = time.monotonic()

    def replace(self, worker: Worker, actor: Any) -> None:
        """Start another one in the place of ``actor``, which is gone; not where somebody has done so already."""
        with self._lock:
            if worker.actor is not actor or self._closed:
                return
            # It may be there still, and only out of reach.
            self._end(worker)
            worker.model = None
            worker.actor, worker.hello = self._start()

    def waits_for(self) -> str:
        """Return what somebody waits for who finds no free worker, as a sentence."""
        with self._lock:
            up = sum(worker.up for worker in self._workers)
            if up:
                return f"Waits for its turn: {'the worker is' if up == 1 else f'all {up} workers are'} busy."
            return "Waits until a worker of the Ray cluster is up."

    def ask(self, question: str, blob: bytes = b"") -> bytes:
        """Return what a worker answers, one that is free where there is one; waits until one is up.

        Raises the typed error that is the answer, or `ProviderTimeout` where none is up in time.
        """
        while True:
            with self._lock:
                self._look()
                up = sorted((worker for worker in self._workers if worker.up), key=lambda one: one.busy)
            for worker in up:
                actor = worker.actor
                try:
                    return worker.ask(question, blob)
                except WorkerEnded:
                    self.replace(worker, actor)
            time.sleep(LOOK)

    def has(self, model: str) -> bool:
        """Whether a worker has made runs of a model last."""
        return any(worker.model == model for worker in self._workers)

    @property
    def workers(self) -> list[Worker]:
        """All of them, those too that are not up."""
        with self._lock:
            self._look()
            return list(self._workers)

    def close(self) -> None:
        """End all workers; runs that are under way break off."""
        with self._lock:
            self._closed = True
            for worker in self._workers:
                self._end(worker)

    def _start(self) -> tuple[Any, Any]:
        actor = self._made.remote(*self._arguments)
        return actor, actor.hello.remote()

    def _end(self, worker: Worker) -> None:
        import ray

        with contextlib.suppress(Exception):
            ray.kill(worker.actor)

    def _look(self) -> None:
        """See which workers are up by now; whoever calls holds the lock."""
        import ray

        if self._closed:
            raise BackendFailure("The backend was closed.")
        for worker in self._workers:
            if worker.hello is None or not ray.wait([worker.hello], timeout=0)[0]:
                continue
            try:
                self._greet(worker, json.loads(ray.get(worker.hello)))
            except ray.exceptions.RayError as error:
                self._did_not_start(worker, error)
        broken = [worker.broken for worker in self._workers if worker.broken is not None]
        if len(broken) == len(self._workers):
            raise broken[0]
        now = time.monotonic()
        if any(worker.up for worker in self._workers):
            self._seen_up = now
        elif now - self._seen_up > LONGEST_START:
            raise ProviderTimeout(
                f"No worker of the Ray cluster has been up for {LONGEST_START / 60:.0f} minutes: `ray status` says "
                "what the cluster has, and what is taken.",
                field="backend",
            )

    def _greet(self, worker: Worker, told: dict[str, Any]) -> None:
        worker.hello, worker.told, worker.starts = None, told, 0
        self._versions = self._versions or told["versions"]
        worker.broken = misfit(told, self._versions)
        if worker.broken is not None:
            log.warning("A worker is not used: %s", worker.broken)
            self._end(worker)

    def _did_not_start(self, worker: Worker, error: Exception) -> None:
        worker.starts += 1
        log.debug("A worker did not start.", exc_info=error)
        words = str(error)
        if "No module named 'diffatlas'" in words:
            worker.broken = CapabilityError(
                "The machines of the Ray cluster have no diffatlas: install it there, in the same version as here.",
                field="backend",
            )
        elif worker.starts >= STARTS:
            last = next((line for line in reversed(words.splitlines()) if line.strip()), "no reason given")
            worker.broken = BackendFailure(
                f"A worker of the Ray cluster does not start, after {STARTS} attempts ({last.strip():.200})."
            )
        else:
            worker.actor, worker.hello = self._start()


def misfit(told: dict[str, Any], versions: dict[str, str]) -> CapabilityError | None:
    """Return why a worker cannot be used, by what it says of itself; None where it can.

    told: what `RayActor.hello` returns. versions: what computes on the other workers.
    """
    if told["wire"] != wire.VERSION:
        return CapabilityError(
            f"The workers of the cluster speak version {told['wire']!r:.20} of the requests, and version "
            f"{wire.VERSION} is spoken here: install the same version of diffatlas at both ends.",
            field="backend",
        )
    theirs = told["versions"]
    differs = [
        f"{name} {theirs.get(name)} and {own}" for name, own in versions.items() if theirs.get(name) != own
    ]
    if not differs:
        return None
    return CapabilityError(
        f"The machines of the cluster have different versions ({', '.join(differs)}), so that their images would "
        "differ: install the same ones on all of them.",
        field="backend",
    )


@contextlib.contextmanager
def _gone_is_ended(begun: bool = False) -> Generator[None, None, None]:
    """Raise `WorkerEnded` for what Ray raises where an actor is gone, cannot be reached or does not answer."""
    import ray

    try:
        yield
    except (
        ray.exceptions.RayActorError,
        ray.exceptions.ObjectLostError,
        ray.exceptions.GetTimeoutError,
    ) as error:
        raise WorkerEnded(str(error), begun) from error
