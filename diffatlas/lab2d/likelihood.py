"""The density of a model, log p_theta(x), along the probability-flow ODE, whose divergence is exact in the plane."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from diffatlas.lab2d.mixtures import Labels, Target, laplacian

#: Noise levels of the integration.
STEPS = 128
LOW, HIGH = 0.01, 80.0

Divergence = Callable[[np.ndarray, float, Labels], np.ndarray]


def exact_divergence(target: Target) -> Divergence:
    """Return the divergence of the exact denoiser: 2 + sigma^2 laplacian log p."""
    return lambda x, sigma, labels: 2 + sigma**2 * laplacian(target, x, sigma, labels)


def log_likelihood(
    denoise: Callable[[np.ndarray, float, Labels], np.ndarray],
    divergence: Divergence,
    x: np.ndarray,
    labels: Labels = None,
    steps: int = STEPS,
) -> np.ndarray:
    """Return log p(x; LOW) of the model that the denoiser defines, (n,) in nats.

    divergence: of the denoiser by x, such as `training.Learned.divergence` or `exact_divergence`.

    The change of variables along dx/dsigma = (x - D) / sigma (Song et al. 2021, eq. 39; Chen et al. 2018)::

        log p(x; LOW) = log N(x_HIGH; 0, HIGH^2 I) + integral of div (x - D) / sigma over sigma from LOW to HIGH

    integrated with Heun's rule in log sigma, in which the right side is x - D itself.
    """
    levels = np.geomspace(LOW, HIGH, steps + 1)
    width = float(np.log(levels[1] / levels[0]))
    x, total = np.asarray(x, float), np.zeros(len(x))
    for now, after in zip(map(float, levels[:-1]), map(float, levels[1:]), strict=True):
        slope, spread = x - denoise(x, now, labels), 2 - divergence(x, now, labels)
        ahead = x + width * slope
        slope_after, spread_after = (
            ahead - denoise(ahead, after, labels),
            2 - divergence(ahead, after, labels),
        )
        x = x + width / 2 * (slope + slope_after)
        total += width / 2 * (spread + spread_after)
    return total - np.sum(x**2, axis=1) / (2 * HIGH**2) - np.log(2 * np.pi * HIGH**2)
