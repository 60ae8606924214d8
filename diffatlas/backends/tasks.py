"""Image-to-image and inpainting on a model that goes from text to image: the same parts in diffusers' other pipeline.

A request with the picture ``image`` begins from it (Meng et al. 2022, SDEdit, arXiv 2108.01073), one with ``image`` and
``mask_image`` paints anew where the mask is white. ``extra["strength"]`` says how much noise the picture gets, 0 to 1:
the path begins at that level, and has that part of the steps.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from diffatlas.backends.loading import Loaded
from diffatlas.backends.model_info import ModelInfo
from diffatlas.backends.parts import Parts
from diffatlas.capture.calls import call_parameters
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.params import GenerationParams

#: Names of a request's pictures -> what is done with them, and the loader of diffusers that finds the pipeline.
TASKS = {
    frozenset({"image"}): (
        "image-to-image",
        "AutoPipelineForImage2Image",
        "AUTO_IMAGE2IMAGE_PIPELINES_MAPPING",
    ),
    frozenset({"image", "mask_image"}): (
        "inpainting",
        "AutoPipelineForInpainting",
        "AUTO_INPAINT_PIPELINES_MAPPING",
    ),
}


def tasks_of(parts: Parts) -> tuple[str, ...]:
    """Return what a model can be asked for besides text to image: of "image-to-image" and "inpainting"."""
    return tuple(TASKS[names][0] for names in TASKS if _class_for(parts.pipeline, names) is not None)


def fit(params: GenerationParams, parts: Parts, info: ModelInfo) -> GenerationParams:
    """Return a request with pictures with its size, which is that of the picture, and its strength filled in.

    Raises `CapabilityError` where the model does not take such pictures, `InvalidParams` where they do not fit each
    other, or where no step is left.
    """
    names = frozenset(one.name for one in params.inputs)
    if not names or _takes(parts.pipeline, names):
        return params
    cls = _class_for(parts.pipeline, names)
    if cls is None:
        can = " and ".join(tasks_of(parts)) or "neither image-to-image nor inpainting"
        raise CapabilityError(
            f"{info.name} takes no pictures called {', '.join(sorted(names))}: it can do {can}.",
            field="inputs",
        )
    if params.noise is not None:
        raise CapabilityError(
            "Perturbed noise is for runs from noise alone: leave the picture or the noise out.", field="noise"
        )
    sizes = {(one.width, one.height) for one in params.inputs}
    if len(sizes) > 1:
        raise InvalidParams("The mask must be of the size of the picture.", field="inputs")
    (width, height) = sizes.pop()
    if (params.width or width, params.height or height) != (width, height):
        raise InvalidParams(
            f"The size is that of the picture, {width} x {height}: leave it out, or give a picture of another size.",
            field="width",
        )
    extra = dict(params.extra or {})
    strength = extra.setdefault("strength", call_parameters(cls)["strength"].default)
    if isinstance(strength, bool) or not isinstance(strength, (int, float)) or not 0 < strength <= 1:
        raise InvalidParams(f"The strength is {strength!r}: give a number above 0, at most 1.", field="extra")
    if int(params.num_inference_steps * strength) < 1:
        raise InvalidParams(
            f"A strength of {strength:g} leaves none of {params.num_inference_steps} steps: give more of either.",
            field="extra",
        )
    return params.replace(width=width, height=height, extra=extra)


def on(loaded: Loaded, params: GenerationParams) -> Loaded:
    """Return what runs a fitted request: the same components in the pipeline of its task, where it has one."""
    import diffusers

    names = frozenset(one.name for one in params.inputs)
    if not names or _takes(type(loaded.pipe), names):
        return loaded
    # The constructors of some pipelines change the scheduler that they are given.
    scheduler = copy.deepcopy(loaded.pipe.scheduler)
    pipe = getattr(diffusers, TASKS[names][1]).from_pipe(loaded.pipe, scheduler=scheduler)
    pipe.set_progress_bar_config(**getattr(loaded.pipe, "_progress_bar_config", {}))
    return replace(loaded, pipe=pipe)


def _takes(pipeline: type | None, names: frozenset[str]) -> bool:
    """Whether a pipeline's own call has arguments of these names."""
    return pipeline is not None and names <= set(call_parameters(pipeline))


def _class_for(pipeline: type | None, names: frozenset[str]) -> type | None:
    """Return diffusers' pipeline class for pictures of these names on the components of ``pipeline``."""
    if pipeline is None or names not in TASKS:
        return None
    from diffusers.pipelines import auto_pipeline

    to: Mapping[str, Any] = getattr(auto_pipeline, TASKS[names][2])
    froms = (auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING, to)
    kinds = [kind for each in froms for kind, cls in each.items() if cls.__name__ == pipeline.__name__]
    cls = next((to[kind] for kind in kinds if kind in to), None)
    return cls if cls is not None and "strength" in call_parameters(cls) else None
