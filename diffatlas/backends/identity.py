"""What decides a result besides the request, as it is known without loading the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diffatlas.backends import model_info, schedulers
from diffatlas.backends.model_info import ModelSource
from diffatlas.backends.parts import class_of_diffusers
from diffatlas.capture.ran_on import plain
from diffatlas.capture.spec import CAPTURE_FORMAT
from diffatlas.params import GenerationParams
from diffatlas.steering import STEERING_FORMAT


def identity_of(
    source: ModelSource,
    folder: Path,
    device: str,
    dtype: str,
    revision: Mapping[str, str],
    params: GenerationParams,
    batched: bool = False,
    variant: str | Mapping[str, str] | None = None,
    loras: Sequence[Mapping[str, Any]] | None = (),
    placement: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any] | None:
    """Return everything that decides the result of ``params`` (resolved) and that they do not say.

    Plain JSON types, without a clock or a path: the model's id ("" for a folder) and revision (the Hub's commit, with
    the subfolder in it, or the SHA-256 of the files), the ``variant`` of its weights (by component where they differ),
    the scheduler's class and config as this run would build it, dtype, kind of device ("cpu", "cuda", "mps"), the
    versions of torch, diffusers and transformers, and `CAPTURE_FORMAT`. Two runs of equal params and equal identity
    give the same latents as far as one kind of device promises it. A run that is steered has `STEERING_FORMAT` too,
    one with LoRAs (`loras.described`) the SHA-256 and weight of each, and one out of a batch
    says so (``batched``): its latents are near to those of the same run by itself, not equal. What of ``placement``
    (`Placement.deciding`) there is, is in it too.

    None where the scheduler is not one of diffusers', or a LoRA is not on this machine yet, so that it cannot be known
    without loading.
    """
    scheduler = _scheduler(folder, params.scheduler)
    if scheduler is None or loras is None:
        return None
    model = source.entry.id if source.entry else ""
    told = dict(variant) if isinstance(variant, Mapping) else variant
    identity = identity_from(model, revision, told, scheduler, device, dtype, params, batched, loras)
    if placement:
        identity["placement"] = dict(placement)
    inside = "commit" in revision and source.subfolder
    return identity | {"subfolder": source.subfolder} if inside else identity


def identity_from(
    model: str,
    revision: Mapping[str, str],
    variant: str | dict[str, str] | None,
    scheduler: Mapping[str, Any],
    device: str,
    dtype: str,
    params: GenerationParams,
    batched: bool,
    loras: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return `identity_of`, of a model and a scheduler that are told already."""
    import diffusers
    import torch
    import transformers

    identity = {
        "model": model,
        "revision": dict(revision),
        "variant": variant,
        "scheduler": dict(scheduler),
        "dtype": dtype,
        "device": device.partition(":")[0],
        "versions": {
            "torch": str(torch.__version__),
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
            "capture": CAPTURE_FORMAT,
        },
    }
    if loras:
        identity["loras"] = [dict(lora) for lora in loras]
        identity["versions"]["peft"] = version("peft")
    if batched or params.guidance_method is not None or params.noise is not None:
        identity["versions"]["steering"] = STEERING_FORMAT
    return identity | {"batched": True} if batched else identity


def _scheduler(folder: Path, name: str | None) -> dict[str, Any] | None:
    """Return class and config of the scheduler that a run under ``name`` builds, from the folder's files."""
    config = model_info.scheduler_config(folder)
    own = class_of_diffusers(str(config.get("_class_name")))
    if own is None or name is None:
        return None
    return scheduler_told(schedulers.build(own.from_config(config), name))


def scheduler_told(scheduler: Any) -> dict[str, Any]:
    """Return class and config of a scheduler as an identity has them."""
    # Names with an underscore say how the config came about, some in an order that changes by process.
    settings = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
    return {"class": type(scheduler).__name__, "config": plain(settings)}
