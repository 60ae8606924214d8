"""Pipelines and callbacks copy, swap, restore and share schedulers: the image is the same, and every step is seen.

What really happened is recorded beside our own looking on, by a wrapper in the scheduler's class around all of it.
"""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPanoramaPipeline,
    StableDiffusionPipeline,
    UniPCMultistepScheduler,
)

from diffatlas.capture import Capture, observe
from diffatlas.capture.watching import is_watched
from diffatlas.errors import CapabilityError
from tests.pipelines import arguments

Callback = Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]


@contextmanager
def truth(*classes: type) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
    """Yield the (state before, state after) of every ``step`` of these classes, as they happen."""
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    own = {cls: cls.step for cls in classes}

    def wrapped(step: Any) -> Any:
        def recording(
            self: Any, model_output: Any, timestep: Any, sample: Any, *args: Any, **kwargs: Any
        ) -> Any:
            before = sample.detach().clone().numpy()
            result = step(self, model_output, timestep, sample, *args, **kwargs)
            after = result[0] if isinstance(result, tuple) else result.prev_sample
            seen.append((before, after.detach().clone().numpy()))
            return result

        recording.__wrapped__ = step
        return recording

    for cls, step in own.items():
        cls.step = wrapped(step)
    try:
        yield seen
    finally:
        for cls, step in own.items():
            cls.step = step


def check_states(trace: Any, seen: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """The trace has every step that was made, each with the state that it started from."""
    assert len(trace.steps) == len(seen) > 0
    before = trace.initial_latents
    np.testing.assert_array_equal(before, seen[0][0])
    for step, (start, after) in zip(trace.steps, seen, strict=True):
        np.testing.assert_array_equal(before if step.start_latents is None else step.start_latents, start)
        np.testing.assert_array_equal(step.latents, after)
        assert step.metrics["step_length"] == pytest.approx(np.linalg.norm(after[:1] - start[:1]), rel=1e-5)
        before = step.latents


def deep_copied(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
    pipe.scheduler = copy.deepcopy(pipe.scheduler)
    return values


def copied(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
    pipe.scheduler = copy.copy(pipe.scheduler)
    return values


def pickled(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
    pipe.scheduler = pickle.loads(pickle.dumps(pipe.scheduler))
    return values


def restored(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
    kept = copy.deepcopy(pipe.scheduler.__dict__)
    pipe.scheduler.__dict__.clear()
    pipe.scheduler.__dict__.update(kept)
    return values


def stepped_in_a_copy(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
    """A look ahead with a copy, whose result becomes the state."""
    other = copy.deepcopy(pipe.scheduler)
    if i == 0:
        x = values["latents"]
        values["latents"] = other.step(torch.zeros_like(x), pipe.scheduler.timesteps[1], x)[0]
    return values


class Other(DDIMScheduler):
    """A class that nobody had met when the call began to be watched."""

    def step(self, model_output: Any, timestep: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        return super().step(0.9 * model_output, timestep, sample, *args, **kwargs)


def another_class(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
    if i == 1:
        other = Other.from_config(pipe.scheduler.config)
        other.set_timesteps(4)
        pipe.scheduler = other
    return values


def recursive(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
    """A small picture in between, with a scheduler of its own, by the very same pipeline."""
    own, pipe.scheduler = pipe.scheduler, copy.deepcopy(pipe.scheduler)
    pipe(**arguments(pipe, steps=2, seed=3))
    pipe.scheduler = own
    return values


def by_another_pipeline(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Another pipeline of the same parts."""
    parts = {**pipe.components, "scheduler": copy.deepcopy(pipe.scheduler)}
    other = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    other.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(5)
    other("a star", image=torch.zeros(1, 3, 64, 64), num_inference_steps=4, generator=generator)
    # Its call set how far its guidance goes, in the shared parts nothing.
    return values


TRICKS: list[Callback] = [
    deep_copied,
    copied,
    pickled,
    restored,
    recursive,
    by_another_pipeline,
]
CLASSES = [DDIMScheduler, EulerDiscreteScheduler, EulerAncestralDiscreteScheduler]
SCHEDULERS = [
    DDIMScheduler,
    EulerDiscreteScheduler,
    EulerAncestralDiscreteScheduler,
    DPMSolverMultistepScheduler,
    PNDMScheduler,
    HeunDiscreteScheduler,
    LMSDiscreteScheduler,
    UniPCMultistepScheduler,
]


def fresh(pipe: Any, scheduler: type = DDIMScheduler, kind: type = StableDiffusionPipeline) -> Any:
    """Return another pipeline of the same parts."""
    parts = dict(pipe.components)
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    parts["scheduler"] = scheduler(
        **betas, **({"skip_prk_steps": True} if scheduler is PNDMScheduler else {})
    )
    parts.pop("image_encoder", None)
    made = kind(**parts, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.mark.parametrize(
    ("trick", "cls"),
    [
        *((trick, cls) for trick in TRICKS for cls in CLASSES),
        (another_class, DDIMScheduler),
        (stepped_in_a_copy, DDIMScheduler),
        (stepped_in_a_copy, EulerDiscreteScheduler),
    ],
    ids=lambda value: value.__name__,
)
def test_a_callback_does_what_it_likes_with_the_scheduler(sd_pipe: Any, trick: Callback, cls: type) -> None:
    call = {"callback_on_step_end": trick}
    plain = fresh(sd_pipe, cls)
    expected = plain(**arguments(plain), **call).images
    pipe = fresh(sd_pipe, cls)
    with observe(pipe) as trace:
        image = pipe(**arguments(pipe), **call).images
    np.testing.assert_array_equal(image, expected)
    # The same once more, beside what really happened in the pipeline's own steps.
    pipe, own = fresh(sd_pipe, cls), []

    def noting(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
        own.append(len(seen) - 1)
        return trick(pipe, i, t, values)

    with observe(pipe) as trace, truth(cls) as seen:
        pipe(**arguments(pipe), callback_on_step_end=noting)
    if trick not in (stepped_in_a_copy, another_class):
        check_states(trace, [seen[k] for k in own])
    assert trace.total_steps == 4
    assert trace.missing == {}


@pytest.mark.parametrize("cls", SCHEDULERS)
def test_views_of_a_panorama_are_steps(sd_pipe: Any, cls: type) -> None:
    """The pipeline restores the scheduler's ``__dict__`` for each view; what it makes of the views is seen too."""
    pipe = fresh(sd_pipe, cls, StableDiffusionPanoramaPipeline)
    call = {"prompt": "a wall", "height": 64, "width": 8 * 72, "num_inference_steps": 3, "output_type": "np"}
    plain = pipe(**call, generator=torch.Generator().manual_seed(1)).images
    with observe(pipe, Capture(previews="every")) as trace, truth(cls) as steps:
        seen = pipe(**call, generator=torch.Generator().manual_seed(1)).images
    np.testing.assert_array_equal(plain, seen)
    check_states(trace, steps)
    assert trace.total_steps == len(trace.steps)
    assert any(step.start_latents is not None for step in trace.steps)


def test_a_scheduler_exchanged_inside_the_context(sd_pipe: Any) -> None:
    pipe = fresh(sd_pipe)
    with observe(pipe) as trace:
        pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
        image = pipe(**arguments(pipe)).images
    np.testing.assert_array_equal(image, pipe(**arguments(pipe)).images)
    assert len(trace.steps) == trace.total_steps == 4


def test_a_scheduler_of_ones_own(sd_pipe: Any) -> None:
    """Neither of diffusers' base class nor with a config, it has the three things that a pipeline needs."""

    class Straight:
        init_noise_sigma, order = 1.0, 1

        def set_timesteps(self, n: int, device: Any = None) -> None:
            self.timesteps = torch.linspace(900, 0, n)

        def scale_model_input(self, x: Any, t: Any) -> Any:
            return x

        def step(self, model_output: Any, timestep: Any, sample: Any, return_dict: bool = True) -> Any:
            return (sample - 0.1 * model_output,)

    pipe = fresh(sd_pipe)
    pipe.scheduler = Straight()
    plain = pipe(**arguments(pipe)).images
    with observe(pipe, Capture(previews="every")) as trace, truth(Straight) as seen:
        image = pipe(**arguments(pipe)).images
    np.testing.assert_array_equal(plain, image)
    check_states(trace, seen)
    assert [step.sigma for step in trace.steps] == [None] * 4
    assert {"sigma", "x0_pred"} <= set(trace.missing)
    assert all(sentence.endswith(".") for sentence in trace.missing.values())


def test_a_step_that_calls_another_is_one(sd_pipe: Any) -> None:
    class Noisy(DDIMScheduler):
        def step(self, model_output: Any, timestep: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
            super().step(torch.zeros_like(model_output), timestep, sample)
            return super().step(0.9 * model_output, timestep, sample, *args, **kwargs)

    pipe = fresh(sd_pipe, Noisy)
    plain = pipe(**arguments(pipe)).images
    with observe(pipe) as trace, truth(Noisy) as seen:
        image = pipe(**arguments(pipe)).images
    np.testing.assert_array_equal(plain, image)
    check_states(trace, seen)


def test_a_step_set_on_the_scheduler_during_the_call(sd_pipe: Any) -> None:
    def replace(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
        if i == 1:
            own = type(pipe.scheduler).step.__get__(pipe.scheduler)
            pipe.scheduler.step = lambda m, t, x, **kwargs: own(0.5 * m, t, x, **kwargs)
        return values

    plain, pipe = fresh(sd_pipe), fresh(sd_pipe)
    expected = plain(**arguments(plain), callback_on_step_end=replace).images
    with observe(pipe) as trace:
        image = pipe(**arguments(pipe), callback_on_step_end=replace).images
    np.testing.assert_array_equal(image, expected)
    assert [s.index for s in trace.steps] == [0, 1, 2, 3]


def test_gradients_through_the_undecorated_call(sd_pipe: Any) -> None:
    pipe = fresh(sd_pipe)
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    call = arguments(pipe, steps=2) | {"output_type": "latent"}
    grads = []
    for observed in (False, True):
        x = noise.clone().requires_grad_()
        with observe(pipe) if observed else truth() as trace:
            pipe.__call__.__wrapped__(pipe, **call, latents=x).images.square().sum().backward()
        grads.append(x.grad)
    assert torch.equal(*grads)
    assert grads[0].abs().max() > 0
    assert len(trace.steps) == trace.total_steps == 2


def test_a_pipeline_that_extends_another(sd_pipe: Any) -> None:
    class Twice(StableDiffusionPipeline):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            super().__call__(*args, **{**kwargs, "num_inference_steps": 2})
            return super().__call__(*args, **kwargs)

    pipe = fresh(sd_pipe, DDIMScheduler, Twice)
    with observe(pipe) as trace, truth(DDIMScheduler) as seen:
        pipe(**arguments(pipe))
    check_states(trace, seen)
    assert len(trace.steps) == 6


def test_a_loop_that_is_not_the_schedulers_is_said_at_the_end(sd_pipe: Any) -> None:
    class Odd(StableDiffusionPipeline):
        @torch.no_grad()
        def __call__(self, **kwargs: Any) -> Any:
            x = torch.ones(1, 4, 16, 16)
            return x - self.unet(x, 1, torch.zeros(1, 77, 32)).sample

    pipe, image = fresh(sd_pipe, DDIMScheduler, Odd), None
    expected = pipe()
    with pytest.raises(CapabilityError, match="no step of a scheduler"), observe(pipe):
        image = pipe()
    assert torch.equal(image, expected)


def test_threads_do_not_see_each_other(sd_pipe: Any) -> None:
    """One denoiser, a scheduler and a tokenizer each; entered on this thread and called on others."""
    pipes = [fresh(sd_pipe) for _ in range(2)]
    for pipe in pipes:
        pipe.tokenizer = copy.deepcopy(pipe.tokenizer)
    alone = []
    for k, pipe in enumerate(pipes):
        with observe(pipe) as trace:
            pipe(**arguments(pipe, seed=k, steps=3 + k))
        alone.append(trace)
    with observe(pipes[0]) as first, observe(pipes[1]) as second:
        threads = [
            threading.Thread(target=lambda p=pipe, k=k: p(**arguments(p, seed=k, steps=3 + k)))
            for k, pipe in enumerate(pipes)
        ]
        [t.start() for t in threads]
        [t.join() for t in threads]
    for together, single in zip((first, second), alone, strict=True):
        assert len(together.steps) == len(single.steps)
        for a, b in zip(together.steps, single.steps, strict=True):
            np.testing.assert_array_equal(a.latents, b.latents)
            np.testing.assert_array_equal(a.cond_pred, b.cond_pred)


def test_a_second_thread_beside_the_observed_call_is_not_recorded(sd_pipe: Any) -> None:
    pipe = fresh(sd_pipe)

    def beside(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
        if i == 1:
            own = pipe.scheduler
            pipe.scheduler = copy.deepcopy(own)
            thread = threading.Thread(target=lambda: pipe(**arguments(pipe, steps=2, seed=9)))
            thread.start(), thread.join()
            pipe.scheduler = own
        return values

    with observe(pipe) as alone:
        pipe(**arguments(pipe))
    with observe(pipe) as trace:
        pipe(**arguments(pipe), callback_on_step_end=beside)
    assert [s.timestep for s in trace.steps] == [s.timestep for s in alone.steps]
    np.testing.assert_array_equal(trace.steps[-1].latents, alone.steps[-1].latents)


def test_classes_are_left_as_they_were(sd_pipe: Any) -> None:
    pipe = fresh(sd_pipe)
    classes = (type(pipe), type(pipe.scheduler), type(pipe.unet))
    before = [dict(vars(cls)) for cls in classes]
    with observe(pipe), observe(pipe):
        pipe(**arguments(pipe, steps=1))
        assert is_watched(type(pipe.scheduler), "step")
        assert type(pipe).__call__.__wrapped__ is not None
    assert [dict(vars(cls)) for cls in classes] == before
    assert "__call__" not in vars(type(pipe.unet))


def test_a_scheduler_with_other_arguments_is_said(sd_pipe: Any) -> None:
    class Named:
        def set_timesteps(self, n: int, device: Any = None) -> None:
            self.timesteps = torch.linspace(900, 0, n)

        def step(self, velocity: Any, state: Any) -> Any:
            return (state - velocity,)

    bare = SimpleNamespace(unet=sd_pipe.unet, scheduler=Named())
    bare.scheduler.set_timesteps(1)
    x = torch.ones(1, 4, 16, 16)
    with torch.no_grad(), observe(bare) as trace:
        after = bare.scheduler.step(bare.unet(x, 1, torch.zeros(1, 77, 32)).sample, x)
    assert after[0].shape == x.shape
    assert trace.steps == []
    assert "Named takes other arguments" in trace.missing["steps"]
