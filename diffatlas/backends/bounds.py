"""What a request may be expected to take before it is refused, and when a run that outruns its estimate is ended."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diffatlas.backends.estimate import Estimate
from diffatlas.backends.look_up import size_words
from diffatlas.backends.wrapped import WrappedBackend
from diffatlas.capture.spec import Capture
from diffatlas.errors import OverBound, Overrun
from diffatlas.events import Event, Failed, Finished, Started
from diffatlas.params import GenerationParams
from diffatlas.settings import is_shared, settings

SECONDS, SHARED_SECONDS = 120.0, 60.0
#: Shares of the memory that is free.
MEMORY, SHARED_MEMORY = 0.5, 0.25
#: Seconds of a layer, in which nothing can be stopped: on a shared server all wait for it.
LAYER = 2.0
#: What takes a place in the queue for each of its parts may take so much longer in all: others come in between.
IN_PARTS = 10.0
#: A run on a shared server is ended where it takes so many times its estimate, and so many seconds more.
FAR, LATE = 4.0, 30.0


@dataclass(frozen=True)
class Bounds:
    """Seconds and bytes that work may be expected to take; infinity for no bound.

    layer: seconds of the longest layer. shared: whether strangers wait, so that nothing can be asked for all the same,
    and what outruns its estimate is ended.
    """

    seconds: float
    memory: float
    layer: float = math.inf
    shared: bool = False

    @property
    def any(self) -> bool:
        """Whether there is a bound at all."""
        return min(self.seconds, self.memory, self.layer) < math.inf

    def check(self, estimate: Estimate | None, hint: str = "", field: str = "width") -> None:
        """Raise `OverBound` where an estimate is above a bound. None is not: nothing is known.

        What counts is the work (`Estimate.work`): nobody is refused because others are at work.

        hint: what to do besides asking for less, such as an option of the shell.
        """
        if estimate is None:
            return
        instead = "choose a smaller size, fewer steps or fewer images" + hint
        self.check_amounts(estimate.work, estimate.memory, instead, field)
        if estimate.layer > self.layer:
            raise OverBound(
                f"This is expected to take {amounts(estimate.work, estimate.memory)}, and one layer of it "
                f"{duration(estimate.layer)}, in which nothing can be stopped: {instead}.",
                field=field,
            )

    def too_slow(self, estimate: Estimate) -> bool:
        """Whether an estimate is above a bound of time."""
        return estimate.work > self.seconds or estimate.layer > self.layer

    def check_amounts(self, seconds: float, memory: int | None, instead: str, field: str | None) -> None:
        """Raise `OverBound`, which says what to do ``instead``, where seconds or bytes are above a bound."""
        if seconds > self.seconds or (memory or 0) > self.memory:
            raise OverBound(
                f"This is expected to take {amounts(seconds, memory)}, and the bounds here are {self._words()}: "
                f"{instead}.",
                field=field,
            )

    def in_parts(self) -> Bounds:
        """Return the bounds of work whose every part takes a place in the queue."""
        return replace(self, seconds=self.seconds * IN_PARTS)

    def limit(self, expected: float | None) -> float:
        """Return the seconds after which a run is ended, where ``expected`` were estimated; infinity for never."""
        if not self.shared:
            return math.inf
        seconds = self.seconds if expected is None else expected
        return max(FAR * seconds, seconds + LATE)

    def _words(self) -> str:
        time_bound = "no time" if self.seconds == math.inf else duration(self.seconds)
        return time_bound if self.memory == math.inf else f"{time_bound} and {size_words(int(self.memory))}"


def bounds_here(shared: bool | None = None) -> Bounds:
    """Return the bounds of this installation, by its settings; shared: None as they say."""
    import psutil

    shared = is_shared() if shared is None else shared
    chosen = settings()
    seconds, memory = chosen.most_seconds, chosen.most_memory
    if seconds is None:
        seconds = SHARED_SECONDS if shared else SECONDS
    if memory is None:
        memory = int(psutil.virtual_memory().available * (SHARED_MEMORY if shared else MEMORY))
    return Bounds(seconds or math.inf, memory or math.inf, LAYER if shared else math.inf, shared)


def together(estimates: Sequence[Estimate | None]) -> Estimate | None:
    """Return what those of several requests take of which something is known, one after another; None for no such."""
    known = [one for one in estimates if one is not None]
    if not known:
        return None
    memory = [one.memory for one in known if one.memory is not None]
    largest = max(known, key=lambda one: one.size[0] * one.size[1])
    return replace(
        largest,
        seconds=sum(one.seconds for one in known),
        alone=sum(one.work for one in known),
        memory=max(memory) if memory else None,
        layer=max(one.layer for one in known),
    )


def sentence(estimate: Estimate) -> str:
    """Return what is said of a request before it runs: its size, where that is not the model's, and what it takes."""
    takes = amounts(estimate.seconds, estimate.memory)
    asked, own = (f"{width} x {height}" for width, height in (estimate.size, estimate.own))
    if estimate.size == estimate.own:
        return f"This will take about {takes} here."
    return f"This model was made for {own}; at {asked} it will take about {takes} here."


def amounts(seconds: float, memory: int | None) -> str:
    """Return time and memory in words."""
    return duration(seconds) if memory is None else f"{duration(seconds)} and {size_words(memory)}"


def duration(seconds: float) -> str:
    """Return seconds in words: "less than a second", "40 seconds", "9 minutes", "3.5 hours"."""
    if seconds < 1:
        return "less than a second"
    for unit, length, most in (("second", 1, 90), ("minute", 60, 90 * 60)):
        if seconds < most:
            count = round(seconds / length)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    hours = seconds / 3600
    return f"{hours:.1f} hours" if hours < 10 else f"{hours:,.0f} hours"


class Deadline(threading.Event):
    """A stop signal that is also set by the clock: ``seconds`` after `begin`."""

    def __init__(self, stop: threading.Event | None, seconds: float) -> None:
        super().__init__()
        self._stop = stop
        self.seconds = seconds
        self._began: float | None = None

    def begin(self) -> None:
        """Let the time run; more than once does no harm."""
        if self._began is None:
            self._began = time.monotonic()

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return self._began is not None and time.monotonic() - self._began > self.seconds

    def is_set(self) -> bool:
        """Whether it was stopped, or the time is over."""
        return super().is_set() or (self._stop is not None and self._stop.is_set()) or self.passed


class BoundedBackend(WrappedBackend):
    """A local backend whose runs are ended where they outrun their estimates by far, as failed."""

    def __init__(self, backend: Any, bounds: Bounds) -> None:
        super().__init__(backend)
        self._bounds = bounds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def trace(
        self, params: GenerationParams, capture: Capture | None = None, stop: threading.Event | None = None
    ) -> Generator[Event, None, None]:
        """See `LocalBackend.trace`."""
        deadline = self._deadline([params], capture, stop)
        events = self._backend.trace(params, capture, deadline)
        for _, event in self._ended(((0, event) for event in events), deadline, events.close):
            yield event

    def trace_batch(
        self,
        cells: Sequence[GenerationParams],
        capture: Capture | None = None,
        stop: threading.Event | None = None,
    ) -> Generator[tuple[int, Event], None, None]:
        """See `LocalBackend.trace_batch`."""
        deadline = self._deadline(cells, capture, stop)
        events = self._backend.trace_batch(cells, capture, deadline)
        yield from self._ended(events, deadline, events.close)

    def _deadline(
        self, cells: Sequence[GenerationParams], capture: Capture | None, stop: threading.Event | None
    ) -> Deadline:
        expected = together([self._backend.estimate(cell, capture) for cell in cells])
        deadline = Deadline(stop, self._bounds.limit(expected.seconds if expected else None))
        # Where a GPU is lent, the wait for one is no part of the run.
        at_once = self._backend.is_loaded(cells[0].model) and not getattr(self._backend, "lent", False)
        if expected is not None and at_once:
            deadline.begin()
        return deadline

    @staticmethod
    def _ended(
        events: Any, deadline: Deadline, close: Callable[[], None]
    ) -> Generator[tuple[int, Event], None, None]:
        try:
            for position, event in events:
                if isinstance(event, Started):
                    deadline.begin()
                if isinstance(event, Finished) and event.status == "stopped" and deadline.passed:
                    late = Overrun(
                        f"This run was ended after {duration(deadline.seconds)}: it took far longer than was expected. "
                        "Choose a smaller size or fewer steps."
                    )
                    event = Failed(late.code, late.message, None)
                yield position, event
        finally:
            close()
