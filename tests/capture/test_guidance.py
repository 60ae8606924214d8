from __future__ import annotations

import numpy as np
import pytest

from diffatlas.capture.guidance import cond_first, fit_weights

RNG = np.random.default_rng(0)
UNCOND = RNG.normal(size=(2, 4, 32, 32)).astype(np.float32)


def cond(distance: float) -> np.ndarray:
    return UNCOND + distance * RNG.normal(size=UNCOND.shape).astype(np.float32)


@pytest.mark.parametrize("distance", [1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("scale", [1.1, 5.0, 30.0])
def test_weights_are_those_of_the_formula(distance: float, scale: float) -> None:
    c = cond(distance)
    guided = UNCOND.astype(np.float64) + scale * (c.astype(np.float64) - UNCOND)
    np.testing.assert_allclose(fit_weights(guided, [UNCOND, c]), [1 - scale, scale], rtol=1e-4)
    np.testing.assert_allclose(fit_weights(guided, [c, UNCOND]), [scale, 1 - scale], rtol=1e-4)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("factor", [1.0, -1.0, 0.4, -0.4], ids=["plain", "negated", "rescaled", "both"])
def test_half_precision_negated_or_rescaled(factor: float, swapped: bool) -> None:
    u, c = UNCOND.astype(np.float16), cond(1e-2).astype(np.float16)
    guided = (factor * (u + np.float16(1.5) * (c - u))).astype(np.float16)
    weights = fit_weights(guided, [c, u] if swapped else [u, c])
    assert cond_first(weights) == (swapped, np.sign(factor))


def test_a_third_prediction_is_not_taken_for_the_conditional_one() -> None:
    """Perturbed-attention guidance: u + s (c - u) + p (c - perturbed)."""
    c, perturbed = cond(0.1), cond(0.1)
    guided = UNCOND + 4 * (c - UNCOND) + 3 * (c - perturbed)
    weights = fit_weights(guided, [UNCOND, c, perturbed])
    np.testing.assert_allclose(weights, [-3, 7, -3], rtol=1e-3)
    assert cond_first(weights) == (False, 1.0)


def test_equal_or_broken_predictions_leave_the_order_open() -> None:
    assert fit_weights(UNCOND, [UNCOND, UNCOND.copy()]) is None
    assert fit_weights(UNCOND, [UNCOND, np.full_like(UNCOND, np.nan)]) is None
