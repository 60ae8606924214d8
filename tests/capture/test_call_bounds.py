"""A call begins and ends where it does, and the states of its steps are those that the model went through."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
)

from diffatlas.capture import Capture, observe
from tests.capture.test_scheduler_tricks import check_states, fresh, truth
from tests.pipelines import arguments

PREVIEWS = Capture(previews=3)


class Stop(Exception):
    pass


def assert_same(trace: Any, alone: Any) -> None:
    """Two traces are of the same call."""
    assert trace.total_steps == alone.total_steps
    assert len(trace.steps) == len(alone.steps)
    assert trace.missing == alone.missing
    np.testing.assert_array_equal(trace.initial_latents, alone.initial_latents)
    for a, b in zip(trace.steps, alone.steps, strict=True):
        assert (a.index, a.timestep, a.sigma, a.metrics) == (b.index, b.timestep, b.sigma, b.metrics)
        for name in (
            "latents",
            "noise_pred",
            "cond_pred",
            "uncond_pred",
            "x0_pred",
            "preview",
            "start_latents",
        ):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert trace.cosine_to_end == alone.cosine_to_end


def interrupt(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
    pipe._interrupt = i == 1
    return values


def fail(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
    if i == 1:
        raise Stop
    return values


@pytest.mark.parametrize("ending", [interrupt, fail, None], ids=["interrupted", "failed", "refused"])
def test_the_call_after_one_that_ended_early(sd_pipe: Any, ending: Any) -> None:
    pipe = fresh(sd_pipe, EulerDiscreteScheduler)
    with observe(pipe, PREVIEWS) as alone:
        pipe(**arguments(pipe, seed=2, width=96))
    pipe = fresh(sd_pipe, EulerDiscreteScheduler)
    with observe(pipe, PREVIEWS) as trace:
        first = arguments(pipe, steps=6, seed=1) | {"callback_on_step_end": ending}
        if ending is interrupt:
            pipe(**first)
        else:
            with pytest.raises(Stop if ending else ValueError):
                pipe(**(first if ending else first | {"height": 3}))
        assert len(trace.steps) == (2 if ending else 0)
        if ending:
            # The last step there was is previewed, though it was not due.
            assert [s.preview is not None for s in trace.steps] == [True, True]
            assert len(trace.cosine_to_end) == 2
            assert trace.total_steps == 6
        pipe(**arguments(pipe, seed=2, width=96))
    assert_same(trace, alone)


@pytest.mark.parametrize("cls", [DDIMScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler])
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_a_picture_to_start_from_shortens_the_call(sd_pipe: Any, cls: type, strength: float) -> None:
    """DDIM keeps no index of where it begins."""
    pipe = fresh(sd_pipe, cls, StableDiffusionImg2ImgPipeline)
    begun: list[int] = []

    def go(seed: int) -> Any:
        picture = torch.linspace(0, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
        generator = torch.Generator().manual_seed(seed)
        call = {"strength": strength, "num_inference_steps": 10, "output_type": "np", "generator": generator}
        return pipe("a star", image=picture, **call).images

    plain = go(2)
    with (
        observe(pipe, PREVIEWS, on_start=lambda trace: begun.append(trace.total_steps)) as trace,
        truth(cls) as seen,
    ):
        go(1)
        first = len(seen)
        image = go(2)
    np.testing.assert_array_equal(plain, image)
    check_states(trace, seen[first:])
    assert begun == [first] * 2
    assert trace.total_steps == len(trace.steps) == first
    assert trace.steps[-1].preview is not None
    assert trace.steps[-1].sigma == 0


def test_sdxl_that_ends_for_a_refiner_is_not_clean(sdxl_pipe: Any) -> None:
    call = {**arguments(sdxl_pipe, steps=10), "output_type": "latent"}
    with observe(sdxl_pipe, PREVIEWS) as whole:
        sdxl_pipe(**call)
    with observe(sdxl_pipe, PREVIEWS) as trace:
        sdxl_pipe(**arguments(sdxl_pipe, steps=10) | {"output_type": "latent", "denoising_end": 0.5})
    count = len(trace.steps)
    assert 0 < count == trace.total_steps < 10
    assert trace.steps[-1].preview is not None
    assert [s.sigma for s in trace.steps] == [s.sigma for s in whole.steps[:count]]
    assert trace.steps[-1].sigma > 0
    with observe(sdxl_pipe) as rest:
        latents = torch.from_numpy(trace.steps[-1].latents)
        sdxl_pipe(
            **arguments(sdxl_pipe, steps=10) | {"latents": latents / sdxl_pipe.scheduler.init_noise_sigma}
        )
    assert len(rest.steps) == rest.total_steps == 10


@pytest.mark.parametrize("cls", [DDIMScheduler, EulerDiscreteScheduler])
def test_states_are_those_that_a_callback_leaves(sd_pipe: Any, cls: type) -> None:
    def halve(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
        if i != 1:
            values["latents"] = 0.5 * values["latents"]
        return values

    def in_place(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
        if i != 1:
            values["latents"].mul_(0.5)
        return values

    for callback in (halve, in_place):
        pipe = fresh(sd_pipe, cls)
        with observe(pipe) as trace, truth(cls) as seen:
            pipe(**arguments(pipe), callback_on_step_end=callback)
        check_states(trace, seen)
        assert [s.start_latents is not None for s in trace.steps] == [False, True, False, True]
        for step in (trace.steps[1], trace.steps[3]):
            before = trace.steps[step.index - 1].latents
            moved = np.linalg.norm((step.start_latents - before)[:1])
            assert step.metrics["between_length"] == pytest.approx(moved, rel=1e-5)
        assert "between_length" not in trace.steps[2].metrics


def test_what_a_mask_does_between_the_steps_is_seen(sd_pipe: Any) -> None:
    """Of an inpainting pipeline with a plain UNet: the part outside of the mask is put back after each step."""
    pipe = fresh(sd_pipe, DDIMScheduler, StableDiffusionInpaintPipeline)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 32:] = 1
    with observe(pipe) as trace, truth(DDIMScheduler) as seen:
        pipe(
            "a star",
            image=torch.full((1, 3, 64, 64), 0.5),
            mask_image=mask,
            num_inference_steps=4,
            generator=torch.Generator().manual_seed(1),
            width=64,
            height=64,
        )
    check_states(trace, seen)
    changed = trace.steps[2].start_latents - trace.steps[1].latents
    assert np.abs(changed[..., :8]).max() > 0
    assert np.abs(changed[..., 8:]).max() == 0


def test_what_only_changes_the_dtype_is_no_change(sd_pipe: Any) -> None:
    def there_and_back(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
        values["latents"] = values["latents"].double().float()
        return values

    with observe(sd_pipe) as trace:
        sd_pipe(**arguments(sd_pipe), callback_on_step_end=there_and_back)
    assert all(step.start_latents is None for step in trace.steps)


def test_guidance_that_ends_midway_is_of_some_steps(sd_pipe: Any) -> None:
    def unguided_from_the_second(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
        if i == 1:
            pipe._guidance_scale = 1.0
            values["prompt_embeds"] = values["prompt_embeds"].chunk(2)[1]
        return values

    call = {
        "callback_on_step_end": unguided_from_the_second,
        "callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"],
    }
    pipe = fresh(sd_pipe)
    plain = pipe(**arguments(pipe), **call).images
    with observe(pipe, Capture(attention="cross")) as trace:
        image = pipe(**arguments(pipe), **call).images
    np.testing.assert_array_equal(plain, image)
    assert [s.cond_pred is not None for s in trace.steps] == [True, True, False, False]
    assert ["guidance_norm" in s.metrics for s in trace.steps] == [True, True, False, False]
    assert all(s.attention is not None for s in trace.steps)
    with observe(pipe, Capture(attention="cross")) as alone:
        pipe(**arguments(pipe))
    key = next(iter(alone.steps[1].attention))
    np.testing.assert_array_equal(trace.steps[1].attention[key], alone.steps[1].attention[key])
    # The third step begins from the same state, and its only pass is the conditional one.
    np.testing.assert_allclose(trace.steps[2].attention[key], alone.steps[2].attention[key], atol=2e-3)


def test_a_loop_of_ones_own_with_the_parts_of_a_pipeline(sd_pipe: Any) -> None:
    pipe = fresh(sd_pipe)
    text = torch.randn(1, 77, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), observe(pipe) as trace, truth(DDIMScheduler) as seen:
        for seed in (1, 2):
            x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed))
            pipe.scheduler.set_timesteps(3)
            for t in pipe.scheduler.timesteps:
                x = pipe.scheduler.step(pipe.unet(x, t, text).sample, t, x).prev_sample
    check_states(trace, seen[3:])
    assert trace.total_steps == 3


def test_pipelines_that_share_their_parts_do_not_see_each_other(sd_pipe: Any) -> None:
    """One denoiser and one scheduler in two pipelines, both observed; only the first is called."""
    first = fresh(sd_pipe)
    second = StableDiffusionImg2ImgPipeline(**first.components, requires_safety_checker=False)
    with observe(first) as trace, observe(second) as other:
        first(**arguments(first))
    assert len(trace.steps) == 4
    assert other.steps == []
    with observe(second) as other:
        first(**arguments(first))
    assert other.steps == []


def test_a_part_of_a_pipeline_is_observed_inside_it() -> None:
    from tests.zoo import ENTRIES

    entry = next(e for e in ENTRIES if e.name == "KandinskyV22CombinedPipeline")
    pipe = entry.build()
    plain = pipe(**entry.call(pipe, guided=True, seed=1)).images
    with observe(pipe.decoder_pipe) as inner, observe(pipe) as outer, truth(type(pipe.scheduler)) as seen:
        image = pipe(**entry.call(pipe, guided=True, seed=1)).images
    np.testing.assert_array_equal(plain, image)
    check_states(inner, seen)
    assert_same(inner, outer)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_prompt_that_is_exchanged_midway_is_said(sd_pipe: Any, in_place: bool) -> None:
    pipe = fresh(sd_pipe)
    negative, other = pipe.encode_prompt("a star", "cpu", 1, True, "")[1::-1]

    def exchange(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
        if i == 1 and in_place:
            values["prompt_embeds"].copy_(torch.cat([negative, other]))
        elif i == 1:
            values["prompt_embeds"] = torch.cat([negative, other])
        return values

    call = {
        "callback_on_step_end": exchange,
        "callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"],
    }
    with observe(pipe, Capture(attention="cross")) as trace:
        pipe(**arguments(pipe), **call)
    assert "another text from step 3 on" in trace.missing["text"]
    with observe(pipe, Capture(attention="cross")) as trace:
        pipe(**arguments(pipe))
    assert trace.missing == {}
