"""What decides a result besides the request, as it is known without loading the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffatlas.backends import loading, model_info, schedulers
from diffatlas.backends.model_info import ModelSource
from diffatlas.capture.spec import CAPTURE_FORMAT
from diffatlas.params import GenerationParams


def identity_of(
    source: ModelSource,
    folder: Path,
    device: str,
    dtype: str,
    revision: Mapping[str, str],
    params: GenerationParams,
) -> dict[str, Any] | None:
    """Return everything that decides the result of ``params`` (resolved) and that they do not say.

    Plain JSON types, without a clock or a path: the model's id ("" for a folder) and revision (the Hub's commit
    or the SHA-256 of the files), the variant of its weights, the scheduler's class and config as this run
    would build it, dtype, kind of device ("cpu", "cuda", "mps"), the versions of torch, diffusers and
    transformers, and `CAPTURE_FORMAT`. Two runs of equal params and equal identity give the same latents as
    far as one kind of device promises it.

    None where the scheduler is not one of diffusers', so that it cannot be known without loading.
    """
    import diffusers
    import torch
    import transformers

    scheduler = _scheduler(folder, params.scheduler)
    if scheduler is None:
        return None
    return {
        "model": source.entry.id if source.entry else "",
        "revision": dict(revision),
        "variant": loading.variant_in(source, folder),
        "scheduler": scheduler,
        "dtype": dtype,
        "device": device.partition(":")[0],
        "versions": {
            "torch": str(torch.__version__),
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
            "capture": CAPTURE_FORMAT,
        },
    }


def _scheduler(folder: Path, name: str | None) -> dict[str, Any] | None:
    """Return class and config of the scheduler that a run under ``name`` builds, from the folder's files."""
    import diffusers

    config = model_info.scheduler_config(folder)
    own = getattr(diffusers, str(config.get("_class_name")), None)
    if own is None or name is None:
        return None
    scheduler = schedulers.build(own.from_config(config), name)
    # Names with an underscore say how the config came about, some in an order that changes by process.
    settings = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
    return {"class": type(scheduler).__name__, "config": loading.plain(settings)}
