"""Noise levels and x0, against states whose noise level is known by construction.

Let the data be one point x0 and the noise one draw n. Then every deterministic sampler, given the exact
prediction, must stay on x = alpha * x0 + std * n; so the states themselves tell at which level they are.
"""

from __future__ import annotations

import math
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from diffatlas.capture.schedule import count_steps, latent_scale, level_after, level_at_call, sigma_after
from diffatlas.capture.x0 import predict_x0
from diffatlas.errors import CapabilityError

SD_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
VE, VP, FLOW = "VE", "VP", "flow"

DETERMINISTIC = [
    ("DDIMScheduler", VP, {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}),
    ("DDIMScheduler", VP, {"clip_sample": False, "timestep_spacing": "trailing"}),
    ("PNDMScheduler", VP, {"skip_prk_steps": True, "steps_offset": 1}),
    ("PNDMScheduler", VP, {"skip_prk_steps": False}),
    ("EulerDiscreteScheduler", VE, {"timestep_spacing": "leading"}),
    ("EulerDiscreteScheduler", VE, {"use_karras_sigmas": True, "final_sigmas_type": "sigma_min"}),
    ("HeunDiscreteScheduler", VE, {}),
    ("LMSDiscreteScheduler", VE, {}),
    ("KDPM2DiscreteScheduler", VE, {}),
    ("DPMSolverMultistepScheduler", VP, {}),
    ("DPMSolverMultistepScheduler", VP, {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
    ("DPMSolverMultistepScheduler", FLOW, {"prediction_type": "flow_prediction", "use_flow_sigmas": True}),
    ("DPMSolverSinglestepScheduler", VP, {}),
    ("UniPCMultistepScheduler", VP, {}),
    ("UniPCMultistepScheduler", FLOW, {"prediction_type": "flow_prediction", "use_flow_sigmas": True}),
    ("DEISMultistepScheduler", VP, {}),
    ("FlowMatchEulerDiscreteScheduler", FLOW, {"shift": 3.0}),
    ("FlowMatchHeunDiscreteScheduler", FLOW, {}),
]


def scale(family: str, sigma: float) -> tuple[float, float]:
    """Return (alpha, std) of a state of noise level sigma."""
    if family == FLOW:
        return 1 - sigma, sigma
    norm = math.hypot(1, sigma) if family == VP else 1.0
    return 1 / norm, sigma / norm


def exact(prediction: str, family: str, sigma: float, x0: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Return what a perfect model predicts."""
    if prediction == "flow_prediction":
        return noise - x0
    if prediction == "sample":
        return x0
    norm = math.hypot(1, sigma)
    return noise if prediction == "epsilon" else noise / norm - x0 * sigma / norm


def scale_input(scheduler: Any, x: torch.Tensor, t: torch.Tensor) -> None:
    """Do as pipelines do; some schedulers look up their step index here."""
    if hasattr(scheduler, "scale_model_input"):
        scheduler.scale_model_input(x, t)


def make(name: str, family: str, config: dict[str, Any]) -> Any:
    betas = {} if name.startswith("FlowMatch") else SD_BETAS
    return getattr(diffusers, name)(**{**betas, **config})


def predictions(name: str, family: str) -> list[str]:
    """Return what a scheduler's model may predict."""
    if family == FLOW:
        return ["flow_prediction"]
    if name == "PNDMScheduler":  # it averages v of several timesteps, and so leaves the exact path itself
        return ["epsilon"]
    return ["epsilon", "v_prediction"] + ["sample"] * ("KDPM2" not in name)


@pytest.mark.parametrize(
    ("name", "family", "config", "prediction"),
    [(*case, p) for case in DETERMINISTIC for p in predictions(*case[:2])],
)
def test_every_state_lies_at_its_sigma(name: str, family: str, config: dict, prediction: str) -> None:
    if family != FLOW:
        config = {**config, "prediction_type": prediction}
    scheduler = make(name, family, config)
    scheduler.set_timesteps(10)

    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(2, 4, 8, 8, generator=generator) for _ in range(2))
    first = level_at_call(scheduler, scheduler.timesteps[0])
    alpha, std = scale(family, first.sigma)
    assert (first.alpha, first.std) == pytest.approx((alpha, std), abs=1e-9)
    x = alpha * x0 + std * noise

    timesteps = scheduler.timesteps
    assert count_steps(scheduler) == len(timesteps)
    for i, t in enumerate(timesteps):
        level = level_at_call(scheduler, t)
        output = exact(prediction, family, level.sigma, x0, noise)
        np.testing.assert_allclose(predict_x0(scheduler, x, output, level), x0, atol=2e-3)
        scale_input(scheduler, x, t)
        x = scheduler.step(output, t, x, return_dict=False)[0]
        sigma = level_after(scheduler, t).sigma
        alpha, std = scale(family, sigma)
        np.testing.assert_allclose(x, alpha * x0 + std * noise, atol=2e-3 * max(1, std), err_msg=f"step {i}")
        if i + 1 < len(timesteps):
            assert sigma == pytest.approx(level_at_call(scheduler, timesteps[i + 1]).sigma, rel=1e-4)
    assert sigma_after(scheduler, t) == 0
    assert sigma < 0.05


STOCHASTIC = [
    ("EulerAncestralDiscreteScheduler", VE, {}),
    ("KDPM2AncestralDiscreteScheduler", VE, {}),
    ("DPMSolverMultistepScheduler", VP, {"algorithm_type": "sde-dpmsolver++"}),
    ("DDPMScheduler", VP, {"clip_sample": False, "variance_type": "fixed_small"}),
    ("LCMScheduler", VP, {"clip_sample": False}),
    ("TCDScheduler", VP, {"clip_sample": False}),
    ("FlowMatchEulerDiscreteScheduler", FLOW, {"stochastic_sampling": True}),
]


@pytest.mark.parametrize(("name", "family", "config"), STOCHASTIC)
def test_stochastic_states_have_the_noise_of_their_sigma(name: str, family: str, config: dict) -> None:
    """Fresh noise is added at every step; its standard deviation over many pixels is the level."""
    scheduler = make(name, family, config)
    scheduler.set_timesteps(6)
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(1, 4, 96, 96, generator=generator) for _ in range(2))
    alpha, std = scale(family, level_at_call(scheduler, scheduler.timesteps[0]).sigma)
    x = alpha * x0 + std * noise
    for t in scheduler.timesteps[:-1]:
        level = level_at_call(scheduler, t)
        noise = (x - level.alpha * x0) / level.std
        output = noise - x0 if family == FLOW else noise
        scale_input(scheduler, x, t)
        extra = {} if "Flow" in name else {"eta": 0.3} if name == "TCDScheduler" else {}
        x = scheduler.step(output, t, x, generator=generator, return_dict=False, **extra)[0]
        alpha, std = scale(family, sigma_after(scheduler, t))
        assert float((x - alpha * x0).std()) == pytest.approx(std, rel=0.05), t


REPORTING = [
    ("DDIMScheduler", {"clip_sample": False}),
    ("DDIMScheduler", {"clip_sample": True, "clip_sample_range": 1.5}),
    ("DDIMScheduler", {"clip_sample": False, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}),
    ("DDPMScheduler", {"clip_sample": False}),
    ("DDPMScheduler", {"clip_sample": False, "thresholding": True}),
    ("EulerDiscreteScheduler", {}),
    ("EulerDiscreteScheduler", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}),
    ("EulerAncestralDiscreteScheduler", {}),
    ("HeunDiscreteScheduler", {}),
    ("LMSDiscreteScheduler", {}),
    ("KDPM2DiscreteScheduler", {}),
    ("KDPM2AncestralDiscreteScheduler", {}),
    ("EDMEulerScheduler", {}),
]


def reported_predictions(name: str, config: dict) -> list[str]:
    if config.get("rescale_betas_zero_snr"):
        return ["v_prediction"]
    takes_sample = not name.startswith(("KDPM2", "EDM", "EulerAncestral"))
    return ["epsilon", "v_prediction"] + ["sample"] * takes_sample


@pytest.mark.parametrize(
    ("name", "config", "prediction"), [(*case, p) for case in REPORTING for p in reported_predictions(*case)]
)
def test_x0_is_the_schedulers_own(name: str, config: dict, prediction: str) -> None:
    """Arbitrary model outputs, against the `pred_original_sample` that the scheduler returns."""
    betas = {} if name.startswith("EDM") else SD_BETAS
    scheduler = getattr(diffusers, name)(**betas, **config, prediction_type=prediction)
    scheduler.set_timesteps(7)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 8, 8, generator=generator) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        output = torch.randn(x.shape, generator=generator)
        scale_input(scheduler, x, t)
        ours = predict_x0(scheduler, x, output, level_at_call(scheduler, t))
        x, theirs = scheduler.step(output, t, x, return_dict=False)[:2]
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


def test_trigflow_of_sana_sprint() -> None:
    """SCM steps from angle to angle; its data and noise are both scaled by sigma_data."""
    scheduler = diffusers.SCMScheduler()
    scheduler.set_timesteps(4, max_timesteps=1.5, intermediate_timesteps=None)
    assert count_steps(scheduler) == 4
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(1, 4, 96, 96, generator=generator) * 0.5
    x = torch.randn(x0.shape, generator=generator) * 0.5
    for t in scheduler.timesteps[:-1]:
        output = torch.randn(x0.shape, generator=generator)
        ours = predict_x0(scheduler, x, output, level_at_call(scheduler, t))
        theirs = scheduler.step(output, t, x, return_dict=False)[1]
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
        # Now with the exact output for x0, to see the noise of the next state.
        scheduler._step_index -= 1
        output = (math.cos(t) * x - x0) / math.sin(t)
        x = scheduler.step(output, t, x, generator=generator, return_dict=False)[0]
        sigma = sigma_after(scheduler, t)
        alpha, std = scale(VP, sigma)
        assert float((x - alpha * x0).std()) == pytest.approx(
            std * latent_scale(scheduler), rel=0.05, abs=1e-6
        )
    assert sigma == 0


@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_x0_is_the_data_prediction_of_dpm_solver(name: str) -> None:
    scheduler = getattr(diffusers, name)(**SD_BETAS)
    scheduler.set_timesteps(7)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 8, 8, generator=generator)
    for t in scheduler.timesteps:
        output = torch.randn(x.shape, generator=generator)
        ours = predict_x0(scheduler, x, output, level_at_call(scheduler, t))
        if scheduler.step_index is None:
            scheduler._init_step_index(t)
        np.testing.assert_allclose(
            ours, scheduler.convert_model_output(output, sample=x), rtol=1e-4, atol=1e-3
        )
        x = scheduler.step(output, t, x, return_dict=False)[0]


def test_zero_terminal_snr_does_not_overflow_in_half_precision() -> None:
    """sigma starts at 4096, where sigma * prediction leaves the range of float16."""
    scheduler = diffusers.EulerDiscreteScheduler(
        **SD_BETAS, rescale_betas_zero_snr=True, timestep_spacing="trailing", prediction_type="v_prediction"
    )
    scheduler.set_timesteps(5)
    level = level_at_call(scheduler, scheduler.timesteps[0])
    assert level.sigma == pytest.approx(4096, rel=1e-3)
    sample = torch.full((1, 4, 2, 2), 16384.0, dtype=torch.float16)
    x0 = predict_x0(scheduler, sample, torch.full_like(sample, 1.5), level)
    assert x0.dtype == torch.float32
    np.testing.assert_allclose(x0, 16384 / 4096**2 - 1.5, atol=1e-3)


def test_a_learned_variance_is_left_out() -> None:
    scheduler = diffusers.DDPMScheduler(**SD_BETAS, clip_sample=False, variance_type="learned_range")
    scheduler.set_timesteps(4)
    t = scheduler.timesteps[1]
    generator = torch.Generator().manual_seed(0)
    x, output = (torch.randn(1, c, 8, 8, generator=generator) for c in (4, 8))
    ours = predict_x0(scheduler, x, output, level_at_call(scheduler, t))
    np.testing.assert_allclose(ours, scheduler.step(output, t, x)["pred_original_sample"], atol=1e-4)


def test_own_timesteps_of_ddpm() -> None:
    """The level after a step is that of the next timestep in the list, and 0 at its end."""
    scheduler = diffusers.DDPMScheduler(**SD_BETAS)
    scheduler.set_timesteps(timesteps=[900, 700, 500, 100])
    expected = [math.sqrt(1 / float(scheduler.alphas_cumprod[t]) - 1) for t in (900, 700, 500, 100)]
    assert [level_at_call(scheduler, t).sigma for t in scheduler.timesteps] == pytest.approx(
        expected, rel=1e-5
    )
    after = [sigma_after(scheduler, t) for t in scheduler.timesteps]
    assert after == pytest.approx([*expected[1:], 0.0], rel=1e-5)


def test_the_level_of_a_call_that_stops_early_is_that_of_its_state() -> None:
    """Nothing is 0 before the schedule's own end: after 5 of 10 steps, as with denoising_end=0.5."""
    for name in ("EulerDiscreteScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler", "PNDMScheduler"):
        scheduler = make(name, VP, {})
        scheduler.set_timesteps(10)
        x = torch.zeros(1, 4, 2, 2)
        for t in scheduler.timesteps[:5]:
            scale_input(scheduler, x, t)
            x = scheduler.step(torch.zeros_like(x), t, x, return_dict=False)[0]
        sigma = sigma_after(scheduler, t)
        assert sigma > 0.3
        assert sigma == pytest.approx(level_at_call(scheduler, scheduler.timesteps[5]).sigma, rel=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "DDIMScheduler",
        "DDPMScheduler",
        "EulerDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "LCMScheduler",
    ],
)
def test_steps_are_counted_from_the_first_timestep(name: str) -> None:
    """A run by strength starts in the middle of the list, and some schedulers are not told where."""
    scheduler = make(name, VP, {})
    scheduler.set_timesteps(10)
    for start in (0, 3, 9):
        assert count_steps(scheduler, scheduler.timesteps[start]) == 10 - start
        assert count_steps(scheduler, float(scheduler.timesteps[start])) == 10 - start
    assert count_steps(scheduler) == 10
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(4)
        assert count_steps(scheduler) == count_steps(scheduler, scheduler.timesteps[4]) == 6


def test_steps_of_two_stages_are_counted_from_the_middle() -> None:
    scheduler = make("HeunDiscreteScheduler", VE, {})
    scheduler.set_timesteps(5)
    assert count_steps(scheduler, scheduler.timesteps[0]) == 9
    for start in (2, 4):  # where a run by strength starts: the second place of its timestep
        assert scheduler.timesteps[start] == scheduler.timesteps[start - 1]
        assert count_steps(scheduler, scheduler.timesteps[start]) == 9 - start


def test_wuerstchen_counts_no_step_at_its_last_timestep() -> None:
    scheduler = diffusers.DDPMWuerstchenScheduler()
    scheduler.set_timesteps(6)
    assert [count_steps(scheduler, t.expand(2)) for t in scheduler.timesteps[:-1]] == [6, 5, 4, 3, 2, 1]


def test_a_timestep_that_is_not_in_the_list_is_not_counted_from() -> None:
    scheduler = make("EulerDiscreteScheduler", VE, {})
    scheduler.set_timesteps(4)
    with pytest.raises(CapabilityError, match=r"no timestep 12\.5"):
        count_steps(scheduler, 12.5)
