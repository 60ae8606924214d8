"""Another guided prediction for each sample, in place of the one that the pipeline makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffatlas.capture import schedule
from diffatlas.capture.calls import (
    denoisers,
    first_tensor,
    split_batch,
    step_arguments,
    step_wrapped,
    with_model_output,
)
from diffatlas.errors import CapabilityError
from diffatlas.steering.form import Form, find_form
from diffatlas.steering.methods import GuidancePlan, Guide
from diffatlas.steering.perturb import perturbed, take_rows

if TYPE_CHECKING:
    import torch

    from diffatlas.capture.observer import Trace


def own_scale(plans: Sequence[GuidancePlan]) -> float:
    """Return the scale to call a pipeline with, of which `steer_guidance` then makes all of ``plans``.

    The first one above 1, of a plain plan if there is one, so that its samples need no change; else the largest.
    """
    above = [plan for plan in plans if plan.scale > 1]
    plain = [plan for plan in above if plan.method is None]
    return (plain or above or [max(plans, key=lambda plan: plan.scale)])[0].scale


@contextmanager
def steer_guidance(
    pipe: Any, plans: Sequence[GuidancePlan], scale: float, trace: Trace | None = None
) -> Iterator[None]:
    """Guide each sample of one pipeline call by its own plan.

    plans: one per sample of the call, in order.
    scale: the guidance scale that the pipeline is called with (`own_scale`).
    trace: of an `observe` around this context, so that it sees raw predictions in their right order; its
        `Step.noise_pred` is then what the scheduler really received.

    The pipeline's own guided prediction says which prediction is which and by what formula it was made
    (`find_form`); that of a plain sample at the pipeline's own scale is left as it is, bit for bit. Scales up to 1
    mean the conditional prediction alone, as in diffusers. Guidance that is an input of the model (FLUX.1 dev) is
    changed there.

    Raises, inside the pipeline call and before its first step, `CapabilityError`: a method is asked of a model that
    makes one prediction (field "guidance_method"), or several scales of a pipeline whose formula is not known (field
    "batch": they can be run one by one).
    """
    if all(plan == GuidancePlan(scale) for plan in plans):
        yield
        return
    steering = _Steering(plans, scale, trace)
    with ExitStack() as stack:
        for denoiser in denoisers(pipe):
            before = denoiser.register_forward_pre_hook(steering.before_denoiser, with_kwargs=True)
            stack.callback(before.remove)
            after = denoiser.register_forward_hook(steering.after_denoiser, with_kwargs=True)
            stack.callback(after.remove)
        stack.enter_context(step_wrapped(pipe.scheduler, steering.around_step))
        yield


@dataclass(frozen=True)
class _Call:
    """One call of a denoiser, and what it predicted."""

    denoiser: Any
    args: tuple
    kwargs: Mapping[str, Any]
    output: torch.Tensor


class _Steering:
    """Collects a step's denoiser calls, and replaces what the scheduler is given."""

    def __init__(self, plans: Sequence[GuidancePlan], scale: float, trace: Trace | None) -> None:
        self._plans = tuple(plans)
        self._scale = scale
        self._trace = trace
        self._guides = [Guide(plan) for plan in plans]
        #: Calls since the last step of the scheduler.
        self._calls: list[_Call] = []
        self._form: Form | None = None
        self._steps = 0

    def before_denoiser(self, module: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Forward pre-hook: give each sample its own guidance where that is an input of the model."""
        embedded = kwargs.get("guidance")
        if embedded is None or not getattr(embedded, "ndim", 0) or len(embedded) != len(self._plans):
            return None
        ratios = [plan.scale / self._scale if self._scale else 1.0 for plan in self._plans]
        return args, {**kwargs, "guidance": embedded * embedded.new_tensor(ratios)}

    def after_denoiser(self, module: Any, args: tuple, kwargs: Mapping[str, Any], output: Any) -> None:
        """Forward hook: keep the call."""
        prediction = first_tensor(output)
        if prediction is not None:
            # A pipeline may go on to write into it.
            self._calls.append(_Call(module, args, kwargs, prediction.detach().clone()))

    def around_step(
        self, scheduler: Any, step: Callable[..., Any], args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        """Give ``scheduler.step`` the prediction that each plan asks for."""
        model_output, _, sample = step_arguments(args, kwargs)
        calls, self._calls = self._calls, []
        total = schedule.count_steps(scheduler)
        if len(sample) != len(self._plans):
            raise CapabilityError(
                f"The pipeline runs a batch of {len(sample)} where {len(self._plans)} were asked for: run one by one.",
                field="batch",
            )
        guided = self._guided(calls, model_output, self._steps, total)
        self._steps += 1
        args, kwargs = with_model_output(args, kwargs, guided.to(model_output.dtype))
        return step(*args, **kwargs)

    def _guided(self, calls: Sequence[_Call], own: torch.Tensor, index: int, total: int) -> torch.Tensor:
        """Return the prediction for the scheduler."""
        import torch

        predictions = [p for call in calls for p in split_batch(call.output, len(own), own.shape)]
        if not predictions:
            raise CapabilityError(
                "What this model predicts does not have the form that its scheduler receives, so its guidance cannot "
                "be changed.",
                field="batch" if len(self._plans) > 1 else "guidance_method",
            )
        if len(predictions) < 2:
            self._check_single(calls, index)
            cond, uncond, form = own, None, None
        else:
            self._form = self._form or self._find_form(predictions, own)
            # Where the two do not differ, either order is right: take that of most pipelines.
            form = self._form or Form(len(calls) > 1, _sign(predictions[0], own))
            cond, uncond = predictions[:2] if form.cond_first else predictions[1::-1]
            cond, uncond = form.sign * cond, form.sign * uncond
        wanted = {guide.plan.method for guide in self._guides if guide.wants_perturbed(index, total)}
        worse = {method: self._perturbed(method, calls, form, own, predictions) for method in wanted}
        rows = []
        for i, guide in enumerate(self._guides):
            row = slice(i, i + 1)
            c, u = cond[row], None if uncond is None else uncond[row]
            plain, scale = own[row], guide.plan.scale
            if form is not None:
                if form.scale(scale) <= 1:
                    plain, u = c, None
                elif scale != self._scale:
                    self._check_formula(form)
                    plain = form.combine(c, u, scale)
                scale = form.scale(scale)
            p = worse[guide.plan.method][row] if guide.wants_perturbed(index, total) else None
            rows.append(guide.guided(plain, c, u, p, scale, index, total))
        return torch.cat(rows)

    def _find_form(self, predictions: Sequence[torch.Tensor], own: torch.Tensor) -> Form | None:
        finite = own.flatten(1).isfinite().all(dim=1)
        for prediction in predictions:
            finite &= prediction.flatten(1).isfinite().all(dim=1)
        if not bool(finite.any()):
            return None
        form = find_form(own[finite], [p[finite] for p in predictions], self._scale)
        if form is not None and self._trace is not None:
            self._trace.order = (form.cond_first, form.sign)
        return form

    @staticmethod
    def _perturbed(
        method: str,
        calls: Sequence[_Call],
        form: Form | None,
        own: torch.Tensor,
        predictions: Sequence[torch.Tensor],
    ) -> torch.Tensor:
        """Call the denoiser again on the conditional inputs, perturbed; its prediction in the form of ``own``."""
        second = form is not None and not form.cond_first
        parts = len(predictions) // len(calls)
        call = calls[-1 if second and parts == 1 else 0]
        args, kwargs = call.args, call.kwargs
        if parts > 1:
            batch = len(own)
            rows = slice(batch, 2 * batch) if second else slice(batch)
            args = take_rows(args, len(call.output), rows)
            kwargs = take_rows(kwargs, len(call.output), rows)
        with perturbed(call.denoiser, method):
            # Past the hooks: who observes sees the pipeline's own calls.
            output = first_tensor(call.denoiser.forward(*args, **kwargs))
        sign = form.sign if form is not None else _sign(predictions[0], own)
        return sign * split_batch(output, len(own), own.shape)[0]

    def _check_single(self, calls: Sequence[_Call], index: int) -> None:
        """Raise `CapabilityError` for what needs two predictions at the first step, where there is one."""
        if index:
            # Some pipelines end their guidance before the last step.
            return
        for plan in self._plans:
            if plan.method is not None and not plan.perturbs and plan.scale > 1:
                raise CapabilityError(
                    "This model makes one prediction a step, without classifier-free guidance: guidance methods "
                    "cannot be applied to it.",
                    field="guidance_method",
                )
        scales = {plan.scale for plan in self._plans}
        embedded = any(call.kwargs.get("guidance") is not None for call in calls)
        if len(scales) > 1 and max(scales) > 1 and not embedded:
            # It may be an input by another name, such as a part of the timestep's embedding.
            raise CapabilityError(
                "What the guidance scale does to this model is not known here: run its scales one by one.",
                field="batch",
            )

    @staticmethod
    def _check_formula(form: Form) -> None:
        if form.formula is None:
            raise CapabilityError(
                "This pipeline combines its two predictions in a way that is not known here: run its guidance "
                "scales one by one.",
                field="batch",
            )


def _sign(raw: torch.Tensor, own: torch.Tensor) -> float:
    """-1 where the pipeline negates its model's output before the scheduler receives it."""
    return -1.0 if float((raw.float() * own.float()).sum()) < 0 else 1.0
