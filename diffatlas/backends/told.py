"""What can be told of a request on a pipeline without running it: the values that it leaves open, and its identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffatlas.backends import dtypes, guidable, loading, loras, model_info, schedulers, tasks
from diffatlas.backends.identity import identity_from, identity_of, scheduler_told
from diffatlas.backends.loading import Loaded
from diffatlas.backends.model_info import ModelInfo, ModelSource
from diffatlas.backends.parts import Parts
from diffatlas.backends.weights import variant_of
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
    return identity_of(*where, params, batched, loaded.variant, told, loaded.placement.deciding)


def identity_of_files(
    source: ModelSource, folder: Path, device: str, dtype: str, params: GenerationParams, batched: bool
) -> dict[str, Any] | None:
    """Return the identity of a run on a model that is on this machine and not loaded. dtype: as it was asked."""
    runs_in = dtypes.pick_dtype(dtype, device, source, folder)
    variant = variant_of(model_info.weights_of(source, folder))
    revision, added = model_info.revision(folder), loras.described(params.loras)
    put = loading.plan(source, folder, device, runs_in).deciding
    return identity_of(source, folder, device, runs_in, revision, params, batched, variant, added, put)
