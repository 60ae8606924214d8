"""Telling the conditional from the unconditional prediction, whatever way the pipeline obtains them.

Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598) needs two predictions per step. Pipelines
get them from one denoiser call on a doubled batch or from two calls, in either order, and some rescale or
negate the result. The guided prediction g that the scheduler received settles which is which: it is a sum
g = w_0 p_0 + w_1 p_1 + ..., in which the conditional prediction has the largest weight.
"""

from __future__ import annotations

import numpy as np


def fit_weights(guided: np.ndarray, predictions: list[np.ndarray]) -> np.ndarray | None:
    """Return the least-squares weights w of guided = sum_i w_i predictions_i, in float64.

    None where the predictions do not differ beyond rounding, which leaves the weights undetermined, or are
    not finite.
    """
    g = guided.astype(np.float64).ravel()
    first, *others = (p.astype(np.float64).ravel() for p in predictions)
    # Predictions are nearly parallel, their differences are not: solve for (sum of w, w_1, w_2, ...).
    basis = np.stack([first, *(p - first for p in others)])
    lengths = np.sqrt(np.einsum("id,id->i", basis, basis))
    if not np.all(np.isfinite(lengths)) or np.any(lengths <= 1e-5 * lengths[0]):
        return None
    basis /= lengths[:, None]
    solution = np.linalg.lstsq(basis @ basis.T, basis @ g, rcond=None)[0] / lengths
    return np.concatenate([[solution[0] - solution[1:].sum()], solution[1:]])


def cond_first(weights: np.ndarray) -> tuple[bool, float]:
    """Return whether the first of two predictions is the conditional one, and the sign of the sum of weights.

    The sign is -1 where the pipeline negates the model's output before the scheduler receives it (Z-Image,
    HiDream). Only the first two predictions are compared; a third (perturbed-attention guidance) is not.
    """
    sign = -1.0 if weights.sum() < 0 else 1.0
    return bool(sign * weights[0] > sign * weights[1]), sign
