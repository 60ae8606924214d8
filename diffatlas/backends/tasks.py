"""What a model does with a picture: begin from it, paint anew inside a mask, be held to it (ControlNet), or edit it.

Image-to-image and inpainting on a model that goes from text to image are the same parts in diffusers' other pipeline.

A request with the picture ``image`` begins from it (Meng et al. 2022, SDEdit, arXiv 2108.01073), one with ``image`` and
``mask_image`` paints anew where the mask is white. ``extra["strength"]`` says how much noise the picture gets, 0 to 1:
the path begins at that level, and has that part of the steps.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from diffatlas.backends.loading import Loaded
from diffatlas.backends.model_info import ModelInfo
from diffatlas.backends.parts import Parts, class_of_diffusers
from diffatlas.capture.calls import call_parameters
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.importing import importing
from diffatlas.inputs import ImageInput
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


@dataclass(frozen=True)
class TakesPicture:
    """What a model does with the picture of a request, and what its pipeline calls that."""

    #: "image-to-image", "control" (ControlNet; Zhang et al. 2023, arXiv 2302.05543), or "edit": whatever else.
    task: str
    #: The argument of the picture.
    picture: str = "image"
    #: That of a mask, white where it is painted anew; None where it takes none.
    mask: str | None = None
    #: That of the number which says how much: of noise, or of control; None where there is none.
    amount: str | None = None
    #: The pipeline's own value of it.
    default: float | None = None
    #: Whether the model cannot run without one.
    needed: bool = False


#: Arguments of a picture that a pipeline's own call may have.
OWN_PICTURES = frozenset({"image", "control_image"})
#: Of a model whose pipeline is not known yet: what most take.
USUAL = TakesPicture("image-to-image", "image", "mask_image", "strength", 0.8)


def picture_of(parts: Parts) -> TakesPicture | None:
    """Return what a model does with one picture; None where it takes none, or needs several.

    Takes seconds the first time: diffusers imports the pipelines that it chooses among.
    """
    pipeline = parts.pipeline
    if pipeline is None:
        return None
    if OWN_PICTURES & set(call_parameters(pipeline)):
        return _own_picture(parts, pipeline)
    beside = _class_for(pipeline, frozenset({"image"}))
    if beside is None:
        return None
    mask = "mask_image" if _class_for(pipeline, frozenset({"image", "mask_image"})) else None
    return TakesPicture(
        "image-to-image", "image", mask, "strength", call_parameters(beside)["strength"].default
    )


def with_picture(
    params: GenerationParams, picture: Any, mask: Any, amount: float | None, takes: TakesPicture | None
) -> GenerationParams:
    """Return a request with a picture under the names that its model has for it (`picture_of`).

    picture: a Pillow image in RGB, cropped to the middle and scaled where the request has another size.
    mask: in L, of the picture's size, white where it is painted anew; None for none.
    amount: the strength, or how firmly a ControlNet holds; the pipeline's own where None.

    Raises `CapabilityError` for a model that takes no such picture, `InvalidParams` for what does not fit.
    """
    from PIL import Image, ImageOps

    if takes is None:
        raise CapabilityError(
            "This model takes no picture here: take it out, or choose another.", field="inputs"
        )
    if mask is not None and takes.mask is None:
        raise CapabilityError(
            "This model cannot paint a part anew: erase what is painted over the picture, or leave the mask out.",
            field="inputs",
        )
    if mask is not None and mask.size != picture.size:
        raise InvalidParams("The mask must be of the size of the picture.", field="inputs")
    size = (params.width or picture.width, params.height or picture.height)
    inputs = [ImageInput.of(takes.picture, ImageOps.fit(picture, size, Image.Resampling.LANCZOS))]
    if mask is not None:
        inputs.append(ImageInput.of(takes.mask, ImageOps.fit(mask, size, Image.Resampling.BILINEAR)))
    extra = dict(params.extra or {})
    if amount is not None and takes.amount is not None:
        extra[takes.amount] = float(amount)
    return params.replace(inputs=tuple(inputs), extra=extra or None).validate()


def _own_picture(parts: Parts, pipeline: type) -> TakesPicture | None:
    """Return what a pipeline's own call does with one picture; None where it takes none, or several."""
    call = call_parameters(pipeline)
    names = sorted(OWN_PICTURES & set(call))
    if len(names) != 1:
        return None
    (name,) = names
    held = any(parts.index.get("controlnet") or ())
    amount = "controlnet_conditioning_scale" if held else "strength"
    found = TakesPicture(
        "control" if held else "edit",
        name,
        mask="mask_image" if "mask_image" in call else None,
        needed=held or "strength" in call or call[name].default is inspect.Parameter.empty,
    )
    return replace(found, amount=amount, default=call[amount].default) if amount in call else found


def tasks_of(parts: Parts) -> tuple[str, ...]:
    """Return what a model can be asked for besides text to image: of "image-to-image" and "inpainting"."""
    return tuple(TASKS[names][0] for names in TASKS if _class_for(parts.pipeline, names) is not None)


def fit(params: GenerationParams, parts: Parts, info: ModelInfo) -> GenerationParams:
    """Return a request with pictures with its size, which is that of the picture, and its strength filled in.

    Raises `CapabilityError` where the model does not take such pictures, `InvalidParams` where they do not fit each
    other, or where no step is left.
    """
    names = frozenset(one.name for one in params.inputs)
    if not names:
        return _without(params, parts, info)
    if _takes(parts.pipeline, names):
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


def _without(params: GenerationParams, parts: Parts, info: ModelInfo) -> GenerationParams:
    """Return a request without pictures. Raises `InvalidParams` where the model's own pipeline needs one."""
    found = _own_picture(parts, parts.pipeline) if parts.pipeline else None
    if found and found.needed:
        what = (
            "has a ControlNet, which is held to a picture: give one, such as edges or depth"
            if found.task == "control"
            else "works on a picture: give one"
        )
        raise InvalidParams(f"{info.name} {what}.", field="inputs")
    return params


def on(loaded: Loaded, params: GenerationParams) -> Loaded:
    """Return what runs a fitted request: the same components in the pipeline of its task, where it has one."""
    names = frozenset(one.name for one in params.inputs)
    if not names or _takes(type(loaded.pipe), names):
        return loaded
    # The constructors of some pipelines change the scheduler that they are given.
    scheduler = copy.deepcopy(loaded.pipe.scheduler)
    pipe = class_of_diffusers(TASKS[names][1]).from_pipe(loaded.pipe, scheduler=scheduler)
    pipe.set_progress_bar_config(**getattr(loaded.pipe, "_progress_bar_config", {}))
    return replace(loaded, pipe=pipe)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from telling of each class that wants torchvision, which none of ours needs."""
    import transformers.utils.logging as told

    before = told.get_verbosity()
    told.set_verbosity_error()
    try:
        yield
    finally:
        told.set_verbosity(before)


def _takes(pipeline: type | None, names: frozenset[str]) -> bool:
    """Whether a pipeline's own call has arguments of these names."""
    return pipeline is not None and names <= set(call_parameters(pipeline))


def _class_for(pipeline: type | None, names: frozenset[str]) -> type | None:
    """Return diffusers' pipeline class for pictures of these names on the components of ``pipeline``."""
    if pipeline is None or names not in TASKS:
        return None
    with _quiet(), importing():
        from diffusers.pipelines import auto_pipeline

    to: Mapping[str, Any] = getattr(auto_pipeline, TASKS[names][2])
    froms = (auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING, to)
    kinds = [kind for each in froms for kind, cls in each.items() if cls.__name__ == pipeline.__name__]
    cls = next((to[kind] for kind in kinds if kind in to), None)
    return cls if cls is not None and "strength" in call_parameters(cls) else None
