"""The arguments of a pipeline's call, in the words of that pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diffatlas.backends.loading import Loaded
from diffatlas.errors import CapabilityError
from diffatlas.params import GenerationParams


def call_arguments(
    loaded: Loaded, params: GenerationParams, seeds: Sequence[int] | None = None
) -> dict[str, Any]:
    """Return the arguments of the pipeline's call.

    seeds: one for each image; None for ``params.seed + i``.

    Raises `CapabilityError` for what the pipeline does not take, rather than dropping it.
    """
    import torch

    accepted = loaded.call_parameters
    if seeds is None:
        seeds = [params.seed + i for i in range(params.num_images_per_prompt)]
    n = len(seeds)
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    arguments: dict[str, Any] = {
        "prompt": params.prompt,
        "num_inference_steps": params.num_inference_steps,
        "width": params.width,
        "height": params.height,
        "generator": generators[0] if n == 1 else generators,
    }
    if n > 1:
        arguments["num_images_per_prompt"] = n
    true_cfg = guides_by_true_cfg(accepted)
    if true_cfg:
        arguments |= {
            "true_cfg_scale": params.guidance_scale,
            "negative_prompt": params.negative_prompt or " ",
        }
    elif "guidance_scale" in accepted:
        arguments["guidance_scale"] = params.guidance_scale
    if params.negative_prompt and not true_cfg:
        if "negative_prompt" not in accepted or "true_cfg_scale" in accepted:
            raise CapabilityError(
                f"{loaded.info.name} takes no negative prompt: leave it empty.", field="negative_prompt"
            )
        arguments["negative_prompt"] = params.negative_prompt
    if "use_resolution_binning" in accepted:
        # Binning would run at another size than the one asked for and resize the image.
        arguments["use_resolution_binning"] = False
    missing = sorted(set(arguments) - set(accepted))
    if missing:
        raise CapabilityError(f"{loaded.info.name} does not take {missing[0]}.", field=missing[0])
    return arguments


def guides_by_true_cfg(accepted: Mapping[str, Any]) -> bool:
    """Whether the scale that users mean is ``true_cfg_scale``, from the parameters of a pipeline's call.

    Pipelines with distilled guidance call the classifier-free scale so; it is meant where it is on by default.
    """
    return "true_cfg_scale" in accepted and (accepted["true_cfg_scale"].default or 0) > 1
