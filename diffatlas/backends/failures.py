"""Turning whatever a pipeline throws into a typed error."""

from __future__ import annotations

import traceback

from diffatlas.errors import BackendFailure, DiffAtlasError, OutOfMemory, SchedulerMismatch
from diffatlas.events import Failed
from diffatlas.params import GenerationParams


def as_typed(error: BaseException, params: GenerationParams) -> DiffAtlasError:
    """Return the typed error that ``error`` amounts to."""
    if isinstance(error, DiffAtlasError):
        return error
    if is_out_of_memory(error):
        return OutOfMemory(
            "The device ran out of memory: choose a smaller size, fewer images or a smaller model, "
            "or close what else uses the device.",
        )
    frames = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
    what = f"{type(error).__name__}: {_first_line(error)}"
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return BackendFailure(
            f"The model could not be compiled ({what}): take compile= out of its line in the list of models."
        )
    if params.scheduler and frames & {"retrieve_timesteps", "set_timesteps"}:
        return SchedulerMismatch(
            f"The scheduler {params.scheduler!r} does not run with these settings ({what}): "
            "change the number of steps or choose another scheduler.",
            field="scheduler",
        )
    return BackendFailure(f"The pipeline failed with {what}. Other settings or another model may work.")


def as_event(error: DiffAtlasError) -> Failed:
    """Return the event that carries ``error``."""
    return Failed(code=error.code, message=error.message, field=error.field)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or Python says that memory is full."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else "no message").rstrip(".")[:300]
