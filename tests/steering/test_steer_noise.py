"""The noise of a run is its own, perturbed, or on the way to that of another seed."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from diffatlas.errors import CapabilityError
from diffatlas.params import Noise
from diffatlas.steering.methods import GuidancePlan
from diffatlas.steering.noise import by_image, steer_noise
from tests.steering.steered_calls import apart, call, plain, steered

PLAN = [GuidancePlan(4.0)]
PIPELINES = ["sd", "sdxl", "sd3", "flux", "qwen", "zimage", "flux2"]


@pytest.fixture
def pipe(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_pipe")


def scheduled(pipe: Any, name: str) -> Any:
    """Return the pipeline with another scheduler."""
    import diffusers

    scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config)
    flags = {"requires_safety_checker": False} if type(pipe).__name__ == "StableDiffusionPipeline" else {}
    other = type(pipe)(**{**pipe.components, "scheduler": scheduler}, **flags)
    other.set_progress_bar_config(disable=True)
    return other


def start(pipe: Any, seed: int, noise: Noise | None = None) -> np.ndarray:
    """Return x_T."""
    return steered(pipe, PLAN, (seed,), [noise], steps=2)[1].initial_latents


@pytest.mark.parametrize("pipe", PIPELINES, indirect=True)
def test_the_start_is_the_formula_of_two_plain_starts(pipe: Any) -> None:
    """Whatever the pipeline's scale and packing."""
    own, other = start(pipe, 7), start(pipe, 11)
    r = 0.3
    expected = math.sqrt(1 - r**2) * own.astype(np.float64) + r * other
    np.testing.assert_allclose(start(pipe, 7, Noise("perturb", 11, r)), expected, atol=1e-5)
    a, b = own.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    angle = math.acos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    expected = (math.sin(0.75 * angle) * a + math.sin(0.25 * angle) * b) / math.sin(angle)
    np.testing.assert_allclose(start(pipe, 7, Noise("slerp", 11, 0.25)).ravel(), expected, atol=1e-4)


@pytest.mark.parametrize("pipe", ["sd", "sdxl", "sd3", "flux"], indirect=True)
def test_the_ends_are_plain_runs_bit_for_bit(pipe: Any) -> None:
    own, other = plain(pipe, 7), plain(pipe, 11)
    for noise, expected in (
        (Noise("perturb", 11, 0), own),
        (Noise("perturb", 11, 0.0, step=2), own),
        (Noise("slerp", 11, 0.0), own),
        (Noise("slerp", 11, 1.0), other),
        (Noise("perturb", 11, 1.0), other),
    ):
        np.testing.assert_array_equal(steered(pipe, PLAN, (7,), [noise])[0], expected)


def test_each_sample_of_a_batch_has_its_own_noise(sd_pipe: Any) -> None:
    noises = [None, Noise("perturb", 11, 0.4), Noise("slerp", 12, 0.5), Noise("perturb", 13, 0.2, step=2)]
    seeds = (7, 7, 8, 9)
    batch, _ = steered(sd_pipe, PLAN * 4, seeds, noises)
    for i, (seed, noise) in enumerate(zip(seeds, noises, strict=True)):
        alone, _ = steered(sd_pipe, PLAN, (seed,), [noise])
        assert apart(batch[i : i + 1], alone) < 1e-4
    assert apart(batch[:1], plain(sd_pipe, 7)) < 1e-4
    assert apart(batch[1:2], plain(sd_pipe, 7)) > 1e-2


@pytest.mark.parametrize("name", ["EulerAncestralDiscreteScheduler", "DDPMScheduler"])
def test_a_stochastic_scheduler_goes_on_drawing_as_in_the_plain_run(sd_pipe: Any, name: str) -> None:
    pipe = scheduled(sd_pipe, name)
    np.testing.assert_array_equal(steered(pipe, PLAN, (7,), [Noise("perturb", 11, 0.0)])[0], plain(pipe, 7))
    # The noise that comes in later is that of the anchor's seed, also from another start.
    _, of_anchor = steered(pipe, PLAN, (7,), [None])
    _, of_other = steered(pipe, PLAN, (7,), [Noise("perturb", 11, 1.0)])
    np.testing.assert_array_equal(of_other.initial_latents, start(pipe, 11))
    drawn = [added(trace, pipe) for trace in (of_anchor, of_other)]
    np.testing.assert_allclose(drawn[0], drawn[1], atol=2e-3)


def added(trace: Any, pipe: Any) -> np.ndarray:
    """Return the noise that the first step added, as far as it does not depend on the state."""
    generator = torch.Generator().manual_seed(7)
    shape = trace.initial_latents.shape
    torch.randn(shape, generator=generator)
    second = torch.randn(shape, generator=generator).numpy().ravel().astype(np.float64)
    step = trace.steps[0]
    basis = np.stack([trace.initial_latents.ravel(), step.noise_pred.ravel(), second]).astype(np.float64)
    weights, *_ = np.linalg.lstsq(basis.T, step.latents.ravel().astype(np.float64), rcond=None)
    residual = step.latents.ravel() - weights @ basis
    assert np.linalg.norm(residual) < 1e-3 * np.linalg.norm(step.latents)  # it is that noise, and no other
    return weights[2:] * second[:4]


def test_on_the_way_the_noise_in_the_state_is_what_is_perturbed(sd_pipe: Any) -> None:
    """DDIM's state after a step is alpha x0 + std eps, of the step's own x0 and eps (Song et al. 2021, eq. 12)."""
    r, k = 0.5, 2
    _, without = steered(sd_pipe, PLAN, (7,))
    _, trace = steered(sd_pipe, PLAN, (7,), [Noise("perturb", 11, r, step=k)])
    for before, step in zip(without.steps[: k - 1], trace.steps, strict=False):
        np.testing.assert_array_equal(step.latents, before.latents)
    step = without.steps[k - 1]
    alpha = 1 / math.hypot(1, step.sigma)
    std = step.sigma * alpha
    eps = torch.randn(step.latents.shape, generator=torch.Generator().manual_seed(11)).numpy()
    expected = alpha * step.x0_pred + std * (math.sqrt(1 - r**2) * step.noise_pred + r * eps)
    np.testing.assert_allclose(trace.steps[k - 1].latents, expected, atol=1e-4)
    np.testing.assert_array_equal(trace.steps[k - 1].noise_pred, step.noise_pred)
    assert apart(trace.steps[-1].latents, without.steps[-1].latents) > 1e-2


def test_on_the_way_of_a_flow_the_noise_is_that_of_the_line(sd3_pipe: Any) -> None:
    """After a step of Euler x = (1 - sigma) x0 + sigma n, with n = x0 + v."""
    r = 0.5
    _, without = steered(sd3_pipe, PLAN, (7,))
    _, trace = steered(sd3_pipe, PLAN, (7,), [Noise("perturb", 11, r, step=1)])
    step = without.steps[0]
    eps = torch.randn(step.latents.shape, generator=torch.Generator().manual_seed(11)).numpy()
    n = math.sqrt(1 - r**2) * (step.x0_pred + step.noise_pred) + r * eps
    expected = (1 - step.sigma) * step.x0_pred + step.sigma * n
    np.testing.assert_allclose(trace.steps[0].latents, expected, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "LMSDiscreteScheduler",
        "PNDMScheduler",
        "DPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
    ],
)
def test_the_perturbation_is_not_lost_in_what_a_scheduler_remembers(sd_pipe: Any, name: str) -> None:
    """The final latents go on changing with the radius, and the norm of the state stays what it was."""
    pipe = scheduled(sd_pipe, name)
    if name == "PNDMScheduler":
        pipe.scheduler.register_to_config(skip_prk_steps=True)
    _, without = steered(pipe, PLAN, (7,), steps=6)
    _, trace = steered(pipe, PLAN, (7,), [Noise("perturb", 11, 0.6, step=3)], steps=6)
    moved = [
        i
        for i, (a, b) in enumerate(zip(trace.steps, without.steps, strict=True))
        if apart(a.latents, b.latents)
    ]
    at = moved[0]
    # Second-order schedulers take two calls a step, PNDM one more for its first.
    assert at == {"HeunDiscreteScheduler": 5, "KDPM2DiscreteScheduler": 5, "PNDMScheduler": 3}.get(name, 2)
    ratio = np.linalg.norm(trace.steps[at].latents) / np.linalg.norm(without.steps[at].latents)
    assert 0.9 < ratio < 1.1
    at_once = apart(trace.steps[at].latents, without.steps[at].latents)
    at_the_end = apart(trace.steps[-1].latents, without.steps[-1].latents)
    assert at_once > 0.02
    assert at_the_end > 0.2 * at_once


def test_a_scheduler_of_several_parts_says_so(sd_pipe: Any) -> None:
    pipe = scheduled(sd_pipe, "DPMSolverSinglestepScheduler")
    with pytest.raises(CapabilityError, match="several parts") as caught:
        steered(pipe, PLAN, (7,), [Noise("perturb", 11, 0.6, step=1)])
    assert caught.value.field == "noise"
    assert "prepare_latents" not in vars(pipe)


def test_noise_that_cannot_be_reached_says_so(sd_pipe: Any) -> None:
    noise = [Noise("perturb", 11, 0.5)]
    with (
        pytest.raises(CapabilityError, match="SimpleNamespace") as caught,
        steer_noise(SimpleNamespace(), noise),
    ):
        pass
    assert caught.value.field == "noise"
    # Latents that are given are not drawn.
    given = torch.zeros(1, 4, 16, 16)
    with pytest.raises(CapabilityError), steer_noise(sd_pipe, noise):
        sd_pipe(**call(sd_pipe), latents=given)
    # Nor can one seed's noise be told from another's where all images are drawn from one generator.
    with pytest.raises(CapabilityError), steer_noise(sd_pipe, noise * 2):
        sd_pipe(**call(sd_pipe, (7, 8)) | {"generator": torch.Generator()})


def test_a_perturbation_that_never_comes_is_an_error(sd_pipe: Any) -> None:
    with pytest.raises(CapabilityError, match="ended before"):
        steered(sd_pipe, PLAN, (7,), [Noise("perturb", 11, 0.5, step=9)], steps=3)


def test_the_pipeline_is_left_as_it_was(sd_pipe: Any) -> None:
    before = sorted(vars(sd_pipe)), sorted(vars(sd_pipe.scheduler))
    steered(sd_pipe, PLAN, (7,), [Noise("perturb", 11, 0.5, step=2)])
    assert (sorted(vars(sd_pipe)), sorted(vars(sd_pipe.scheduler))) == before


def test_each_image_of_a_request_has_noise_of_its_own() -> None:
    assert by_image(None, 2) == [None, None]
    assert [noise.seed for noise in by_image(Noise("perturb", 5, 0.5), 3)] == [5, 6, 7]
