"""How a pipeline makes its guided prediction of the conditional and the unconditional one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: The pipeline's own prediction must be matched this well, relative to its norm: bfloat16 keeps 8 bits.
TOLERANCE = 0.05


@dataclass(frozen=True)
class Form:
    """The formula of the two.

    Formulas, with uncond u, cond c and guidance scale s:

    - "plain": u + s (c - u) (Ho and Salimans 2022, arXiv 2207.12598, as diffusers writes it);
    - "shifted": c + s (c - u), which is the same for a scale that is larger by 1 (Z-Image);
    - "normed": the plain one, brought to the norm of c along the last axis (Qwen-Image, Lumina 2);
    - None: one that is not known here.
    """

    formula: str | None = "plain"

    def scale(self, scale: float) -> float:
        """Return the scale of the plain formula that ``scale`` stands for in this pipeline."""
        return scale + 1 if self.formula == "shifted" else scale

    def combine(self, cond: torch.Tensor, uncond: torch.Tensor, scale: float) -> torch.Tensor:
        """Return the guided prediction (B, ...) by this pipeline's formula, in the dtype of ``cond``."""
        if self.formula == "shifted":
            return cond + scale * (cond - uncond)
        guided = uncond + scale * (cond - uncond)
        if self.formula == "normed":
            guided = guided * (cond.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True))
        return guided


def find_form(guided: torch.Tensor, cond: torch.Tensor, uncond: torch.Tensor, scale: float) -> Form:
    """Return the form of a pipeline that made ``guided`` of the two predictions at ``scale``.

    guided, cond, uncond: (B, ...), of samples without NaN.
    """
    goal, cond, uncond = guided.float(), cond.float(), uncond.float()
    best, least = Form(None), TOLERANCE * float(goal.norm())
    for formula in ("plain", "shifted", "normed"):
        form = Form(formula)
        error = float((form.combine(cond, uncond, scale) - goal).norm())
        if error < least:
            best, least = form, error
    return best
