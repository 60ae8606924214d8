"""Every scheduler of diffusers, with every option, in a real pipeline: observing changes nothing and misses no step.

What a scheduler does is learned here from outside: how often its ``step`` ran, what it returned, and how its own
``add_noise`` mixes data and noise.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from diffatlas.capture import Capture, observe
from diffatlas.capture.schedule import count_steps, level_after, level_at_call, sigma_after
from diffatlas.capture.trace import Trace
from diffatlas.capture.x0 import predict_x0
from diffatlas.errors import CapabilityError
from tests.pipelines import arguments

SD_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
STEPS = 3

#: Classes that this pipeline cannot run: their steps, or their set_timesteps, take something else.
OTHER_PIPELINES = {
    "AmusedScheduler",
    "BlockRefinementScheduler",
    "CogVideoXDPMScheduler",
    "DDPMWuerstchenScheduler",
    "DiscreteDDIMScheduler",
    "EntropyBoundScheduler",
    "HeliosDMDScheduler",
    "KarrasVeScheduler",
    "MiniMaxH3Scheduler",
    "PiflowScheduler",
    "RFD4ProteinaScheduler",
    "RePaintScheduler",
    "SCMScheduler",
    "ScoreSdeVeScheduler",
    "UnCLIPScheduler",
    "VQDiffusionScheduler",
}
NEEDS_TORCHSDE = {"CosineDPMSolverMultistepScheduler", "DPMSolverSDEScheduler"}
#: They run in the pipeline of a flow model.
FLOW = {
    "FlowMapEulerDiscreteScheduler": [{}, {"shift": 3.0}],
    "FlowMatchEulerDiscreteScheduler": [
        {"shift": 3.0},
        {"use_dynamic_shifting": True},
        {"shift_terminal": 0.1},
        {"use_karras_sigmas": True},
        {"use_exponential_sigmas": True},
        {"use_beta_sigmas": True},
        {"invert_sigmas": True},
        {"stochastic_sampling": True},
    ],
    "FlowMatchHeunDiscreteScheduler": [{}, {"shift": 3.0}],
    "FlowMatchLCMScheduler": [{}, {"shift": 3.0}, {"use_beta_sigmas": True}],
    "HeliosScheduler": [{"stages": 1, "stage_range": [0, 1], "scheduler_type": "euler"}],
    "LTXEulerAncestralRFScheduler": [{}, {"eta": 0.0}],
}
FLOW_OPTIONS = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}

#: For each option of a constructor the values to be tried, one at a time beside the defaults.
OPTIONS: dict[str, list[Any]] = {
    "algorithm_type": ["dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++", "noise_prediction"],
    "beta_schedule": ["squaredcos_cap_v2", "sigmoid"],
    "clip_sample": [True, False],
    "disable_corrector": [[0, 1]],
    "euler_at_final": [True],
    "final_sigmas_type": ["sigma_min"],
    "interpolation_type": ["log_linear"],
    "lambda_min_clipped": [-5.1],
    "lower_order_final": [False],
    "predict_x0": [False],
    "prediction_type": ["epsilon", "v_prediction", "sample"],
    "rescale_betas_zero_snr": [True],
    "set_alpha_to_one": [False],
    "sigma_schedule": ["exponential"],
    "skip_prk_steps": [True],
    "solver_order": [1, 3],
    "solver_type": ["heun", "bh1"],
    "thresholding": [True],
    "timestep_spacing": ["leading", "trailing", "linspace"],
    "timestep_type": ["continuous"],
    "use_beta_sigmas": [True],
    "use_exponential_sigmas": [True],
    "use_karras_sigmas": [True],
    "use_lu_lambdas": [True],
    "variance_type": ["fixed_large", "fixed_small_log"],
}


#: The same several at once, for whole calls of a pipeline, which take longer.
TOGETHER: list[dict[str, Any]] = [
    {},
    {
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing",
        "rescale_betas_zero_snr": True,
        "set_alpha_to_one": False,
        "lower_order_final": False,
        "solver_order": 3,
        "interpolation_type": "log_linear",
        "variance_type": "fixed_small_log",
    },
    {
        "prediction_type": "sample",
        "timestep_spacing": "leading",
        "use_karras_sigmas": True,
        "thresholding": True,
        "clip_sample": True,
        "euler_at_final": True,
        "algorithm_type": "sde-dpmsolver++",
        "variance_type": "fixed_large",
    },
    {
        "algorithm_type": "dpmsolver",
        "beta_schedule": "squaredcos_cap_v2",
        "clip_sample": False,
        "final_sigmas_type": "sigma_min",
        "predict_x0": False,
        "sigma_schedule": "exponential",
        "solver_order": 1,
        "use_exponential_sigmas": True,
    },
    {"algorithm_type": "sde-dpmsolver", "disable_corrector": [0, 1], "timestep_spacing": "linspace"},
    {"use_beta_sigmas": True, "solver_type": "heun", "algorithm_type": "noise_prediction"},
    {"use_lu_lambdas": True, "thresholding": True},
    {"timestep_type": "continuous", "prediction_type": "v_prediction"},
]


def exported() -> list[str]:
    return sorted(n for n in dir(diffusers) if n.endswith("Scheduler"))


def classes() -> list[str]:
    """Return the classes that the Stable Diffusion pipeline must be able to run, a new one of diffusers too."""
    return [n for n in exported() if n not in {*OTHER_PIPELINES, *NEEDS_TORCHSDE, *FLOW}]


def made(name: str, options: dict[str, Any]) -> Any:
    kind = getattr(diffusers, name)
    takes = inspect.signature(kind.__init__).parameters
    # The constructors of KDPM2 work through all of them one by one, for seconds.
    few = {"num_train_timesteps": 100} if name.startswith("KDPM2") else {}
    return kind(**{k: v for k, v in SD_BETAS.items() if k in takes} | few | options)


def option_sets(name: str, together: bool = False) -> list[dict[str, Any]]:
    """Return the options that a class has: each value alone, or several at once."""
    takes = inspect.signature(getattr(diffusers, name).__init__).parameters
    tried = {k: [v for v in values if v != takes[k].default] for k, values in OPTIONS.items() if k in takes}
    sets: list[dict[str, Any]] = [{}, *({k: v} for k, values in tried.items() for v in values)]
    if together:
        sets = []
        for options in ({k: v for k, v in row.items() if k in takes} for row in TOGETHER):
            if options not in sets:
                sets.append(options)
    if "flow_prediction" in str(takes.get("prediction_type", "")) and "use_flow_sigmas" in takes:
        sets.append({k: v for k, v in FLOW_OPTIONS.items() if k in takes})
    # "prk" steps need more of them than there are here.
    return [{"skip_prk_steps": True, **s} for s in sets] if "skip_prk_steps" in takes else sets


@contextmanager
def counted(kind: type) -> Iterator[list[torch.Tensor]]:
    """Yield what every ``step`` of the class returns, looked at in the class around all else."""
    states: list[torch.Tensor] = []
    step = kind.step

    def counting(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = step(self, *args, **kwargs)
        states.append((result[0] if isinstance(result, tuple) else result.prev_sample).clone())
        return result

    counting.__wrapped__ = step
    kind.step = counting
    try:
        yield states
    finally:
        kind.step = step


def compared(pipe: Any, scheduler: Any, call: dict[str, Any], **capture: Any) -> tuple[Trace, Any]:
    """Run a call plain and observed; return the trace and the plain result, or the error where it does not run."""
    results, states = [], []
    trace = None
    for observed in (False, True):
        pipe.scheduler = copy.deepcopy(scheduler)
        generator = torch.Generator().manual_seed(7)
        torch.manual_seed(3)
        with counted(type(scheduler)) as seen:
            try:
                if observed:
                    with observe(pipe, Capture(previews="off", **capture)) as trace:
                        result = pipe(**{**call, "generator": generator}).images
                else:
                    result = pipe(**{**call, "generator": generator}).images
            except Exception as error:
                result = error
        results.append(result)
        states.append(seen)
        if not observed and isinstance(result, Exception):
            return Trace(), result
    plain, seen = results
    assert not isinstance(seen, Exception), seen
    np.testing.assert_array_equal(np.asarray(plain), np.asarray(seen))
    assert len(states[0]) == len(states[1]) == len(trace.steps) == trace.total_steps
    for step, state in zip(trace.steps, states[0], strict=True):
        np.testing.assert_array_equal(step.latents, state.float().numpy())
    return trace, plain


def assert_told(trace: Trace, x0: bool = True) -> None:
    """Every sigma is a number; and x0 is there, or its absence has a sentence."""
    assert set(trace.missing) == (set() if x0 else {"x0_pred"}), trace.missing
    for step in trace.steps:
        assert math.isfinite(step.sigma)
        assert step.sigma >= 0
        if x0:
            assert np.isfinite(step.x0_pred).all()
            assert math.isfinite(step.x0_gain)
        else:
            assert step.x0_pred is None
            assert trace.missing["x0_pred"].endswith(".")


@pytest.mark.slow
@pytest.mark.parametrize("name", classes())
def test_no_option_of_a_scheduler_stops_or_changes_a_call(name: str, sd_pipe: Any) -> None:
    call = arguments(sd_pipe, steps=STEPS, guided=False, width=32, height=32) | {"output_type": "latent"}
    kept, ran = sd_pipe.scheduler, 0
    try:
        for options in option_sets(name, together=True):
            try:
                scheduler = made(name, options)
            except (ValueError, NotImplementedError):
                continue  # an option's value that this class has not
            trace, result = compared(sd_pipe, scheduler, call)
            if isinstance(result, Exception):
                assert options, f"{name} does not run here with its defaults: {result}"
                continue
            ran += 1
            if any(np.isnan(step.latents).any() for step in trace.steps):
                continue  # the scheduler itself divides by a level of 0, or has no numbers in its lists
            assert_told(trace)
            if "Inverse" not in name:
                assert trace.steps[-1].sigma == 0, options
                assert all(s.sigma > 0 for s in trace.steps[:-1]), options
    finally:
        sd_pipe.scheduler = kept
    assert ran


@pytest.mark.parametrize("name", sorted(FLOW))
def test_no_option_of_a_flow_scheduler_stops_or_changes_a_call(name: str, sd3_pipe: Any) -> None:
    call = arguments(sd3_pipe, steps=STEPS, guided=False) | {"output_type": "latent"}
    kept = sd3_pipe.scheduler
    try:
        for options in FLOW[name]:
            more = {"mu": 0.8} if options.get("use_dynamic_shifting") else {}
            trace, result = compared(sd3_pipe, made(name, options), call | more)
            assert not isinstance(result, Exception), (options, result)
            assert_told(trace, x0=name != "FlowMapEulerDiscreteScheduler")
            if options.get("invert_sigmas") is None:
                sigmas = [trace.initial_sigma, *(s.sigma for s in trace.steps)]
                assert sigmas == sorted(sigmas, reverse=True), options
    finally:
        sd3_pipe.scheduler = kept


def test_no_class_is_left_out() -> None:
    assert {*OTHER_PIPELINES, *FLOW} - set(exported()) == set()


def has_add_noise(name: str) -> bool:
    return name not in NEEDS_TORCHSDE and hasattr(getattr(diffusers, name), "add_noise")


@pytest.mark.parametrize("name", [n for n in classes() if has_add_noise(n)])
def test_levels_are_those_of_the_schedulers_own_noising(name: str) -> None:
    """``add_noise`` of data alone is alpha, and of noise alone std."""
    one = torch.ones(1, 1, 1, 1)
    for options in option_sets(name):
        try:
            scheduler = made(name, options)
            scheduler.set_timesteps(5)
        except (ValueError, NotImplementedError, AssertionError):
            continue
        if "prediction_type" in options and options is not FLOW_OPTIONS:
            continue
        # SASolver adds noise by the nearest whole timestep.
        rel = 1e-2 if name == "SASolverScheduler" else 1e-4
        for t in scheduler.timesteps[~scheduler.timesteps.isnan()]:
            level = level_at_call(scheduler, t)
            alpha = float(scheduler.add_noise(one, 0 * one, t[None]))
            std = float(scheduler.add_noise(0 * one, one, t[None]))
            assert (level.alpha, level.std) == pytest.approx((alpha, std), rel=rel, abs=1e-5), (options, t)


@pytest.mark.parametrize("name", [n for n in FLOW if hasattr(getattr(diffusers, n), "scale_noise")])
def test_levels_of_flow_schedulers_are_those_of_their_own_noising(name: str) -> None:
    one = torch.ones(1, 1, 1, 1)
    for options in FLOW[name]:
        if options.get("invert_sigmas"):
            continue  # its own noising takes the share of data for that of noise
        scheduler = made(name, options)
        more = {"mu": 0.8} if options.get("use_dynamic_shifting") else {}
        scheduler.set_timesteps(5, **more)
        for t in scheduler.timesteps:
            level = level_at_call(scheduler, t)
            alpha = float(scheduler.scale_noise(one, t[None], 0 * one))
            std = float(scheduler.scale_noise(0 * one, t[None], one))
            assert (level.alpha, level.std) == pytest.approx((alpha, std), abs=1e-5), (options, t)


OWN_LISTS = [
    ("DDPMScheduler", {"timesteps": [900, 700, 500, 100]}),
    ("DDPMParallelScheduler", {"timesteps": [900, 700, 500, 100]}),
    ("LCMScheduler", {"timesteps": [899, 699, 499, 99]}),
    ("TCDScheduler", {"timesteps": [899, 699, 499, 99]}),
    ("EulerDiscreteScheduler", {"timesteps": [900, 700, 500, 100]}),
    ("HeunDiscreteScheduler", {"timesteps": [900, 700, 500, 100]}),
    ("DPMSolverMultistepScheduler", {"timesteps": [900, 700, 500, 100]}),
    ("DPMSolverSinglestepScheduler", {"timesteps": [900, 700, 500, 100]}),
    ("CMStochasticIterativeScheduler", {"timesteps": [39, 20, 5]}),
    ("EulerDiscreteScheduler", {"sigmas": [14.0, 5.0, 1.0, 0.0]}),
    ("UniPCMultistepScheduler", {"sigmas": np.array([0.9, 0.5, 0.2])}),
]


@pytest.mark.parametrize(("name", "own"), OWN_LISTS, ids=str)
def test_own_timesteps_and_own_sigmas(name: str, own: dict[str, Any], sd_pipe: Any) -> None:
    call = arguments(sd_pipe, guided=False, width=32, height=32) | {"output_type": "latent"} | own
    kept = sd_pipe.scheduler
    try:
        options = FLOW_OPTIONS | {"flow_shift": 1.0} if name == "UniPCMultistepScheduler" else {}
        trace, result = compared(sd_pipe, made(name, options), call)
        assert not isinstance(result, Exception), result
        timesteps = [float(t) for t in sd_pipe.scheduler.timesteps]
        abar = getattr(sd_pipe.scheduler, "alphas_cumprod", None)
    finally:
        sd_pipe.scheduler = kept
    assert_told(trace)
    assert [s.timestep for s in trace.steps] == timesteps
    sigmas = [trace.initial_sigma, *(s.sigma for s in trace.steps)]
    if "sigmas" in own:
        assert sigmas == pytest.approx([*(x for x in own["sigmas"] if x), 0.0], rel=1e-5)
    elif name not in ("HeunDiscreteScheduler", "CMStochasticIterativeScheduler"):
        expected = [math.sqrt(1 / float(abar[t]) - 1) for t in own["timesteps"]]
        assert sigmas == pytest.approx([*expected, 0.0], rel=1e-3)
    else:
        assert sigmas == sorted(sigmas, reverse=True)
        assert sigmas[-1] == 0


@pytest.mark.parametrize("name", [n for n in classes() if has_add_noise(n) and "Inverse" not in n])
def test_a_start_from_a_picture_is_counted_and_has_its_level(name: str, sd_pipe: Any) -> None:
    """By strength a call starts inside of the list; of some schedulers only its first timestep tells where."""
    pipe = diffusers.StableDiffusionImg2ImgPipeline(**sd_pipe.components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    call = {
        "prompt": "a red circle",
        "image": picture,
        "strength": 0.5,
        "num_inference_steps": 8,
        "guidance_scale": 1.0,
        "output_type": "latent",
    }
    options = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    trace, result = compared(pipe, made(name, options), call)
    assert not isinstance(result, Exception), result
    assert_told(trace)
    whole = made(name, options)
    whole.set_timesteps(8)
    assert len(trace.steps) < len(whole.timesteps)
    first = next(t for t in whole.timesteps if float(t) == trace.steps[0].timestep)
    if name != "LCMScheduler":
        assert trace.initial_sigma == pytest.approx(level_at_call(whole, first).sigma, rel=1e-5)
    sigmas = [trace.initial_sigma, *(s.sigma for s in trace.steps)]
    assert all(b <= a + 1e-6 for a, b in itertools.pairwise(sigmas))
    assert sigmas[-1] == 0


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler"])
def test_two_pipelines_share_a_schedule(name: str, sdxl_pipe: Any) -> None:
    """A base that stops at half of the way ends at the level at which its refiner starts, and not at 0."""
    half = {"num_inference_steps": 8, "output_type": "latent"}
    call = arguments(sdxl_pipe, guided=False) | half
    kept = sdxl_pipe.scheduler
    try:
        base, latents = compared(sdxl_pipe, made(name, {}), call | {"denoising_end": 0.5})
        assert not isinstance(latents, Exception), latents
        refiner = diffusers.StableDiffusionXLImg2ImgPipeline(**sdxl_pipe.components, add_watermarker=False)
        refiner.set_progress_bar_config(disable=True)
        taken = {k: v for k, v in call.items() if k not in ("width", "height")}
        rest, result = compared(
            refiner, made(name, {}), taken | {"image": latents, "denoising_start": 0.5, "strength": 0.3}
        )
        assert not isinstance(result, Exception), result
    finally:
        sdxl_pipe.scheduler = kept
    for trace in (base, rest):
        assert_told(trace)
    assert base.steps[-1].sigma == pytest.approx(rest.initial_sigma, rel=1e-4)
    assert base.steps[-1].sigma > 0.2
    assert rest.steps[-1].sigma == 0


def test_the_decoder_of_consistency_models() -> None:
    """diffusers keeps this scheduler among its schedulers, and one of its VAEs steps with it."""
    scheduler = diffusers.schedulers.ConsistencyDecoderScheduler()
    scheduler.set_timesteps(2)
    generator = torch.Generator().manual_seed(0)
    x0, x = (torch.randn(1, 3, 64, 64, generator=generator) for _ in range(2))
    for i, t in enumerate(scheduler.timesteps):
        level = level_at_call(scheduler, t)
        alpha, std = scheduler.sqrt_alphas_cumprod[t], scheduler.sqrt_one_minus_alphas_cumprod[t]
        assert (level.alpha, level.std) == pytest.approx((float(alpha), float(std)), abs=1e-4)
        output = torch.randn(x.shape, generator=generator)
        estimate = scheduler.c_out[t] * output + scheduler.c_skip[t] * x
        np.testing.assert_allclose(predict_x0(scheduler, x, output, level), estimate, atol=1e-4)
        x = scheduler.step((x0 - scheduler.c_skip[t] * x) / scheduler.c_out[t], t, x, generator)[0]
        after = level_after(scheduler, t)
        assert float((x - after.alpha * x0).std()) == pytest.approx(after.std, rel=0.05, abs=1e-3)
        assert (sigma_after(scheduler, t) == 0) == (i == 1)


@pytest.mark.parametrize("steps", [2, 3, 4, 7, 10])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("skips", [True, False])
def test_pndm_ends_once(steps: int, spacing: str, skips: bool) -> None:
    """It takes a timestep twice, maybe its last, and its last stride need not end below 0."""
    if not skips and steps < 4:
        return
    scheduler = diffusers.PNDMScheduler(**SD_BETAS, skip_prk_steps=skips, timestep_spacing=spacing)
    scheduler.set_timesteps(steps)
    x, sigmas = torch.zeros(1, 1, 1, 1), []
    for t in scheduler.timesteps:
        x = scheduler.step(x, t, x)[0]
        sigmas.append(sigma_after(scheduler, t))
    assert [s == 0 for s in sigmas] == [False] * (len(sigmas) - 1) + [True]


def test_a_scaled_noise_of_proteina_has_no_level() -> None:
    options = {"schedule_mode": "power", "noise_mode": "1/t", "tsr_k": 2.0, "tsr_sigma": 1.0, "tail_steps": 0}
    scheduler = diffusers.RFD4ProteinaScheduler(**options)
    scheduler.set_timesteps(4)
    with pytest.raises(CapabilityError, match="scales its noise"):
        level_at_call(scheduler, scheduler.timesteps[0])


NEEDED: dict[str, dict[str, Any]] = {
    "AmusedScheduler": {"mask_token_id": 7},
    "RFD4ProteinaScheduler": {
        "schedule_mode": "power",
        "noise_mode": "1/t",
        "tsr_k": 1.0,
        "tsr_sigma": 1.0,
        "tail_steps": 0,
    },
    "UnCLIPScheduler": {"beta_schedule": "squaredcos_cap_v2"},
    "VQDiffusionScheduler": {"num_vec_classes": 8},
}
MORE_TO_SET = {
    "HeliosScheduler": {"stage_index": 0},
    "HeliosDMDScheduler": {"stage_index": 0},
    "SCMScheduler": {"intermediate_timesteps": None},
}


@pytest.mark.parametrize("name", [n for n in exported() if n not in NEEDS_TORCHSDE])
def test_whatever_is_asked_there_is_a_number_or_a_sentence(name: str) -> None:
    """Before the timesteps are set and after, for timesteps that are in the list and for others."""
    scheduler = made(name, NEEDED.get(name, {}))
    for ready in (False, True):
        if ready:
            scheduler.set_timesteps(8, **MORE_TO_SET.get(name, {}))
        listed = getattr(scheduler, "timesteps", None)
        known = [] if listed is None or len(listed) == 0 else [listed[0], listed[-1]]
        asked = [*known, *(float(t) for t in known), *(int(t) for t in known)]
        asked += [torch.tensor(3), 1.5, -3, 10**6, math.nan]
        kept, random = contents(scheduler), torch.get_rng_state()
        for t, ask in itertools.product(asked, (level_at_call, level_after, sigma_after, count_steps)):
            told = number_or_sentence(ask, scheduler, t)
            if isinstance(told, str):
                assert "\n" not in told
                assert told.endswith(".")
            else:
                numbers = [told] if isinstance(told, float | int) else [told.alpha, told.std, told.sigma]
                assert all(math.isfinite(x) for x in numbers), (t, told)
        assert torch.equal(random, torch.get_rng_state())
        np.testing.assert_equal(contents(scheduler), kept)


def number_or_sentence(ask: Any, scheduler: Any, t: Any) -> Any:
    try:
        return ask(scheduler, t)
    except CapabilityError as error:
        return error.message


def contents(scheduler: Any) -> Any:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return value.clone().numpy() if isinstance(value, torch.Tensor) else copy.deepcopy(value)

    return plain(vars(scheduler))
