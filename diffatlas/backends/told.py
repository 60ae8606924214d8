"""What can be told of a request on a pipeline without running it: the values that it leaves open, and its identity."""

from __future__ import annotations

from typing import Any

from diffatlas.backends import guidable, loras, model_info, schedulers, tasks
from diffatlas.backends.identity import identity_from, identity_of, scheduler_told
from diffatlas.backends.loading import Loaded
from diffatlas.backends.model_info import ModelInfo
from diffatlas.backends.parts import Parts
from diffatlas.params import GenerationParams


def fit(params: GenerationParams, parts: Parts, info: ModelInfo) -> GenerationParams:
    """Return a request with the model's own values where it leaves them open. Raises as `LocalBackend.resolve`."""
    params = model_info.fit(tasks.fit(params, parts, info), parts, info)
    return guidable.fit_guidance(params, parts, info.name)


def identity(loaded: Loaded, params: GenerationParams, batched: bool = False) -> dict[str, Any] | None:
    """Return the identity of a run on a resident pipeline."""
    told = loras.described(params.loras, loaded)
    if loaded.folder is None:
        if "digest" not in loaded.revision or told is None or params.scheduler is None:
            return None
        scheduler = scheduler_told(schedulers.build(loaded.own_scheduler, params.scheduler))
        where = (loaded.device, loaded.dtype, params, batched, told)
        return identity_from("", loaded.revision, None, scheduler, *where)
    where = (loaded.source, loaded.folder, loaded.device, loaded.dtype, loaded.revision)
    return identity_of(*where, params, batched, loaded.variant, told)
