"""Noise that is made of more than a run's own seed: perturbed, or on the way to that of another seed."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from diffatlas.capture import schedule
from diffatlas.capture.calls import prev_sample, step_arguments, watch, with_prev_sample
from diffatlas.capture.x0 import predict_x0
from diffatlas.errors import CapabilityError
from diffatlas.geometry.noise import perturb, slerp
from diffatlas.params import Noise

if TYPE_CHECKING:
    import torch


def by_image(noise: Noise | None, count: int) -> list[Noise | None]:
    """Return the noise of each of ``count`` images of one request: image i has the seed ``noise.seed + i``."""
    return [None if noise is None else replace(noise, seed=noise.seed + i) for i in range(count)]


@contextmanager
def steer_noise(pipe: Any, noises: Sequence[Noise | None]) -> Iterator[None]:
    """Make the noise of each sample of one pipeline call as its `Noise` says; None leaves a sample as it is.

    noises: one per sample of the call, in order.

    The pipeline draws x_T as ever; its ``prepare_latents`` is asked once more for the noise of the other seeds, drawn
    from ``torch.Generator("cpu").manual_seed(noise.seed)`` as a run of that seed draws it, and the two are combined
    (`diffatlas.geometry.noise`). The pipeline's own generators go on as in the plain run. Put it around `observe`,
    which then records a state that was perturbed after a later step as that step's.

    Raises `CapabilityError` (field "noise") where the pipeline's noise cannot be reached, when the context begins or
    inside it.
    """
    if not any(noises):
        yield
        return
    steering = _Noise(type(pipe).__name__, noises)
    prepare = getattr(pipe, "prepare_latents", None)
    if not callable(prepare) or "generator" not in inspect.signature(prepare).parameters:
        raise steering.unreachable()
    held = pipe.__dict__.get("prepare_latents")
    pipe.prepare_latents = lambda *args, **kwargs: steering.prepare(prepare, args, kwargs)
    try:
        with watch(pipe, step=steering.around_step):
            yield
    finally:
        if held is None:
            del pipe.prepare_latents
        else:
            pipe.prepare_latents = held
    steering.check_done()


class _Noise:
    """Holds the noise of the other seeds from the start until it has been used."""

    def __init__(self, pipeline: str, noises: Sequence[Noise | None]) -> None:
        self._pipeline = pipeline
        self._noises = tuple(noises)
        #: The noise of the other seeds, as the pipeline scales and packs it: (B, ...).
        self._others: torch.Tensor | None = None
        #: Whole steps of the scheduler that are done.
        self._done = 0

    def prepare(self, original: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run ``prepare_latents`` as called, and combine its noise with that of the other seeds."""
        import torch

        bound = inspect.signature(original).bind(*args, **kwargs)
        own = original(*args, **kwargs)
        mine = _latents(own)
        single = not isinstance(bound.arguments.get("generator"), list)
        given = bound.arguments.get("latents") is not None
        if given or len(mine) != len(self._noises) or (single and len(mine) > 1):
            raise self.unreachable()
        seeds = [0 if noise is None else noise.seed for noise in self._noises]
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        bound.arguments["generator"] = generators[0] if single else generators
        others = _latents(original(*bound.args, **bound.kwargs))
        self._others = others
        return _with_latents(own, self._combined(mine, others))

    def around_step(
        self, scheduler: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        """Run ``scheduler.step`` as called, and perturb what it returns where that is asked after this step."""
        if self._others is None:
            raise self.unreachable()
        given = step_arguments(args, kwargs)
        if given is None:
            raise self._not_with(scheduler)
        later = any(noise is not None and noise.step > self._done for noise in self._noises)
        if not later:
            return proceed(*args, **kwargs)
        if hasattr(scheduler, "order_list"):
            raise self._not_with(scheduler)
        level = schedule.level_at_call(scheduler, given.timestep)
        x0 = predict_x0(scheduler, given.sample, given.model_output, level)
        result = proceed(*args, **kwargs)
        if _between_stages(scheduler):
            return result
        self._done += 1
        rows = [i for i, n in enumerate(self._noises) if n is not None and n.step == self._done and n.amount]
        if not rows:
            return result
        after = schedule.level_after(scheduler, given.timestep)
        state = prev_sample(result).clone()
        for i in rows:
            state[i] = self._perturbed(scheduler, i, state[i], x0[i], after)
        if getattr(scheduler, "last_sample", None) is not None:
            # UniPC corrects a state by the one before it; this one no longer comes from there.
            scheduler.last_sample = None
        return with_prev_sample(result, state)

    def check_done(self) -> None:
        """Raise `CapabilityError` where a perturbation was asked for that never came."""
        if any(n is not None and n.step > self._done and n.amount for n in self._noises):
            raise CapabilityError(
                "The run ended before the step at which its noise was to be perturbed: choose an earlier step or "
                "another scheduler.",
                field="noise",
            )

    def unreachable(self) -> CapabilityError:
        """The error of a pipeline whose noise cannot be reached."""
        return CapabilityError(
            f"{self._pipeline} does not draw its noise where it can be reached (prepare_latents with a generator): "
            "perturb seeds instead.",
            field="noise",
        )

    def _not_with(self, scheduler: Any) -> CapabilityError:
        return CapabilityError(
            f"{type(scheduler).__name__} takes steps of several parts, so its states cannot be perturbed on the way: "
            "perturb the start, or choose another scheduler.",
            field="noise",
        )

    def _combined(self, mine: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        if not any(n is not None and not n.step for n in self._noises):
            return mine
        combined = mine.clone()
        for i, noise in enumerate(self._noises):
            if noise is not None and not noise.step:
                mix = perturb if noise.kind == "perturb" else slerp
                combined[i] = mix(mine[i], others[i], noise.amount)
        return combined

    def _perturbed(
        self, scheduler: Any, i: int, state: torch.Tensor, x0: torch.Tensor, level: schedule.NoiseLevel
    ) -> torch.Tensor:
        """Return alpha x0 + std n', where n' is the noise in ``state`` = alpha x0 + std n, perturbed."""
        if not level.std:
            return state
        wide = state.float()
        noise = (wide - level.alpha * x0) / level.std
        eps = _unit(self._others[i].float(), scheduler) * schedule.latent_scale(scheduler)
        moved = level.alpha * x0 + level.std * perturb(noise, eps, self._noises[i].amount)
        return moved.to(state.dtype)


def _unit(noise: torch.Tensor, scheduler: Any) -> torch.Tensor:
    """Return standard normal noise of what a pipeline starts from: it may have scaled it for its scheduler."""
    scale = float(getattr(scheduler, "init_noise_sigma", 1.0))
    rms = float(noise.square().mean().sqrt())
    scaled = rms > 0 and abs(math.log(rms / scale)) < abs(math.log(rms))
    return noise / scale if scaled else noise


def _between_stages(scheduler: Any) -> bool:
    """Whether the scheduler has just taken a part of a step, and will go on from a state that it keeps itself."""
    if not getattr(scheduler, "state_in_first_order", True):  # Heun, KDPM2
        return True
    return getattr(scheduler, "cur_sample", None) is not None  # PNDM


def _latents(prepared: Any) -> torch.Tensor:
    return prepared[0] if isinstance(prepared, tuple) else prepared


def _with_latents(prepared: Any, latents: torch.Tensor) -> Any:
    return (latents, *prepared[1:]) if isinstance(prepared, tuple) else latents
