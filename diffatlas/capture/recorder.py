"""Turns a pipeline's denoiser calls and scheduler steps into the steps of a trace.

Of a step only what must be known then is seen at once; its tensors are sent to the CPU, and it is made of them there
(`diffatlas.capture.step_made`). On a GPU that is done once the next call of the denoiser has been launched, so that the
GPU goes on while the CPU computes; elsewhere at once.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffatlas.capture import arrays, preview, schedule
from diffatlas.capture.arrays import Sent, to_numpy
from diffatlas.capture.calls import StepCall, Watch, prev_sample, split_batch, step_arguments
from diffatlas.capture.latent_grid import describe_packing, token_grid
from diffatlas.capture.passes import Passes
from diffatlas.capture.reasons import Reasons
from diffatlas.capture.spec import Capture
from diffatlas.capture.step_made import Given, Seen, StepMaker
from diffatlas.capture.tables import number, writes_of
from diffatlas.capture.trace import Trace, all_made
from diffatlas.capture.x0 import coefficients, without_variance
from diffatlas.errors import CapabilityError
from diffatlas.events import Step

if TYPE_CHECKING:
    import torch

    from diffatlas.capture.attention import AttentionRecorder
    from diffatlas.capture.keeper import Keeper
    from diffatlas.capture.texts import TextRecorder


@dataclass
class _Call:
    """What is known of the pipeline call that is running."""

    #: Whether a denoiser was called at all.
    denoised: bool = False
    #: Of the steps that are recorded: their scheduler and the shape of their states.
    scheduler: Any = None
    shape: tuple[int, ...] = ()
    #: How many steps it will make, as far as its schedule tells.
    planned: int | None = None
    #: The state that the last step returned, with its count of writes.
    returned: torch.Tensor | None = None
    writes: int | None = None
    #: (rows, columns) of packed latents.
    grid: tuple[int, int] | None = None
    #: A step whose arrays are still on their way.
    seen: Seen | None = None


class Recorder:
    """Records into `trace`. What cannot be had is left out, with its reason; only the callbacks raise."""

    def __init__(
        self,
        pipe: Any,
        capture: Capture,
        on_start: Callable[[Trace], None] | None,
        on_step: Callable[[Step], None] | None,
        attention: AttentionRecorder | None = None,
        texts: TextRecorder | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self.trace = Trace(keeper=keeper, settle=self._settle_here)
        self._keeper = keeper
        self.watch: Watch | None = None
        #: Why the last call went through without a step that was seen; None where there was one, or no call.
        self.unseen: str | None = None
        self._pipe, self._capture = pipe, capture
        self._on_start, self._on_step = on_start, on_step
        self._attention, self._texts = attention, texts
        self._reasons = Reasons(self.trace.missing)
        self._passes = Passes(capture, self.trace, self._reasons, attention, texts)
        self._maker = StepMaker(pipe, capture, self._reasons)
        #: Fitted whatever decoder the previews use: the run's other latents are pictured with it later.
        self._linear: preview.LinearMap | None = None
        self._no_preview: Exception | None = None
        if capture.previews != "off":
            try:
                self._linear = preview.linear_map(pipe)
            except Exception as error:
                self._no_preview = error
        #: Whether a call of the pipeline is running; else its parts are used by a loop of somebody's own.
        self._calling = False
        #: That of the steps, on which the callbacks are called.
        self._thread: int | None = None
        self._call = _Call()
        self._begin()

    def around_call(self, pipe: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run a call of the pipeline: it begins and ends here, however many steps it makes."""
        self._settle()
        self._begin()
        self._calling = True
        try:
            if self._keeper is not None:
                self._reasons.attempt("call", lambda: self._keeper.begin(pipe, args, kwargs))
            try:
                result = proceed(*args, **kwargs)
            finally:
                # However it ended, what was seen before comes first.
                self._settle()
        except BaseException as error:
            self._calling = False
            self.end()
            if self._keeper is not None:
                self._keeper.failed(self.trace, error)
            raise
        self._calling = False
        self.end()
        if self._keeper is not None:
            self._keeper.finished(self.trace, result)
        if not self.trace.made:
            self.unseen = self.trace.missing.get("steps") or (
                f"{type(pipe).__name__} made no step of a scheduler after a call of its denoiser, so there are no"
                " steps to record: its loop is of another kind."
            )
        return result

    def around_denoiser(
        self, module: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        """Run a call of a denoiser, and keep its prediction until the step that is made of it."""
        if not self._calling and self._count() == self.trace.total_steps:
            self._settle()
            self._begin()  # A loop of somebody's own has no call that says where it begins.
        reading: AbstractContextManager[None] = nullcontext()
        if self._attention is not None:
            begins, total = not self._call.denoised, self.trace.total_steps
            reading = self._attention.reading(module, args, kwargs, self._count(), total, begins)
        self._call.denoised = True
        with reading:
            output = proceed(*args, **kwargs)
        self._reasons.attempt("noise_pred", lambda: self._keep(module, args, kwargs, output))
        # The GPU has this call to work on while the step before is made.
        self._settle()
        return output

    def around_step(
        self, scheduler: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        """Run ``scheduler.step`` as called, and record what goes in and what comes out."""
        self._settle()
        given = self._reasons.attempt("steps", lambda: self._before(scheduler, args, kwargs))
        if given is not None and given.index == 0:
            if self._keeper is not None:
                self._keeper.started(self.trace)
            if self._on_start is not None:
                self._on_start(self.trace)
        result = proceed(*args, **kwargs)
        if given is None:
            return result
        self._thread = threading.get_ident()
        seen = self._reasons.attempt("steps", lambda: self._after(given, prev_sample(result)))
        self._call.seen = seen
        if seen is not None and (not seen.latents.on_its_way or self._count() == self._call.planned):
            # It is here at once; or it is the last one, which is not to wait for the decoder.
            self._settle()
        return result

    def leave(self) -> None:
        """End what the context's end ends: a loop of somebody's own."""
        self._settle()
        self.end()
        self.trace.settle = all_made
        if self._keeper is not None:
            self._keeper.left(self.trace)

    def end(self) -> None:
        """Add to the steps what only the end of a call can tell."""
        self._maker.end(self.trace.made, self.trace.cosine_to_end)
        if self.watch is not None and self.watch.beside:
            self.watch.beside = False
            self._reasons.miss(
                "calls",
                CapabilityError(
                    "Another call of this pipeline ran at the same time on a second thread and was not recorded: make"
                    " the calls one after another."
                ),
            )
        # No tensor of a call that is over is kept alive.
        self._call.returned = None
        self._passes.begin()

    def _begin(self) -> None:
        """Forget the call before."""
        self.unseen = None
        self.trace.clear()
        if self._keeper is not None:
            self._keeper.forget()
        self._call = _Call()
        self._passes.begin()
        self._maker.forget()
        if self._no_preview is not None:
            self._reasons.miss("previews", self._no_preview)

    def _count(self) -> int:
        """Return how many steps the scheduler has made, made into a `Step` or not."""
        return len(self.trace.made) + (self._call.seen is not None)

    def _settle(self) -> None:
        """Make the step that was seen last into a `Step`, where that is still to be done, and tell of it."""
        seen, self._call.seen = self._call.seen, None
        step = None if seen is None else self._reasons.attempt("steps", lambda: self._maker.make(seen))
        if step is not None:
            self.trace.made.append(step)
            if self._keeper is not None:
                self._keeper.step(step)
            if self._on_step is not None:
                self._on_step(step)

    def _settle_here(self) -> None:
        """Settle for somebody who reads the steps; not on another thread than that of the steps."""
        if self._thread == threading.get_ident():
            self._settle()

    def _keep(self, module: Any, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        if not self._count():
            self._call.grid = token_grid(kwargs)
        self._passes.add(module, args, kwargs, output)

    def _before(self, scheduler: Any, args: tuple, kwargs: dict[str, Any]) -> Given | None:
        """Return what a step is given; None for one that is not of the path that is recorded."""
        call, trace, reasons = self._call, self.trace, self._reasons
        if not call.denoised:
            return None
        given = step_arguments(args, kwargs)
        if given is None:
            raise CapabilityError(
                f"The step of {type(scheduler).__name__} takes other arguments than a prediction, a timestep and a"
                " state, so its steps cannot be recorded."
            )
        sample, index = given.sample, self._count()
        if index and scheduler is not call.scheduler:
            held = call.scheduler is getattr(self._pipe, "scheduler", None)
            if held or sample.shape != call.shape:
                return None  # Beside the path: a look ahead with a copy, the path of a sound.
        call.scheduler, call.shape = scheduler, tuple(sample.shape)
        timesteps = getattr(scheduler, "timesteps", None)
        timestep = reasons.attempt("timestep", lambda: number(given.timestep, timesteps))
        level = reasons.attempt("sigma", lambda: schedule.level_at_call(scheduler, timestep))
        if not index:
            self._begin_path(scheduler, given, timestep, level)
        # The views of a panorama are steps of their own, which no schedule counts.
        trace.total_steps = max(trace.total_steps or 1, index + 1)
        # A learned variance beside the prediction is left out.
        cut = split_batch(given.model_output, len(sample), sample.shape)
        guided = cut[0] if cut else given.model_output
        factors = self._x0_factors(scheduler, given, level)
        noise_pred = None
        if self._capture.predictions or factors is not None:
            own = self._passes.sent(given.model_output) if guided.shape == given.model_output.shape else None
            noise_pred = own or arrays.send(guided)
        mixed = self._passes.take(given, guided, index)
        return Given(index, scheduler, timestep, self._start(sample, index), noise_pred, factors, mixed)

    def _begin_path(
        self, scheduler: Any, given: StepCall, timestep: float | None, level: schedule.NoiseLevel | None
    ) -> None:
        """Take in what is known at the first step."""
        trace, running = self.trace, self._pipe if self.watch is None else self.watch.running
        trace.initial_latents = to_numpy(given.sample)
        trace.initial_sigma = None if level is None else float(level.sigma)
        trace.total_steps = self._reasons.attempt(
            "total_steps", lambda: planned_steps(running, scheduler, timestep)
        )
        self._call.planned = trace.total_steps
        self._reasons.attempt("previews", lambda: self._describe_latents(given.sample))
        if self._texts is not None and (prompt := self._texts.unread()):
            trace.latent_provenance["prompt"] = prompt
        self._maker.begin(trace.initial_latents, self._linear, self._call.grid)

    def _start(self, sample: torch.Tensor, index: int) -> Sent | None:
        """Return the state that a step starts from, unless it is the very tensor that the step before returned."""
        call = self._call
        same = sample is call.returned and call.writes is not None and call.writes == writes_of(sample)
        return None if not index or same else arrays.send(sample)

    def _x0_factors(
        self, scheduler: Any, given: StepCall, level: schedule.NoiseLevel | None
    ) -> tuple[float, float] | None:
        """Return the coefficients of x0, where it is asked for and can be told."""
        if not self._capture.x0 and self._linear is None:
            return None
        if level is None:
            self.trace.missing.setdefault("x0_pred", self.trace.missing["sigma"])
            return None

        def look() -> tuple[float, float]:
            without_variance(scheduler, given.sample, given.model_output)
            return coefficients(scheduler, level)

        return self._reasons.attempt("x0_pred", look)

    def _describe_latents(self, sample: torch.Tensor) -> None:
        """Keep what makes pictures of the latents later."""
        grid, kept = self._call.grid, self.trace.latent_provenance
        if self._no_preview is not None and preview.are_pixels(self._pipe, sample):
            self._linear, self._no_preview = preview.PIXELS, None
            self.trace.missing.pop("previews", None)
        if self._linear is not None:
            kept["latent_rgb"] = self._linear.to_dict()
            kept |= describe_packing(self._pipe, sample, grid)
        elif sample.ndim == 3 and grid is not None and math.prod(grid) == sample.shape[1]:
            kept["latent_grid"] = list(grid)

    def _after(self, given: Given, sample: torch.Tensor) -> Seen:
        """Return the step that the scheduler has just made."""
        call, scheduler, total = self._call, given.scheduler, self.trace.total_steps
        sigma = self._reasons.attempt("sigma", lambda: float(schedule.sigma_after(scheduler, given.timestep)))
        call.returned, call.writes = sample, writes_of(sample)
        return Seen(given, sigma, arrays.send(sample), self._capture.wants_preview(given.index, total))


def planned_steps(pipe: Any, scheduler: Any, timestep: Any) -> int:
    """Return how many steps of the scheduler a call will make, at its first one.

    Most pipelines say so in ``_num_timesteps`` before their loop, however they shorten it; else the scheduler's list
    does, from the timestep on that comes first.
    """
    call = type(pipe).__call__
    while hasattr(call, "__wrapped__"):
        call = call.__wrapped__
    if "_num_timesteps" in getattr(getattr(call, "__code__", None), "co_names", ()):
        told = getattr(pipe, "_num_timesteps", None)
        if isinstance(told, int) and told > 0:
            return told
    return schedule.count_steps(scheduler, timestep)
