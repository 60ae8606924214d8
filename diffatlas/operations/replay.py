"""Replay: run a stored run again from its manifest, and say how near the new path is to the stored one."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.backends.threads import as_many_as
from diffatlas.capture.ran_on import IN_MEMORY
from diffatlas.capture.spec import Capture
from diffatlas.errors import CapabilityError, DiffAtlasError
from diffatlas.events import Event, Failed, Finished, Image, Started, Step
from diffatlas.geometry import path
from diffatlas.library.difference import environment_difference
from diffatlas.operations.trace import stream
from diffatlas.params import GenerationParams

if TYPE_CHECKING:
    from diffatlas.backends.base import Backend
    from diffatlas.library import Library, StoredRun

#: Paths are close where no state is further off than this part of its own norm.
CLOSE = 1e-3
#: Images are close where their mean absolute difference is below this many of the 255 levels.
CLOSE_IMAGE = 1.0


@dataclass(frozen=True)
class ReplayReport:
    """How a replay compares with the stored run.

    States are numbered as steps are: 0 is x_T, k the state after k steps.
    """

    #: "identical": every stored state and image came out the same, bit for bit. "close": no state is further
    #: off than `CLOSE` of its norm, no image further than `CLOSE_IMAGE`. "different": further. "stopped" and
    #: "failed": the replay did not come to its end; the figures are of the states until then.
    verdict: str
    #: One line that says all of this.
    sentence: str
    #: The first state that is not bit-identical; None where all are that can be compared.
    first_step: int | None = None
    #: The largest difference of two numbers of any state; infinite where the states differ in shape.
    maximum: float = 0.0
    #: The largest of ``by_step``.
    relative: float = 0.0
    #: For each state ||now - then|| / ||then||, the largest of the batch. Of a run that was stored
    #: without latents there is only x_T.
    by_step: list[float] = field(default_factory=list)
    #: Whether every final image is the same; None where the stored or the new run has none.
    image_identical: bool | None = None
    #: Mean absolute difference in levels (0 to 255), of the image where it is largest; None as above.
    image_mean_absolute: float | None = None
    #: What differs in what the two ran on: dotted name -> (then, now), None where it has no such part.
    environment: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    #: Of a run on a pipeline in memory: whether the one that was given again is the same by its digest
    #: (`diffatlas.capture.digest`); None where that cannot be told.
    same_pipeline: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types; what is infinite is None."""
        data = asdict(self)
        for name in ("maximum", "relative", "image_mean_absolute"):
            data[name] = _finite(data[name])
        data["by_step"] = [_finite(value) for value in self.by_step]
        data["environment"] = {name: list(pair) for name, pair in self.environment.items()}
        return data


def replay(
    library: Library,
    run_id: str,
    backend: Backend | None = None,
    stop: threading.Event | None = None,
) -> Generator[Event | ReplayReport, None, None]:
    """Run a stored run again and yield its events, and at last a `ReplayReport`.

    The request and the capture are those of its manifest, and so is the number of threads that it computes with, up to
    as many as this machine has cores. It runs in any case, whatever the library holds, and is not recorded. A run that
    was stopped is compared as far as it went. ``stop`` ends the replay early; the report then says "stopped". Errors of
    the run arrive as `Failed` before a report that says "failed".

    A run on a pipeline in memory, such as one that `observe` recorded, needs that pipeline again: give
    ``open_backend("local", pipe=pipe)``. The report says whether it is the same.

    Raises, before anything runs, `CapabilityError` where that is not given, for a run of a hosted service, which has no
    path, or where what was recorded does not say all that decides the result (``provenance["call"]["left_out"]``);
    `RunNotFound` or `DamagedRun` where the run cannot be read, and `InvalidParams` where its manifest asks for what
    this version does not know; while it runs, `DamagedRun` where a stored step cannot be read.
    """
    stored = library.open(run_id)
    params = _to_ask(stored, backend)
    events = stream(params, Capture.from_dict(stored.capture), backend, None, stop)
    return _replay(stored, as_many_as(stored.provenance.get("threads"), events))


def _to_ask(stored: StoredRun, backend: Backend | None) -> GenerationParams:
    """Return the request that gives a stored run again. Raises `CapabilityError` where none does."""
    params, provenance = stored.params, stored.provenance
    call = provenance.get("call")
    left_out = call.get("left_out") if isinstance(call, Mapping) else None
    if isinstance(left_out, Mapping) and left_out:
        told = " ".join(f"{name}: {why}" for name, why in left_out.items())
        raise CapabilityError(f"This run cannot be made again from its record. {told}")
    if isinstance(hosted := provenance.get("hosted"), Mapping):
        raise CapabilityError(
            f"{hosted.get('provider') or 'A hosted service'} made this run and shows nothing of its path, so there is "
            "nothing to compare a replay with."
        )
    if provenance.get("source") != IN_MEMORY:
        return params
    own = getattr(backend, "own_model", None)
    info = getattr(backend, "info", None)
    if own is None and (info is None or not _knows(info, params.model)):
        raise CapabilityError(
            f"This run was made on a pipeline in memory ({params.model}): give it again, as"
            ' open_backend("local", pipe=pipe), to replay it.'
        )
    return params if own is None else params.replace(model=own)


def _knows(info: Callable[[str], Any], model: str) -> bool:
    try:
        return info(model) is not None
    except DiffAtlasError:
        return False


def _replay(
    stored: StoredRun, events: Generator[Event, None, None]
) -> Generator[Event | ReplayReport, None, None]:
    comparison = _Comparison(stored)
    with closing(events):
        for event in events:
            comparison.add(event)
            yield event
    yield comparison.report()


class _Comparison:
    """Compares the events of a replay with the stored run as they arrive: no path is held."""

    def __init__(self, stored: StoredRun) -> None:
        self._stored = stored
        self._stored_steps = stored.step_count
        self._images = stored.images()
        self._environment: dict[str, tuple[Any, Any]] = {}
        self._same_pipeline: bool | None = None
        self._by_step: list[float] = []
        self._changed: list[int] = []
        self._maximum = 0.0
        self._image_differences: list[float] = []
        self._steps = 0
        self._end: Finished | Failed | None = None

    def add(self, event: Event) -> None:
        if isinstance(event, Started):
            self._environment = environment_difference(self._stored.provenance, event.provenance)
            if event.provenance.get("source") == IN_MEMORY:
                # What a pipeline in memory is called is up to who gives it.
                self._environment.pop("model", None)
            then, now = (_pinned(x) for x in (self._stored.provenance, event.provenance))
            self._same_pipeline = None if then is None or now is None else then == now
            with suppress(CapabilityError):  # It was stored without.
                self._state(0, self._stored.initial_latents(), event.initial_latents)
        elif isinstance(event, Step):
            self._steps += 1
            if event.index < self._stored_steps:
                self._state(event.index + 1, self._stored.step(event.index).latents, event.latents)
        elif isinstance(event, Image):
            if event.index < len(self._images):
                self._image_differences.append(_image_difference(self._images[event.index], event.pixels))
        else:
            self._end = event

    def report(self) -> ReplayReport:
        relative = max(self._by_step, default=0.0)
        complete = len(self._image_differences) == len(self._images) > 0
        image = max(self._image_differences) if complete else None
        figures = {
            "first_step": self._changed[0] if self._changed else None,
            "maximum": self._maximum,
            "relative": relative,
            "by_step": self._by_step,
            "image_identical": None if image is None else image == 0,
            "image_mean_absolute": image,
            "environment": self._environment,
            "same_pipeline": self._same_pipeline,
        }
        if isinstance(self._end, Failed):
            again = " again, as it did when it was stored" if self._stored.status == "failed" else ""
            return ReplayReport("failed", f"The replay failed{again}: {self._end.message}", **figures)
        if self._end is None or self._end.status != "complete":
            words = f"The replay was stopped after {_steps(self._steps)}"
            if self._by_step and self._steps:
                words += "; until then the path is " + self._how_near()
            return ReplayReport("stopped", f"{words}.", **figures)
        verdict = self._verdict(relative, image)
        return ReplayReport(verdict, self._sentence(verdict, image), **figures)

    def _state(self, number: int, then: np.ndarray | None, now: np.ndarray | None) -> None:
        if then is None or now is None:
            return
        if then.shape != now.shape:
            self._changed.append(number)
            self._maximum = math.inf
            self._by_step.append(math.inf)
            return
        if then.dtype == now.dtype and then.tobytes() == now.tobytes():
            self._by_step.append(0.0)
            return
        self._changed.append(number)
        a, b = then.astype(np.float64), now.astype(np.float64)
        largest = float(np.abs(a - b).max())
        self._maximum = math.inf if math.isnan(largest) else max(self._maximum, largest)
        size = path.norm(a)
        # A state of zeros has no norm to measure by.
        off = float((path.distance(a, b) / np.where(size > 0, size, 1.0)).max())
        self._by_step.append(math.inf if math.isnan(off) else off)

    def _verdict(self, relative: float, image: float | None) -> str:
        if self._of_other_length():
            return "different"
        if not self._changed and not image:
            return "identical"
        near = relative < CLOSE and (image is None or image < CLOSE_IMAGE)
        return "close" if near else "different"

    def _of_other_length(self) -> bool:
        """Whether the replay, which came to its end, made fewer steps or images, or more, than are stored."""
        if len(self._image_differences) < len(self._images) or self._steps < self._stored_steps:
            return True
        return self._stored.status == "complete" and self._steps > self._stored_steps

    def _sentence(self, verdict: str, image: float | None) -> str:
        if self._of_other_length():
            words = f"Different: the replay took {_steps(self._steps)}, the stored run {_steps(self._stored_steps)}"
        elif verdict == "identical":
            # A stopped run has no image, a run may be stored without latents.
            parts = [_states(len(self._by_step))] if self._by_step else []
            parts += ["the image" if len(self._images) == 1 else "the images"] if self._images else []
            words = f"Bit-identical: {' and '.join(parts)} came out the same"
        elif self._changed:
            words = f"{verdict.capitalize()}: the path is {self._how_near()}"
        else:
            words = f"{verdict.capitalize()}: the latents are bit-identical"
        if verdict != "identical" and image:
            words += f"; the image differs by {image:.3g} of 255 levels on average"
        if self._environment:
            n = len(self._environment)
            words += f". The environment differs in {'one point' if n == 1 else f'{n} points'}"
        if self._same_pipeline is not None:
            words += f". The pipeline is {'the same' if self._same_pipeline else 'another one'} by its digest"
        return f"{words}."

    def _how_near(self) -> str:
        """Say how near the states are that were compared, in the middle of a sentence."""
        if not self._changed:
            return "bit-identical"
        first, last = self._changed[0], len(self._by_step) - 1
        off = max(self._by_step)
        size = f"up to {off:.2g} of the state's norm off" if math.isfinite(off) else "beyond comparison"
        if self._changed[-1] < last:
            # A path cannot part and come back to the same numbers by itself.
            return (
                f"{size} at step {first} and the same again at its end: a stored file may have been changed"
            )
        return f"{size}, from step {first} of {last} on" if first else f"{size}, from its first state on"


def _pinned(provenance: Mapping[str, Any]) -> str | None:
    revision = provenance.get("revision")
    return revision.get("digest") if isinstance(revision, Mapping) else None


def _image_difference(then: np.ndarray, now: np.ndarray) -> float:
    if then.shape != now.shape:
        return math.inf
    return float(np.abs(then.astype(np.float64) - now.astype(np.float64)).mean())


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _steps(n: int) -> str:
    return f"{n} step{'' if n == 1 else 's'}"


def _states(n: int) -> str:
    return f"all {n} states" if n > 1 else "the initial state"
