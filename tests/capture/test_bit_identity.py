"""Observing never disturbs: the image is the same, to the bit, and the pipeline is left as it was."""

from __future__ import annotations

import copy
import inspect
import random
from typing import Any

import numpy as np
import pytest
import torch

from diffatlas.capture import Capture, observe
from tests.pipelines import arguments

PIPELINES = ["shapes", "sd", "sdxl", "sd3", "flux", "flux_cfg", "pixart", "qwen", "zimage", "flux2"]
SCHEDULERS = [
    "DDIMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "PNDMScheduler",
    "HeunDiscreteScheduler",
]
EVERYTHING = Capture(previews="every", preview_decoder="vae", preview_size=32)


def with_scheduler(pipe: Any, name: str, **config: Any) -> Any:
    """Return the same pipeline with another scheduler; the original keeps its own."""
    import diffusers

    scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config, **config)
    other = type(pipe)(**{**pipe.components, "scheduler": scheduler}, **_flags(pipe))
    other.set_progress_bar_config(disable=True)
    return other


def _flags(pipe: Any) -> dict[str, Any]:
    return {"requires_safety_checker": False} if type(pipe).__name__ == "StableDiffusionPipeline" else {}


def assert_same_image(pipe: Any, capture: Capture, **request_: Any) -> None:
    plain = pipe(**arguments(pipe, **request_)).images
    with observe(pipe, capture) as trace:
        observed = pipe(**arguments(pipe, **request_)).images
    assert plain.std() > 0.01  # a flat image would prove nothing
    np.testing.assert_array_equal(observed, plain)
    assert len(trace.steps) == trace.total_steps


@pytest.mark.parametrize("guided", [True, False], ids=["guided", "unguided"])
@pytest.mark.parametrize("name", PIPELINES)
def test_image_is_bit_identical(name: str, guided: bool, request: pytest.FixtureRequest) -> None:
    pipe = request.getfixturevalue(f"{name}_pipe")
    assert_same_image(pipe, Capture(previews=2), guided=guided)
    # A batch of two, not square, with everything on.
    prompts = ("a red circle", "two stars")
    assert_same_image(pipe, EVERYTHING, guided=guided, prompts=prompts, width=96, height=64)


@pytest.mark.parametrize("name", ["sd", "sdxl"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_image_is_bit_identical_with_each_scheduler(
    name: str, scheduler: str, request: pytest.FixtureRequest
) -> None:
    pipe = with_scheduler(request.getfixturevalue(f"{name}_pipe"), scheduler)
    assert_same_image(pipe, EVERYTHING, steps=5)


def test_guidance_rescale_and_eta_stay_bit_identical(sd_pipe: Any) -> None:
    call = {"guidance_rescale": 0.7, "eta": 0.5}
    plain = sd_pipe(**arguments(sd_pipe), **call).images
    with observe(sd_pipe) as trace:
        observed = sd_pipe(**arguments(sd_pipe), **call).images
    np.testing.assert_array_equal(observed, plain)
    step = trace.steps[0]
    unscaled = step.uncond_pred + 4.0 * (step.cond_pred - step.uncond_pred)
    assert np.abs(step.noise_pred - unscaled).max() > 1e-3  # noise_pred is what the scheduler received


def test_global_random_state_is_not_touched(sd_pipe: Any) -> None:
    """Without a generator a pipeline draws from the global one, so a single draw of ours would show."""
    pipe = with_scheduler(sd_pipe, "EulerAncestralDiscreteScheduler")
    call = {k: v for k, v in arguments(pipe).items() if k != "generator"}

    def run(observed: bool) -> tuple[np.ndarray, torch.Tensor, Any, Any]:
        torch.manual_seed(3), np.random.seed(3), random.seed(3)
        if observed:
            with observe(pipe, EVERYTHING):
                image = pipe(**call).images
        else:
            image = pipe(**call).images
        return image, torch.get_rng_state(), np.random.get_state()[1], random.getstate()

    (plain, *states), (observed, *states_after) = run(False), run(True)
    np.testing.assert_array_equal(observed, plain)
    for before, after in zip(states, states_after, strict=True):
        np.testing.assert_array_equal(np.asarray(before, dtype=object), np.asarray(after, dtype=object))


def test_half_precision_with_an_upcast_vae(sdxl_pipe: Any) -> None:
    """SDXL's fp16 VAE decodes in fp32: a preview must not leave it so, nor change a weight."""
    pipe = copy.deepcopy(sdxl_pipe).to(torch.float16)
    weights = {k: v.clone() for k, v in pipe.vae.state_dict().items()}
    assert_same_image(pipe, EVERYTHING, steps=2)
    assert_same_image(pipe, Capture(previews="every"), steps=2)
    with observe(pipe, EVERYTHING) as trace:
        pipe(**arguments(pipe, steps=2))
    for name, value in pipe.vae.state_dict().items():
        assert value.dtype == torch.float16
        assert torch.equal(value, weights[name])
    assert trace.steps[0].latents.dtype == np.float16
    assert trace.steps[0].cond_pred.dtype == np.float16


def test_bfloat16_arrays_become_float32_without_loss(flux_pipe: Any) -> None:
    pipe = copy.deepcopy(flux_pipe).to(torch.bfloat16)
    assert_same_image(pipe, Capture(previews="every"), steps=2)
    with observe(pipe) as trace:
        last = pipe(**arguments(pipe, steps=2) | {"output_type": "latent"}).images
    assert trace.steps[-1].latents.dtype == np.float32
    np.testing.assert_array_equal(trace.steps[-1].latents, last.float().numpy())


def _snapshot(pipe: Any) -> dict[str, Any]:
    denoiser = getattr(pipe, "unet", None) or pipe.transformer
    state = {"step": pipe.scheduler.step, "attributes": sorted(vars(pipe.scheduler))}
    for label, module in (("denoiser", denoiser), ("vae", pipe.vae)):
        state[label] = sorted(vars(module))
        state[label + " hooks"] = {k: dict(v) for k, v in vars(module).items() if k.endswith("_hooks")}
        state[label + " hook flags"] = dict(module._forward_hooks_with_kwargs)
        state[label + " modes"] = [m.training for m in module.modules()]
        state[label + " dtypes"] = [(p.dtype, p.data_ptr()) for p in module.parameters()]
    return state


@pytest.mark.parametrize("name", ["sd", "flux_cfg"])
@pytest.mark.parametrize("ending", ["normal", "exception", "on_step", "interrupt"])
def test_pipeline_is_left_as_it_was(name: str, ending: str, request: pytest.FixtureRequest) -> None:
    pipe = request.getfixturevalue(f"{name}_pipe")
    pipe(**arguments(pipe))  # set what a first call sets
    before = _snapshot(pipe)

    class Stop(Exception):
        pass

    def on_step_end(pipe: Any, i: int, t: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        if i == 1 and ending == "exception":
            raise Stop
        if i == 1 and ending == "interrupt":
            pipe._interrupt = True
        return kwargs

    def on_step(step: Any) -> None:
        if step.index == 1 and ending == "on_step":
            raise Stop

    trace = None
    try:
        with observe(pipe, EVERYTHING, on_step=on_step) as trace:
            pipe(**arguments(pipe), callback_on_step_end=on_step_end)
    except Stop:
        assert ending in ("exception", "on_step")
    else:
        assert ending in ("normal", "interrupt")
    assert _snapshot(pipe) == before
    assert len(trace.steps) == (4 if ending == "normal" else 2)
    assert len(trace.cosine_to_end) == len(trace.steps)


def test_a_step_that_was_replaced_before_is_put_back(sd_pipe: Any) -> None:
    plain, calls = sd_pipe.scheduler.step, []

    def replaced(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return plain(*args, **kwargs)

    sd_pipe.scheduler.step = replaced
    try:
        with observe(sd_pipe) as outer, observe(sd_pipe) as inner:
            sd_pipe(**arguments(sd_pipe, steps=2))
        assert sd_pipe.scheduler.step is replaced
    finally:
        del sd_pipe.scheduler.step
    assert len(calls) == len(outer.steps) == len(inner.steps) == 2
    np.testing.assert_array_equal(outer.steps[1].latents, inner.steps[1].latents)


def test_signature_and_copies_of_the_scheduler_are_plain(sd_pipe: Any) -> None:
    """Pipelines look for `eta` in the signature of step, and some step a copy of their scheduler."""
    scheduler = sd_pipe.scheduler
    with observe(sd_pipe) as trace:
        assert "eta" in inspect.signature(scheduler.step).parameters
        other = copy.deepcopy(scheduler)
        other.set_timesteps(3)
        x = torch.zeros(1, 4, 8, 8)
        other.step(x, other.timesteps[0], x)
    assert other.step.__self__ is other
    assert trace.steps == []
