"""A hosted lane beside others: its own model's values where that model has other bounds than what is asked."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from diffatlas.library.study import Lane
from diffatlas.params import GenerationParams
from diffatlas.registry import HOSTED, HostedModel, hosted_model

#: What a lane may have of its own model, besides the scheduler.
OWN = ("num_inference_steps", "guidance_scale", "width", "height")

#: Of a hosted model, the input that a field is sent by, and what a sentence calls it.
INPUTS = {
    "guidance_scale": ("guidance", "guidance scale"),
    "num_inference_steps": ("steps", "number of steps"),
    "seed": ("seed", "seed"),
}


def not_sent(model: str, backend: str) -> list[str]:
    """Return the fields of `INPUTS` that a model has no input for; none where ``backend`` hosts no models."""
    if backend not in HOSTED:
        return []
    entry = hosted_model(model, backend)
    return [field for field, (name, _) in INPUTS.items() if not entry.has(name)]


def own_values(params: GenerationParams, backend: str, kept: Collection[str]) -> dict[str, Any]:
    """Return the fields in which a hosted model cannot follow a request, with values that it can have.

    params: the request, with the lane's model. kept: fields that stay, because the study varies them or the lane says
    them. Nothing for a backend that hosts no models.

    What is out of the model's range is the registry's value for it, else the nearest end of the range; guidance that
    it has no input for is 0; sides that it cannot have, and a scheduler, are left to it.
    """
    if backend not in HOSTED:
        return {}
    model = hosted_model(params.model, backend)
    found: dict[str, Any] = {}
    if model.has("steps"):
        found["num_inference_steps"] = _within(
            params.num_inference_steps, model.steps_range, model.steps, whole=True
        )
    if not model.has("guidance"):
        found["guidance_scale"] = 0.0 if params.guided else params.guidance_scale
    else:
        found["guidance_scale"] = _within(params.guidance_scale, model.guidance_range, model.guidance)
    if not _fits(params, model):
        found |= {"width": None, "height": None}
    found["scheduler"] = None
    return {
        name: value for name, value in found.items() if name not in kept and value != getattr(params, name)
    }


def lane_words(base: GenerationParams, lane: Lane) -> str | None:
    """Say which values of its own a hosted lane has in place of those of ``base``; None where it has none."""
    if lane.backend not in HOSTED:
        return None
    changes, said = lane.changes, []
    if "num_inference_steps" in changes:
        said.append(f"{changes['num_inference_steps']} steps in place of {base.num_inference_steps}")
    if "guidance_scale" in changes:
        said.append(f"guidance {changes['guidance_scale']:g} in place of {base.guidance_scale:g}")
    if changes.get("width", base.width) != base.width or changes.get("height", base.height) != base.height:
        said.append(f"its model's own size in place of {base.width} x {base.height}")
    if changes.get("scheduler", base.scheduler) != base.scheduler:
        said.append(f"its model's own scheduler in place of {base.scheduler}")
    return f"In this lane: {', '.join(said)}." if said else None


def _within(
    value: float, bounds: tuple[float, float] | None, own: float | None, whole: bool = False
) -> float:
    if bounds is None or bounds[0] <= value <= bounds[1]:
        return value
    found = own if own is not None else min(max(value, bounds[0]), bounds[1])
    return int(found) if whole else float(found)


def _fits(params: GenerationParams, model: HostedModel) -> bool:
    if model.sides is None or not model.has("size"):
        return True
    least, most, multiple = model.sides
    sides = [side for side in (params.width, params.height) if side is not None]
    return all(least <= side <= most and side % multiple == 0 for side in sides)
