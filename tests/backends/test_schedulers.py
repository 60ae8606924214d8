import inspect

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
)

from diffatlas.backends import schedulers
from diffatlas.errors import SchedulerMismatch

SCALED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
OWN = {
    "zero-SNR v": DDIMScheduler(
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        **SCALED,
    ),
    "epsilon": PNDMScheduler(skip_prk_steps=True, **SCALED),
    "linear betas": DPMSolverMultistepScheduler(),
    "flow": FlowMatchEulerDiscreteScheduler(shift=3.0),
}


def config_of(own):
    return {**own.config, "_class_name": type(own).__name__}


CASES = [(key, name) for key, own in OWN.items() for name in schedulers.fitting(config_of(own))]


def sample_gaussian(scheduler, own, mean, std, steps=30, shape=(1, 4, 48, 48)):
    """Sample from N(mean, std^2) with the exact model of that distribution under the schedule of ``own``.

    With x = a x0 + b noise, E[x0 | x] = mean + a std^2 / (a^2 std^2 + b^2) (x - a mean).
    """
    predicts = schedulers.prediction_type(config_of(own))
    noise = torch.Generator().manual_seed(0)
    scheduler.set_timesteps(steps)
    flow = predicts == "flow_prediction"
    x = torch.randn(shape, generator=noise) * (1.0 if flow else scheduler.init_noise_sigma)
    takes = inspect.signature(scheduler.step).parameters
    for t in scheduler.timesteps:
        seen = x if flow else scheduler.scale_model_input(x, t)
        if flow:
            b = float(t) / 1000
            a = 1 - b
        else:
            abar = np.interp(float(t), np.arange(1000), own.alphas_cumprod.double().numpy())
            a, b = max(abar, 2.0**-24) ** 0.5, (1 - max(abar, 2.0**-24)) ** 0.5
        x0 = mean + a * std**2 / (a**2 * std**2 + b**2 + 1e-12) * (seen - a * mean)
        eps = (seen - a * x0) / b
        output = {"epsilon": eps, "v_prediction": a * eps - b * x0, "flow_prediction": eps - x0}[predicts]
        extra = {"generator": noise} if "generator" in takes else {}
        x = scheduler.step(output.float(), t, x, **extra).prev_sample
    return float(x.mean()), float(x.std())


@pytest.mark.parametrize(("key", "name"), CASES)
def test_each_that_fits_samples_what_the_model_knows(key, name):
    """Catches a prediction type, beta schedule, shift or clipping that is lost on the way."""
    own = OWN[key]
    mean, std = sample_gaussian(schedulers.build(own, name), own, mean=1.7, std=0.0)
    assert mean == pytest.approx(1.7, abs=0.02)
    assert std < 0.05
    if name != "lcm":  # made for distilled models; it takes a posterior mean for a sample
        mean, std = sample_gaussian(schedulers.build(own, name), own, mean=1.7, std=0.5)
        assert mean == pytest.approx(1.7, abs=0.1)
        assert std == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("key", "name"), CASES)
def test_the_noise_schedule_is_the_one_the_model_was_trained_on(key, name):
    own, built = OWN[key], schedulers.build(OWN[key], name)
    if key == "flow":
        own.set_timesteps(30)
        built.set_timesteps(30)
        assert float(built.sigmas.median()) == pytest.approx(float(own.sigmas.median()), abs=0.05)
    else:
        # Some classes put 2^-24 in the place of an exact zero.
        assert torch.allclose(built.alphas_cumprod, own.alphas_cumprod, atol=1e-6)
        spacing = own.config.timestep_spacing
        assert built.config.timestep_spacing == spacing


@pytest.mark.parametrize(("name", "choice"), schedulers.SCHEDULERS.items())
def test_the_table_says_the_truth_about_the_classes(name, choice):
    accepted = inspect.signature(getattr(diffusers, choice.cls).__init__).parameters
    if "flow_prediction" not in choice.predictions:
        assert choice.zero_snr == ("rescale_betas_zero_snr" in accepted)
    else:
        assert choice.dynamic_shift == ("use_dynamic_shifting" in accepted)
    assert set(choice.options) <= set(accepted)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("flow", "ddim"),
        ("epsilon", "flow_euler"),
        ("zero-SNR v", "pndm"),
        ("zero-SNR v", "heun"),
        ("flow", "nope"),
    ],
)
def test_a_mismatch_lists_those_that_fit(key, name):
    config = config_of(OWN[key])
    with pytest.raises(SchedulerMismatch) as caught:
        schedulers.resolve(config, name)
    assert caught.value.field == "scheduler"
    assert all(fit in str(caught.value) for fit in schedulers.fitting(config))


def test_a_model_of_an_unknown_kind_keeps_its_own():
    assert schedulers.fitting(config_of(EDMEulerScheduler())) == ["EDMEulerScheduler"]
    assert schedulers.resolve(config_of(EDMEulerScheduler()), "EDMEulerScheduler") == "EDMEulerScheduler"


def test_dynamic_shift_is_needed_where_the_model_has_it():
    names = schedulers.fitting(config_of(FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)))
    assert "flow_heun" not in names
    assert names[0] == "flow_euler"


@pytest.mark.parametrize("key", OWN)
def test_the_own_scheduler_is_copied_whole(key):
    own = OWN[key]
    fresh = schedulers.build(own, schedulers.own_name(config_of(own)))
    assert fresh is not own
    assert dict(fresh.config) == dict(own.config)
