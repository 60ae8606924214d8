"""The guidance methods: what each makes of the predictions of one sample at one step.

The formulas are those of diffusers' guiders, one guider per sample, because some remember the steps before. When a
method is on, and what a further prediction adds, is said here, so that each means the same in every method:

- a method with ``start`` and ``stop`` is on at step k of N (0-based) where start <= k / N < stop, as Stable Diffusion
  3.5 counts it;
- perturbed attention and skip layer add s (cond - perturbed) to the plain guided prediction (Ahn et al. 2024,
  arXiv 2403.17377, eq. 15), also where the guidance scale is 1 and that is the conditional one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffatlas.guidance import METHODS, all_options
from diffatlas.importing import importing
from diffatlas.params import GenerationParams

if TYPE_CHECKING:
    import torch

#: k / N is compared with this much room, so that 0.7 of 10 steps are seven.
ROOM = 1e-9
#: Methods that raise for predictions with NaN.
_NEED_NUMBERS = ("tangential",)


@dataclass(frozen=True)
class GuidancePlan:
    """The guidance of one sample: its scale, and its method with options (`diffatlas.guidance.METHODS`)."""

    scale: float
    method: str | None = None
    options: Mapping[str, float] | None = None

    @classmethod
    def of(cls, params: GenerationParams) -> GuidancePlan:
        """Return the guidance that ``params`` ask for."""
        return cls(params.guidance_scale, params.guidance_method, params.guidance_options)

    @property
    def perturbs(self) -> bool:
        """Whether a further denoiser call is needed."""
        return self.method is not None and METHODS[self.method].perturbs


class Guide:
    """Applies one plan to one sample, step by step in their order."""

    def __init__(self, plan: GuidancePlan) -> None:
        self.plan = plan
        self._options = all_options(plan.method, plan.options) if plan.method else {}
        self._guider: Any = None

    def wants_perturbed(self, index: int, total: int) -> bool:
        """Whether step ``index`` of ``total`` needs the perturbed prediction."""
        return self.plan.perturbs and self._options["scale"] > 0 and self._is_on(index, total)

    def guided(
        self,
        plain: torch.Tensor,
        cond: torch.Tensor,
        uncond: torch.Tensor | None,
        perturbed: torch.Tensor | None,
        scale: float,
        index: int,
        total: int,
    ) -> torch.Tensor:
        """Return the guided prediction of step ``index`` of ``total``, (1, ...).

        plain: what the plain formula gives; ``cond`` where there is no guidance.
        uncond: None where there is no guidance.
        perturbed: where `wants_perturbed`.
        scale: of the plain formula (`diffatlas.steering.form.Form.scale`).
        """
        method = self.plan.method
        if self.plan.perturbs:
            return plain if perturbed is None else plain + self._options["scale"] * (cond - perturbed)
        if method is None or uncond is None:
            return plain
        if method == "interval":
            return plain if self._is_on(index, total) else cond
        finite = cond.isfinite().all() & uncond.isfinite().all()
        if method in _NEED_NUMBERS and not bool(finite):
            return plain
        if self._guider is None:
            self._guider = _guider(method, scale, self._options)
        self._guider.set_state(step=index, num_inference_steps=total, timestep=None)
        guided = self._guider.forward(pred_cond=cond, pred_uncond=uncond).pred
        # Chosen where it is computed: looking at it would wait for a GPU.
        return guided.where(finite, plain)

    def _is_on(self, index: int, total: int) -> bool:
        share = index / total
        return self._options["start"] - ROOM <= share < self._options["stop"] - ROOM


def _guider(method: str, scale: float, options: Mapping[str, float]) -> Any:
    """Return a fresh guider of diffusers."""
    with importing():
        from diffusers import guiders
        from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer

    with _quiet():
        if method == "rescale":
            return guiders.ClassifierFreeGuidance(scale, guidance_rescale=options["rescale"])
        if method == "cfg_zero_star":
            return guiders.ClassifierFreeZeroStarGuidance(scale, zero_init_steps=int(options["zero_steps"]))
        if method == "tangential":
            return guiders.TangentialClassifierFreeGuidance(scale)
        if method == "apg":
            guider = guiders.AdaptiveProjectedGuidance(
                scale, adaptive_projected_guidance_rescale=options["norm"], eta=options["eta"]
            )
            # The guider makes it when it prepares inputs, which pipelines do here.
            guider.momentum_buffer = MomentumBuffer(options["momentum"]) if options["momentum"] else None
            return guider
    raise ValueError(f"No formula for the guidance method {method!r}.")


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the warning of each guider that it is experimental; it would come once per sample and run."""
    log = logging.getLogger("diffusers.guiders.guider_utils")
    before = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = before
