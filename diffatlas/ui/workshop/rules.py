"""What a workshop forbids is refused where runs begin, whoever asks: the page, a program, a file that was brought."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from diffatlas.errors import InvalidParams
from diffatlas.params import GenerationParams
from diffatlas.spelled import number
from diffatlas.ui.workshop.held import held
from diffatlas.ui.workshop.plan import PAGE_NAMES, Workshop, sides_of

#: What is said of a value, and the field of a request that it is of, by its name in a link.
_CALLED = {
    "steps": ("The number of steps", "num_inference_steps"),
    "guidance": ("The guidance scale", "guidance_scale"),
    "size": ("The size", "width"),
    "scheduler": ("The scheduler", "scheduler"),
    "negative_prompt": ("The negative prompt", "negative_prompt"),
}


def check_run(params: GenerationParams, backend: str = "local") -> None:
    """Raise `InvalidParams` for a run that the workshop of this server does not allow; a server without one allows all.

    backend: where it runs.
    """
    workshop = held()
    if workshop is None:
        return
    if workshop.models and backend != "local":
        raise InvalidParams(
            "In this workshop images are made on this machine: choose it as the backend.", field="backend"
        )
    if workshop.models and params.model not in workshop.models:
        raise InvalidParams(
            f"In this workshop there are these models: {', '.join(workshop.models)}. Choose one of them.",
            field="model",
        )
    _check_fixed(workshop, params)
    _check_bounds(workshop, params)


def is_allowed(params: GenerationParams) -> bool:
    """Whether a teacher has said that runs of this many steps and this size may be made, however long they take here.

    So nobody is refused because the server was busy when it first measured its model.
    """
    workshop = held()
    if workshop is None:
        return False
    steps = workshop.bounds.steps or workshop.fixed.steps
    size = workshop.bounds.size or workshop.fixed.size
    return bool(steps and size) and params.num_images_per_prompt == 1


def check_page(page: str) -> None:
    """Raise `InvalidParams` for what a page does that the workshop of this server leaves out."""
    workshop = held()
    if workshop is not None and page not in workshop.pages:
        raise InvalidParams(f"The page for this ({PAGE_NAMES[page]}) is not part of this workshop.")


def check_runs(runs: Iterable[tuple[GenerationParams, str]]) -> None:
    """Raise as `check_run` for the first of several runs, each with its backend, that is not allowed."""
    for params, backend in runs:
        check_run(params, backend)


def _check_fixed(workshop: Workshop, params: GenerationParams) -> None:
    asked: dict[str, Any] = {
        "steps": params.num_inference_steps,
        "guidance": params.guidance_scale,
        "size": (params.width, params.height),
        "scheduler": params.scheduler,
        "negative_prompt": params.negative_prompt,
    }
    for name, value in workshop.fixed.said.items():
        if asked[name] != (sides_of(value) if name == "size" else value):
            called, field = _CALLED[name]
            words = number(value) if isinstance(value, (int, float)) else value or "nothing"
            raise InvalidParams(
                f"{called} is fixed in this workshop: leave it at {words}.",
                field=field,
            )


def _check_bounds(workshop: Workshop, params: GenerationParams) -> None:
    steps, size = workshop.bounds.steps, workshop.bounds.size
    if steps and not steps[0] <= params.num_inference_steps <= steps[1]:
        raise InvalidParams(
            f"The number of steps is {params.num_inference_steps}: in this workshop give one from {steps[0]} to "
            f"{steps[1]}.",
            field="num_inference_steps",
        )
    if not size:
        return
    for name in ("width", "height"):
        side = getattr(params, name)
        # Without one it is the model's own, which who offers the model has chosen.
        if side is not None and not size[0] <= side <= size[1]:
            raise InvalidParams(
                f"The {name} is {side}: in this workshop give one from {size[0]} to {size[1]}.", field=name
            )
