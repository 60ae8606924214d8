"""What a network may be trained to predict. All four are affine in eps, given the noisy point x_t = a x0 + s eps."""

from __future__ import annotations

import numpy as np

OBJECTIVES = ("eps", "x0", "v", "flow")


def target_of(objective: str, x0: np.ndarray, eps: np.ndarray, a: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Return what the network should predict.

    eps: Ho et al. 2020. v = a eps - s x0: Salimans & Ho 2022. flow = eps - x0: Lipman et al. 2023, Liu et al. 2023,
    with noise at t = 1.
    """
    match objective:
        case "eps":
            return eps
        case "x0":
            return x0
        case "v":
            return a * eps - s * x0
        case _:
            return eps - x0


def x0_from(objective: str, predicted: np.ndarray, x: np.ndarray, a: float, s: float) -> np.ndarray:
    """Return the estimate of x0 that a prediction at x_t amounts to (the inverse of `target_of`)."""
    match objective:
        case "eps":
            return (x - s * predicted) / a
        case "x0":
            return predicted
        case "v":
            return (a * x - s * predicted) / (a * a + s * s)
        case _:
            return (x - s * predicted) / (a + s)


def per_eps(objective: str, a: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Return |d target / d eps| at fixed x_t: squared, it turns a squared error in eps into one in the target."""
    match objective:
        case "eps":
            return np.ones_like(a)
        case "x0":
            return s / a
        case "v":
            return (a * a + s * s) / a
        case _:
            return (a + s) / a
