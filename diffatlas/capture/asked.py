"""What a call of a pipeline asks for, as `GenerationParams`, and what of its arguments they cannot say."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffatlas.errors import DiffAtlasError
from diffatlas.inputs import ImageInput, inputs_in
from diffatlas.params import NOT_EXTRA, GenerationParams, check_extra, is_plain
from diffatlas.request import MAX_SEED

#: Arguments that say in which form the result is handed over, and decide nothing of it.
_FORM = frozenset({"output_type", "return_dict"})
_TEXTS = ("prompt", "negative_prompt")
_PICTURED = ("image", "mask")


@dataclass(frozen=True)
class Asked:
    """A call's request.

    ``left_out``: what decides the result and is in no field of ``params``, and why, by the argument's name. Where
    there is any, ``params`` alone do not give the result again.
    """

    params: GenerationParams
    left_out: Mapping[str, str]


def asked_of(
    parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any], model: str, device: str
) -> Asked:
    """Return the request of a call, before it runs.

    parameters: of the pipeline's call. given: the arguments that were passed, by name. device: the pipeline's.

    Size and scheduler are left None: what the call makes of them is known later.
    """
    left_out: dict[str, str] = {}
    extra: dict[str, Any] = {}
    texts = {name: _text(name, given.get(name), extra) for name in _TEXTS}
    scale = "true_cfg_scale" if guides_by_true_cfg(parameters) else "guidance_scale"
    named = {
        "num_inference_steps": _steps(parameters, given),
        "guidance_scale": _number(_value(parameters, given, scale), 1.0),
        "num_images_per_prompt": _whole(_value(parameters, given, "num_images_per_prompt")) or 1,
        "width": _whole(given.get("width")),
        "height": _whole(given.get("height")),
    }
    if scale == "true_cfg_scale" and not (texts["negative_prompt"] or "negative_prompt_embeds" in given):
        # Without a negative prompt such pipelines make one pass.
        named["guidance_scale"] = 1.0
    true_cfg = scale == "true_cfg_scale" or _number(given.get("true_cfg_scale"), 0.0) > 1
    if texts["negative_prompt"] and "true_cfg_scale" in parameters and not true_cfg:
        # Such a pipeline does not read it then.
        extra.setdefault("negative_prompt", texts["negative_prompt"])
        texts["negative_prompt"] = ""
    inputs: list[ImageInput] = []
    for name, value in given.items():
        if name in _FORM or name in named or name == scale or value is None:
            continue
        if name in _TEXTS and (isinstance(value, str) or name in extra or _is_texts(value)):
            continue
        pictures = inputs_in(name, value)
        if pictures is not None:
            inputs += pictures
        elif name != "generator":
            _take(name, value, extra, inputs, left_out)
    if "use_resolution_binning" in parameters and "use_resolution_binning" not in given:
        extra["use_resolution_binning"] = bool(parameters["use_resolution_binning"].default)
    count = named["num_images_per_prompt"] * max(1, len(extra.get("prompt", ())))
    seed, why = _seed(given.get("generator"), device, count)
    if why is not None:
        left_out["generator"] = why
    if "width" in named and given.get("width") is not None and named["width"] is None:
        left_out["width"] = "It was given as no whole number."
    params = GenerationParams(
        model=model, seed=seed, extra=extra or None, inputs=tuple(inputs), **texts, **named
    )
    return Asked(params, left_out)


def guides_by_true_cfg(parameters: Mapping[str, Any]) -> bool:
    """Whether the scale that users mean is ``true_cfg_scale``, from the parameters of a pipeline's call.

    Pipelines with distilled guidance call the classifier-free scale so; it is meant where it is on by default.
    """
    return "true_cfg_scale" in parameters and (parameters["true_cfg_scale"].default or 0) > 1


def _text(name: str, value: Any, extra: dict[str, Any]) -> str:
    if isinstance(value, str):
        return value
    if _is_texts(value):
        if len(value) > 1:
            extra[name] = list(value)
        return value[0]
    return ""


def _is_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(one, str) for one in value)


def _take(
    name: str, value: Any, extra: dict[str, Any], inputs: list[ImageInput], left_out: dict[str, str]
) -> None:
    """File an argument as an extra one, as a picture to be looked at, or as left out."""
    if name in NOT_EXTRA or not is_plain(value):
        left_out[name] = f"It was given as {_described(value)}."
        pictured = any(word in name for word in _PICTURED) and not any(
            word in name for word in ("embeds", "attention")
        )
        if pictured and (picture := _shown(value)) is not None:
            inputs.append(ImageInput.of(name, picture))
            left_out[name] = (
                f"It was given as {_described(value)}, of which a picture is kept to be looked at."
            )
        return
    value = list(value) if isinstance(value, tuple) else value
    try:
        check_extra({**extra, name: value})
    except DiffAtlasError as error:
        left_out[name] = error.message
    else:
        extra[name] = value


def _described(value: Any) -> str:
    if hasattr(value, "shape"):
        shape = " x ".join(str(n) for n in value.shape)
        return f"numbers ({shape})" if shape else "a number in an array"
    if callable(value):
        return "a function"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    return f"a {type(value).__name__}"


def _shown(value: Any) -> Any | None:
    """Return a Pillow image of the first picture in an array: (B, C, H, W), (C, H, W) or channels last; else None."""
    from PIL import Image

    first = value[0] if isinstance(value, (list, tuple)) and value else value
    if hasattr(first, "detach"):
        first = first.detach().float().cpu().numpy()
    if not isinstance(first, np.ndarray) or not first.size or not 2 <= first.ndim <= 4:
        return None
    array = first[0] if first.ndim == 4 else first
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 3 and array.shape[2] != 3:
        return None
    if array.dtype != np.uint8:
        numbers = np.nan_to_num(array.astype(np.float32))
        low, high = (-1.0, 1.0) if numbers.min() < 0 else (0.0, 1.0 if numbers.max() <= 1 else 255.0)
        array = np.round((numbers - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)
    return Image.fromarray(array)


def _value(parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any], name: str) -> Any:
    if name in given:
        return given[name]
    default = parameters[name].default if name in parameters else None
    return None if default is inspect.Parameter.empty else default


def _steps(parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any]) -> int:
    for name in ("timesteps", "sigmas"):
        if (own := given.get(name)) is not None and hasattr(own, "__len__"):
            return len(own)
    return _whole(_value(parameters, given, "num_inference_steps")) or 1


def _whole(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        return None
    return int(value)


def _number(value: Any, otherwise: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        return otherwise
    return value if isinstance(value, (int, float)) else float(value)


def _seed(generator: Any, device: str, count: int) -> tuple[int | None, str | None]:
    """Return the seed that the noise of ``count`` images comes from, and why it alone does not give that noise again.

    A request's image i has a generator of its own, on the CPU, of seed + i.
    """
    given = generator is not None
    many = isinstance(generator, (list, tuple))
    generators: Sequence[Any] = generator if many else [generator if given else _global(device)]
    if not all(hasattr(one, "initial_seed") for one in generators):
        return None, f"It was given as {_described(generator)}."
    seeds = [one.initial_seed() for one in generators]
    seed = seeds[0] if 0 <= seeds[0] <= MAX_SEED else None
    if not all(_is_fresh(one) for one in generators):
        whose = "The generator" if given else "No generator was given, and torch's own"
        return None, f"{whose} had been used before the call, so no seed gives its noise."
    if seed is None:
        return None, f"Its seed {seeds[0]} is larger than a request's may be."
    if any(one.device.type != "cpu" for one in generators):
        return (
            seed,
            f"Its noise was drawn on {generators[0].device.type}, and that of a request is on the CPU.",
        )
    if len(generators) == 1 < count:
        return seed, f"One generator made the noise of {count} images; in a request each has its own."
    if seeds != [seed + i for i in range(len(seeds))]:
        return seed, f"Its seeds are {', '.join(map(str, seeds[:8]))}: not one after another."
    return seed, None


def _global(device: str) -> Any:
    """Return the generator that draws for a device where none is given."""
    import torch

    if device.startswith("cuda") and torch.cuda.is_available():
        return torch.cuda.default_generators[torch.device(device).index or 0]
    return torch.default_generator


def _is_fresh(generator: Any) -> bool:
    """Whether nothing has been drawn from a generator since it was seeded."""
    import torch

    fresh = torch.Generator(device=generator.device).manual_seed(generator.initial_seed() % 2**64)
    return torch.equal(fresh.get_state(), generator.get_state())
