"""The local backend of a Hugging Face Space with ZeroGPU, where a process is lent a GPU for some seconds.

The platform forks this process, gives the fork a GPU for the seconds that were asked for, and ends it then. So models
are kept here on the CPU, which a fork shares, and moved to the GPU there; a model that is loaded later is there for the
forks that come after. Requests and events go between the two as bytes (`diffatlas.backends.wire`), each event at once,
and the library is written here. What models were seen to take comes back too; all else that a fork has learned is lost
with it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import queue
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas import events
from diffatlas.backends import batching, dtypes, loading, wire
from diffatlas.backends.bounds import duration
from diffatlas.backends.estimate import Estimate, passes_of, rows_of
from diffatlas.backends.failures import as_event, as_typed
from diffatlas.backends.loading import Loaded
from diffatlas.backends.local import LocalBackend
from diffatlas.backends.model_info import ModelSource
from diffatlas.backends.outcome import Stopped
from diffatlas.backends.paces import Noted, Paces
from diffatlas.backends.producer import Put, Stopping, stream
from diffatlas.backends.zerogpu_errors import as_said, taken_back
from diffatlas.capture.spec import Capture
from diffatlas.errors import BackendFailure, OverBound
from diffatlas.params import GenerationParams
from diffatlas.settings import settings

log = logging.getLogger("diffatlas")

#: Runs a request in a process with a GPU: (request, a file that stops it once it is there, seconds) -> parts of an
#: answer.
OnGpu = Callable[[bytes, str, int], Iterator[bytes]]

#: Half of all runs take longer than their estimate, and one that outlasts its seconds loses its image.
SLACK = 1.2
#: Seconds until a model is on a GPU that is lent, and seconds of a row of a pass at the model's own size, until they
#: were measured here.
START, ROW = 10.0, 0.2
#: Starts that are remembered of each model; the longest counts, because a process may be used again and start at once.
STARTS = 8
#: Seconds between two looks at the file that stops a run.
LOOK = 0.02
#: Seconds without a word, after those that were asked for, until the process with the GPU is taken to be gone: of one
#: that is ended while it speaks the platform does not always hear.
QUIET = 20.0
#: What a part of an answer is, by its first byte: an event, what a call took, how long it took to begin.
_EVENT, _NOTED, _START = b"e", b"n", b"s"
_END = object()


class ZeroGpuBackend(LocalBackend):
    """Answers for this machine as `LocalBackend` does, and runs on GPUs that are lent.

    `on_gpu` is to be set before the first run: `work` as it runs in a process with a GPU. What only decodes or encodes
    does so here, on the CPU.

    device, dtype: of the runs. Raises as `LocalBackend`.
    """

    #: A GPU is waited for when a run has begun already.
    lent = True
    on_gpu: OnGpu

    def __init__(self, device: str = "cuda", dtype: str | None = None) -> None:
        super().__init__(device=device, dtype=dtype)
        self._cpu = LocalBackend(device="cpu", dtype="fp32")
        self._starts: dict[str, deque[float]] = {}
        self._stops = Path(tempfile.mkdtemp(prefix="diffatlas-stop-"))
        #: In a process with a GPU: what runs there.
        self._there: _There | None = None

    @property
    def device(self) -> str:
        """The device of the runs, which this process does not have."""
        return self._device

    def trace(
        self, params: GenerationParams, capture: Capture | None = None, stop: threading.Event | None = None
    ) -> Generator[events.Event, None, None]:
        """Run ``params`` on a GPU that is lent; see `diffatlas.backends.base.Backend.trace`."""
        return _alone(self._answers(wire.asked_of(params, capture), stop))

    def trace_batch(
        self,
        cells: Sequence[GenerationParams],
        capture: Capture | None = None,
        stop: threading.Event | None = None,
    ) -> Generator[tuple[int, events.Event], None, None]:
        """Run several cells in one call on one GPU; see `diffatlas.backends.base.BatchBackend.trace_batch`."""
        batching.check_cells(tuple(cells))
        return self._answers(wire.asked_of(tuple(cells), capture), stop)

    def measure(
        self, params: GenerationParams, capture: Capture | None = None, stop: threading.Event | None = None
    ) -> Estimate | None:
        """Load the model here, and return what a request should take, which is known once it ran on a GPU."""
        params = self.resolve(params)
        self._keep(self._source(params), lambda: stop is not None and stop.is_set())
        return self.estimate(params, capture)

    def decode(self, params: GenerationParams, latents: np.ndarray, *, wait: float = 2.0) -> np.ndarray:
        """Return pictures of latents, decoded on the CPU; see `LocalBackend.decode`."""
        return self._cpu.decode(params, latents, wait=wait)

    def close(self) -> None:
        """Free the models."""
        super().close()
        self._cpu.close()

    def seconds(self, cells: Sequence[GenerationParams], capture: Capture) -> int:
        """Return the seconds to ask a GPU for: what is known of the model, else a careful guess.

        Raises `OverBound` for more than may be asked for (DIFFATLAS_ZEROGPU_SECONDS).
        """
        widest = max(cells, key=rows_of)
        together = replace(widest, num_images_per_prompt=sum(cell.num_images_per_prompt for cell in cells))
        most, estimate = settings().zerogpu_seconds, self.estimate(together, capture)
        start = max(self._starts.get(widest.model, ()), default=START)
        if estimate is None:
            return math.ceil(min(most, start + self._guess(together)))
        needed = math.ceil(start + SLACK * estimate.seconds)
        if needed > most:
            raise OverBound(
                f"This is expected to take {duration(needed)} of a GPU, and a run may ask for {duration(most)} here: "
                "choose a smaller size, fewer steps or fewer images.",
                field="num_inference_steps",
            )
        return needed

    def work(self, request: bytes, stop: str) -> Generator[bytes, None, None]:
        """Run a request in a process that has a GPU, and yield the parts of its answer.

        request: of `diffatlas.backends.wire`. stop: a file; the run stops once it is there.
        """
        began, first = time.time(), self._there is None
        asked = wire.asked_from_bytes(request)
        noted: list[Noted] = []
        try:
            if self._there is None:
                self._there = _There(self, self._resident)
            self._there.tell = noted.append
        except Exception as error:
            failed = as_event(as_typed(error, asked.cells[0]))
            for position in range(len(asked.cells)):
                yield _EVENT + wire.answer_to_bytes(position, failed)
            return
        started = False
        with closing(wire.answers(self._there, asked, _StopFile(stop))) as answers:
            for position, event in answers:
                if isinstance(event, events.Started) and not started:
                    started = True
                    since = _process_began() if first else began
                    yield _START + json.dumps(time.time() - since).encode()
                yield _EVENT + wire.answer_to_bytes(position, event)
        for each in noted:
            yield _NOTED + json.dumps(each.to_dict()).encode()

    def _load(self, source: ModelSource) -> Loaded:
        """Return the pipeline of a model on the CPU, told as what it is on a GPU. The caller holds the device."""
        if self._resident and self._resident.source == source:
            return self._resident
        self._free()
        folder = loading.fetch(source)
        dtype = dtypes.pick_dtype(self._dtype, self.device, source, folder)
        loaded = loading.load(source, folder, "cpu", dtype, ignore_memory=self._ignore_memory)
        self._resident = replace(loaded, device=self.device)
        return self._resident

    def _keep(self, source: ModelSource, stopping: Stopping) -> None:
        """Load a model here before a GPU is asked for, with the modules that a run imports. Raises `Stopped`."""
        import diffatlas.capture.observer
        import diffatlas.steering.guided
        import diffatlas.steering.noise  # noqa: F401

        while not self._lock.acquire(timeout=0.05):
            if stopping():
                raise Stopped
        try:
            self._load(source)
        finally:
            self._lock.release()

    def _guess(self, params: GenerationParams) -> float:
        info = self.info(params.model)
        own = (info.width * info.height) if info and info.width and info.height else 0
        area = params.width * params.height / own if own and params.width and params.height else 1.0
        return ROW * rows_of(params) * passes_of(params) * max(1.0, area) ** 1.5

    def _answers(
        self, asked: wire.Asked, stop: threading.Event | None
    ) -> Generator[tuple[int, events.Event], None, None]:
        # The platform goes by who asks, which the caller's context says.
        context = copy_context()

        def work(put: Put, stopping: Stopping) -> None:
            context.run(self._ask, asked, put, stopping)

        return stream(work, stop)

    def _ask(self, asked: wire.Asked, put: Put, stopping: Stopping) -> None:
        """Have a request answered on a GPU; every outcome becomes events."""
        left = set(range(len(asked.cells)))

        def put_to_all(event: events.Event) -> None:
            for position in sorted(left):
                put((position, event))

        try:
            cells = tuple(self.resolve(cell) for cell in asked.cells)
            asked = replace(asked, cells=cells)
            self._keep(self._source(cells[0]), stopping)
            seconds = self.seconds(cells, asked.capture)
            put_to_all(events.Waiting(f"ZeroGPU is asked for a GPU for {duration(seconds)}"))
            for position, event in self._lent(asked, seconds, stopping):
                if isinstance(event, (events.Finished, events.Failed)):
                    left.discard(position)
                put((position, event))
            if left and stopping():
                raise Stopped
            if left:
                raise BackendFailure("The process with the GPU ended before the run did: try again.")
        except Stopped:
            put_to_all(events.Finished(status="stopped", seconds=0.0))
        except Exception as error:
            typed = as_typed(as_said(error) or error, asked.cells[0])
            log.debug("A run on a GPU failed.", exc_info=error)
            put_to_all(as_event(typed))

    def _lent(
        self, asked: wire.Asked, seconds: int, stopping: Stopping
    ) -> Generator[tuple[int, events.Event], None, None]:
        """Yield what comes from the process with the GPU.

        Raises what the platform raises, and `Stopped` for a run that is stopped while it waits: whoever fetches the
        answer then gives the GPU back as soon as it is lent.
        """
        fetched: queue.Queue[Any] = queue.Queue()
        handle, name = tempfile.mkstemp(dir=self._stops)
        os.close(handle)
        stop = Path(name)
        stop.unlink()
        gone = threading.Event()
        fetch = copy_context().run, (self._fetch, asked, str(stop), seconds, fetched, gone)
        threading.Thread(target=fetch[0], args=fetch[1], name="diffatlas-zerogpu", daemon=True).start()
        first = last = math.inf
        try:
            while True:
                if stopping():
                    stop.touch()
                    if first == math.inf:
                        raise Stopped
                try:
                    part = fetched.get(timeout=0.1)
                except queue.Empty:
                    if time.monotonic() > max(first + seconds, last + QUIET):
                        raise taken_back() from None
                    continue
                if part is _END:
                    return
                if isinstance(part, BaseException):
                    raise part
                last = time.monotonic()
                first = min(first, last)
                if part[:1] == _EVENT:
                    yield wire.answer_from_bytes(part[1:])
                elif part[:1] == _NOTED:
                    self._paces.note(Noted.from_dict(json.loads(part[1:])))
                else:
                    starts = self._starts.setdefault(asked.cells[0].model, deque(maxlen=STARTS))
                    starts.append(float(json.loads(part[1:])))
        finally:
            gone.set()

    def _fetch(
        self,
        asked: wire.Asked,
        stop: str,
        seconds: int,
        fetched: queue.Queue[Any],
        gone: threading.Event,
    ) -> None:
        """Put what the platform gives, on a thread of its own: it may wait for minutes."""
        try:
            with closing(self.on_gpu(wire.asked_to_bytes(asked), stop, seconds)) as parts:
                for part in parts:
                    if gone.is_set():
                        break
                    fetched.put(part)
        except BaseException as error:
            fetched.put(error)
        finally:
            fetched.put(_END)
            Path(stop).unlink(missing_ok=True)


class _There(LocalBackend):
    """What runs in the process with the GPU. kept: the pipeline that was in memory when the process began."""

    def __init__(self, backend: ZeroGpuBackend, kept: Loaded | None) -> None:
        super().__init__(device=backend.device, dtype=backend.dtype)
        self.tell: Callable[[Noted], Any] = lambda noted: None
        self._paces = Paces(lambda noted: self.tell(noted))
        if kept is not None:
            self._resident = replace(kept, pipe=kept.pipe.to(backend.device))


class _StopFile(threading.Event):
    """A stop signal between processes: it is set once a file is there."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._looked = 0.0

    def is_set(self) -> bool:
        """Whether the file is there, as it was `LOOK` seconds ago at most."""
        if not super().is_set() and time.monotonic() - self._looked > LOOK:
            if os.path.exists(self._name):
                self.set()
            self._looked = time.monotonic()
        return super().is_set()


def _alone(
    answers: Generator[tuple[int, events.Event], None, None],
) -> Generator[events.Event, None, None]:
    with closing(answers):
        for _, event in answers:
            yield event


def _process_began() -> float:
    import psutil

    return psutil.Process().create_time()
