"""`observe`: record what a pipeline computes, step by step, and change nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from diffatlas.capture.attention import AttentionRecorder
from diffatlas.capture.calls import DENOISERS, denoisers, schedulers, watch
from diffatlas.capture.keeper import Keeper
from diffatlas.capture.recorder import Recorder
from diffatlas.capture.spec import Capture
from diffatlas.capture.texts import TextRecorder
from diffatlas.capture.trace import Trace
from diffatlas.errors import CapabilityError
from diffatlas.events import Event, Step

__all__ = ["Trace", "observe"]


@contextmanager
def observe(
    pipe: Any,
    capture: Capture | None = None,
    *,
    on_start: Callable[[Trace], None] | None = None,
    on_step: Callable[[Step], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
    name: str | None = None,
    keep: bool = True,
) -> Iterator[Trace]:
    """Record the calls of a diffusers image pipeline made inside the context; the trace is that of the last one.

    The image is bit-identical to that of the plain call. Looked at are the calls of the pipeline, of its denoisers and
    of ``step`` of whatever scheduler it uses (`diffatlas.capture.calls.watch`); all of it ends with the context, also
    by an exception. A call of the pipeline inside a call of it (by a callback) is not recorded.

    pipe: any pipeline with a denoiser (``unet``, ``transformer``, ``prior``, ``decoder``) and a ``scheduler`` with a
        ``step``.
    capture: what to keep; `Capture()` where None.
    on_start: called with the trace when x_T and the number of steps are known, at the first
        ``scheduler.step``.
    on_step: called with each `Step`, right after it; on a GPU once the next call of the denoiser has been launched, so
        that the GPU goes on meanwhile. Both run on the pipeline's thread, and what they raise ends the pipeline call.
    on_event: called with each event of the run that a call is (`Started`, `Step`, `Image`, `Finished` or `Failed`).
    name: what the pipeline is called in its runs; its folder, its id on the Hub or its class where None.
    keep: whether to note what was asked, what came out and what it ran on, which `Trace.run` needs.

    `Step.sigma` is the level of the state after the step, 0 where the schedule ends. `Step.cond_pred`,
    `Step.uncond_pred` and `Step.other_preds` have the form of `Step.noise_pred`: a learned variance is left out, and
    the sign is the scheduler's where a pipeline negates its model. `Step.x0_pred` is float32. The preview that the last
    step of a call that ended early was not due is added when the call ends.

    What cannot be had is absent, and `Trace.missing` says why; the pipeline's call goes on. Two threads may run one
    denoiser at once, but need a scheduler and a tokenizer each: both keep state between calls.

    Raises `CapabilityError` where the pipeline has no such parts or no attention layer that is asked for, and at the
    end of the context where the last call went through without a step that could be seen.
    """
    capture = Capture() if capture is None else capture
    observed = denoisers(pipe)
    if not observed or not schedulers(pipe):
        names = ", ".join(name for row in DENOISERS for name in row)
        raise CapabilityError(
            f"{type(pipe).__name__} has no denoiser and scheduler of the kind that can be observed: one of {names} and"
            " a scheduler with a step are needed."
        )
    attention = AttentionRecorder(capture, observed) if capture.attention != "off" else None
    texts = TextRecorder(pipe, states=attention is not None)
    keeper = Keeper(pipe, capture, name, on_event) if keep else None
    recorder = Recorder(pipe, capture, on_start, on_step, attention, texts, keeper)
    with ExitStack() as stack:
        for looking in (attention, texts):
            if looking is not None:
                stack.enter_context(looking.watching())
        recorder.watch = stack.enter_context(
            watch(
                pipe, call=recorder.around_call, denoiser=recorder.around_denoiser, step=recorder.around_step
            )
        )
        stack.callback(recorder.leave)
        yield recorder.trace
    if recorder.unseen is not None:
        raise CapabilityError(recorder.unseen)
