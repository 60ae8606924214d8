"""Pipelines that are handed in: what is known of one, and leaving it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffatlas.backends import model_info
from diffatlas.backends.loading import Loaded
from diffatlas.backends.model_info import ModelSource
from diffatlas.backends.parts import PipeParts
from diffatlas.capture.calls import DENOISERS, denoisers, schedulers
from diffatlas.capture.ran_on import adapters_of, name_of, place_of
from diffatlas.errors import BackendFailure, CapabilityError, InvalidParams, ModelLoadError
from diffatlas.params import GenerationParams


def loaded_from(pipe: Any, name: str | None = None) -> Loaded:
    """Return a pipeline that was handed in as if it had been loaded; its revision is for each run to tell.

    Raises `CapabilityError` for one that cannot be observed, `InvalidParams` for a name that is none.
    """
    if isinstance(pipe, str) or not callable(pipe) or isinstance(pipe, type):
        raise InvalidParams(
            f"pipe is {str(pipe)[:80]!r}: give a pipeline that is loaded, or name a model in the request.",
            field="pipe",
        )
    if not denoisers(pipe) or not schedulers(pipe):
        names = ", ".join(part for row in DENOISERS for part in row)
        raise CapabilityError(
            f"{type(pipe).__name__} has no denoiser and scheduler of the kind that can be observed: one of {names} and"
            " a scheduler with a step are needed.",
            field="pipe",
        )
    if name is not None and (not isinstance(name, str) or not name.strip() or len(name) > 200):
        raise InvalidParams(f"The name {str(name)[:80]!r} is no name for a pipeline.", field="name")
    name = name or name_of(pipe)
    try:
        info = model_info.describe_parts(name, name, PipeParts(pipe))
    except ModelLoadError as error:
        raise CapabilityError(error.message, field="pipe") from error
    device, dtype = place_of(pipe)
    return Loaded(pipe, ModelSource(name, None), None, info, device, dtype, {}, own_scheduler=pipe.scheduler)


def check(held: Loaded, params: GenerationParams) -> None:
    """Raise `InvalidParams` or `CapabilityError` for what a request cannot have on a pipeline that was handed in."""
    name = held.info.name
    params.validate("prompt" in held.call_parameters)
    for what in ("variant", "revision", "subfolder"):
        if getattr(params, what) is not None:
            raise CapabilityError(f"{name} is a pipeline in memory: it has no {what}.", field=what)
    if params.loras and adapters_of(held.pipe):
        raise CapabilityError(
            f"{name} has adapters of its own, beside which no LoRA is put: take them off first, or put it on yourself.",
            field="loras",
        )


def not_as_it_was() -> None:
    """Say that a LoRA could not be taken off again, so that the pipeline is not what was handed in."""
    raise BackendFailure(
        "The LoRA could not be taken off the pipeline again: build the pipeline anew before you go on."
    )


@contextmanager
def left_as_it_was(pipe: Any) -> Iterator[None]:
    """Give a pipeline back, at the end of the context, every attribute that it had at its start, and no other."""
    before = dict(vars(pipe))
    try:
        yield
    finally:
        vars(pipe).clear()
        vars(pipe).update(before)
