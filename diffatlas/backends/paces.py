"""What models take on this machine: noted as they run, and where a small one has not run yet, tried out."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from diffatlas.backends.between import Meter, between_layers, is_compiled
from diffatlas.backends.call import call_arguments
from diffatlas.backends.estimate import Estimate, Memory, Pace, Work, rows_of
from diffatlas.backends.live_bytes import Live
from diffatlas.backends.loading import Loaded
from diffatlas.backends.model_info import ModelSource
from diffatlas.backends.outcome import Stopped
from diffatlas.capture.spec import Capture
from diffatlas.params import GenerationParams

log = logging.getLogger("diffatlas")

#: Seconds that a step may go on for after a stop.
GRACE = 1.0
#: Parameters of the largest model that is tried out: a trial of it takes a moment.
SMALL = 200_000_000
#: Steps of a trial, and seconds after which no more of it is run than a first pass at the model's own size.
TRIAL_STEPS = 2
TRIAL_SECONDS = 5.0
#: Seconds from one trial of a model to the next one, where its requests seem to take too long.
AGAIN = 30.0
#: Sides of the second trial against the model's own; the first of them that the model can do.
SIDES = (2.0, 0.5)


class _TimeIsUp(Exception):
    """Ends a trial from inside its call."""


@dataclass(frozen=True)
class Noted:
    """What one call of a pipeline took, as a process can tell it another one.

    model: name, variant, revision, subfolder, and what is offloaded and compiled. own: the model's width and height.
    area: in units of these. seconds: of a pass of ``rows``; decoding: of one picture, None where none was decoded.
    work, decoder_work: at area 1.
    """

    model: tuple[str | None, ...]
    own: tuple[int, int]
    area: float
    rows: int
    seconds: float
    work: Work
    decoding: float | None = None
    decoder_work: Work | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Noted:
        """Read what `to_dict` returned."""
        decoder = told["decoder_work"]
        return cls(
            **{
                **told,
                "model": tuple(told["model"]),
                "own": tuple(told["own"]),
                "work": Work(**told["work"]),
                "decoder_work": None if decoder is None else Work(**decoder),
            }
        )


class Paces:
    """The paces of the models of one backend. Safe to use from any thread.

    tell: told what each call took, on the thread of the call.
    """

    def __init__(self, tell: Callable[[Noted], None] = lambda noted: None) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._paces: dict[tuple[Any, ...], Pace] = {}
        self._tried: set[tuple[Any, ...]] = set()
        #: Models and shapes that were compiled for.
        self._compiled: set[tuple[Any, ...]] = set()
        #: When a model was last tried out, by `time.monotonic`: of those of which a trial told something.
        self._tried_at: dict[tuple[Any, ...], float] = {}

    def estimate(
        self, source: ModelSource, params: GenerationParams, capture: Capture | None
    ) -> Estimate | None:
        """Return what a request should take; None where nothing is known of its model."""
        with self._lock:
            pace = self._paces.get(_key(source))
            return None if pace is None else pace.estimate(params, capture or Capture())

    def forget(self, model: str) -> None:
        """Drop what is known of a model: another one may come under its name."""
        with self._lock:
            self._paces = {key: pace for key, pace in self._paces.items() if key[0] != model}
            self._tried = {key for key in self._tried if key[0] != model}
            self._tried_at = {key: at for key, at in self._tried_at.items() if key[0] != model}

    def tried(self, source: ModelSource) -> bool:
        """Whether a model was tried out, or was found to be none that is."""
        with self._lock:
            return _key(source) in self._tried

    def is_due(self, source: ModelSource) -> bool:
        """Whether a model was tried out with success, `AGAIN` seconds ago or more."""
        with self._lock:
            at = self._tried_at.get(_key(source))
            return at is not None and time.monotonic() - at >= AGAIN

    @contextmanager
    def watching(
        self,
        loaded: Loaded,
        params: GenerationParams,
        count: int,
        capture: Capture,
        stopping: Callable[[], bool],
    ) -> Iterator[None]:
        """End the pipeline's call once ``stopping()``, and note what it took where it came to its end.

        A step that is done within `GRACE` seconds is finished, so that it is kept; another one is ended between two
        of its layers.

        count: images of the batch. Raises `Stopped` from inside the call.
        """

        meter = Meter()
        seen: float | None = None

        def look() -> None:
            nonlocal seen
            if stopping():
                seen = time.monotonic() if seen is None else seen
                if time.monotonic() - seen >= GRACE:
                    raise Stopped

        with between_layers(loaded.pipe, look, meter):
            yield
        if is_compiled(loaded.pipe) and self._compiles(loaded.source, params, count):
            return
        if not stopping():
            # Reading attention is no part of a pass; one that was faster with it tells something all the same.
            self._note(loaded, params, count, meter, only_faster=capture.attention != "off")

    def try_out(self, loaded: Loaded, stopping: Callable[[], bool]) -> None:
        """Time a few steps of a small model, at its own size and at another, and see what memory they need.

        Nothing is noted of a model that is large or compiled, or whose call takes more than a prompt. After
        `TRIAL_SECONDS` no more is run than a first pass at the model's own size; then its own size alone is known.
        Raises `Stopped`.
        """
        with self._lock:
            self._tried.add(_key(loaded.source))
        if _parameters(loaded.pipe) > SMALL or is_compiled(loaded.pipe):
            return
        width, height = loaded.info.width, loaded.info.height
        multiple = loaded.info.size_multiple
        until = time.perf_counter() + TRIAL_SECONDS
        try:
            memory = self._alive(loaded, _trial(loaded, width, height, 1), stopping)
            # The first call of a pipeline takes longer; that was it.
            self._timed(loaded, _trial(loaded, width, height), stopping, until, least=1)
        except Stopped:
            with self._lock:
                self._tried.discard(_key(loaded.source))
            raise
        except Exception:
            log.debug("A model could not be tried out.", exc_info=True)
            return
        with self._lock:
            self._paces[_key(loaded.source)].memory = memory
            self._tried_at[_key(loaded.source)] = time.monotonic()
        for side in SIDES:
            if time.perf_counter() > until:
                return
            sides = (max(1, round(side * length / multiple)) * multiple for length in (width, height))
            try:
                self._timed(loaded, _trial(loaded, *sides), stopping, until, least=0)
                return
            except Stopped:
                raise
            except Exception:
                log.debug("A model could not be tried out at %g times its size.", side, exc_info=True)

    def _timed(
        self,
        loaded: Loaded,
        params: GenerationParams,
        stopping: Callable[[], bool],
        until: float,
        least: int,
    ) -> None:
        """Note what the passes of a call take.

        until: when it is ended, by `time.perf_counter`, once ``least`` passes are done; those that are done are noted.
        """
        meter = Meter()

        def look() -> None:
            if stopping():
                raise Stopped
            if time.perf_counter() > until and len(meter.passes) > least:
                raise _TimeIsUp

        try:
            with _own_scheduler(loaded.pipe), between_layers(loaded.pipe, look, meter):
                loaded.pipe(**call_arguments(loaded, params))
        except _TimeIsUp:
            meter.drop_last()
        self._note(loaded, params, 1, meter)

    def _alive(self, loaded: Loaded, params: GenerationParams, stopping: Callable[[], bool]) -> Memory:
        """Return the bytes that are alive at once in a pass and in a decoding, at the model's own size."""
        live, meter = Live(loaded.pipe), Meter()

        def look() -> None:
            if stopping():
                raise Stopped

        with _own_scheduler(loaded.pipe), between_layers(loaded.pipe, look, meter), live.counting():
            loaded.pipe(**call_arguments(loaded, params))
        return Memory(live.passing / meter.rows, live.decoding / meter.pictures)

    def _note(
        self, loaded: Loaded, params: GenerationParams, count: int, meter: Meter, only_faster: bool = False
    ) -> None:
        """Note what a call took; only_faster: where such a pass never took as little."""
        seconds = meter.seconds_of_pass
        if not seconds or meter.work is None:
            return
        own = (loaded.info.width, loaded.info.height)
        area = Pace(own).area(params.width or own[0], params.height or own[1])
        if only_faster and seconds >= self._fastest(loaded.source, area, meter.rows):
            return
        decoding = meter.seconds_of_decoding
        decoder = meter.decoder_work if decoding else None
        noted = Noted(
            _key(loaded.source),
            own,
            area,
            meter.rows,
            seconds,
            meter.work.per_area(area),
            decoding / count if decoding else None,
            None if decoder is None else decoder.per_area(area),
        )
        self.note(noted)
        self._tell(noted)

    def _compiles(self, source: ModelSource, params: GenerationParams, count: int) -> bool:
        """Whether this was the first call of a compiled model in this shape, most of which was compiling."""
        shape = (_key(source), params.width, params.height, count, rows_of(params))
        with self._lock:
            first = shape not in self._compiled
            self._compiled.add(shape)
        return first

    def _fastest(self, source: ModelSource, area: float, rows: int) -> float:
        with self._lock:
            pace = self._paces.get(_key(source))
            return 0.0 if pace is None else pace.fastest_passes.get((area, rows), 0.0)

    def note(self, noted: Noted) -> None:
        """Keep what a call took, here or in another process."""
        with self._lock:
            pace = self._paces.setdefault(noted.model, Pace(noted.own))
            pace.note_pass(noted.area, noted.rows, noted.seconds)
            pace.work = pace.work or noted.work
            if noted.decoding:
                pace.note_decoding(noted.area, noted.decoding)
                pace.decoder_work = pace.decoder_work or noted.decoder_work


def _key(source: ModelSource) -> tuple[Any, ...]:
    """Return what a pace is of: a model that is offloaded or compiled takes another time."""
    put = (source.entry.offload, source.entry.compile) if source.entry else (None, None)
    return source.model, source.variant, source.revision, source.subfolder, *put


def _parameters(pipe: Any) -> int:
    parts = (part for part in vars(pipe).values() if hasattr(part, "parameters"))
    return sum(weights.numel() for part in parts for weights in part.parameters())


def _trial(loaded: Loaded, width: int, height: int, steps: int = TRIAL_STEPS) -> GenerationParams:
    return GenerationParams(
        loaded.source.model, "a picture", width=width, height=height, num_inference_steps=steps
    )


@contextmanager
def _own_scheduler(pipe: Any) -> Iterator[None]:
    """Let a call have a scheduler of its own, which keeps state between calls."""
    own = pipe.scheduler
    pipe.scheduler = copy.deepcopy(own)
    try:
        yield
    finally:
        pipe.scheduler = own
