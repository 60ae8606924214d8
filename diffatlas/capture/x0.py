"""The model's estimate of the clean latents, x0, from a noisy state and the model's output there.

With x = alpha * x0 + std * noise (`NoiseLevel`), one equation per prediction type. Each is affine in the
model's output, x0 = c_x * x + c_out * m, so what x0 would be for another prediction at the same state follows
from the one that is known: `gain`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from diffatlas.capture.schedule import SMALLEST_ABAR, NoiseLevel, only_capability_errors, unknown
from diffatlas.capture.scheduler_kinds import TO_DATA, TOKENS, is_a, is_flow, is_mirrored, option
from diffatlas.errors import CapabilityError

if TYPE_CHECKING:
    import torch

#: They have the options of DDIM for clipping x0, and do not look at them.
_NEVER_CLIP = ("CogVideoXDDIMScheduler", "CogVideoXDPMScheduler", "TCDScheduler")


@only_capability_errors("what its model predicts")
def coefficients(scheduler: Any, level: NoiseLevel) -> tuple[float, float]:
    """Return (c_x, c_out) of x0 = c_x * x + c_out * m, for a state x at noise ``level``.

    m is what the scheduler receives, of the prediction type that its config names.

    Raises `CapabilityError` for a prediction type that has no equation here.
    """
    kind = _prediction(scheduler)
    if is_a(scheduler, "CMStochasticIterativeScheduler"):
        return _consistency(scheduler, level.sigma)
    if is_a(
        scheduler, "ConsistencyDecoderScheduler"
    ):  # EDM, of states that are scaled to alpha^2 + std^2 = 1
        c_skip, c_out = _edm(level.sigma, option(scheduler, "sigma_data"), "epsilon")
        return c_skip / level.alpha, c_out
    if hasattr(scheduler, "precondition_outputs") and kind in ("epsilon", "v_prediction"):
        return _edm(level.sigma, option(scheduler, "sigma_data"), kind)
    if hasattr(scheduler, "precondition_outputs"):
        raise _undefined(scheduler, kind)
    if kind == "epsilon":
        # Ho et al. 2020 (arXiv 2006.11239), eq. 15: x0 = (x - std * eps) / alpha
        alpha = max(level.alpha, math.sqrt(SMALLEST_ABAR))
        return 1 / alpha, -level.std / alpha
    if kind in ("v_prediction", "trigflow"):
        # Salimans and Ho 2022 (arXiv 2202.00512), section 4: x0 = alpha * x - std * v, for states with
        # alpha^2 + std^2 = 1; other states are scaled to that first. TrigFlow is the same with angles.
        # DPM-Solver and its kin leave them as they are.
        plain = hasattr(scheduler, "_sigma_to_alpha_sigma_t")
        scale = 1.0 if plain else 1 / math.hypot(level.alpha, level.std)
        return level.alpha * scale**2, -level.std * scale
    if kind in ("sample", "original_sample"):
        return 0.0, 1.0
    if kind == "flow_prediction":
        # Lipman et al. 2023 (arXiv 2210.02747), Liu et al. 2023 (arXiv 2209.03003): v = noise - x0 and
        # x = (1 - sigma) * x0 + sigma * noise, so x0 = x - sigma * v
        to_data = is_a(scheduler, *TO_DATA) or is_mirrored(scheduler)
        return 1.0, level.sigma if to_data else -level.sigma
    raise _undefined(scheduler, kind)


def gain(scheduler: Any, level: NoiseLevel) -> float:
    """Return dx0 / dm: x0 of a prediction n at the same state is x0(m) + gain * (n - m).

    Exact where the scheduler neither clips nor thresholds x0. Raises as `coefficients` does.
    """
    return coefficients(scheduler, level)[1]


def predict_x0(
    scheduler: Any, sample: torch.Tensor, model_output: torch.Tensor, level: NoiseLevel
) -> torch.Tensor:
    """Return x0 as the scheduler would estimate it, in float32, of the shape of ``sample``.

    sample: the state before the step, (B, ...), at noise ``level``.
    model_output: what the scheduler receives, guidance applied; a learned variance (twice the channels) is
        left out.

    Where the scheduler clips or thresholds its own estimate, so is this one. Raises as `coefficients` does, and
    for a model's output that has not the shape of the state.
    """
    factors = coefficients(scheduler, level)
    return x0_from(scheduler, sample, without_variance(scheduler, sample, model_output), factors)


def without_variance(scheduler: Any, sample: torch.Tensor, model_output: torch.Tensor) -> torch.Tensor:
    """Return a prediction of the shape of the state ``sample``: without the variance that some models learn.

    Raises `CapabilityError` for one of another shape.
    """
    if model_output.shape[1] == 2 * sample.shape[1]:
        model_output = model_output[:, : sample.shape[1]]
    if model_output.shape != sample.shape:
        shapes = f"{tuple(model_output.shape)} for a state of shape {tuple(sample.shape)}"
        raise unknown(scheduler, f"is given a prediction of shape {shapes}, from which x0 does not follow")
    return model_output


@only_capability_errors("x0")
def x0_from(
    scheduler: Any, sample: torch.Tensor, model_output: torch.Tensor, factors: tuple[float, float]
) -> torch.Tensor:
    """Return `predict_x0` by the `coefficients` that held at the step; the scheduler may have gone on since.

    model_output: of the shape of ``sample`` (`without_variance`).
    """
    c_x, c_out = factors
    # Half precision overflows here: sigma reaches 4096 where the schedule starts at zero terminal SNR.
    x0 = c_x * sample.float() + c_out * model_output.float()
    if is_a(scheduler, *_NEVER_CLIP):
        return x0
    # UniPC that works on the noise has no x0 to threshold.
    if option(scheduler, "thresholding") and option(scheduler, "predict_x0", True):
        return scheduler._threshold_sample(x0)
    if option(scheduler, "clip_sample") or option(scheduler, "clip_denoised"):
        limit = option(scheduler, "clip_sample_range", 1.0)
        return x0.clamp(-limit, limit)
    return x0


def _prediction(scheduler: Any) -> str:
    """What the model predicts, by the scheduler's own rule."""
    if is_a(scheduler, *TOKENS):
        raise unknown(scheduler, "changes tokens, of which there is no x0")
    if is_a(scheduler, "PiflowScheduler"):
        raise unknown(scheduler, "is given a policy for a stretch of the path, from which no one x0 follows")
    if is_a(scheduler, "FlowMapEulerDiscreteScheduler"):
        raise unknown(
            scheduler, "is given the mean velocity of a stretch of the path, from which x0 does not follow"
        )
    named = option(scheduler, "prediction_type")
    if named is not None:
        return named
    if is_a(scheduler, "IPNDMScheduler"):
        return "v_prediction"
    if is_a(scheduler, "RePaintScheduler", "DDPMWuerstchenScheduler"):
        return "epsilon"
    if is_a(scheduler, "CMStochasticIterativeScheduler", "ConsistencyDecoderScheduler"):
        return "consistency"
    if is_flow(scheduler):
        return "flow_prediction"
    raise unknown(scheduler, "does not tell what its model predicts, so x0 is not known")


def _undefined(scheduler: Any, kind: str) -> CapabilityError:
    return CapabilityError(
        f"{type(scheduler).__name__} predicts {kind!r}, for which x0 is not defined here: capture with"
        " x0=False and previews='off', or choose another scheduler.",
        field="scheduler",
    )


def _edm(sigma: float, sigma_data: float, kind: str) -> tuple[float, float]:
    # Karras et al. 2022 (arXiv 2206.00364), eq. 7 and table 1: x0 = c_skip * x + c_out * F
    total = sigma**2 + sigma_data**2
    c_skip = sigma_data**2 / total
    c_out = sigma * sigma_data / math.sqrt(total)
    return c_skip, c_out if kind == "epsilon" else -c_out


def _consistency(scheduler: Any, sigma: float) -> tuple[float, float]:
    # Song et al. 2023 (arXiv 2303.01469), appendix C: the identity at sigma_min
    data, above = option(scheduler, "sigma_data"), sigma - option(scheduler, "sigma_min")
    return data**2 / (above**2 + data**2), above * data / math.hypot(sigma, data)
