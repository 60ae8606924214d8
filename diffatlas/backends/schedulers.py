"""The schedulers that can be asked for by name, and the models that each fits.

A scheduler fits a model that predicts what it expects. Two kinds do not mix: diffusion models (epsilon,
v-prediction or sample; a table of betas) and flow-matching models (velocity; sigmas from 1 to 0). A model
trained with zero terminal SNR (Lin et al. 2023, arXiv 2305.08891) also needs a scheduler that can rescale its
betas, or it starts from a noise level that the model has never seen.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffatlas.backends.parts import class_of_diffusers
from diffatlas.errors import SchedulerMismatch

DIFFUSION = frozenset({"epsilon", "v_prediction"})
DIFFUSION_OR_SAMPLE = DIFFUSION | {"sample"}
FLOW = frozenset({"flow_prediction"})


@dataclass(frozen=True)
class SchedulerChoice:
    """A name, the diffusers class behind it, and what it fits."""

    cls: str
    predictions: frozenset[str]
    #: Whether the class has ``rescale_betas_zero_snr``.
    zero_snr: bool = False
    #: Options beyond those carried over from the model's own scheduler.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Whether it can shift the sigmas with the image's size, as FLUX does.
    dynamic_shift: bool = False


_FLOW_SIGMAS = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
_SDE = {"algorithm_type": "sde-dpmsolver++"}

SCHEDULERS: dict[str, SchedulerChoice] = {
    "ddim": SchedulerChoice("DDIMScheduler", DIFFUSION_OR_SAMPLE, zero_snr=True),
    "ddpm": SchedulerChoice("DDPMScheduler", DIFFUSION_OR_SAMPLE, zero_snr=True),
    "pndm": SchedulerChoice("PNDMScheduler", DIFFUSION, options={"skip_prk_steps": True}),
    "lms": SchedulerChoice("LMSDiscreteScheduler", DIFFUSION),
    "euler": SchedulerChoice("EulerDiscreteScheduler", DIFFUSION_OR_SAMPLE, zero_snr=True),
    "euler_a": SchedulerChoice("EulerAncestralDiscreteScheduler", DIFFUSION, zero_snr=True),
    "heun": SchedulerChoice("HeunDiscreteScheduler", DIFFUSION),
    "dpm++_2m": SchedulerChoice("DPMSolverMultistepScheduler", DIFFUSION_OR_SAMPLE, zero_snr=True),
    "dpm++_2m_sde": SchedulerChoice(
        "DPMSolverMultistepScheduler", DIFFUSION_OR_SAMPLE, zero_snr=True, options=_SDE
    ),
    "unipc": SchedulerChoice("UniPCMultistepScheduler", DIFFUSION_OR_SAMPLE, zero_snr=True),
    "lcm": SchedulerChoice("LCMScheduler", DIFFUSION_OR_SAMPLE, zero_snr=True),
    "flow_euler": SchedulerChoice("FlowMatchEulerDiscreteScheduler", FLOW, dynamic_shift=True),
    "flow_heun": SchedulerChoice("FlowMatchHeunDiscreteScheduler", FLOW),
    "flow_dpm++_2m": SchedulerChoice(
        "DPMSolverMultistepScheduler", FLOW, options=_FLOW_SIGMAS, dynamic_shift=True
    ),
    "flow_unipc": SchedulerChoice("UniPCMultistepScheduler", FLOW, options=_FLOW_SIGMAS, dynamic_shift=True),
}

#: What the model was trained with, and so must not change with the scheduler.
_CARRIED = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
    "timestep_spacing",
    "steps_offset",
    "set_alpha_to_one",
    "use_dynamic_shifting",
    "time_shift_type",
    "base_shift",
    "max_shift",
    "base_image_seq_len",
    "max_image_seq_len",
    "shift_terminal",
)


def prediction_type(config: Mapping[str, Any]) -> str | None:
    """Return what the model behind a scheduler config predicts; None where the class is not a known one."""
    name = config.get("_class_name")
    if name in ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"):
        return "flow_prediction"
    if name in {choice.cls for choice in SCHEDULERS.values()} or name in _OTHER_DIFFUSION:
        return str(config.get("prediction_type", "epsilon"))
    return None


#: Classes of the same kind that no name above stands for; a model may have one of them as its own.
_OTHER_DIFFUSION = frozenset(
    {
        "DPMSolverSinglestepScheduler",
        "KDPM2DiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "DEISMultistepScheduler",
        "DPMSolverSDEScheduler",
        "TCDScheduler",
    }
)


def own_name(config: Mapping[str, Any]) -> str:
    """Return the name in `SCHEDULERS` of a model's own scheduler, or its class name where it has none."""
    predicts = prediction_type(config)
    algorithm = config.get("algorithm_type", "dpmsolver++")
    for name, choice in SCHEDULERS.items():
        if choice.cls == config.get("_class_name") and predicts in choice.predictions:
            if choice.cls == "DPMSolverMultistepScheduler" and (algorithm == _SDE["algorithm_type"]) != (
                choice.options is _SDE
            ):
                continue
            return name
    return str(config.get("_class_name", ""))


def fitting(config: Mapping[str, Any]) -> list[str]:
    """Return the names that fit a model, its own scheduler first, from that scheduler's config."""
    own, predicts = own_name(config), prediction_type(config)
    zero_snr = bool(config.get("rescale_betas_zero_snr"))
    dynamic = bool(config.get("use_dynamic_shifting"))
    others = [
        name
        for name, choice in SCHEDULERS.items()
        if predicts in choice.predictions
        and (choice.zero_snr or not zero_snr)
        and (choice.dynamic_shift or not dynamic)
    ]
    return [own, *(name for name in others if name != own)]


def resolve(config: Mapping[str, Any], name: str | None) -> str:
    """Return the scheduler's name to run with; None, and the class of the model's own, mean that one.

    Raises `SchedulerMismatch` listing those that fit.
    """
    names = fitting(config)
    if name is None or name == config.get("_class_name"):
        return names[0]
    if name in names:
        return name
    what = prediction_type(config) or config.get("_class_name")
    zero_snr = " with zero terminal SNR" if config.get("rescale_betas_zero_snr") else ""
    problem = (
        f"The scheduler {name!r} does not fit this model ({what}{zero_snr})"
        if name in SCHEDULERS
        else f"There is no scheduler {name!r}"
    )
    raise SchedulerMismatch(f"{problem}: those that fit are {', '.join(names)}.", field="scheduler")


def build(own: Any, name: str) -> Any:
    """Return a fresh scheduler for one run; ``own`` (the pipeline's) is read, never changed."""
    import inspect

    config = {**own.config, "_class_name": type(own).__name__}
    if name == own_name(config):
        # With what somebody has changed of it by hand.
        return copy.deepcopy(own)
    choice = SCHEDULERS[name]
    cls = class_of_diffusers(choice.cls)
    accepted = inspect.signature(cls.__init__).parameters
    values = {key: config[key] for key in _CARRIED if key in config}
    # Latents are not bounded by 1, and some classes clip unless told otherwise.
    values["clip_sample"] = config.get("clip_sample", False)
    shift = config.get("shift", config.get("flow_shift", 1.0))
    values |= {"shift": shift, "flow_shift": shift, **choice.options}
    return cls(**{key: value for key, value in values.items() if key in accepted})
