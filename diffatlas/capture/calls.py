"""The two calls through which a pipeline can be read and steered: the denoiser's forward and the scheduler's step."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

DENOISERS = ("unet", "transformer", "transformer_2")
_STEP_ARGUMENTS = ("model_output", "timestep", "sample")


def denoisers(pipe: Any) -> list[Any]:
    """Return the pipeline's denoisers that take hooks."""
    parts = (getattr(pipe, name, None) for name in DENOISERS)
    return [p for p in parts if hasattr(p, "register_forward_hook")]


class _StepWrapper:
    """Stands in for ``scheduler.step``; a copy of the scheduler gets its own plain ``step`` back."""

    def __init__(self, step: Callable[..., Any], around: Callable[..., Any]) -> None:
        functools.update_wrapper(self, step)  # Pipelines look at the signature of `step`.
        self._around = around

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._around(self.__wrapped__, args, kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.__wrapped__, memo)


@contextmanager
def step_wrapped(scheduler: Any, around: Callable[..., Any]) -> Iterator[None]:
    """Call ``around(scheduler, step, args, kwargs)`` in place of ``scheduler.step`` inside the context.

    ``step`` is what was there before. Of two wrappers the one that was put on last is called first.
    """
    own = scheduler.__dict__.get("step")
    scheduler.step = _StepWrapper(scheduler.step, functools.partial(around, scheduler))
    try:
        yield
    finally:
        if own is None:
            del scheduler.step
        else:
            scheduler.step = own


def step_arguments(args: tuple, kwargs: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Return (model_output, timestep, sample), however ``scheduler.step`` was called.

    The timestep that some pipelines repeat for each image is one number here.
    """
    given = dict(zip(_STEP_ARGUMENTS, args, strict=False))
    given |= {k: v for k, v in kwargs.items() if k in _STEP_ARGUMENTS}
    model_output, timestep, sample = (given[name] for name in _STEP_ARGUMENTS)
    if getattr(timestep, "ndim", 0):
        timestep = timestep.flatten()[0]
    return model_output, timestep, sample


def with_model_output(
    args: tuple, kwargs: Mapping[str, Any], model_output: torch.Tensor
) -> tuple[tuple, dict[str, Any]]:
    """Return the arguments of a ``scheduler.step`` with another model output."""
    if args:
        return (model_output, *args[1:]), dict(kwargs)
    return args, {**kwargs, "model_output": model_output}


def prev_sample(result: Any) -> torch.Tensor:
    """Return the state in what ``scheduler.step`` returned."""
    return result[0] if isinstance(result, tuple) else result.prev_sample


def with_prev_sample(result: Any, sample: torch.Tensor) -> Any:
    """Return what ``scheduler.step`` returned, with another state in it."""
    if isinstance(result, tuple):
        return (sample, *result[1:])
    result.prev_sample = sample
    return result


def first_tensor(output: Any) -> torch.Tensor | None:
    """Return the prediction in a denoiser's output: a tensor, a tuple, an object, or a list by sample."""
    import torch

    if isinstance(output, torch.Tensor):
        return output
    if hasattr(output, "sample"):
        return first_tensor(output.sample)
    if isinstance(output, list) and output and all(isinstance(o, torch.Tensor) for o in output):
        return torch.stack(output) if len({o.shape for o in output}) == 1 else None
    if isinstance(output, (tuple, list)) and output:
        return first_tensor(output[0])
    return None


def split_batch(prediction: Any, batch: int, shape: tuple[int, ...]) -> list[Any]:
    """Split a prediction (n * B, ...) into its n parts, each of the guided prediction's ``shape``.

    prediction: a NumPy array or a torch tensor; the parts are views of it.

    What a pipeline drops before the scheduler (a learned variance, the tokens of a reference image) is
    dropped here too. Returns nothing where the shapes do not fit.
    """
    if len(prediction) % batch:
        return []
    shape = tuple(shape)
    parts = [prediction[start : start + batch] for start in range(0, len(prediction), batch)]
    if parts[0].ndim == len(shape) + 1 and 1 in parts[0].shape[1:]:
        parts = [p.reshape(shape) if math.prod(p.shape) == math.prod(shape) else p for p in parts]
    if parts[0].ndim != len(shape) or any(n < m for n, m in zip(parts[0].shape, shape, strict=True)):
        return []
    window = tuple(slice(n) for n in shape)
    return [p[window] for p in parts]
