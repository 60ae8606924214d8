"""What a hosted model can do with a request, and what of it the model does not heed."""

from __future__ import annotations

from collections.abc import Mapping

from diffatlas.backends.hosted.base import Provider
from diffatlas.errors import CapabilityError
from diffatlas.params import GenerationParams
from diffatlas.registry import HostedModel

#: What only a pipeline that is seen into can take: field -> how a sentence names it.
_INSIDE = {
    "scheduler": "a scheduler",
    "guidance_method": "a guidance method",
    "guidance_options": "options of a guidance method",
    "noise": "noise of one's own",
    "loras": "LoRA files",
    "inputs": "pictures",
    "extra": "further arguments",
    "variant": "a variant of its weights",
    "subfolder": "a subfolder",
}
#: Shapes that models without sides of their own take, as width : height.
ASPECTS = ("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21")


def fit(
    params: GenerationParams, model: HostedModel, provider: Provider
) -> tuple[GenerationParams, dict[str, str]]:
    """Return a request as a model takes it, and a sentence for each field of it that the model does not heed.

    What the model does not take is None or "" in what is returned, so that it is not sent; sides that were left open
    are the native ones where the model takes sides.

    Raises `CapabilityError` with the field, for what it cannot do or is out of its range.
    """
    name = model.name
    for field, words in _INSIDE.items():
        if getattr(params, field):
            raise CapabilityError(
                f"{provider.label} takes no {words.removeprefix('a ')} for {name}: leave it out, or choose a model "
                "of this machine.",
                field=field,
            )
    if params.revision and not provider.revisions:
        raise CapabilityError(f"{provider.label} has one version of each model: name none.", field="revision")
    if params.num_images_per_prompt != 1:
        raise CapabilityError(
            "A hosted run makes one image: a neighbourhood of seeds makes several.",
            field="num_images_per_prompt",
        )
    ignored: dict[str, str] = {}
    changes: dict[str, object] = {}
    if not model.has("seed"):
        ignored["seed"] = f"{name} takes no seed: the same request makes another image each time."
    if not model.has("steps"):
        ignored["num_inference_steps"] = f"{name} takes no number of steps: it makes its own."
    else:
        _check("num_inference_steps", "steps", params.num_inference_steps, model.steps_range, name)
    if not model.has("guidance"):
        ignored["guidance_scale"] = f"{name} takes no guidance scale: {params.guidance_scale:g} is not sent."
    else:
        _check("guidance_scale", "a guidance scale", params.guidance_scale, model.guidance_range, name)
    if not model.has("negative_prompt"):
        if params.negative_prompt.strip():
            ignored["negative_prompt"] = f"{name} takes no negative prompt: it is not sent."
        changes["negative_prompt"] = ""
    if model.has("size"):
        width, height = params.width or model.size, params.height or model.size
        for side, pixels in (("width", width), ("height", height)):
            _check_side(side, pixels, model)
        changes |= {"width": width, "height": height}
    elif params.width and params.height:
        if model.has("aspect"):
            near = nearest_aspect(params.width, params.height, provider.aspects)
            whole = aspect(params.width, params.height)
            if (params.width, params.height) != (model.size, model.size):
                kind = f"the shape {near}" if near == whole else f"{near}, the shape nearest to {whole}"
                ignored["size"] = f"{name} takes a shape and no size in pixels: {kind} is asked for."
        else:
            ignored["size"] = f"{name} takes no size: the image has the model's own."
    return params.replace(**changes), ignored


def arguments(
    model: HostedModel, params: GenerationParams, usual: Mapping[str, str], aspects: tuple[str, ...] = ()
) -> dict[str, object]:
    """Return the inputs of a request that a model takes, in the provider's own names.

    params: as `fit` leaves them. usual: the provider's name of each of `diffatlas.hints.INPUTS`, where it has one;
    "width" and "height" for those of a size. What the registry says of one model comes before it.
    aspects: the provider's shapes (`Provider.aspects`).
    """
    names = {**usual, **dict(model.names)}
    found: dict[str, object] = {"prompt": params.prompt}
    if params.negative_prompt:
        found["negative_prompt"] = params.negative_prompt
    values = {"seed": params.seed, "steps": params.num_inference_steps, "guidance": params.guidance_scale}
    found |= {name: value for name, value in values.items() if model.has(name)}
    if model.has("size") and params.width and params.height:
        found |= {"width": params.width, "height": params.height}
    elif model.has("aspect") and model.takes is not None:
        side = model.size or 1024
        found["aspect"] = nearest_aspect(params.width or side, params.height or side, aspects)
    sent = {names.get(name, name): value for name, value in found.items() if names.get(name, name)}
    return {**dict(model.send), **sent}


def nearest_aspect(width: int, height: int, aspects: tuple[str, ...] = ()) -> str:
    """Return that of ``aspects``, or of `ASPECTS`, whose shape is the nearest, by the ratio of the ratios."""

    def off(one: str) -> float:
        w, _, h = one.partition(":")
        ratio = (width * int(h)) / (height * int(w))
        return max(ratio, 1 / ratio)

    return min(aspects or ASPECTS, key=off)


def aspect(width: int, height: int) -> str:
    """Return a shape in whole numbers: "3:2"."""
    from math import gcd

    common = gcd(width, height)
    return f"{width // common}:{height // common}"


def _check(field: str, words: str, value: float, bounds: tuple[float, float] | None, name: str) -> None:
    if bounds is not None and not bounds[0] <= value <= bounds[1]:
        raise CapabilityError(
            f"{name} takes {words} from {bounds[0]:g} to {bounds[1]:g}, not {value:g}.", field=field
        )


def _check_side(side: str, pixels: int | None, model: HostedModel) -> None:
    if model.sides is None or pixels is None:
        return
    least, most, multiple = model.sides
    if not least <= pixels <= most or pixels % multiple:
        step = f" in steps of {multiple}" if multiple > 1 else ""
        raise CapabilityError(
            f"{model.name} takes a {side} from {least} to {most} pixels{step}, not {pixels}.", field=side
        )
