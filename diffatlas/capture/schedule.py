"""The noise level at which a scheduler stands, read from the scheduler's own sigmas or alphas.

A state is x = alpha * x0 + std * noise. Three families of schedulers hold their levels in three ways, and
`sigma` is the one number that orders the levels of each, in the scheduler's own units:

- variance exploding (Euler, Euler ancestral, Heun, LMS, KDPM2, EDM): alpha = 1, std = sigma;
- variance preserving (DDIM, DDPM, PNDM, LCM, DPM-Solver and its kin): alpha^2 + std^2 = 1,
  sigma = std / alpha = sqrt((1 - abar) / abar), the same sigma as that of the family above
  (Karras et al. 2022, arXiv 2206.00364, section 2);
- flow matching: alpha = 1 - sigma, std = sigma, sigma from 1 to 0;
- TrigFlow (SCM, of Sana-Sprint): variance preserving with alpha = cos t and std = sin t for the timestep t, on
  latents that the pipeline multiplies by sigma_data (Lu and Song 2024, arXiv 2410.11081, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffatlas.errors import CapabilityError

# A schedule rescaled to zero terminal SNR has abar = 0 and thus an infinite sigma at its start. diffusers
# gives such a level abar = 2^-24 (sigma = 4096); so do we.
SMALLEST_ABAR = 2.0**-24


@dataclass(frozen=True)
class NoiseLevel:
    """A state of this level is x = alpha * x0 + std * noise; ``sigma`` names it in the scheduler's units."""

    alpha: float
    std: float
    sigma: float


def is_flow(scheduler: Any) -> bool:
    """Whether the scheduler's states are x = (1 - sigma) * x0 + sigma * noise."""
    config = scheduler.config
    if config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction":
        return True
    # Flow-match schedulers know one prediction only, so their configs name none; their sigmas are fractions.
    return "prediction_type" not in config and hasattr(scheduler, "sigmas") and bool(scheduler.sigmas[0] <= 1)


def is_trigflow(scheduler: Any) -> bool:
    """Whether the scheduler's timesteps are angles, x = cos(t) * x0 + sin(t) * noise, all times sigma_data."""
    return scheduler.config.get("prediction_type") == "trigflow"


def latent_scale(scheduler: Any) -> float:
    """Return what the clean latents are multiplied by in the scheduler's states: 1, but for TrigFlow."""
    return latent_scale_of(scheduler.config)


def latent_scale_of(config: Mapping[str, Any]) -> float:
    """Return `latent_scale` from a scheduler's config alone, such as that of a run's provenance."""
    return float(config["sigma_data"]) if config.get("prediction_type") == "trigflow" else 1.0


def level_at_call(scheduler: Any, timestep: Any) -> NoiseLevel:
    """Return the level of the sample that is about to be given to ``scheduler.step`` with ``timestep``.

    Raises `CapabilityError` for a scheduler that holds neither sigmas nor alphas_cumprod.
    """
    if is_trigflow(scheduler):
        return _level_of_angle(float(timestep))
    if _has_sigmas(scheduler):
        return _level_of_sigma(scheduler, _sigma_at(scheduler, _index_at_call(scheduler, timestep)))
    return _level_of_abar(_abar_at(scheduler, int(timestep)))


def sigma_after(scheduler: Any, timestep: Any, is_last: bool) -> float:
    """Return sigma of the state that ``scheduler.step(..., timestep, ...)`` has just returned.

    The last state is what the pipeline takes for clean latents, so its sigma is 0, also where the schedule
    stops a little short of it (DDIM with set_alpha_to_one=False, final_sigmas_type="sigma_min").
    """
    return 0.0 if is_last else level_after(scheduler, timestep).sigma


def level_after(scheduler: Any, timestep: Any) -> NoiseLevel:
    """Return the level of the state that ``scheduler.step(..., timestep, ...)`` has just returned.

    Raises `CapabilityError` for a scheduler that holds neither sigmas nor alphas_cumprod.
    """
    if is_trigflow(scheduler):
        return _level_of_angle(float(scheduler.timesteps[scheduler.step_index]))
    if _has_sigmas(scheduler):
        return _level_of_sigma(scheduler, _sigma_at(scheduler, scheduler.step_index))
    previous = _previous_timestep(scheduler, int(timestep))
    if previous >= 0:
        return _level_of_abar(_abar_at(scheduler, previous))
    final = getattr(scheduler, "final_alpha_cumprod", 1.0)
    return _level_of_abar(float(final))


def count_steps(scheduler: Any) -> int:
    """Return how many ``scheduler.step`` calls a run makes, once its timesteps are set."""
    steps = len(scheduler.timesteps) - (getattr(scheduler, "begin_index", None) or 0)
    return steps - is_trigflow(scheduler)  # its list ends with the angle 0, at which nothing is left to do


def _has_sigmas(scheduler: Any) -> bool:
    if hasattr(scheduler, "sigmas") and hasattr(scheduler, "step_index"):
        return True
    if hasattr(scheduler, "alphas_cumprod"):
        return False
    raise CapabilityError(
        f"{type(scheduler).__name__} holds neither sigmas nor alphas_cumprod, so its noise levels are not"
        " known: choose another scheduler.",
        field="scheduler",
    )


def _index_at_call(scheduler: Any, timestep: Any) -> int:
    # The order in which the schedulers themselves look for it at their first step.
    if scheduler.step_index is not None:
        return scheduler.step_index
    if scheduler.begin_index is not None:
        return scheduler.begin_index
    return scheduler.index_for_timestep(timestep)


def _sigma_at(scheduler: Any, index: int) -> float:
    """Sigma of the state that the scheduler holds when its step index is ``index``."""
    sigmas = scheduler.sigmas
    if not getattr(scheduler, "state_in_first_order", True):
        # Between its two stages a second-order scheduler may stand between two sigmas.
        if getattr(scheduler, "mid_point_sigma", None) is not None:  # DPMSolverSDE
            return float(scheduler.mid_point_sigma)
        if hasattr(scheduler, "sigmas_interpol"):  # KDPM2, and its ancestral kin, which counts from one less
            sigmas = scheduler.sigmas_interpol
            index -= hasattr(scheduler, "sigmas_up")
    return float(sigmas[min(index, len(sigmas) - 1)])


def _level_of_sigma(scheduler: Any, sigma: float) -> NoiseLevel:
    if is_flow(scheduler):
        return NoiseLevel(alpha=1 - sigma, std=sigma, sigma=sigma)
    if hasattr(scheduler, "_sigma_to_alpha_sigma_t") and not hasattr(scheduler, "precondition_outputs"):
        # DPM-Solver and its kin: sigmas of the variance-exploding kind, states of the preserving kind.
        alpha = 1 / math.hypot(1, sigma)
        return NoiseLevel(alpha=alpha, std=sigma * alpha, sigma=sigma)
    return NoiseLevel(alpha=1.0, std=sigma, sigma=sigma)


def _level_of_angle(t: float) -> NoiseLevel:
    abar = math.cos(min(t, math.pi / 2)) ** 2
    return _level_of_abar(abar)


def _abar_at(scheduler: Any, timestep: int) -> float:
    return float(scheduler.alphas_cumprod[timestep])


def _level_of_abar(abar: float) -> NoiseLevel:
    sigma = math.sqrt((1 - abar) / max(abar, SMALLEST_ABAR))
    return NoiseLevel(alpha=math.sqrt(abar), std=math.sqrt(1 - abar), sigma=sigma)


def _previous_timestep(scheduler: Any, timestep: int) -> int:
    """Timestep of the state just returned, by the scheduler's own rule; negative at the end."""
    stride = scheduler.config.num_train_timesteps // scheduler.num_inference_steps
    if hasattr(scheduler, "plms_timesteps"):  # PNDM; its counter has already moved on.
        counter = scheduler.counter - 1
        in_runge_kutta = counter < len(scheduler.prk_timesteps) and not scheduler.config.skip_prk_steps
        if in_runge_kutta:
            return timestep - (0 if counter % 2 else stride // 2)
        return timestep if counter == 1 else timestep - stride
    if hasattr(scheduler, "previous_timestep"):  # DDPM, LCM, TCD: the next one in the list.
        return int(scheduler.previous_timestep(timestep))
    return timestep - stride  # DDIM
