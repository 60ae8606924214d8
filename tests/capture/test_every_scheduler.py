"""Every scheduler that diffusers exports: its levels and x0 are right, or absent with a sentence that says why.

Let the data be one point x0 and the noise one draw n, and let the model be perfect. Then every deterministic
scheduler of first order stays on x = alpha * x0 + std * n, and its own steps tell at which level its states are.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import math
from typing import Any, NamedTuple

import diffusers
import numpy as np
import pytest
import torch

from diffatlas.capture.schedule import count_steps, latent_scale, level_after, level_at_call, sigma_after
from diffatlas.capture.x0 import coefficients, gain, predict_x0
from diffatlas.errors import CapabilityError

STEPS = 5


class Expected(NamedTuple):
    """What is known of a class: how its model predicts, and what its steps are like."""

    predictions: tuple[str, ...] = ("epsilon",)
    #: "exact": every state lies at its level; "noisy": fresh noise; "ends": only the last state is checked.
    states: str = "exact"
    options: tuple[dict[str, Any], ...] = ({},)
    set_timesteps: dict[str, Any] | None = None


ANY = ("epsilon", "v_prediction", "sample")
TWO = ("epsilon", "v_prediction")
SPACINGS = tuple({"timestep_spacing": s} for s in ("leading", "trailing", "linspace"))
SHAPES = tuple({f"use_{s}_sigmas": True} for s in ("karras", "exponential", "beta"))
ZERO = {"rescale_betas_zero_snr": True}
NO_CLIP = {"clip_sample": False}
DDIM = tuple(
    {**NO_CLIP, **o}
    for o in (
        *SPACINGS[:2],
        {"set_alpha_to_one": False, "steps_offset": 1},
        {"beta_schedule": "squaredcos_cap_v2"},
        ZERO,
    )
)
SOLVER = (
    *SPACINGS,
    *SHAPES,
    {"beta_schedule": "squaredcos_cap_v2"},
    {"solver_order": 1},
    {"solver_order": 3},
)
FLOW = ({}, {"shift": 3.0}, *SHAPES, {"shift_terminal": 0.1}, {"invert_sigmas": True})

KNOWN: dict[str, Expected] = {
    "CMStochasticIterativeScheduler": Expected(("consistency",), "noisy", ({"clip_denoised": False},)),
    "CogVideoXDDIMScheduler": Expected(ANY, "exact", DDIM),
    # From clean latents "sample" tells no noise: the scheduler itself divides by 0.
    "DDIMInverseScheduler": Expected(TWO, "exact", (*DDIM[:2], DDIM[3])),
    "DDIMParallelScheduler": Expected(ANY, "exact", DDIM),
    "DDIMScheduler": Expected(ANY, "exact", DDIM),
    "DDPMParallelScheduler": Expected(ANY, "noisy", ({**NO_CLIP},)),
    "DDPMScheduler": Expected(ANY, "noisy", tuple({**NO_CLIP, **s} for s in SPACINGS)),
    "DDPMWuerstchenScheduler": Expected(("epsilon",), "noisy", ({}, {"scaler": 2.0}, {"scaler": 0.5})),
    "DEISMultistepScheduler": Expected(ANY, "ends", SOLVER),
    "DPMSolverMultistepInverseScheduler": Expected(
        ANY, "exact", ({}, SPACINGS[0], {"solver_order": 1}, *SHAPES[:2])
    ),
    "DPMSolverMultistepScheduler": Expected(
        ANY,
        "exact",
        (*SOLVER, {"final_sigmas_type": "sigma_min"}, {"euler_at_final": True}, {"use_lu_lambdas": True}),
    ),
    "DPMSolverSinglestepScheduler": Expected(
        ANY, "exact", ({}, *SHAPES, {"solver_order": 1}, {"solver_order": 3})
    ),
    "EDMDPMSolverMultistepScheduler": Expected(TWO, "exact", ({}, {"sigma_schedule": "exponential"})),
    "EDMEulerScheduler": Expected(TWO, "exact", ({}, {"sigma_schedule": "exponential"})),
    "EulerAncestralDiscreteScheduler": Expected(TWO, "noisy", SPACINGS),
    "EulerDiscreteScheduler": Expected(
        ANY,
        "exact",
        (*SPACINGS, *SHAPES, {"final_sigmas_type": "sigma_min"}, {"interpolation_type": "log_linear"}),
    ),
    "FlowMatchEulerDiscreteScheduler": Expected(("flow",), "exact", FLOW),
    "FlowMatchHeunDiscreteScheduler": Expected(("flow",), "exact", ({}, {"shift": 3.0})),
    "FlowMatchLCMScheduler": Expected(("flow",), "noisy", FLOW[:-1]),
    "HeliosScheduler": Expected(
        ("flow_prediction",),
        "exact",
        ({"stages": 1, "stage_range": [0, 1], "scheduler_type": "euler"},),
    ),
    "HeunDiscreteScheduler": Expected(ANY, "exact", (*SPACINGS, *SHAPES)),
    "IPNDMScheduler": Expected(("v",), "exact"),
    "KDPM2AncestralDiscreteScheduler": Expected(TWO, "ends", (*SPACINGS, *SHAPES)),
    "KDPM2DiscreteScheduler": Expected(TWO, "exact", (*SPACINGS, *SHAPES)),
    "LCMScheduler": Expected(ANY, "noisy", ({}, {"set_alpha_to_one": False})),
    "LMSDiscreteScheduler": Expected(ANY, "exact", (*SPACINGS, *SHAPES)),
    "LTXEulerAncestralRFScheduler": Expected(("flow",), "noisy", ({}, {"eta": 0.0})),
    "MiniMaxH3Scheduler": Expected(("to data",), "exact"),
    "PNDMScheduler": Expected(
        ("epsilon",), "exact", ({"skip_prk_steps": True}, {"skip_prk_steps": False}, *SPACINGS[:2])
    ),
    "RePaintScheduler": Expected(("epsilon",), "exact", (NO_CLIP,), {"jump_length": 2, "jump_n_sample": 2}),
    "SASolverScheduler": Expected(ANY, "noisy", ({}, {"algorithm_type": "noise_prediction"}, *SHAPES[:2])),
    "SCMScheduler": Expected(("trigflow",), "noisy", ({},), {"intermediate_timesteps": None}),
    "TCDScheduler": Expected(ANY, "noisy"),
    "UnCLIPScheduler": Expected(("epsilon", "sample"), "noisy", (NO_CLIP,)),
    "UniPCMultistepScheduler": Expected(ANY, "exact", (*SOLVER, {"final_sigmas_type": "sigma_min"})),
}
#: Classes whose levels or x0 are not to be had, and a word of the reason.
ABSENT = {
    "AmusedScheduler": "tokens",
    "BlockRefinementScheduler": "tokens",
    "DiscreteDDIMScheduler": "tokens",
    "EntropyBoundScheduler": "tokens",
    "VQDiffusionScheduler": "tokens",
    "HeliosScheduler": "stages",
    "HeliosDMDScheduler": "stages",
    "KarrasVeScheduler": "by the pipeline",
    "ScoreSdeVeScheduler": "no `step`",
    "ScoreSdeVpScheduler": "no `step`",
}
#: Levels, and no x0; or steps that take more than a prediction, a timestep and a state.
ONLY_LEVELS = ("PiflowScheduler", "FlowMapEulerDiscreteScheduler")
OTHER_STEPS = ("CogVideoXDPMScheduler", "RFD4ProteinaScheduler")
ARGUMENTS = {
    "AmusedScheduler": {"mask_token_id": 7},
    "VQDiffusionScheduler": {"num_vec_classes": 8},
    "RFD4ProteinaScheduler": {
        "schedule_mode": "power",
        "noise_mode": "1/t",
        "tsr_k": 1.0,
        "tsr_sigma": 1.0,
        "tail_steps": 0,
    },
}
#: They need torchsde, without which diffusers exports only their names.
NEEDS_TORCHSDE = {"CosineDPMSolverMultistepScheduler", "DPMSolverSDEScheduler"}


def test_no_scheduler_of_diffusers_is_left_out() -> None:
    named = {*KNOWN, *ABSENT, *ONLY_LEVELS, *OTHER_STEPS, *NEEDS_TORCHSDE}
    exported = {n for n in dir(diffusers) if n.endswith("Scheduler")}
    assert len(exported) > 40
    assert exported - named == set()


CASES = [
    (name, o, p)
    for name, known in sorted(KNOWN.items())
    for o, p in itertools.product(known.options, known.predictions)
    if not (o.get("rescale_betas_zero_snr") and p == "epsilon")
]


def made(name: str, options: dict[str, Any], prediction: str) -> Any:
    kind = getattr(diffusers, name)
    named = {"prediction_type": prediction} if prediction in (*ANY, "flow_prediction") else {}
    if name in ("RePaintScheduler", "DDPMWuerstchenScheduler"):
        named = {}
    scheduler = kind(**ARGUMENTS.get(name, {}), **named, **options)
    extra = (KNOWN[name].set_timesteps if name in KNOWN else None) or {}
    scheduler.set_timesteps(2 * STEPS if name == "RePaintScheduler" else STEPS, **extra)
    return scheduler


def perfect(
    prediction: str, scheduler: Any, level: Any, x: torch.Tensor, x0: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """Return what a perfect model predicts for x = alpha x0 + std noise, from what the prediction type means."""
    if prediction == "epsilon" and not scheduler.__class__.__name__.startswith("EDM"):
        return noise
    if prediction == "sample":
        return x0
    if prediction in ("flow", "flow_prediction"):
        mirrored = scheduler.config.get("invert_sigmas")
        return x0 - noise if mirrored else noise - x0
    if prediction == "to data":
        return x0 - noise
    if prediction in ("v_prediction", "v", "trigflow") and not scheduler.__class__.__name__.startswith("EDM"):
        norm = math.hypot(level.alpha, level.std)
        return (level.alpha * noise - level.std * x0) / norm
    data, sigma = scheduler.config.sigma_data, level.sigma
    if prediction == "consistency":
        above = sigma - scheduler.config.sigma_min
        skip, out = data**2 / (above**2 + data**2), above * data / math.hypot(sigma, data)
    else:
        skip, out = data**2 / (sigma**2 + data**2), sigma * data / math.hypot(sigma, data)
        out = out if prediction == "epsilon" else -out
    return (x0 - skip * x) / out


def stepped(
    scheduler: Any, output: torch.Tensor, t: torch.Tensor, x: torch.Tensor, seed: int
) -> torch.Tensor:
    takes = inspect.signature(scheduler.step).parameters
    extra: dict[str, Any] = {"generator": torch.Generator().manual_seed(seed)} if "generator" in takes else {}
    if "original_image" in takes:
        extra.update(original_image=x, mask=torch.zeros_like(x))
    if "prev_timestep" in takes:  # as the pipelines of UnCLIP give it
        place = int((scheduler.timesteps == t).nonzero()) + 1
        extra["prev_timestep"] = scheduler.timesteps[place] if place < len(scheduler.timesteps) else None
    if type(scheduler).__name__ == "DDPMWuerstchenScheduler":
        t = t.expand(len(x))
    return scheduler.step(output, t, x, return_dict=False, **extra)[0]


def frozen(scheduler: Any) -> dict[str, Any]:
    return copy.deepcopy({k: v for k, v in vars(scheduler).items() if k != "_internal_dict"})


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and np.array_equal(a, b, equal_nan=True)
    if isinstance(a, np.ndarray):
        return bool(np.array_equal(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return callable(a) or bool(a == b)


@pytest.mark.parametrize(("name", "options", "prediction"), CASES, ids=str)
def test_states_lie_at_their_levels(name: str, options: dict[str, Any], prediction: str) -> None:
    scheduler, states = made(name, options, prediction), KNOWN[name].states
    if options.get("algorithm_type") == "noise_prediction":
        states = (
            "levels"  # its multistep rule takes noise that is new at every step for a curve, and diverges
        )
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(1, 4, 48, 48, generator=generator) for _ in range(2))
    scale = latent_scale(scheduler)
    x0, noise = x0 * scale, noise * scale
    timesteps = scheduler.timesteps[: count_steps(scheduler)]
    before = level_at_call(scheduler, timesteps[0])
    x = before.alpha * x0 + before.std * noise
    levels = [before.sigma]
    for i, t in enumerate(timesteps):
        if name == "RePaintScheduler" and i and t > timesteps[i - 1]:
            break  # its pipeline adds noise here, without a step
        random = torch.get_rng_state()
        kept = frozen(scheduler)
        level = level_at_call(scheduler, t)
        assert level.sigma == pytest.approx(levels[-1], rel=1e-4, abs=1e-6), f"step {i}"
        assert count_steps(scheduler, t) == len(timesteps) - i or name in (
            "PNDMScheduler",
            "RePaintScheduler",
        )
        seen = noise if states == "exact" else (x - level.alpha * x0) / level.std
        output = perfect(prediction, scheduler, level, x, x0, seen)
        if level.alpha > 0.05 or prediction != "epsilon":
            scale_of_state = 1 + level.sigma / 100
            np.testing.assert_allclose(
                predict_x0(scheduler, x, output, level), x0, atol=1e-2 * scale_of_state, err_msg=f"step {i}"
            )
        assert same(kept, frozen(scheduler))
        assert torch.equal(random, torch.get_rng_state())
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(x, t)
        x = stepped(scheduler, output, t, x, seed=i)
        kept = frozen(scheduler)
        after, sigma = level_after(scheduler, t), sigma_after(scheduler, t)
        assert same(kept, frozen(scheduler))
        assert sigma in (0.0, after.sigma)
        levels.append(after.sigma)
        if name == "IPNDMScheduler" and i == 0:
            x = after.alpha * x0 + after.std * noise  # it starts from noise alone, which tells nothing of x0
        if states == "exact":
            expected = after.alpha * x0 + after.std * noise
            np.testing.assert_allclose(x, expected, atol=1e-2 * (1 + after.std), err_msg=f"after step {i}")
        elif states == "noisy":
            spread = float((x - after.alpha * x0).std())
            assert spread == pytest.approx(after.std * scale, rel=0.06, abs=0.03), f"after step {i}"
    if states == "ends":
        assert float((x - after.alpha * x0).std()) < 0.2
    rises = "Inverse" in name
    if name != "KDPM2AncestralDiscreteScheduler":  # its mid points lie below the levels that they lead to
        assert (levels == sorted(levels)) if rises else (levels == sorted(levels, reverse=True))
    if name != "RePaintScheduler":
        assert sigma == (levels[-1] if rises else 0.0)


@pytest.mark.parametrize("name", ["DDIMScheduler", "DDIMParallelScheduler", "CogVideoXDDIMScheduler"])
def test_a_stride_that_does_not_meet_the_next_timestep(name: str) -> None:
    """With spacing "linspace" DDIM steps by its stride, to another level than that of its next timestep."""
    scheduler = made(name, {**NO_CLIP, "timestep_spacing": "linspace"}, "epsilon")
    x0, noise = (torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    for t in scheduler.timesteps[:-1]:
        level = level_at_call(scheduler, t)
        x = stepped(scheduler, noise, t, level.alpha * x0 + level.std * noise, seed=0)
        after = level_after(scheduler, t)
        np.testing.assert_allclose(x, after.alpha * x0 + after.std * noise, atol=2e-3)
        assert sigma_after(scheduler, t) == after.sigma > 0


@pytest.mark.parametrize("name", sorted(ABSENT))
def test_what_cannot_be_known_has_a_reason(name: str) -> None:
    if name == "ScoreSdeVpScheduler":
        from diffusers.schedulers.deprecated import ScoreSdeVpScheduler as kind
    else:
        kind = getattr(diffusers, name)
    scheduler = kind(**ARGUMENTS.get(name, {}))
    if name.startswith("Helios"):
        scheduler.set_timesteps(4, stage_index=0)
    else:
        scheduler.set_timesteps(4)
    t = scheduler.timesteps[0]
    for ask in (level_at_call, level_after, sigma_after):
        with pytest.raises(CapabilityError, match=ABSENT[name]) as error:
            ask(scheduler, t)
        assert "\n" not in str(error.value)
    assert count_steps(scheduler, t) == len(scheduler.timesteps)


@pytest.mark.parametrize("name", ONLY_LEVELS)
def test_schedulers_of_stretches_have_levels_and_no_x0(name: str) -> None:
    scheduler = getattr(diffusers, name)()
    scheduler.set_timesteps(4)
    sigmas = [float(s) for s in scheduler.timesteps / 1000]
    x = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0))
    for i, t in enumerate(scheduler.timesteps):
        level = level_at_call(scheduler, t)
        assert level.sigma == pytest.approx(sigmas[i])
        assert level.alpha == pytest.approx(1 - sigmas[i])
        with pytest.raises(CapabilityError, match="stretch"):
            gain(scheduler, level)
        output = x.repeat(1, 1, 10) if name == "PiflowScheduler" else x
        x = scheduler.step(output, t, x, return_dict=False)[0]
        assert sigma_after(scheduler, t) == pytest.approx([*sigmas, 0.0][i + 1])


def test_cogvideox_dpm_steps_with_two_timesteps() -> None:
    scheduler = diffusers.CogVideoXDPMScheduler()
    scheduler.set_timesteps(STEPS)
    generator = torch.Generator().manual_seed(0)
    x0, x, old, back = *(torch.randn(1, 4, 48, 48, generator=generator) for _ in range(2)), None, None
    x = (level := level_at_call(scheduler, scheduler.timesteps[0])).alpha * x0 + level.std * x
    for t in scheduler.timesteps:
        level = level_at_call(scheduler, t)
        output = (x - level.alpha * x0) / level.std
        np.testing.assert_allclose(predict_x0(scheduler, x, output, level), x0, atol=2e-2)
        x, old = scheduler.step(output, old, t, back, x, generator=generator, return_dict=False)
        back = t
        after = level_after(scheduler, t)
        assert float((x - after.alpha * x0).std()) == pytest.approx(after.std, rel=0.06, abs=0.02)
    assert sigma_after(scheduler, t) == 0


def test_the_times_of_proteina_run_from_noise_to_data() -> None:
    scheduler = diffusers.RFD4ProteinaScheduler(**ARGUMENTS["RFD4ProteinaScheduler"], t_lim_ode=0.0)
    scheduler.set_timesteps(STEPS)
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(1, 40, 3, generator=generator) for _ in range(2))
    first = level_at_call(scheduler, scheduler.timesteps[0])
    x = first.alpha * x0 + first.std * noise
    for t in scheduler.timesteps:
        level = level_at_call(scheduler, t)
        assert level.sigma == pytest.approx(1 - float(t), abs=1e-6)
        np.testing.assert_allclose(predict_x0(scheduler, x, x0 - noise, level), x0, atol=1e-3)
        x = scheduler.step(x0 - noise, t, x, emit_mask=torch.ones(1, 40), return_dict=False)[0]
        after = level_after(scheduler, t)
        np.testing.assert_allclose(x, after.alpha * x0 + after.std * noise, atol=2e-3)
    assert sigma_after(scheduler, t) == 0


class _OnlySteps:
    """A user's own scheduler, with nothing that tells of levels."""

    def __init__(self) -> None:
        self.timesteps = torch.arange(3).flip(0)

    def step(self, model_output: Any, timestep: Any, sample: Any) -> tuple[Any]:
        return (sample,)


class _OwnDDIM(diffusers.DDIMScheduler):
    """A user's own scheduler that hands all its options on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


def test_an_own_class_without_levels_says_so() -> None:
    scheduler = _OnlySteps()
    t = scheduler.timesteps[0]
    for ask in (level_at_call, level_after, sigma_after):
        with pytest.raises(CapabilityError, match="_OnlySteps"):
            ask(scheduler, t)
    level = level_at_call(made("DDIMScheduler", {}, "epsilon"), 0)
    for read in (coefficients, gain):
        with pytest.raises(CapabilityError, match="_OnlySteps"):
            read(scheduler, level)
    with pytest.raises(CapabilityError, match="_OnlySteps"):
        predict_x0(scheduler, torch.zeros(1, 4, 2, 2), torch.zeros(1, 4, 2, 2), level)
    assert count_steps(scheduler, t) == 3


def test_an_own_class_that_derives_from_a_known_one_is_known() -> None:
    ours, theirs = (
        _OwnDDIM(prediction_type="v_prediction"),
        diffusers.DDIMScheduler(prediction_type="v_prediction"),
    )
    for s in (ours, theirs):
        s.set_timesteps(4)
    t = theirs.timesteps[1]
    assert level_at_call(ours, t) == level_at_call(theirs, t)
    assert coefficients(ours, level_at_call(ours, t)) == coefficients(theirs, level_at_call(theirs, t))


@pytest.mark.parametrize(
    ("source", "options", "target"),
    [
        ("DDIMScheduler", {"clip_sample": True}, "EulerDiscreteScheduler"),
        ("DDPMScheduler", {"thresholding": True}, "LMSDiscreteScheduler"),
        (
            "UniPCMultistepScheduler",
            {"use_flow_sigmas": True, "prediction_type": "epsilon"},
            "EulerDiscreteScheduler",
        ),
        ("DDIMScheduler", {"prediction_type": "epsilon"}, "FlowMatchEulerDiscreteScheduler"),
    ],
)
def test_options_of_another_class_change_nothing(source: str, options: dict[str, Any], target: str) -> None:
    """``from_config`` keeps the options that its class does not have, and no step of it looks at them."""
    leaked = getattr(diffusers, target).from_config(getattr(diffusers, source)(**options).config)
    clean = getattr(diffusers, target)(
        **{
            k: v
            for k, v in leaked.config.items()
            if (not k.startswith("_") and k not in options) or k == "shift"
        }
        if target == "FlowMatchEulerDiscreteScheduler"
        else {k: leaked.config[k] for k in getattr(diffusers, target)().config if not k.startswith("_")}
    )
    generator = torch.Generator().manual_seed(0)
    x, m = (3 * torch.randn(1, 4, 4, 4, generator=generator) for _ in range(2))
    results = []
    for scheduler in (leaked, clean):
        scheduler.set_timesteps(4)
        level = level_at_call(scheduler, scheduler.timesteps[0])
        results.append((level, predict_x0(scheduler, x, m, level)))
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])
    assert float(results[0][1].abs().max()) > 2


def test_several_timesteps_at_once_have_no_one_level() -> None:
    scheduler = made("DDIMScheduler", {}, "epsilon")
    assert level_at_call(scheduler, scheduler.timesteps[1].expand(3)) == level_at_call(
        scheduler, scheduler.timesteps[1]
    )
    with pytest.raises(CapabilityError, match="several timesteps"):
        level_at_call(scheduler, scheduler.timesteps[:2])
