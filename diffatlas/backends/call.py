"""The arguments of a pipeline's call, in the words of that pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffatlas.backends.loading import Loaded
from diffatlas.capture.asked import guides_by_true_cfg
from diffatlas.errors import CapabilityError
from diffatlas.inputs import arguments_of
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
    for side in ("width", "height"):
        if side not in accepted:
            # It is that of a picture, or of the model (`model_info.fit`).
            del arguments[side]
    if "prompt" not in accepted and not params.prompt.strip():
        del arguments["prompt"]
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
        unread = "true_cfg_scale" in accepted and "true_cfg_scale" not in (params.extra or {})
        if "negative_prompt" not in accepted or unread:
            raise CapabilityError(
                f"{loaded.info.name} takes no negative prompt: leave it empty.", field="negative_prompt"
            )
        arguments["negative_prompt"] = params.negative_prompt
    if "use_resolution_binning" in accepted:
        # Binning would run at another size than the one asked for and resize the image.
        arguments["use_resolution_binning"] = False
    arguments |= dict(params.extra or {}) | arguments_of(params.inputs)
    missing = sorted(set(arguments) - set(accepted))
    if missing:
        given = {one.name for one in params.inputs}
        field = (
            "extra" if missing[0] in (params.extra or {}) else "inputs" if missing[0] in given else missing[0]
        )
        raise CapabilityError(f"{loaded.info.name} does not take {missing[0]}.", field=field)
    return arguments
