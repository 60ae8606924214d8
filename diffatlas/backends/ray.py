"""The backend "ray": as many workers as a Ray cluster has GPUs, or as a machine has cores for."""

from __future__ import annotations

import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import Any

from diffatlas.backends import ray_cluster, wire
from diffatlas.backends.batching import check_cells
from diffatlas.backends.local import LocalBackend
from diffatlas.backends.model_info import ModelInfo
from diffatlas.backends.over_workers import WorkerEnded, over_workers
from diffatlas.backends.ray_pool import Pool
from diffatlas.capture.spec import Capture
from diffatlas.errors import InvalidParams
from diffatlas.events import Event
from diffatlas.params import GenerationParams
from diffatlas.registry import ModelEntry
from diffatlas.settings import settings

#: Workers on cores where nobody says how many: each holds a model of its own in memory.
MOST_ON_CORES = 8
#: Seconds that an answer of a worker is kept: the cells of a study ask the same again and again.
KEPT_SECONDS = 10.0


class RayBackend:
    """Runs diffusers pipelines on the workers of a Ray cluster, one request at a time on each.

    A worker is a process with a `LocalBackend` of its own, whose model stays loaded. One that ends, because it was
    killed, its memory ran out or its machine is gone, is replaced, and what it was making is made on another one and
    goes on where it broke off.

    Args:
        address: of a cluster that is there, "auto" for the one that this machine is part of; None starts one on this
            machine alone. From ``DIFFATLAS_RAY`` where neither it nor ``workers`` is given.
        workers: how many; None for one a GPU, or as many as there are cores, at most 8, where there is no GPU.
        gpus_per_worker: a part of a GPU puts several workers on one, 0 puts them on the CPU. None for 1 where the
            cluster has GPUs.
        threads: that a worker on the CPU computes with, which decides the last bits of its numbers; None for its share
            of the cores.
        device, dtype, ignore_memory: of `LocalBackend`, on the workers.

    Raises `InvalidParams` for numbers that cannot be, and as `diffatlas.backends.ray_cluster.join`.
    """

    name = "ray"

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        gpus_per_worker: float | None = None,
        threads: int | None = None,
        device: str | None = None,
        dtype: str | None = None,
        ignore_memory: bool | None = None,
    ) -> None:
        if address is None and workers is None:
            address, workers = _from_setting(settings().ray)
        _check(address, workers, gpus_per_worker, threads)
        ray_cluster.join(address, workers or os.cpu_count() or 1)
        leave = weakref.finalize(self, ray_cluster.leave)
        try:
            plan = _plan(address, workers, gpus_per_worker, threads)
            options = {"device": device, "dtype": dtype, "ignore_memory": ignore_memory}
            given = {name: value for name, value in options.items() if value is not None}
            self._pool = Pool(plan.workers, plan.actor, (plan.threads, given))
        except BaseException:
            leave()
            raise
        self._leave = leave
        self.capabilities = replace(LocalBackend.capabilities, concurrent=plan.workers)
        self._gpus = float(plan.actor["num_gpus"])
        self._kept = _Kept()

    def trace(
        self, params: GenerationParams, capture: Capture | None = None, stop: threading.Event | None = None
    ) -> Generator[Event, None, None]:
        """Run ``params`` on a worker; see `diffatlas.backends.base.Backend.trace`."""
        with closing(over_workers(self._pool, wire.asked_of(params, capture), stop)) as found:
            for _, event in found:
                yield event

    def trace_batch(
        self,
        cells: Sequence[GenerationParams],
        capture: Capture | None = None,
        stop: threading.Event | None = None,
    ) -> Generator[tuple[int, Event], None, None]:
        """Run several cells in one call on one worker; see `diffatlas.backends.base.BatchBackend.trace_batch`."""
        cells = tuple(cells)
        check_cells(cells)
        if len(cells) > wire.MOST_CELLS:
            return wire.cannot_share(cells)
        return over_workers(self._pool, wire.asked_of(cells, capture), stop)

    def resolve(self, params: GenerationParams) -> GenerationParams:
        """Return ``params`` as a worker resolves them; see `LocalBackend.resolve`."""
        params.validate()
        asked = _like_others(params)
        resolved = self._kept.get(("resolve", asked.key()), lambda: self._resolve(asked))
        return resolved.replace(prompt=params.prompt, seed=params.seed)

    def identity(self, params: GenerationParams, batched: bool = False) -> dict[str, Any] | None:
        """Return what decides the result of ``params`` (resolved) on a worker; see `LocalBackend.identity`."""
        asked = _like_others(params)
        blob = wire.asked_to_bytes(wire.Asked((asked,), Capture(), batched))
        return self._kept.get(
            ("identity", asked.key(), batched), lambda: json.loads(self._pool.ask("identity", blob))
        )

    def info(self, model: str) -> ModelInfo | None:
        """Return what the workers know of a model without loading it; None for one that is not fetched there."""
        told = self._kept.get(("info", model), lambda: json.loads(self._pool.ask("info", model.encode())))
        return None if told is None else ModelInfo(**{**told, "schedulers": tuple(told["schedulers"])})

    def models(self) -> list[ModelEntry]:
        """Return the models of the workers' registry, its first one first."""
        told = self._kept.get(("models",), lambda: json.loads(self._pool.ask("models")))
        return [ModelEntry(**one) for one in told]

    def runs_on(self) -> str:
        """Return what runs run on, in a few words: "2 workers on CPU", "4 workers with 0.5 GPU"."""
        count = self.capabilities.concurrent
        each = f"with {self._gpus:g} GPU{'s' if self._gpus > 1 else ''}" if self._gpus else "on CPU"
        return f"{count} worker{'' if count == 1 else 's'} {each}"

    def is_loaded(self, model: str) -> bool:
        """Return whether a worker has made runs of a model last, and so holds it, without asking."""
        return self._pool.has(model)

    def counts(self) -> list[dict[str, int]]:
        """Return of each worker that is up how many cells it has begun, and how many it has made whole."""
        found = []
        for worker in self._pool.workers:
            with suppress(WorkerEnded):
                found += [worker.counts() | {"pid": worker.told["pid"]}] if worker.up else []
        return found

    def close(self) -> None:
        """End the workers, and the cluster where it was started here; runs that are under way fail."""
        self._pool.close()
        self._leave()

    def _resolve(self, params: GenerationParams) -> GenerationParams:
        blob = self._pool.ask("resolve", wire.asked_to_bytes(wire.asked_of(params, None)))
        return wire.asked_from_bytes(blob).cells[0]


@dataclass(frozen=True)
class _Plan:
    """How many workers there are to be, what Ray is to keep for each, and its threads."""

    workers: int
    actor: dict[str, Any]
    threads: int | None


def _plan(
    address: str | None, workers: int | None, gpus_per_worker: float | None, threads: int | None
) -> _Plan:
    gpus, cores = ray_cluster.has("GPU"), max(1, int(ray_cluster.has("CPU")))
    if address is None:
        cores = os.cpu_count() or 1
    each = gpus_per_worker if gpus_per_worker is not None else float(gpus > 0)
    if each > 0:
        fit = int(gpus / each)
        if workers is None and not fit:
            raise InvalidParams(
                f"The cluster has {gpus:g} GPUs, and a worker is to have {each:g}: give a smaller part, or 0 for "
                "workers on the CPU.",
                field="gpus_per_worker",
            )
        if address is None and workers is not None and workers > fit:
            raise InvalidParams(
                f"This machine has {gpus:g} GPUs, enough for {fit} workers of {each:g} each and not for {workers}: ask "
                "for fewer, or give a smaller gpus_per_worker, or 0 for workers on the CPU.",
                field="workers",
            )
        return _Plan(workers or fit, {"num_gpus": each, "num_cpus": 0 if address is None else 1}, threads)
    number = workers or min(MOST_ON_CORES, max(1, cores // (threads or 1)))
    own = threads or max(1, cores // number)
    return _Plan(number, {"num_gpus": 0, "num_cpus": 0 if address is None else own}, own)


def _from_setting(text: str | None) -> tuple[str | None, int | None]:
    """Read ``DIFFATLAS_RAY``: an address, or a number of workers."""
    text = (text or "").strip()
    if text.isdecimal():
        return None, int(text)
    return text or None, None


def _check(
    address: str | None, workers: int | None, gpus_per_worker: float | None, threads: int | None
) -> None:
    if workers is not None and workers < 1:
        raise InvalidParams(f"{workers} workers are too few: give one or more.", field="workers")
    if threads is not None and threads < 1:
        raise InvalidParams(f"{threads} threads are too few: give one or more.", field="threads")
    if gpus_per_worker is not None and not (
        0 <= gpus_per_worker < 1 or gpus_per_worker == int(gpus_per_worker)
    ):
        raise InvalidParams(
            f"{gpus_per_worker:g} GPUs for a worker cannot be: give a part below 1, or a whole number.",
            field="gpus_per_worker",
        )
    if address is not None and ("/" in address or not (address == "auto" or ":" in address)):
        raise InvalidParams(
            f"{address!r:.80} is no address that is taken: run Diffusion Atlas on a machine of the cluster, and give "
            "'auto' or host:port.",
            field="address",
        )


def _like_others(params: GenerationParams) -> GenerationParams:
    """Return a request without what neither decides what is left open nor the identity: prompt and seed."""
    return params.replace(seed=0, prompt="a" if params.prompt.strip() else params.prompt)


class _Kept:
    """Answers that are kept for a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[Any, tuple[float, Any]] = {}

    def get(self, key: Any, ask: Callable[[], Any]) -> Any:
        """Return the answer that is kept, or ``ask`` for it."""
        now = time.monotonic()
        with self._lock:
            self._found = {k: v for k, v in self._found.items() if now - v[0] < KEPT_SECONDS}
            if key in self._found:
                return self._found[key][1]
        answer = ask()
        with self._lock:
            self._found[key] = (time.monotonic(), answer)
        return answer
