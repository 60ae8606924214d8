"""`observe`: record what a pipeline computes, step by step, and change nothing of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.capture import guidance, preview, schedule
from diffatlas.capture.arrays import to_numpy
from diffatlas.capture.attention import AttentionRecorder
from diffatlas.capture.attention_prompt import prompts_seen, text_of
from diffatlas.capture.calls import (
    DENOISERS,
    denoisers,
    first_tensor,
    prev_sample,
    split_batch,
    step_arguments,
    step_wrapped,
)
from diffatlas.capture.latent_grid import describe_packing, token_grid, unpack
from diffatlas.capture.spec import Capture
from diffatlas.capture.x0 import gain, predict_x0
from diffatlas.errors import CapabilityError
from diffatlas.events import Step
from diffatlas.geometry import path
from diffatlas.run import with_cosine_to_end

if TYPE_CHECKING:
    import torch

    from diffatlas.capture.attention_trace import AttentionTrace


@dataclass
class Trace:
    """What `observe` recorded of one pipeline call. All arrays are CPU NumPy with a leading batch axis B."""

    #: x_T, the state before the first step, as the pipeline holds it.
    initial_latents: np.ndarray | None = None
    #: Noise level of `initial_latents`, in the scheduler's own units (`diffatlas.capture.schedule`).
    initial_sigma: float | None = None
    #: Number of ``scheduler.step`` calls that the run makes (some schedulers make more than were asked for).
    total_steps: int | None = None
    steps: list[Step] = field(default_factory=list)
    #: Cosine of each step's latents to the last ones (first image); filled in when the context ends.
    cosine_to_end: list[float] = field(default_factory=list)
    #: What makes pictures of the stored latents without the pipeline: ``latent_rgb``, the fitted linear map
    #: ({"weight": (C, 3), "bias": (3,)}, where previews are on), and for packed latents ``latent_grid`` and
    #: ``latent_layout`` (`diffatlas.capture.latent_grid.describe_packing`). And ``attention``: the layers whose
    #: attention is read (`AttentionRecorder.describe`). Entries of a run's provenance.
    latent_provenance: dict[str, Any] = field(default_factory=dict)
    #: Whether the first of two predictions is the conditional one, and its sign, where whoever changes the guided
    #: prediction has seen the pipeline's own (`diffatlas.capture.guidance.cond_first`). Else it is found here.
    order: tuple[bool, float] | None = None

    @property
    def attention(self) -> AttentionTrace:
        """What was captured of the attention, as maps of tokens and words, and their measures.

        Raises `CapabilityError` where no attention was captured.
        """
        from diffatlas.capture.attention_trace import AttentionTrace

        return AttentionTrace.of(self)


@contextmanager
def observe(
    pipe: Any,
    capture: Capture | None = None,
    *,
    on_start: Callable[[Trace], None] | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Iterator[Trace]:
    """Record one call of a diffusers text-to-image pipeline made inside the context.

    The image is bit-identical to that of the plain call: raw predictions are read by a forward hook on the
    denoiser, the states by a wrapper around ``step`` of the scheduler instance. Both are gone when the
    context ends, also by an exception. A further call inside the same context begins the trace anew.

    pipe: any pipeline with a ``unet`` or ``transformer`` and a ``scheduler`` with a ``step``.
    capture: what to keep; `Capture()` where None.
    on_start: called with the trace when x_T and the number of steps are known, at the first
        ``scheduler.step``.
    on_step: called with each `Step`, right after it. Both run on the pipeline's thread, and what they raise
        ends the pipeline call.

    `Step.sigma` is the level of the state after the step, 0 after the last. `Step.cond_pred` and
    `Step.uncond_pred` have the form of `Step.noise_pred`: a learned variance is left out, and the sign is
    the scheduler's where a pipeline negates its model. `Step.x0_pred` is float32.

    Attention is read at its own call, on the thread that entered the context, which must be that of the pipeline.
    Two threads may run one denoiser at once, but need a scheduler and a tokenizer each: both keep state between calls.

    Raises `CapabilityError` where the pipeline has no such parts or no attention layer that is asked for, and inside
    the pipeline call where the scheduler's noise levels are not known, or x0, a preview or attention is asked of what
    allows none.
    """
    capture = Capture() if capture is None else capture
    observed = denoisers(pipe)
    scheduler = getattr(pipe, "scheduler", None)
    if not observed or not callable(getattr(scheduler, "step", None)):
        raise CapabilityError(
            f"{type(pipe).__name__} has no denoiser and scheduler of the kind that can be observed:"
            f" one of {', '.join(DENOISERS)} and a scheduler with a step are needed."
        )
    attention = None if capture.attention == "off" else AttentionRecorder(capture, observed)
    recorder = _Recorder(pipe, capture, on_start, on_step, attention)
    with ExitStack() as stack:
        for denoiser in observed:
            hook = denoiser.register_forward_hook(recorder.after_denoiser, with_kwargs=True)
            stack.callback(hook.remove)
        if attention is not None:
            stack.enter_context(attention.watching(recorder.coming_step))
            stack.enter_context(prompts_seen(pipe, recorder.see_prompt))
        stack.enter_context(step_wrapped(scheduler, recorder.around_step))
        stack.callback(recorder.finish)
        yield recorder.trace


class _Recorder:
    """Turns denoiser outputs and scheduler steps into the steps of a trace."""

    def __init__(
        self,
        pipe: Any,
        capture: Capture,
        on_start: Callable[[Trace], None] | None,
        on_step: Callable[[Step], None] | None,
        attention: AttentionRecorder | None = None,
    ) -> None:
        self.trace = Trace()
        self._attention = attention
        #: What the pipeline has encoded since the last run began; a negative prompt follows the prompt.
        self._prompts: list[Any] = []
        self._pipe = pipe
        self._capture = capture
        self._on_start = on_start
        self._on_step = on_step
        #: Predictions of the denoiser calls since the last scheduler step.
        self._outputs: list[torch.Tensor] = []
        #: (rows, columns) of packed latents.
        self._grid: tuple[int, int] | None = None
        #: Fitted whatever decoder the previews use: the run's other latents are pictured with it later.
        self._linear = preview.linear_map(pipe) if capture.previews != "off" else None
        self._reset()

    def _reset(self) -> None:
        self.trace.steps.clear()
        self.trace.cosine_to_end.clear()
        self.trace.latent_provenance.clear()
        #: (whether the first of two predictions is the conditional one, sign), once it is known.
        self._order: tuple[bool, float] | None = None
        #: First image of every recorded state, x_T first, for the metrics.
        self._path: list[np.ndarray] = []

    def after_denoiser(self, module: Any, args: tuple, kwargs: Mapping[str, Any], output: Any) -> None:
        """Forward hook: keep the raw prediction of a denoiser call."""
        if self._before_first_step:
            self._grid = token_grid(kwargs)
        # Which half is the conditional one is told from them.
        needs_order = self._attention is not None and self.trace.order is None and self._order is None
        if self._capture.predictions or self._capture.metrics or needs_order:
            prediction = first_tensor(output)
            if prediction is not None:
                # A pipeline may go on to write into it.
                self._outputs.append(prediction.detach().clone())

    def around_step(
        self, scheduler: Any, step: Callable[..., Any], args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        """Run ``scheduler.step`` as called, and record what goes in and what comes out."""
        model_output, timestep, sample = step_arguments(args, kwargs)
        if self._before_first_step:
            self._reset()
            self._begin(scheduler, timestep, sample)
        noise_pred = to_numpy(model_output) if self._wants_predictions else None
        x0_pred, x0_gain = self._x0(scheduler, timestep, sample, model_output)

        result = step(*args, **kwargs)

        self._record(scheduler, timestep, prev_sample(result), noise_pred, x0_pred, x0_gain)
        return result

    def finish(self) -> None:
        """Add to the steps what only the end can tell."""
        if self._capture.metrics and self.trace.steps:
            cosines = [float(path.cosine(x, self._path[-1])[0]) for x in self._path[1:]]
            self.trace.cosine_to_end[:] = cosines
            self.trace.steps[:] = with_cosine_to_end(tuple(self.trace.steps), cosines)

    def see_prompt(self, prompt: Any) -> None:
        """The pipeline encodes a prompt."""
        self._prompts.append(prompt)

    def coming_step(self) -> tuple[int, int | None, bool]:
        """Return the index of the coming step, the number of steps where it is known, and whether it begins a run."""
        if self._before_first_step:
            return 0, None, True
        return len(self.trace.steps), self.trace.total_steps, False

    @property
    def _before_first_step(self) -> bool:
        return len(self.trace.steps) in (0, self.trace.total_steps)

    @property
    def _wants_predictions(self) -> bool:
        return self._capture.predictions or len(self._outputs) > 0

    def _begin(self, scheduler: Any, timestep: Any, sample: torch.Tensor) -> None:
        trace = self.trace
        trace.initial_latents = to_numpy(sample)
        trace.initial_sigma = schedule.level_at_call(scheduler, timestep).sigma
        trace.total_steps = schedule.count_steps(scheduler)
        if self._linear is not None:
            trace.latent_provenance["latent_rgb"] = self._linear.to_dict()
            trace.latent_provenance |= describe_packing(self._pipe, sample, self._grid)
        elif sample.ndim == 3 and self._grid is not None and math.prod(self._grid) == sample.shape[1]:
            trace.latent_provenance["latent_grid"] = list(self._grid)
        if self._attention is not None:
            trace.latent_provenance["attention"] = self._describe_attention()
        self._path.append(trace.initial_latents[:1])
        if self._on_start is not None:
            self._on_start(trace)

    def _x0(
        self, scheduler: Any, timestep: Any, sample: torch.Tensor, model_output: torch.Tensor
    ) -> tuple[np.ndarray, float] | tuple[None, None]:
        index, total = len(self.trace.steps), self.trace.total_steps
        if not self._capture.x0 and not self._capture.wants_preview(index, total):
            return None, None
        level = schedule.level_at_call(scheduler, timestep)
        return to_numpy(predict_x0(scheduler, sample, model_output, level)), gain(scheduler, level)

    def _record(
        self,
        scheduler: Any,
        timestep: Any,
        sample: torch.Tensor,
        noise_pred: np.ndarray | None,
        x0_pred: np.ndarray | None,
        x0_gain: float | None,
    ) -> None:
        capture, trace = self._capture, self.trace
        index, total = len(trace.steps), trace.total_steps
        latents = to_numpy(sample)
        cond_pred, uncond_pred = self._split(noise_pred, len(latents))
        metrics = {}
        if capture.metrics:
            metrics = path.step_metrics(latents, self._path[-1], self._path[0], cond_pred, uncond_pred)
            self._path.append(latents[:1])
        keep_preds = capture.predictions
        step = Step(
            index=index,
            timestep=float(timestep),
            sigma=schedule.sigma_after(scheduler, timestep, is_last=index == total - 1),
            latents=latents if capture.latents else None,
            noise_pred=noise_pred if keep_preds else None,
            cond_pred=cond_pred if keep_preds else None,
            uncond_pred=uncond_pred if keep_preds else None,
            x0_pred=x0_pred if capture.x0 else None,
            metrics=metrics,
            preview=self._preview(scheduler, x0_pred) if capture.wants_preview(index, total) else None,
            x0_gain=x0_gain if capture.x0 else None,
            attention=self._take_attention(len(latents)),
        )
        trace.steps.append(step)
        if self._on_step is not None:
            self._on_step(step)

    def _describe_attention(self) -> dict[str, Any]:
        described = self._attention.describe()
        lengths = [layer["tokens"] for layer in described["layers"] if layer["kind"] == "cross"]
        prompts, self._prompts = self._prompts, []
        text = text_of(self._pipe, prompts[0], lengths[0]) if prompts and lengths else None
        return described if text is None else described | {"text": text}

    def _take_attention(self, batch: int) -> dict[str, np.ndarray] | None:
        if self._attention is None:
            return None
        order = self.trace.order or self._order
        return self._attention.take(batch, None if order is None else order[0])

    def _split(self, guided: np.ndarray | None, batch: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return (cond, uncond) from the denoiser's outputs since the last step, or (None, None)."""
        outputs, self._outputs = self._outputs, []
        if guided is None:
            return None, None
        predictions = [
            np.ascontiguousarray(part)
            for output in outputs
            for part in split_batch(to_numpy(output), batch, guided.shape)
        ]
        if len(predictions) < 2:
            return None, None
        if self.trace.order is None and self._order is None:
            weights = guidance.fit_weights(guided, predictions)
            if weights is not None:
                self._order = guidance.cond_first(weights)
        # Where the two do not differ, either order is right: take that of most pipelines.
        first_is_cond, sign = self.trace.order or self._order or (len(outputs) > 1, 1.0)
        cond, uncond = predictions[:2] if first_is_cond else predictions[1::-1]
        return (cond, uncond) if sign > 0 else (-cond, -uncond)

    def _preview(self, scheduler: Any, x0_pred: np.ndarray) -> np.ndarray:
        import torch

        x0 = torch.from_numpy(x0_pred / np.float32(schedule.latent_scale(scheduler)))
        grid = unpack(self._pipe, x0, self._grid)
        if self._capture.preview_decoder == "linear":
            pictures = self._linear(grid.numpy())
        else:
            pictures = preview.decode(self._pipe, grid)
        size = self._capture.preview_size
        return pictures if size is None else preview.resize(pictures, size)
