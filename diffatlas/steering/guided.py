"""Another guided prediction for each sample, in place of the one that the pipeline makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from diffatlas.capture import schedule
from diffatlas.capture.calls import first_tensor, split_batch, step_arguments, watch, with_model_output
from diffatlas.capture.roles import Part, Pass, RoleFinder, Roles, parts_of
from diffatlas.errors import CapabilityError
from diffatlas.steering.form import Form, find_form
from diffatlas.steering.methods import GuidancePlan, Guide
from diffatlas.steering.perturb import perturbed, take_rows

if TYPE_CHECKING:
    import torch

    from diffatlas.capture.trace import Trace


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

    The pipeline's own guided prediction says which prediction is which (`diffatlas.capture.roles`) and by what formula
    it was made (`find_form`); that of a plain sample at the pipeline's own scale is left as it is, bit for bit. Scales
    up to 1 mean the conditional prediction alone, as in diffusers. Guidance that is an input of the model (FLUX.1 dev)
    is changed there.

    Raises, inside the pipeline call and before its first step, `CapabilityError`: a method is asked of a model that
    makes one prediction (field "guidance_method"), or several scales of a pipeline whose formula is not known (field
    "batch": they can be run one by one).
    """
    if all(plan == GuidancePlan(scale) for plan in plans):
        yield
        return
    steering = _Steering(plans, scale, trace)
    with watch(pipe, call=steering.around_call, denoiser=steering.around_denoiser, step=steering.around_step):
        yield


class _Steering:
    """Collects a step's denoiser calls, and replaces what the scheduler is given."""

    def __init__(self, plans: Sequence[GuidancePlan], scale: float, trace: Trace | None) -> None:
        self._plans = tuple(plans)
        self._scale = scale
        self._trace = trace
        self._begin()

    def _begin(self) -> None:
        self._guides = [Guide(plan) for plan in self._plans]
        #: Calls since the last step of the scheduler.
        self._passes: list[Pass] = []
        self._roles = RoleFinder()
        self._form: Form | None = None
        #: Of guidance that is an input of the model: copied to its device once.
        self._ratios: torch.Tensor | None = None
        #: Steps that are made, and that will be made in all.
        self._steps, self._total = 0, 1

    def around_call(self, pipe: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run a call of the pipeline, whose guidance begins anew."""
        self._begin()
        return proceed(*args, **kwargs)

    def around_denoiser(
        self, module: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        """Give each sample its own guidance where that is an input of the model, and keep the call."""
        embedded = kwargs.get("guidance")
        if getattr(embedded, "ndim", 0) and len(embedded) == len(self._plans):
            kwargs = {**kwargs, "guidance": embedded * self._ratios_beside(embedded)}
        output = proceed(*args, **kwargs)
        prediction = first_tensor(output)
        if prediction is not None:
            # A pipeline may go on to write into it.
            self._passes.append(Pass(module, args, kwargs, prediction.detach().clone()))
        return output

    def around_step(
        self, scheduler: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        """Give ``scheduler.step`` the prediction that each plan asks for."""
        given = step_arguments(args, kwargs)
        passes, self._passes = self._passes, []
        if given is None:
            raise CapabilityError(
                f"The step of {type(scheduler).__name__} takes other arguments than a prediction, a timestep and a"
                " state, so its guidance cannot be changed.",
                field="batch" if len(self._plans) > 1 else "guidance_method",
            )
        if len(given.sample) != len(self._plans):
            raise CapabilityError(
                f"The pipeline runs a batch of {len(given.sample)} where {len(self._plans)} were asked for: run one by"
                " one.",
                field="batch",
            )
        if not self._steps:
            self._total = _count_steps(scheduler, given.timestep)
        guided = self._guided(passes, given.model_output, self._steps, self._total)
        self._steps += 1
        args, kwargs = with_model_output(args, kwargs, guided.to(given.model_output.dtype))
        return proceed(*args, **kwargs)

    def _ratios_beside(self, embedded: torch.Tensor) -> torch.Tensor:
        """Return each plan's scale over the pipeline's own, of the dtype and on the device of ``embedded``."""
        held = self._ratios
        if held is None or (held.dtype, held.device) != (embedded.dtype, embedded.device):
            ratios = [plan.scale / self._scale if self._scale else 1.0 for plan in self._plans]
            self._ratios = embedded.new_tensor(ratios)
        return self._ratios

    def _guided(self, passes: Sequence[Pass], own: torch.Tensor, index: int, total: int) -> torch.Tensor:
        """Return the prediction for the scheduler."""
        import torch

        parts = parts_of(passes, len(own), own.shape)
        if not any(part.prediction is not None for part in parts):
            raise CapabilityError(
                "What this model predicts does not have the form that its scheduler receives, so its guidance cannot "
                "be changed.",
                field="batch" if len(self._plans) > 1 else "guidance_method",
            )
        if not self._roles.knows(parts) and not bool(own.isfinite().any()):
            return own
        roles = self._find_roles(own, parts)
        form = uncond = None
        if roles.guided:
            cond, uncond = (roles.sign * parts[roles.index(name)].prediction for name in ("cond", "uncond"))
            form = self._form = self._form or self._find_form(own, cond, uncond)
        else:
            self._check_single(passes, index)
            cond = own
        wanted = {guide.plan.method for guide in self._guides if guide.wants_perturbed(index, total)}
        source = parts[roles.index("cond")]
        worse = {method: self._perturbed(method, source, own, roles.sign) for method in wanted}
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

    def _find_roles(self, own: torch.Tensor, parts: Sequence[Part]) -> Roles:
        """Return which pass is which, and tell it to whoever observes, since the guided prediction will be another."""
        roles = self._roles.find(own, parts)
        if self._trace is not None:
            self._trace.roles = roles
        needed = ("cond", "uncond") if roles is not None and roles.guided else ("cond",)
        if roles is None or any(roles.index(name) is None for name in needed):
            raise CapabilityError(
                "It cannot be told which of this pipeline's passes are the conditional and the unconditional one, so"
                " its guidance cannot be changed.",
                field="batch" if len(self._plans) > 1 else "guidance_method",
            )
        return roles

    def _find_form(self, own: torch.Tensor, cond: torch.Tensor, uncond: torch.Tensor) -> Form | None:
        finite = own.flatten(1).isfinite().all(dim=1)
        for prediction in (cond, uncond):
            finite &= prediction.flatten(1).isfinite().all(dim=1)
        return (
            find_form(own[finite], cond[finite], uncond[finite], self._scale) if bool(finite.any()) else None
        )

    @staticmethod
    def _perturbed(method: str, part: Part, own: torch.Tensor, sign: float) -> torch.Tensor:
        """Call the denoiser again on the conditional inputs, perturbed; its prediction in the form of ``own``."""
        source, total = part.source, len(part.source.output)
        args, kwargs = source.args, source.kwargs
        if total > len(own):
            args = take_rows(args, total, part.rows)
            kwargs = take_rows(kwargs, total, part.rows)
        with perturbed(source.module, method):
            # Past the watched call: who observes sees the pipeline's own.
            output = first_tensor(source.module.forward(*args, **kwargs))
        return sign * split_batch(output, len(own), own.shape)[0]

    def _check_single(self, passes: Sequence[Pass], index: int) -> None:
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
        embedded = any(call.kwargs.get("guidance") is not None for call in passes)
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


def _count_steps(scheduler: Any, timestep: Any) -> int:
    """Return the steps that a call will make, of which methods with a start and an end are on for a part."""
    try:
        return schedule.count_steps(scheduler, timestep)
    except CapabilityError:  # a timestep that is not in its list
        return len(scheduler.timesteps)
