"""Turns a pipeline's denoiser calls and scheduler steps into the steps of a trace."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from diffatlas.capture import preview, schedule
from diffatlas.capture.arrays import to_numpy
from diffatlas.capture.calls import StepCall, Watch, first_tensor, prev_sample, split_batch, step_arguments
from diffatlas.capture.latent_grid import describe_packing, token_grid, unpack
from diffatlas.capture.roles import Part, Pass, RoleFinder, Roles, parts_of
from diffatlas.capture.spec import Capture
from diffatlas.capture.text_inputs import given_texts
from diffatlas.capture.trace import Trace
from diffatlas.capture.x0 import gain, predict_x0
from diffatlas.errors import CapabilityError, DiffAtlasError
from diffatlas.events import Step
from diffatlas.geometry import path
from diffatlas.run import with_cosine_to_end

if TYPE_CHECKING:
    import torch

    from diffatlas.capture.attention import AttentionRecorder
    from diffatlas.capture.keeper import Keeper
    from diffatlas.capture.texts import TextRecorder

log = logging.getLogger("diffatlas")
#: Denoiser calls that are held for one step of the scheduler; a pipeline that makes more steps in another way.
MOST_PASSES = 256
_T = TypeVar("_T")


@dataclass
class _Call:
    """What is known of the pipeline call that is running."""

    #: Denoiser calls since the last step, and whether there was any at all.
    passes: list[Pass] = field(default_factory=list)
    denoised: bool = False
    roles: RoleFinder = field(default_factory=RoleFinder)
    #: Of the steps that are recorded: their scheduler and the shape of their states.
    scheduler: Any = None
    shape: tuple[int, ...] = ()
    #: The state that the last step returned: as it was, and the tensor with its count of writes.
    last: np.ndarray | None = None
    returned: tuple[torch.Tensor, int | None] | None = None
    #: First image of every recorded state, x_T first, for the metrics.
    path: list[np.ndarray] = field(default_factory=list)
    #: (rows, columns) of packed latents.
    grid: tuple[int, int] | None = None
    #: The texts of the conditional pass of the first step, whose words are told.
    texts: list[torch.Tensor] = field(default_factory=list)
    #: Scheduler and x0 of the last step, where it was not due a preview.
    not_shown: tuple[Any, np.ndarray] | None = None


@dataclass(frozen=True)
class _Given:
    """What a step was made of, as it is known before it is made."""

    first: bool
    timestep: Any
    #: The state that it starts from, and whether that is another one than the step before returned.
    start: np.ndarray
    changed: bool
    #: Fields of `Step`.
    fields: Mapping[str, Any]


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
        self.trace = Trace(keeper=keeper)
        self._keeper = keeper
        self.watch: Watch | None = None
        #: Why the last call went through without a step that was seen; None where there was one, or no call.
        self.unseen: str | None = None
        self._pipe, self._capture = pipe, capture
        self._on_start, self._on_step = on_start, on_step
        self._attention, self._texts = attention, texts
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
        self._begin()

    def around_call(self, pipe: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run a call of the pipeline: it begins and ends here, however many steps it makes."""
        self._begin()
        self._calling = True
        try:
            if self._keeper is not None:
                self._attempt("call", lambda: self._keeper.begin(pipe, args, kwargs))
            result = proceed(*args, **kwargs)
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
        if not self.trace.steps:
            self.unseen = self.trace.missing.get("steps") or (
                f"{type(pipe).__name__} made no step of a scheduler after a call of its denoiser, so there are no"
                " steps to record: its loop is of another kind."
            )
        return result

    def around_denoiser(
        self, module: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        """Run a call of a denoiser, and keep its prediction until the step that is made of it."""
        if not self._calling and len(self.trace.steps) == self.trace.total_steps:
            self._begin()  # A loop of somebody's own has no call that says where it begins.
        reading: AbstractContextManager[None] = nullcontext()
        if self._attention is not None:
            index, total = len(self.trace.steps), self.trace.total_steps
            begins, self._call.denoised = not self._call.denoised, True
            reading = self._attention.reading(module, args, kwargs, index, total, begins)
        with reading:
            output = proceed(*args, **kwargs)
        self._attempt("noise_pred", lambda: self._keep(module, args, kwargs, output))
        return output

    def around_step(
        self, scheduler: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        """Run ``scheduler.step`` as called, and record what goes in and what comes out."""
        given = self._attempt("steps", lambda: self._before(scheduler, args, kwargs))
        if given is not None and given.first:
            if self._keeper is not None:
                self._keeper.started(self.trace)
            if self._on_start is not None:
                self._on_start(self.trace)
        result = proceed(*args, **kwargs)
        if given is None:
            return result
        step = self._attempt("steps", lambda: self._after(scheduler, given, prev_sample(result)))
        if step is not None:
            self.trace.steps.append(step)
            if self._keeper is not None:
                self._keeper.step(step)
            if self._on_step is not None:
                self._on_step(step)
        return result

    def leave(self) -> None:
        """End what the context's end ends: a loop of somebody's own."""
        self.end()
        if self._keeper is not None:
            self._keeper.left(self.trace)

    def end(self) -> None:
        """Add to the steps what only the end of a call can tell."""
        call, steps = self._call, self.trace.steps
        if steps and call.not_shown is not None:
            scheduler, x0_pred = call.not_shown
            pictures = self._attempt("previews", lambda: self._preview(scheduler, x0_pred))
            steps[-1] = replace(steps[-1], preview=pictures)
        if steps and call.path and not self.trace.cosine_to_end:
            cosines = self._attempt(
                "cosine_to_end", lambda: [float(path.cosine(x, call.path[-1])[0]) for x in call.path[1:]]
            )
            if cosines is not None:
                self.trace.cosine_to_end[:] = cosines
                steps[:] = with_cosine_to_end(tuple(steps), cosines)
        if self.watch is not None and self.watch.beside:
            self.watch.beside = False
            self._miss(
                "calls",
                CapabilityError(
                    "Another call of this pipeline ran at the same time on a second thread and was not recorded: make"
                    " the calls one after another."
                ),
            )
        # No tensor of a call that is over is kept alive.
        call.passes, call.returned, call.not_shown, call.roles, call.texts = [], None, None, RoleFinder(), []

    def _begin(self) -> None:
        """Forget the call before."""
        self.unseen = None
        self.trace.clear()
        if self._keeper is not None:
            self._keeper.forget()
        self._call = _Call()
        if self._no_preview is not None:
            self._miss("previews", self._no_preview)

    def _keep(self, module: Any, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        call, capture = self._call, self._capture
        call.denoised = True
        if not self.trace.steps:
            call.grid = token_grid(kwargs)
        if not (capture.predictions or capture.metrics or self._attention is not None):
            return
        if len(call.passes) >= MOST_PASSES:
            call.passes.clear()
            if self._attention is not None:
                self._attention.take(1, None, None)
        prediction = first_tensor(output)
        if prediction is not None:
            # A pipeline may go on to write into it.
            call.passes.append(Pass(module, args, kwargs, prediction.detach().clone()))

    def _before(self, scheduler: Any, args: tuple, kwargs: dict[str, Any]) -> _Given | None:
        """Return what a step is given; None for one that is not of the path that is recorded."""
        call, trace = self._call, self.trace
        if not call.denoised:
            return None
        given = step_arguments(args, kwargs)
        if given is None:
            raise CapabilityError(
                f"The step of {type(scheduler).__name__} takes other arguments than a prediction, a timestep and a"
                " state, so its steps cannot be recorded."
            )
        sample, first = given.sample, not trace.steps
        if not first and scheduler is not call.scheduler:
            held = call.scheduler is getattr(self._pipe, "scheduler", None)
            if held or sample.shape != call.shape:
                return None  # Beside the path: a look ahead with a copy, the path of a sound.
        call.scheduler, call.shape = scheduler, tuple(sample.shape)
        start = to_numpy(sample) if first else self._changed(sample)
        level = self._attempt("sigma", lambda: schedule.level_at_call(scheduler, given.timestep))
        if first:
            running = self._pipe if self.watch is None else self.watch.running
            trace.initial_latents = start
            trace.initial_sigma = None if level is None else float(level.sigma)
            trace.total_steps = self._attempt(
                "total_steps", lambda: planned_steps(running, scheduler, given.timestep)
            )
            self._attempt("previews", lambda: self._describe_latents(sample))
            if self._texts is not None and (prompt := self._texts.unread()):
                trace.latent_provenance["prompt"] = prompt
        # The views of a panorama are steps of their own, which no schedule counts.
        trace.total_steps = max(trace.total_steps or 1, len(trace.steps) + 1)
        fields = self._x0_fields(scheduler, given, level) | self._prediction_fields(given)
        changed = start is not None and not first
        return _Given(first, given.timestep, call.last if start is None else start, changed, fields)

    def _changed(self, sample: torch.Tensor) -> np.ndarray | None:
        """Return the state that a step is given where it is not the one that the step before returned."""
        last, (returned, writes) = self._call.last, self._call.returned or (None, None)
        if sample is returned and writes is not None and writes == _writes(sample):
            return None
        state = to_numpy(sample)
        if state.shape == last.shape and np.array_equal(state, last.astype(state.dtype), equal_nan=True):
            return None
        return state

    def _x0_fields(self, scheduler: Any, given: StepCall, level: Any) -> dict[str, Any]:
        """Return x0 and its gain, where they are asked for and can be told."""
        if not self._capture.x0 and self._linear is None:
            return {}
        if level is None:
            self.trace.missing.setdefault("x0_pred", self.trace.missing["sigma"])
            return {}
        x0 = self._attempt(
            "x0_pred", lambda: to_numpy(predict_x0(scheduler, given.sample, given.model_output, level))
        )
        return {} if x0 is None else {"x0_pred": x0, "x0_gain": gain(scheduler, level)}

    def _prediction_fields(self, given: StepCall) -> dict[str, Any]:
        """Return the predictions by their roles, and the attention of the passes that guidance mixed."""
        call, capture = self._call, self._capture
        fields: dict[str, Any] = {}
        # A learned variance beside the prediction is left out.
        cut = split_batch(given.model_output, len(given.sample), given.sample.shape)
        guided = cut[0] if cut else given.model_output
        if capture.predictions:
            fields["noise_pred"] = to_numpy(guided)
        parts = parts_of(call.passes, len(given.sample), given.sample.shape)
        call.passes = []
        roles, self.trace.roles = self.trace.roles, None
        if roles is None or len(roles.names) != len(parts):
            roles = self._attempt("cond_pred", lambda: call.roles.find(guided, parts)) if parts else None
        if roles is not None and roles.guided:
            named = {
                name: _signed(part.prediction, roles.sign)
                for name, part in zip(roles.names, parts, strict=True)
                if name is not None
            }
            fields |= {"cond_pred": named.pop("cond", None), "uncond_pred": named.pop("uncond", None)}
            fields["other_preds"] = named
        elif roles is None and len(parts) > 1:
            self.trace.missing.setdefault(
                "cond_pred",
                "The scheduler received something else than a mixture that is known of the denoiser's passes, so it"
                " cannot be told which of them is the conditional one.",
            )
        elif not self.trace.steps and len(parts) == 1 and _is_doubled(given, parts[0]):
            self.trace.missing["cond_pred"] = (
                "The scheduler is given the same state twice, as one batch, so that the passes of guidance cannot be"
                " told from images: states and predictions have twice as many rows as there are images."
            )
        if self._attention is not None:
            fields["attention"] = self._attempt("attention", lambda: self._attention_of(given, parts, roles))
        return fields

    def _attention_of(
        self, given: StepCall, parts: list[Part], roles: Roles | None
    ) -> dict[str, np.ndarray] | None:
        """Return the attention since the last step; at the first one describe its layers and words too."""
        cond, uncond = (None, None) if roles is None else (roles.index("cond"), roles.index("uncond"))
        if not self.trace.steps:
            described = self._attempt("attention", self._attention.describe)
            if described is not None:
                described = described | self._words(described, parts, cond, uncond)
                self.trace.latent_provenance["attention"] = described
                if cond is not None and "text" in described:
                    # Copies: a callback may write into them.
                    self._call.texts = [text.detach().clone() for text in _texts(parts[cond])]
        elif self._call.texts and cond is not None:
            self._see_new_text(_texts(parts[cond]))
        taken = self._attention.take(len(given.sample), cond, uncond)
        if cond is None and "attention" in self.trace.latent_provenance and parts:
            raise CapabilityError(
                "At some steps it cannot be told which of the denoiser's passes is the conditional one, so their"
                " attention is left out."
            )
        return None if taken is None else {key: maps.array() for key, maps in taken.items()}

    def _see_new_text(self, texts: list[torch.Tensor]) -> None:
        """Say where a callback has given the model another text than that whose words are told."""
        import torch

        first = self._call.texts
        if len(texts) != len(first) or not all(torch.equal(a, b) for a, b in zip(texts, first, strict=True)):
            self.trace.missing.setdefault(
                "text",
                f"The model was given another text from step {len(self.trace.steps) + 1} on: the words of its attention"
                " are those of the first step.",
            )

    def _words(
        self, described: Mapping[str, Any], parts: list[Part], cond: int | None, uncond: int | None
    ) -> dict[str, Any]:
        """Return the words of the keys, as entries of ``provenance["attention"]``; nothing where they are not known."""
        from diffatlas.capture.texts import describe_texts

        lengths = [layer["tokens"] for layer in described["layers"] if layer["kind"] == "cross"]
        if not lengths or self._texts is None:
            return {}
        tables: list[Any] = []
        for number in (cond, uncond):
            if number is None:
                tables.append(None)
                continue
            source, rows = parts[number].source, parts[number].rows
            samples = range(*rows.indices(len(source.output)))
            tables.append(self._texts.tables(source.module, source.args, source.kwargs, samples, lengths[0]))
        return describe_texts(*tables)

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

    def _after(self, scheduler: Any, given: _Given, sample: torch.Tensor) -> Step:
        """Return the step that has just been made."""
        call, capture, trace = self._call, self._capture, self.trace
        index, total = len(trace.steps), trace.total_steps
        fields, latents = dict(given.fields), to_numpy(sample)
        metrics: dict[str, float] = {}
        if capture.metrics:
            if not call.path:
                call.path.append(given.start[:1])
            before = call.last if given.changed else None
            metrics = path.step_metrics(
                latents, given.start, call.path[0], fields.get("cond_pred"), fields.get("uncond_pred"), before
            )
            call.path.append(latents[:1])
        call.last, call.returned = latents, (sample, _writes(sample))
        x0_pred, pictures = fields.get("x0_pred"), None
        call.not_shown = None
        if x0_pred is not None and self._linear is not None:
            if capture.wants_preview(index, total):
                pictures = self._attempt("previews", lambda: self._preview(scheduler, x0_pred))
            else:
                call.not_shown = (scheduler, x0_pred)
        if not capture.predictions:
            for name in ("noise_pred", "cond_pred", "uncond_pred", "other_preds"):
                fields.pop(name, None)
        if not capture.x0:
            fields.pop("x0_pred", None)
            fields.pop("x0_gain", None)
        timestep = self._attempt("timestep", lambda: float(given.timestep))
        return Step(
            index=index,
            timestep=math.nan if timestep is None else timestep,
            sigma=self._attempt("sigma", lambda: float(schedule.sigma_after(scheduler, given.timestep))),
            latents=latents if capture.latents else None,
            metrics=metrics,
            preview=pictures,
            start_latents=given.start if given.changed and capture.latents else None,
            **fields,
        )

    def _preview(self, scheduler: Any, x0_pred: np.ndarray) -> np.ndarray:
        import torch

        x0 = torch.from_numpy(x0_pred / np.float32(schedule.latent_scale(scheduler)))
        if self._linear is preview.PIXELS:
            pictures = preview.PIXELS(x0.numpy())
        elif self._capture.preview_decoder == "linear":
            pictures = self._linear(unpack(self._pipe, x0, self._call.grid).numpy())
        else:
            pictures = preview.decode(self._pipe, unpack(self._pipe, x0, self._call.grid))
        size = self._capture.preview_size
        return pictures if size is None else preview.resize(pictures, size)

    def _attempt(self, name: str, make: Callable[[], _T]) -> _T | None:
        """Return what ``make`` gives, or None where it fails: the pipeline's call goes on, and the reason is kept."""
        try:
            return make()
        except Exception as error:
            self._miss(name, error)
            return None

    def _miss(self, name: str, error: Exception) -> None:
        if name not in self.trace.missing:
            log.warning("Not recorded (%s): %s", name, error, exc_info=not isinstance(error, DiffAtlasError))
        self.trace.missing.setdefault(name, _sentence(error))


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


def _texts(part: Part) -> list[torch.Tensor]:
    source = part.source
    rows = range(*part.rows.indices(len(source.output)))
    return given_texts(source.module, source.args, source.kwargs, rows)


def _is_doubled(given: StepCall, part: Part) -> bool:
    """Whether a batch is the two passes of guidance for the same images, mixed to the same prediction (DiT)."""
    import torch

    half = len(given.sample) // 2
    if part.prediction is None or not half or len(given.sample) % 2:
        return False
    same = [torch.equal(x[:half], x[half:]) for x in (given.sample, given.model_output, part.prediction)]
    return same == [True, True, False]


def _signed(prediction: torch.Tensor, sign: float) -> np.ndarray:
    array = to_numpy(prediction)
    return array if sign > 0 else -array


def _writes(tensor: torch.Tensor) -> int | None:
    """How often a tensor was written to; None for one of inference mode, which does not count."""
    return None if tensor.is_inference() else tensor._version


def _sentence(error: Exception) -> str:
    if isinstance(error, DiffAtlasError):
        return error.message
    lines = str(error).strip().splitlines()
    return f"It could not be derived here ({type(error).__name__}: {(lines[0] if lines else 'no message')[:200]})."
