"""Projections of several stored runs into one picture: a common PCA basis, or UMAP.

Both need only the inner products of the states. Those of every pair of runs are computed once and kept, so that
showing or hiding a run costs no more than the eigenvectors of a small matrix.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffatlas.errors import BackendFailure, CapabilityError, InvalidParams
from diffatlas.geometry.broken import first_broken
from diffatlas.geometry.common_basis import CommonBasis, common_pca, distances, gram
from diffatlas.library.stored import StoredRun
from diffatlas.operations.umap_process import UmapProcess

if TYPE_CHECKING:
    from diffatlas.library import Library

#: States kept in memory, in bytes; those that do not fit are read again.
MEMORY = 256 << 20
#: Pairs of runs whose inner products are kept; each is about 20 kB.
PAIRS = 20_000
#: UMAP embeddings that are kept.
EMBEDDINGS = 64
#: Fewer states than this have no neighbourhoods to keep.
LEAST_STATES = 5
#: Seconds after which an embedding that waits and that nobody has asked for is dropped: its page is gone.
ABANDONED = 10.0
#: Those whose last embedding is remembered, for whose turn it is.
ASKERS = 1000


@dataclass
class _Waiting:
    """An embedding that is still to be computed."""

    key: tuple[str, ...]
    matrix: np.ndarray
    dimensions: int
    seen: float = 0.0


class Projections:
    """Projects the paths of stored runs (first image of each batch) of one library together.

    A path here joins the states after the steps, x_T first. Where latents were changed between two steps
    (`Step.start_latents`), its line goes from state to state all the same: what changed them lies within it.

    What is kept is told apart by the folder of each run, so libraries never share it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: OrderedDict[Path, np.ndarray] = OrderedDict()
        self._products: OrderedDict[tuple[Path, Path], np.ndarray] = OrderedDict()
        self._embeddings: OrderedDict[tuple[str, ...], Future] = OrderedDict()
        self._waiting: dict[str, _Waiting] = {}
        self._asked: OrderedDict[str, float] = OrderedDict()
        self._running: Future | None = None
        self._process = UmapProcess()
        self._prepared: Future | None = None

    def prepare(self) -> None:
        """Let UMAP be imported and compiled in the background, once; without it the first embedding waits for that."""
        with self._lock:
            if self._prepared is None:
                points = np.random.default_rng(0).normal(size=(4 * LEAST_STATES, 3))
                apart = np.linalg.norm(points[:, None] - points, axis=-1)
                self._prepared = self._process.submit(apart, 3)

    @property
    def preparing(self) -> bool:
        """Whether UMAP is being imported or compiled."""
        return self._prepared is not None and not self._prepared.done()

    def pca(self, library: Library, ids: Sequence[str], fit: str | None = None) -> CommonBasis:
        """Return the runs' states on three principal components.

        The basis is fitted on all the runs together, or on the run ``fit`` alone. Raises `CapabilityError` where
        the runs' latents differ in shape, `RunNotFound` or `DamagedRun` where one cannot be read.
        """
        if fit is not None and fit not in ids:
            raise InvalidParams("The run on which the basis is fitted is not among those shown.", field="fit")
        blocks = self._blocks(_folders(library, ids))
        return common_pca(blocks, 3, None if fit is None else list(ids).index(fit))

    def umap(self, library: Library, ids: Sequence[str], who: str = "") -> list[np.ndarray] | None:
        """Return the runs' states embedded by UMAP in three dimensions, or None while that is computed.

        who: who asks. One embedding is computed at a time; of those who wait, that of whoever was served longest ago is
        next. Each has one waiting, the last that they asked for, as long as they go on asking for it.

        The work is done in a process of its own: the first call starts it. Raises `InvalidParams` for fewer than
        `LEAST_STATES` states, and as `pca` does.
        """
        folders = _folders(library, ids)
        blocks = self._blocks(folders)
        counts = [len(block[0]) for block in blocks]
        if sum(counts) < LEAST_STATES:
            raise InvalidParams(
                f"UMAP needs at least {LEAST_STATES} states, and here are {sum(counts)}: run more steps."
            )
        key = tuple(f"{folder}:{n}" for folder, n in zip(folders, counts, strict=True))
        embedded = self._embedded(key, lambda: distances(blocks), 3, who)
        return None if embedded is None else np.split(embedded, np.cumsum(counts)[:-1])

    def map_of(self, matrix: np.ndarray, who: str = "") -> np.ndarray | None:
        """Return points (n, 2) embedded by UMAP from their distances (n, n), or None while that is computed.

        Waits and raises as `umap` does.
        """
        if len(matrix) < LEAST_STATES:
            raise InvalidParams(f"UMAP needs at least {LEAST_STATES} images, and here are {len(matrix)}.")
        key = ("map", hashlib.sha256(np.ascontiguousarray(matrix).tobytes()).hexdigest())
        return self._embedded(key, lambda: matrix, 2, who)

    def empty(self) -> None:
        """Let go of what is kept, to be read and computed again when it is asked for."""
        with self._lock:
            self._states.clear()
            self._products.clear()
            for key in [key for key, job in self._embeddings.items() if job.done()]:
                del self._embeddings[key]

    def close(self) -> None:
        """End the process that computes UMAP, where there is one."""
        with self._lock:
            process, self._process, self._prepared = self._process, UmapProcess(), None
        process.close()

    def _embedded(
        self, key: tuple[str, ...], matrix: Callable[[], np.ndarray], dimensions: int, who: str
    ) -> np.ndarray | None:
        """Return an embedding that was asked for before, where it is ready; begin it otherwise."""
        self.prepare()
        with self._lock:
            job = self._embeddings.get(key)
            if job is None:
                waits = self._waiting.get(who)
                if waits is None or waits.key != key:
                    self._waiting[who] = waits = _Waiting(key, matrix(), dimensions)
                waits.seen = time.monotonic()
            self._next()
            job = self._embeddings.get(key)
            if job is None or not job.done():
                return None
            if job.exception() is not None:
                del self._embeddings[key]  # so that the next call tries again
                raise BackendFailure(
                    f"UMAP could not be computed ({job.exception()}): choose it again to retry."
                )
        return job.result()

    def _next(self) -> None:
        """Begin what is next, where nothing is being computed; drop what nobody asks for any more."""
        since = time.monotonic() - ABANDONED
        self._waiting = {who: waits for who, waits in self._waiting.items() if waits.seen > since}
        if (self._running is not None and not self._running.done()) or not self._waiting:
            return
        who = min(self._waiting, key=lambda who: self._asked.get(who, 0.0))
        waits = self._waiting.pop(who)
        _keep(self._asked, who, time.monotonic(), ASKERS)
        self._running = self._process.submit(waits.matrix, waits.dimensions)
        _keep(self._embeddings, waits.key, self._running, EMBEDDINGS)

    def _blocks(self, ids: Sequence[Path]) -> list[list[np.ndarray]]:
        with self._lock:
            missing = [(a, b) for i, a in enumerate(ids) for b in ids[i:] if (a, b) not in self._products]
            if missing:
                self._check(ids)
            for a, b in missing:
                block = gram(self._read(a), self._read(b))
                _keep(self._products, (a, b), block, PAIRS)
                _keep(self._products, (b, a), block.T, PAIRS)
            return [[self._products[a, b] for b in ids] for a in ids]

    def _check(self, ids: Sequence[Path]) -> None:
        for run in ids:
            if (step := first_broken(self._read(run))) is not None:
                raise CapabilityError(
                    f"The latents of the run {run.name} are no numbers (NaN or infinity) from step {step} on, so there "
                    "is no path to draw: hide that run."
                )
        shapes = {run: self._read(run).shape[1:] for run in ids}
        if len(set(shapes.values())) > 1:
            words = " and ".join(sorted({" × ".join(map(str, shape)) for shape in shapes.values()}))
            raise CapabilityError(
                f"The visible layers have latents of different shapes ({words}), so no basis is common to them: "
                "hide those of one shape."
            )

    def _read(self, folder: Path) -> np.ndarray:
        if folder not in self._states:
            self._states[folder] = StoredRun.open(folder).latents()[:, 0]
            while len(self._states) > 1 and sum(s.nbytes for s in self._states.values()) > MEMORY:
                self._states.popitem(last=False)
        self._states.move_to_end(folder)
        return self._states[folder]


def _folders(library: Library, ids: Sequence[str]) -> list[Path]:
    return [library.path(run) for run in ids]


def _keep(cache: OrderedDict, key: object, value: object, most: int) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > most:
        cache.popitem(last=False)
