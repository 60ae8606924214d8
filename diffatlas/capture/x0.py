"""The model's estimate of the clean latents, x0, from a noisy state and the model's output there.

With x = alpha * x0 + std * noise (`NoiseLevel`), one equation per prediction type. Each is affine in the
model's output, x0 = c_x * x + c_out * m, so what x0 would be for another prediction at the same state follows
from the one that is known: `gain`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from diffatlas.capture.schedule import SMALLEST_ABAR, NoiseLevel, is_flow
from diffatlas.errors import CapabilityError

if TYPE_CHECKING:
    import torch


def coefficients(scheduler: Any, level: NoiseLevel) -> tuple[float, float]:
    """Return (c_x, c_out) of x0 = c_x * x + c_out * m, for a state x at noise ``level``.

    m is what the scheduler receives, of the prediction type that its config names.

    Raises `CapabilityError` for a prediction type that has no equation here.
    """
    config = scheduler.config
    kind = "flow_prediction" if is_flow(scheduler) else config.get("prediction_type", "epsilon")
    if is_flow(scheduler) and config.get("prediction_type") in ("epsilon", "sample"):
        kind = config["prediction_type"]

    if hasattr(scheduler, "precondition_outputs"):
        return _edm(level.sigma, config["sigma_data"], kind)
    if kind == "epsilon":
        # Ho et al. 2020 (arXiv 2006.11239), eq. 15: x0 = (x - std * eps) / alpha
        alpha = max(level.alpha, math.sqrt(SMALLEST_ABAR))
        return 1 / alpha, -level.std / alpha
    if kind in ("v_prediction", "trigflow"):
        # Salimans and Ho 2022 (arXiv 2202.00512), section 4: x0 = alpha * x - std * v, for states with
        # alpha^2 + std^2 = 1; other states are scaled to that first. TrigFlow is the same with angles.
        scale = 1 / math.hypot(level.alpha, level.std)
        return level.alpha * scale**2, -level.std * scale
    if kind in ("sample", "original_sample"):
        return 0.0, 1.0
    if kind == "flow_prediction":
        # Lipman et al. 2023 (arXiv 2210.02747), Liu et al. 2023 (arXiv 2209.03003): v = noise - x0 and
        # x = (1 - sigma) * x0 + sigma * noise, so x0 = x - sigma * v
        return 1.0, -level.sigma
    raise CapabilityError(
        f"{type(scheduler).__name__} predicts {kind!r}, for which x0 is not defined here: capture with"
        " x0=False and previews='off', or choose another scheduler.",
        field="scheduler",
    )


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

    Where the scheduler clips or thresholds its own estimate, so is this one. Raises as `coefficients` does.
    """
    c_x, c_out = coefficients(scheduler, level)
    if model_output.shape[1] == 2 * sample.shape[1]:
        model_output = model_output[:, : sample.shape[1]]
    # Half precision overflows here: sigma reaches 4096 where the schedule starts at zero terminal SNR.
    x0 = c_x * sample.float() + c_out * model_output.float()
    config = scheduler.config
    if config.get("thresholding"):
        return scheduler._threshold_sample(x0)
    if config.get("clip_sample"):
        limit = config.get("clip_sample_range", 1.0)
        return x0.clamp(-limit, limit)
    return x0


def _edm(sigma: float, sigma_data: float, kind: str) -> tuple[float, float]:
    # Karras et al. 2022 (arXiv 2206.00364), eq. 7 and table 1: x0 = c_skip * x + c_out * F
    total = sigma**2 + sigma_data**2
    c_skip = sigma_data**2 / total
    c_out = sigma * sigma_data / math.sqrt(total)
    return c_skip, c_out if kind == "epsilon" else -c_out
