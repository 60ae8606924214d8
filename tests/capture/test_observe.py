"""What a trace holds is what the pipeline computed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from diffatlas.capture import Capture, observe
from diffatlas.errors import CapabilityError
from diffatlas.geometry import path
from tests.pipelines import arguments

#: Pipelines with classifier-free guidance, and what multiplies (cond - uncond) at scale 4.
GUIDED = {
    "sd": 4.0,
    "sdxl": 4.0,
    "sd3": 4.0,
    "pixart": 4.0,
    "flux_cfg": 4.0,
    "flux2": 4.0,
    "qwen": 4.0,
    "zimage": 5.0,  # Z-Image writes cond + scale * (cond - uncond)
}


@pytest.mark.parametrize("name", GUIDED)
def test_guided_prediction_is_made_of_the_two_recorded(name: str, request: pytest.FixtureRequest) -> None:
    pipe = request.getfixturevalue(f"{name}_pipe")
    with observe(pipe) as trace:
        pipe(**arguments(pipe, prompts=("a red circle", "two stars")))
    for step in trace.steps:
        cond, uncond = step.cond_pred, step.uncond_pred
        assert cond.shape == uncond.shape == step.noise_pred.shape == step.latents.shape
        guided = uncond + GUIDED[name] * (cond - uncond)
        if name == "qwen":  # it gives the guided prediction the norm of the conditional one, by token
            guided *= np.linalg.norm(cond, axis=-1, keepdims=True) / np.linalg.norm(
                guided, axis=-1, keepdims=True
            )
        np.testing.assert_allclose(step.noise_pred, guided, atol=1e-5)
        # Were they swapped, the same formula would miss by far.
        assert np.abs(cond - uncond).max() > 1e-4


@pytest.mark.parametrize("name", ["flux_cfg", "qwen", "flux2"])
def test_two_calls_are_told_apart(name: str, request: pytest.FixtureRequest) -> None:
    """These pipelines call the denoiser for the prompt first; an own hook records the calls in order."""
    pipe, outputs = request.getfixturevalue(f"{name}_pipe"), []
    hook = pipe.transformer.register_forward_hook(lambda m, a, out: outputs.append(out[0].clone()))
    try:
        with observe(pipe) as trace:
            pipe(**arguments(pipe))
    finally:
        hook.remove()
    assert len(outputs) == 2 * len(trace.steps)
    for step in trace.steps:
        np.testing.assert_array_equal(step.cond_pred, outputs[2 * step.index].numpy())
        np.testing.assert_array_equal(step.uncond_pred, outputs[2 * step.index + 1].numpy())


@pytest.mark.parametrize("name", ["sd", "sd3", "flux", "pixart", "qwen", "zimage"])
def test_without_guidance_there_is_one_prediction(name: str, request: pytest.FixtureRequest) -> None:
    pipe = request.getfixturevalue(f"{name}_pipe")
    with observe(pipe) as trace:
        pipe(**arguments(pipe, guided=False))
    assert all(s.cond_pred is None and s.uncond_pred is None for s in trace.steps)
    assert all(s.noise_pred is not None for s in trace.steps)
    assert "guidance_norm" not in trace.steps[0].metrics


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3", "flux", "qwen"])
def test_states_are_those_a_callback_reports(name: str, request: pytest.FixtureRequest) -> None:
    pipe, reported = request.getfixturevalue(f"{name}_pipe"), []

    def on_step_end(pipe: Any, i: int, t: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        reported.append((float(t), kwargs["latents"].numpy().copy()))
        return {}

    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    call = arguments(pipe)
    if name == "sd":
        call["latents"] = noise
    with observe(pipe) as trace:
        pipe(**call, callback_on_step_end=on_step_end)
    assert len(trace.steps) == len(reported) == trace.total_steps == 4
    for step, (timestep, latents) in zip(trace.steps, reported, strict=True):
        assert step.timestep == timestep
        np.testing.assert_array_equal(step.latents, latents)
    assert [s.index for s in trace.steps] == [0, 1, 2, 3]
    if name == "sd":
        np.testing.assert_array_equal(trace.initial_latents, noise.numpy() * pipe.scheduler.init_noise_sigma)


def test_sigma_falls_to_zero(sd_pipe: Any, sdxl_pipe: Any, flux_pipe: Any, pixart_pipe: Any) -> None:
    for pipe in (sd_pipe, sdxl_pipe, flux_pipe, pixart_pipe):
        with observe(pipe) as trace:
            pipe(**arguments(pipe))
        sigmas = [trace.initial_sigma, *(s.sigma for s in trace.steps)]
        assert sigmas[-1] == 0
        assert all(a > b for a, b in pairwise(sigmas))


def test_arrays_are_copies(sd_pipe: Any) -> None:
    """A callback that wipes the latents in place must not reach into the record."""

    def wipe(pipe: Any, i: int, t: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        kwargs["latents"].zero_()
        return {}

    with observe(sd_pipe) as trace:
        sd_pipe(**arguments(sd_pipe, steps=3), callback_on_step_end=wipe)
    assert all(np.abs(s.latents).max() > 0 for s in trace.steps)
    # x0 belongs to the sample that the scheduler saw, which was wiped: only the prediction is left of it.
    step, level = trace.steps[1], trace.steps[0].sigma
    np.testing.assert_allclose(step.x0_pred, -level * step.noise_pred, rtol=1e-4, atol=1e-6)


def test_batch_rows_are_the_single_runs(sd_pipe: Any) -> None:
    prompts = ("a red circle", "two stars")
    with observe(sd_pipe, Capture(previews="every")) as both:
        sd_pipe(**arguments(sd_pipe, prompts=prompts, seed=7))
    for row, prompt in enumerate(prompts):
        with observe(sd_pipe, Capture(previews="every")) as single:
            sd_pipe(**arguments(sd_pipe, prompts=(prompt,), seed=7 + row))
        for a, b in zip(both.steps, single.steps, strict=True):
            for name in ("latents", "noise_pred", "cond_pred", "uncond_pred", "x0_pred"):
                np.testing.assert_allclose(getattr(a, name)[row], getattr(b, name)[0], atol=1e-3)
            assert np.abs(a.preview[row].astype(int) - b.preview[0]).max() <= 1


def test_metrics_can_be_recomputed_from_the_trace(sd_pipe: Any) -> None:
    with observe(sd_pipe) as trace:
        sd_pipe(**arguments(sd_pipe))
    states = np.stack([trace.initial_latents, *(s.latents for s in trace.steps)])
    for name, curve in {
        "step_length": path.step_lengths(states)[:, 0],
        "cosine_to_previous": path.cosines_to_previous(states)[:, 0],
        "cosine_to_start": path.cosines_to_start(states)[1:, 0],
        "cosine_to_end": path.cosines_to_end(states)[1:, 0],
        "norm": [path.norm(x)[0] for x in states[1:]],
    }.items():
        np.testing.assert_allclose([s.metrics[name] for s in trace.steps], curve, rtol=1e-12)
    assert trace.cosine_to_end == [s.metrics["cosine_to_end"] for s in trace.steps]


def test_only_what_is_asked_is_kept(sd_pipe: Any) -> None:
    with observe(sd_pipe, Capture(latents=False, predictions=False, x0=False, previews=3)) as trace:
        sd_pipe(**arguments(sd_pipe, steps=5))
    for step in trace.steps:
        assert step.latents is step.noise_pred is step.cond_pred is step.uncond_pred is step.x0_pred is None
    assert {"guidance_norm", "cosine_to_end"} <= set(trace.steps[0].metrics)
    assert [s.preview is not None for s in trace.steps] == [True, False, False, True, True]
    with observe(sd_pipe, Capture(metrics=False)) as trace:
        sd_pipe(**arguments(sd_pipe, steps=2))
    assert trace.steps[0].metrics == {}
    assert trace.cosine_to_end == []


def test_callbacks_run_in_order(sd_pipe: Any) -> None:
    seen: list[Any] = []

    def on_start(trace: Any) -> None:
        assert trace.initial_latents.shape == (1, 4, 16, 16)
        assert trace.initial_sigma > 0
        seen.append(("start", trace.total_steps, len(trace.steps)))

    with observe(sd_pipe, on_start=on_start, on_step=lambda s: seen.append(s.index)):
        sd_pipe(**arguments(sd_pipe, steps=3))
    assert seen == [("start", 3, 0), 0, 1, 2]


def test_a_second_call_begins_anew(sd_pipe: Any) -> None:
    with observe(sd_pipe) as trace:
        sd_pipe(**arguments(sd_pipe, steps=3, seed=1))
        sd_pipe(**arguments(sd_pipe, steps=2, seed=2))
    with observe(sd_pipe) as alone:
        sd_pipe(**arguments(sd_pipe, steps=2, seed=2))
    assert trace.total_steps == len(trace.steps) == 2
    np.testing.assert_array_equal(trace.initial_latents, alone.initial_latents)
    np.testing.assert_array_equal(trace.steps[1].cond_pred, alone.steps[1].cond_pred)
    assert trace.steps[1].metrics == alone.steps[1].metrics


def test_a_second_call_may_have_another_size(flux_pipe: Any) -> None:
    with observe(flux_pipe, Capture(previews="every")) as trace:
        for width, height in ((64, 64), (96, 32)):
            flux_pipe(**arguments(flux_pipe, steps=2, width=width, height=height))
    assert [s.preview.shape for s in trace.steps] == [(1, 8, 24, 3)] * 2


def test_a_pipeline_without_denoiser_is_refused() -> None:
    with pytest.raises(CapabilityError, match="has no denoiser"), observe(object()):
        pass
