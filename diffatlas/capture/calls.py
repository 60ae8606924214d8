"""What a pipeline calls while it runs: its own ``__call__``, its denoisers, its scheduler's ``step``.

These three are where a pipeline can be read and steered, whatever it does in between. They are watched in their classes
(`diffatlas.capture.watching`), so that a scheduler which a pipeline copies, swaps, restores or shares is seen all the
same.
"""

from __future__ import annotations

import functools
import inspect
import math
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffatlas.capture.watching import Around, method_watched

if TYPE_CHECKING:
    import torch

#: Where pipelines keep what denoises; the second row only where the first has nothing.
DENOISERS = (("unet", "transformer", "transformer_2"), ("prior", "decoder"))
_STEP_ARGUMENTS = ("model_output", "timestep", "sample")


def call_parameters(pipeline: type) -> dict[str, inspect.Parameter]:
    """Return the parameters of a pipeline's call by name, without ``self``.

    Of a class that hands its arguments on (``*args``) they are those of the class that it is made from.
    """
    found: dict[str, inspect.Parameter] = {}
    for cls in pipeline.__mro__:
        if "__call__" not in cls.__dict__:
            continue
        own = dict(list(inspect.signature(cls.__call__).parameters.items())[1:])
        found = found or own
        if not any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in own.values()):
            return own
    return found


def denoisers(pipe: Any) -> list[Any]:
    """Return the pipeline's denoisers, as they are now."""
    for names in DENOISERS:
        parts = (getattr(pipe, name, None) for name in names)
        if found := [part for part in parts if callable(part)]:
            return found
    return []


def schedulers(pipe: Any) -> list[Any]:
    """Return whatever of the pipeline has a ``step``, its ``scheduler`` first."""
    first = getattr(pipe, "scheduler", None)
    others = [v for v in vars(pipe).values() if v is not first and hasattr(v, "timesteps")]
    return [s for s in (first, *others) if callable(getattr(s, "step", None))]


@contextmanager
def watch(
    pipe: Any, *, call: Around | None = None, denoiser: Around | None = None, step: Around | None = None
) -> Iterator[Watch]:
    """Look on at a pipeline inside the context.

    call: around each call of the pipeline. Not around one inside another (a callback that calls the pipeline again),
        nor around one on a second thread beside it, nor around those of other pipelines, which may share its parts:
        they run unseen, with all that they call.
    denoiser, step: around each call of a denoiser and of a scheduler's ``step`` inside such a call, on its thread;
        and around those that a loop of one's own makes with the pipeline's parts. A ``step`` that calls another one
        is one step.

    Each is a function of (object, proceed, args, kwargs). Of several contexts the one entered last is called first.
    """
    looking = Watch(pipe, call or _go_on, denoiser or _go_on, step or _go_on)
    with looking.classes:
        looking.look_again()
        yield looking


class Watch:
    """Sorts out the calls that belong to one pipeline."""

    def __init__(self, pipe: Any, call: Around, denoiser: Around, step: Around) -> None:
        self.pipe = pipe
        self._call, self._denoiser, self._step = call, denoiser, step
        #: Ends the looking on.
        self.classes = ExitStack()
        self._looked_at: set[tuple[type, str]] = set()
        #: What the pipeline held when its parts were last looked at, by name, and its denoisers then.
        self._held: dict[str, Any] = {}
        self._denoisers: list[Any] = []
        #: The thread of the call that is running, and what runs there.
        self._owner: int | None = None
        self._local = threading.local()
        #: Whether a call of the pipeline has begun on a second thread beside the one that is watched.
        self.beside = False

    @property
    def running(self) -> Any:
        """The pipeline whose loop runs on this thread: the one that is watched, or a part of it that it calls."""
        inner = getattr(self._local, "inner", None)
        return inner[-1] if inner else self.pipe

    def look_again(self) -> None:
        """Look at the classes of what the pipeline holds now, and of all schedulers and pipelines that are loaded."""
        for cls in _loaded("diffusers.pipelines.pipeline_utils", "DiffusionPipeline"):
            self._look_at(cls, "__call__", self._around_call)
        for cls in type(self.pipe).__mro__:
            self._look_at(cls, "__call__", self._around_call)
        for cls in _loaded("diffusers.schedulers.scheduling_utils", "SchedulerMixin"):
            self._look_at(cls, "step", self._around_step)
        self._look_at_parts()

    def _look_at_parts(self) -> None:
        found, self._denoisers = schedulers(self.pipe), denoisers(self.pipe)
        for scheduler in found:
            for cls in type(scheduler).__mro__:
                self._look_at(cls, "step", self._around_step)
        # Where it holds them in another way, nothing tells whether they are still the same.
        held = vars(self.pipe)
        plain = all(any(part is value for value in held.values()) for part in (*found, *self._denoisers))
        self._held = dict(held) if plain else {}
        for module in self._denoisers:
            # Their ``__call__`` is that of every module: it is watched in their own class alone.
            self._look_at(type(module), "__call__", self._around_denoiser, inherited=True)

    def _has_changed(self) -> bool:
        """Whether the pipeline may hold other parts than when they were last looked at."""
        held = vars(self.pipe)
        if len(held) != len(self._held):
            return True
        for name, value in held.items():
            if self._held.get(name, self) is not value:
                if callable(value) or hasattr(value, "timesteps"):
                    return True
                self._held[name] = value  # A number or a setting of the call.
        return False

    def _look_at(self, cls: type, name: str, around: Any, inherited: bool = False) -> None:
        known = (cls, name) in self._looked_at or cls is object
        if known or not (
            inherited or callable(cls.__dict__.get(name)) or hasattr(cls.__dict__.get(name), "arounds")
        ):
            return
        self._looked_at.add((cls, name))
        self.classes.enter_context(method_watched(cls, name, functools.partial(around, cls)))

    def _around_call(
        self, cls: type, instance: Any, proceed: Any, args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        if not hasattr(self._local, "calls"):
            # The classes whose ``__call__`` runs on this thread; None for a call that is not to be seen.
            self._local.calls, self._local.inner = [], []
        calls: list[type | None] = self._local.calls
        if instance is self.pipe and self._owner is None:
            self.look_again()
            self._owner = threading.get_ident()
            calls.append(cls)
            try:
                return self._call(instance, proceed, args, kwargs)
            finally:
                calls.pop()
                self._owner = None
        if calls and calls[-1] is not None:
            if instance is self.pipe and calls[-1] is not cls:  # super().__call__
                return proceed(*args, **kwargs)
            if any(instance is part for part in vars(self.pipe).values()):
                self._local.inner.append(instance)
                try:
                    return proceed(*args, **kwargs)
                finally:
                    self._local.inner.pop()
        self.beside |= instance is self.pipe and self._owner not in (None, threading.get_ident())
        # Another pipeline's, which may use the same parts.
        calls.append(None)
        try:
            return proceed(*args, **kwargs)
        finally:
            calls.pop()

    def _is_ours(self, alone: bool) -> bool:
        """Whether a call on this thread is made by the watched call; ``alone``: whether it counts without one."""
        calls = getattr(self._local, "calls", None)
        if calls:
            return calls[-1] is not None
        return alone and self._owner is None

    def _around_denoiser(
        self, cls: type, instance: Any, proceed: Any, args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        if getattr(self._local, "denoising", False) or not self._is_ours(alone=True):
            return proceed(*args, **kwargs)
        changed = self._has_changed()
        if not any(instance is module for module in (denoisers(self.pipe) if changed else self._denoisers)):
            return proceed(*args, **kwargs)
        if changed:
            # A callback may have given the pipeline another scheduler.
            self._look_at_parts()
        self._local.denoising = True
        try:
            return self._denoiser(instance, proceed, args, kwargs)
        finally:
            self._local.denoising = False

    def _around_step(
        self, cls: type, instance: Any, proceed: Any, args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        ours = self._is_ours(alone=instance is getattr(self.pipe, "scheduler", None))
        if not ours or getattr(self._local, "stepping", False):
            return proceed(*args, **kwargs)
        self._local.stepping = True
        try:
            return self._step(instance, proceed, args, kwargs)
        finally:
            self._local.stepping = False


def _go_on(instance: Any, proceed: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    return proceed(*args, **kwargs)


def _loaded(module: str, name: str) -> list[type]:
    """Return the classes that are loaded of a base class of diffusers, with that one; none where it is not loaded."""
    base = getattr(sys.modules.get(module), name, None)
    found = [] if base is None else [base]
    for cls in found:
        found += [sub for sub in cls.__subclasses__() if sub not in found]
    return found


@dataclass(frozen=True)
class StepCall:
    """What a scheduler's ``step`` was given. ``timestep``: one number or a tensor of one."""

    model_output: torch.Tensor
    timestep: Any
    sample: torch.Tensor


def step_arguments(args: tuple, kwargs: Mapping[str, Any]) -> StepCall | None:
    """Return what a ``step`` was given, however it was called; None where that is no prediction, timestep and state.

    The timestep that some pipelines repeat for each image is one number here.
    """
    import torch

    given = dict(zip(_STEP_ARGUMENTS, args, strict=False))
    given |= {k: v for k, v in kwargs.items() if k in _STEP_ARGUMENTS}
    if set(given) != set(_STEP_ARGUMENTS):
        return None
    model_output, timestep, sample = (given[name] for name in _STEP_ARGUMENTS)
    if not isinstance(model_output, torch.Tensor) or not isinstance(sample, torch.Tensor) or not sample.ndim:
        return None
    if getattr(timestep, "ndim", 0):
        timestep = timestep.flatten()[0]
    return StepCall(model_output, timestep, sample)


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
