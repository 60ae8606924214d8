"""x0 of another prediction follows from the gain: against the derivative of `predict_x0` itself."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from diffatlas.capture import Capture, observe
from diffatlas.capture.schedule import level_at_call
from diffatlas.capture.x0 import coefficients, gain, predict_x0
from diffatlas.errors import CapabilityError
from tests.pipelines import arguments

SD_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
ANY = ("epsilon", "v_prediction", "sample")
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}

CASES = [
    *[("DDIMScheduler", {"clip_sample": False, "prediction_type": p}) for p in ANY],
    *[("EulerDiscreteScheduler", {"prediction_type": p}) for p in ANY],
    *[("DPMSolverMultistepScheduler", {"prediction_type": p}) for p in ANY],
    *[("EDMEulerScheduler", {"prediction_type": p}) for p in ANY[:2]],
    ("DDPMScheduler", {"clip_sample": False}),
    ("PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 1}),
    ("HeunDiscreteScheduler", {}),
    ("UniPCMultistepScheduler", FLOW),
    ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    ("SCMScheduler", {}),
]


def stepped(name: str, config: dict[str, Any]) -> Any:
    """Yield the scheduler at each of its calls, with the state and the level."""
    betas = {} if name.startswith(("Flow", "EDM", "SCM")) else SD_BETAS
    scheduler = getattr(diffusers, name)(**betas, **config)
    extra = {"max_timesteps": 1.5, "intermediate_timesteps": None} if name == "SCMScheduler" else {}
    scheduler.set_timesteps(5, **extra)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, 6, 6, generator=generator) * float(getattr(scheduler, "init_noise_sigma", 1))
    for t in scheduler.timesteps[: -1 if name == "SCMScheduler" else None]:
        output = torch.randn(x.shape, generator=generator)
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(x, t)
        yield scheduler, x, output, level_at_call(scheduler, t)
        noise = {"generator": generator} if "generator" in scheduler.step.__annotations__ else {}
        x = scheduler.step(output, t, x, return_dict=False, **noise)[0]


@pytest.mark.parametrize(("name", "config"), CASES)
def test_the_gain_is_the_derivative_of_x0(name: str, config: dict[str, Any]) -> None:
    gains = []
    for scheduler, x, output, level in stepped(name, config):
        x, output = x.clone().requires_grad_(), output.clone().requires_grad_()
        predict_x0(scheduler, x, output, level).sum().backward()
        c_x, c_out = coefficients(scheduler, level)
        by_x = torch.zeros_like(x) if x.grad is None else x.grad
        np.testing.assert_allclose(by_x, np.full(x.shape, c_x), rtol=1e-6)
        np.testing.assert_allclose(output.grad, np.full(x.shape, c_out), rtol=1e-6)
        gains.append(gain(scheduler, level))
        assert gains[-1] == c_out
    if config.get("prediction_type") == "sample":
        assert gains == [1.0] * 5
    else:  # the noisier the state, the more the prediction counts
        assert abs(gains[0]) > abs(gains[-1]) > 0


#: Pipelines that guide by g = uncond + s (cond - uncond) and nothing more.
PLAIN = ("shapes", "sd", "sdxl", "sd3", "pixart", "flux_cfg", "flux2")


@pytest.mark.parametrize("name", [*PLAIN, "qwen", "zimage"])
def test_the_gain_gives_x0_of_both_halves(name: str, request: pytest.FixtureRequest) -> None:
    """What `predict_x0` makes of each half at the state and level of the call, seen from outside."""
    pipe, calls = request.getfixturevalue(f"{name}_pipe"), []
    plain = pipe.scheduler.step

    def seen(model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, **rest: Any) -> Any:
        calls.append((sample.clone(), level_at_call(pipe.scheduler, timestep)))
        return plain(model_output, timestep, sample, **rest)

    pipe.scheduler.step = seen
    try:
        with observe(pipe) as trace:
            pipe(**arguments(pipe, scale=4.0, prompts=("a red circle", "two stars")))
    finally:
        del pipe.scheduler.step
    assert len(calls) == len(trace.steps)
    for step, (sample, level) in zip(trace.steps, calls, strict=True):
        halves = {}
        for key, prediction in (("cond", step.cond_pred), ("uncond", step.uncond_pred)):
            halves[key] = step.x0_pred + step.x0_gain * (prediction - step.noise_pred)
            expected = predict_x0(pipe.scheduler, sample, torch.from_numpy(prediction), level)
            # The numbers that cancel are of the size of the state.
            np.testing.assert_allclose(halves[key], expected, atol=1e-5 * (1 + abs(step.x0_gain)))
        if name in PLAIN:
            guided = halves["uncond"] + 4.0 * (halves["cond"] - halves["uncond"])
            np.testing.assert_allclose(guided, step.x0_pred, atol=1e-4 * (1 + abs(step.x0_gain)))
        assert np.abs(halves["cond"] - halves["uncond"]).max() > 1e-5


def test_without_x0_there_is_no_gain(sd_pipe: Any) -> None:
    with observe(sd_pipe, Capture(x0=False, previews="every")) as trace:
        sd_pipe(**arguments(sd_pipe, steps=2))
    assert [s.x0_gain for s in trace.steps] == [None, None]


def test_an_unknown_prediction_has_no_coefficients() -> None:
    scheduler = diffusers.DDIMScheduler(**SD_BETAS, prediction_type="score")
    scheduler.set_timesteps(3)
    with pytest.raises(CapabilityError, match="'score'"):
        gain(scheduler, level_at_call(scheduler, scheduler.timesteps[0]))
