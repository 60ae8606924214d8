"""The noise level at which a scheduler stands, read from the scheduler's own sigmas or alphas.

A state is x = alpha * x0 + std * noise. The families of schedulers hold their levels in different ways, and
`sigma` is the one number that orders the levels of each, in the scheduler's own units:

- variance exploding (Euler, Euler ancestral, Heun, LMS, KDPM2, EDM, consistency models): alpha = 1, std = sigma;
- variance preserving (DDIM, DDPM, PNDM, IPNDM, LCM, DPM-Solver and its kin): alpha^2 + std^2 = 1,
  sigma = std / alpha = sqrt((1 - abar) / abar), the same sigma as that of the family above
  (Karras et al. 2022, arXiv 2206.00364, section 2);
- flow matching: alpha = 1 - sigma, std = sigma, sigma from 1 to 0;
- TrigFlow (SCM, of Sana-Sprint): variance preserving with alpha = cos t and std = sin t for the timestep t, on
  latents that the pipeline multiplies by sigma_data (Lu and Song 2024, arXiv 2410.11081, section 3).

Nothing here changes the scheduler, moves it on or draws random numbers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from diffatlas.capture.scheduler_kinds import (
    TOKENS,
    WITH_END_IN_LIST,
    is_a,
    is_flow,
    is_mirrored,
    is_trigflow,
    option,
)
from diffatlas.capture.tables import number, numbers
from diffatlas.errors import CapabilityError

# A schedule rescaled to zero terminal SNR has abar = 0 and thus an infinite sigma at its start. diffusers
# gives such a level abar = 2^-24 (sigma = 4096); so do we.
SMALLEST_ABAR = 2.0**-24

_T = TypeVar("_T")


@dataclass(frozen=True)
class NoiseLevel:
    """A state of this level is x = alpha * x0 + std * noise; ``sigma`` names it in the scheduler's units."""

    alpha: float
    std: float
    sigma: float


def only_capability_errors(what: str) -> Callable[[Callable[..., _T]], Callable[..., _T]]:
    """Make of every other error of a function of a scheduler a `CapabilityError` that says ``what`` is unknown."""

    def wrap(function: Callable[..., _T]) -> Callable[..., _T]:
        @functools.wraps(function)
        def guarded(scheduler: Any, *args: Any, **kwargs: Any) -> _T:
            try:
                return function(scheduler, *args, **kwargs)
            except CapabilityError:
                raise
            except Exception as error:  # whatever a class that nobody here has seen may do
                raise unknown(
                    scheduler, f"does not tell {what} ({type(error).__name__}: {_line(error)})"
                ) from error

        return guarded

    return wrap


def unknown(scheduler: Any, why: str) -> CapabilityError:
    """Return the error for a scheduler that cannot be read, ``why`` being the rest of its sentence."""
    return CapabilityError(
        f"{type(scheduler).__name__} {why}: choose another scheduler where this is needed.", field="scheduler"
    )


def latent_scale(scheduler: Any) -> float:
    """Return what the clean latents are multiplied by in the scheduler's states: 1, but for TrigFlow."""
    return latent_scale_of(getattr(scheduler, "config", {}))


def latent_scale_of(config: Mapping[str, Any]) -> float:
    """Return `latent_scale` from a scheduler's config alone, such as that of a run's provenance."""
    return float(config["sigma_data"]) if config.get("prediction_type") == "trigflow" else 1.0


@only_capability_errors("its noise levels")
def level_at_call(scheduler: Any, timestep: Any) -> NoiseLevel:
    """Return the level of the sample that is about to be given to ``scheduler.step`` with ``timestep``.

    timestep: a number, or a tensor of one number or of equal ones.

    Raises `CapabilityError` where the scheduler does not tell its levels.
    """
    t = _number(scheduler, timestep)
    if _by_index(scheduler):
        return _level_of_index(scheduler, _index_at_call(scheduler, t))
    if is_a(scheduler, "DDPMWuerstchenScheduler"):
        return _level_of_abar(_continuous_abar(scheduler, t))
    if hasattr(scheduler, "initial_alpha_cumprod"):  # DDIMInverse comes from the timestep one stride below
        stride = scheduler.config.num_train_timesteps // scheduler.num_inference_steps
        below = min(_whole(scheduler, t) - stride, scheduler.config.num_train_timesteps - 1)
        return _level_of_abar(
            _abar_at(scheduler, below) if below >= 0 else float(numbers(scheduler.initial_alpha_cumprod))
        )
    return _level_of_abar(_abar_at(scheduler, _whole(scheduler, t)))


@only_capability_errors("its noise levels")
def level_after(scheduler: Any, timestep: Any) -> NoiseLevel:
    """Return the level of the state that ``scheduler.step(..., timestep, ...)`` has just returned.

    timestep: as for `level_at_call`.

    Raises `CapabilityError` where the scheduler does not tell its levels.
    """
    t = _number(scheduler, timestep)
    if _by_index(scheduler):
        if is_a(scheduler, "HeliosDMDScheduler"):  # it keeps no count of its steps
            return _level_of_index(scheduler, _nearest(scheduler, t) + 1)
        return _level_of_index(scheduler, scheduler.step_index)
    if is_a(scheduler, "DDPMWuerstchenScheduler"):
        following = float(numbers(scheduler.timesteps)[_nearest(scheduler, t) + 1])
        return _level_of_abar(_continuous_abar(scheduler, following))
    if hasattr(scheduler, "initial_alpha_cumprod"):
        return _level_of_abar(_abar_at(scheduler, _whole(scheduler, t)))
    previous = _previous_timestep(scheduler, _whole(scheduler, t))
    if previous is None:
        return _level_of_abar(1.0)
    if previous >= 0:
        return _level_of_abar(_abar_at(scheduler, previous))
    return _level_of_abar(float(numbers(getattr(scheduler, "final_alpha_cumprod", 1.0))))


@only_capability_errors("its noise levels")
def sigma_after(scheduler: Any, timestep: Any) -> float:
    """Return sigma of the state that ``scheduler.step(..., timestep, ...)`` has just returned.

    The state with which the schedule ends is what the pipeline takes for clean latents, so its sigma is 0, also
    where the schedule stops a little short of it (DDIM with set_alpha_to_one=False,
    final_sigmas_type="sigma_min"). A call that stops before the schedule does ends at the level that it has
    reached, and one of an inverse scheduler, whose levels rise, at that of noise.

    Raises `CapabilityError` as `level_after` does.
    """
    level = level_after(scheduler, timestep)
    ended = _has_ended(scheduler, _number(scheduler, timestep)) and not _rises(scheduler)
    return 0.0 if ended else level.sigma


@only_capability_errors("how many steps it takes")
def count_steps(scheduler: Any, timestep: Any = None) -> int:
    """Return how many ``scheduler.step`` calls are left, once the timesteps are set.

    timestep: that of the first call; without it, the calls of a run from the scheduler's begin_index, or its start.

    Raises `CapabilityError` for a scheduler without timesteps, or one that has not this timestep.
    """
    steps = len(scheduler.timesteps) - is_a(scheduler, *WITH_END_IN_LIST)
    if timestep is None:
        return steps - (getattr(scheduler, "begin_index", None) or 0)
    return steps - _index_at_call(scheduler, _number(scheduler, timestep))


def _by_index(scheduler: Any) -> bool:
    """Whether the levels are found by the index of the step; else by the timestep, from alphas_cumprod."""
    if is_a(scheduler, *TOKENS):
        raise unknown(scheduler, "changes tokens, which have no noise level")
    if not hasattr(scheduler, "step"):
        raise unknown(scheduler, "has no `step`, so that nothing tells at which level its states are")
    if is_a(scheduler, "KarrasVeScheduler"):
        raise unknown(
            scheduler, "is given its noise levels step by step by the pipeline, and holds none itself"
        )
    if is_a(scheduler, "HeliosScheduler", "HeliosDMDScheduler") and option(scheduler, "stages", 1) != 1:
        raise unknown(scheduler, "works in stages whose sigmas are no noise levels of the whole state")
    if is_a(scheduler, "RFD4ProteinaScheduler") and option(scheduler, "tsr_k") != 1:
        raise unknown(
            scheduler, "scales its noise down on the way, so that its times do not tell its noise levels"
        )
    if is_trigflow(scheduler) or is_a(scheduler, "IPNDMScheduler", "RFD4ProteinaScheduler"):
        return True
    if hasattr(scheduler, "sigmas") and hasattr(scheduler, "step_index"):
        if scheduler.sigmas is None or len(scheduler.sigmas) == 0:
            raise unknown(scheduler, "has no sigmas before its timesteps are set")
        return True
    if hasattr(scheduler, "alphas_cumprod") or is_a(
        scheduler, "DDPMWuerstchenScheduler", "ConsistencyDecoderScheduler"
    ):
        return False
    raise unknown(scheduler, "holds neither sigmas nor alphas_cumprod, so its noise levels are not known")


def _number(scheduler: Any, timestep: Any) -> float:
    """Return the timestep as a number, as exact as it is given."""
    if hasattr(timestep, "numel") and timestep.numel() != 1:
        if not bool((timestep == timestep.flatten()[0]).all()):
            raise unknown(
                scheduler, "is given several timesteps at once, so that its states have no one noise level"
            )
        timestep = timestep.flatten()[0]
    t = number(timestep, getattr(scheduler, "timesteps", None))
    if not math.isfinite(t):
        raise unknown(scheduler, f"is given {t} for a timestep, which has no noise level")
    return t


def _whole(scheduler: Any, t: float) -> int:
    """Return a timestep that has a place in a table of levels."""
    if t != int(t):
        raise unknown(scheduler, f"has no noise level at timestep {t:g}, between two of those it knows")
    return int(t)


def _index_at_call(scheduler: Any, t: float) -> int:
    # The order in which the schedulers themselves look for it at their first step.
    if is_a(scheduler, "HeliosDMDScheduler", "DDPMWuerstchenScheduler"):
        return _nearest(scheduler, t)
    for known in ("step_index", "begin_index"):
        index = getattr(scheduler, known, None)
        if index is not None:
            return index
    if is_a(scheduler, "HeliosScheduler"):
        return 0
    found = np.flatnonzero(numbers(scheduler.timesteps) == t)
    if len(found) == 0:
        if hasattr(scheduler, "_sigma_to_alpha_sigma_t"):  # DPM-Solver and its kin take the last then
            return len(scheduler.timesteps) - 1
        raise unknown(scheduler, f"has no timestep {t:g} in its list")
    # Where a list names a timestep twice, a run that starts there starts at the second stage's place.
    return int(found[1 if len(found) > 1 and hasattr(scheduler, "step_index") else 0])


def _nearest(scheduler: Any, t: float) -> int:
    return int(np.abs(numbers(scheduler.timesteps) - t).argmin())


def _level_of_index(scheduler: Any, index: int) -> NoiseLevel:
    """Level of the state that the scheduler holds when its step index is ``index``."""
    if is_trigflow(scheduler):
        return _level_of_angle(float(numbers(scheduler.timesteps)[index]))
    if is_a(scheduler, "IPNDMScheduler"):
        alpha, std = (float(numbers(table)[index]) for table in (scheduler.alphas, scheduler.betas))
        return NoiseLevel(alpha=alpha, std=std, sigma=std / max(alpha, math.sqrt(SMALLEST_ABAR)))
    if is_a(scheduler, "RFD4ProteinaScheduler"):  # its times run from noise to data
        return _level_of_sigma(scheduler, 1 - float(numbers(scheduler._times)[index]))
    return _level_of_sigma(scheduler, _sigma_at(scheduler, index))


def _sigma_at(scheduler: Any, index: int) -> float:
    sigmas = scheduler.sigmas
    if not getattr(scheduler, "state_in_first_order", True):
        # Between its two stages a second-order scheduler may stand between two sigmas.
        if getattr(scheduler, "mid_point_sigma", None) is not None:  # DPMSolverSDE
            return number(scheduler.mid_point_sigma)
        if hasattr(scheduler, "sigmas_interpol"):  # KDPM2, and its ancestral kin, which counts from one less
            sigmas = scheduler.sigmas_interpol
            index -= hasattr(scheduler, "sigmas_up")
    sigma = float(numbers(sigmas)[min(index, len(sigmas) - 1)])
    return 1 - sigma if is_mirrored(scheduler) else sigma


def _level_of_sigma(scheduler: Any, sigma: float) -> NoiseLevel:
    if not math.isfinite(sigma):
        raise unknown(scheduler, "has no finite noise level here")
    if is_flow(scheduler):
        return NoiseLevel(alpha=1 - sigma, std=sigma, sigma=sigma)
    if hasattr(scheduler, "_sigma_to_alpha_sigma_t") and not hasattr(scheduler, "precondition_outputs"):
        # DPM-Solver and its kin: sigmas of the variance-exploding kind, states of the preserving kind.
        alpha = 1 / math.hypot(1, sigma)
        return NoiseLevel(alpha=alpha, std=sigma * alpha, sigma=sigma)
    return NoiseLevel(alpha=1.0, std=sigma, sigma=sigma)


def _level_of_angle(t: float) -> NoiseLevel:
    return _level_of_abar(math.cos(min(t, math.pi / 2)) ** 2)


def _continuous_abar(scheduler: Any, t: float) -> float:
    import torch

    return float(scheduler._alpha_cumprod(torch.tensor([t]), torch.device("cpu")))


def _abar_at(scheduler: Any, timestep: int) -> float:
    if timestep < 0:  # which a list would take for one from its end
        raise unknown(scheduler, f"has no noise level at timestep {timestep}")
    if is_a(scheduler, "ConsistencyDecoderScheduler"):
        return float(numbers(scheduler.sqrt_alphas_cumprod)[timestep]) ** 2
    return float(numbers(scheduler.alphas_cumprod)[timestep])


def _level_of_abar(abar: float) -> NoiseLevel:
    sigma = math.sqrt((1 - abar) / max(abar, SMALLEST_ABAR))
    return NoiseLevel(alpha=math.sqrt(abar), std=math.sqrt(1 - abar), sigma=sigma)


def _previous_timestep(scheduler: Any, timestep: int) -> int | None:
    """Timestep of the state just returned, by the scheduler's own rule; negative at the end, None if clean."""
    timesteps = numbers(scheduler.timesteps)
    if is_a(scheduler, "LCMScheduler", "TCDScheduler"):
        index = scheduler.step_index
        if index < len(timesteps) and index != scheduler.num_inference_steps:
            return int(timesteps[index])
        if is_a(scheduler, "TCDScheduler"):
            return 0
        # LCM leaves out the noise at the step of this number only, else it gives that of the same timestep again.
        return None if index == scheduler.num_inference_steps else timestep
    # The pipelines of UnCLIP tell it the next one in the list.
    if is_a(scheduler, "UnCLIPScheduler", "ConsistencyDecoderScheduler"):
        found = np.flatnonzero(timesteps == timestep)
        index = int(found[0]) + 1 if len(found) else len(timesteps)
        return int(timesteps[index]) if index < len(timesteps) else -1
    if hasattr(
        scheduler, "previous_timestep"
    ):  # DDPM: the next one in the list, also in one of the user's own
        return _previous_in_list(scheduler, timestep, timesteps)
    stride = scheduler.config.num_train_timesteps // scheduler.num_inference_steps
    if hasattr(scheduler, "plms_timesteps"):  # PNDM; its counter has already moved on.
        counter = scheduler.counter - 1
        if counter < len(scheduler.prk_timesteps) and not scheduler.config.skip_prk_steps:
            return timestep - (0 if counter % 2 else stride // 2)
        return timestep if counter == 1 else timestep - stride
    return timestep - stride  # DDIM, RePaint


def _previous_in_list(scheduler: Any, timestep: int, timesteps: np.ndarray) -> int:
    """What the scheduler's own ``previous_timestep`` returns, which looks for it on the device."""
    known = type(scheduler).previous_timestep.__module__.startswith("diffusers.")
    in_list = getattr(scheduler, "custom_timesteps", False) or scheduler.num_inference_steps
    found = np.flatnonzero(timesteps == timestep)
    if known and in_list and len(found):
        return int(timesteps[found[0] + 1]) if found[0] + 1 < len(timesteps) else -1
    return int(scheduler.previous_timestep(timestep))


def _has_ended(scheduler: Any, t: float) -> bool:
    """Whether the step just taken with timestep ``t`` was the last of the schedule."""
    timesteps = numbers(scheduler.timesteps)
    steps = len(timesteps) - is_a(scheduler, *WITH_END_IN_LIST)
    if is_a(scheduler, "LCMScheduler"):  # it says itself where it ends, by its level
        return False
    if is_a(scheduler, "HeliosDMDScheduler", "DDPMWuerstchenScheduler"):
        return _nearest(scheduler, t) + 1 >= steps
    if getattr(scheduler, "step_index", None) is not None:
        return scheduler.step_index >= steps
    if hasattr(scheduler, "plms_timesteps") and int((timesteps == t).sum()) > 1:
        return scheduler.counter >= steps  # PNDM may take its last timestep twice
    return t == float(timesteps[-1])


def _rises(scheduler: Any) -> bool:
    """Whether the schedule goes from data to noise."""
    if hasattr(scheduler, "initial_alpha_cumprod") or is_a(scheduler, "DPMSolverMultistepInverseScheduler"):
        return True
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is None or is_mirrored(scheduler) or not _by_index(scheduler):
        return False
    sigmas = numbers(sigmas)
    return bool(sigmas[-1] > sigmas[0])


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:120]
