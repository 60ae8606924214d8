"""Rates freed of a scorer's known errors."""

import numpy as np
import pytest

from diffatlas.bench.statistics import corrected_rate, rate
from diffatlas.errors import InvalidParams
from tests.bench.statistics.drawn import verdicts


def seen_by(random, truth, sensitivity, specificity):
    """What a scorer with such errors makes of what is true."""
    passes = np.where(truth == 1, sensitivity, 1 - specificity)
    return (random.random(len(truth)) < passes).astype(float)


def test_a_scorer_without_errors_changes_nothing():
    found = rate([1, 0, 1, 1] * 20, np.repeat(np.arange(20), 4).tolist())
    corrected = corrected_rate(found, (500, 500), (500, 500))
    assert corrected.value == found.value
    assert (corrected.low, corrected.high) == pytest.approx((found.low, found.high), abs=0.02)


@pytest.mark.parametrize(("true_rate", "sensitivity", "specificity"), [(0.3, 0.9, 0.8), (0.8, 0.75, 0.95)])
def test_the_interval_covers_the_truth_where_the_uncorrected_one_does_not(
    true_rate, sensitivity, specificity
):
    random = np.random.default_rng(11)
    held, plain, values = 0, 0, []
    for _ in range(400):
        truth, prompts = verdicts(random, 60, rate=true_rate, correlation=0.5)
        observed = rate(seen_by(random, truth, sensitivity, specificity), prompts)
        known = [int(random.binomial(120, chance)) for chance in (sensitivity, specificity)]
        found = corrected_rate(observed, (known[0], 120), (known[1], 120))
        held += found.low <= true_rate <= found.high
        plain += observed.low <= true_rate <= observed.high
        values.append(found.value)
    assert held / 400 >= 0.92
    assert plain / 400 < 0.8
    assert np.mean(values) == pytest.approx(true_rate, abs=0.02)


@pytest.mark.parametrize(("correct", "wrong"), [((5, 10), (5, 10)), ((0, 0), (9, 10)), ((3, 2), (1, 2))])
def test_errors_that_are_not_known_or_too_large_are_refused(correct, wrong):
    found = rate([1, 0, 1, 1], list("aabb"))
    with pytest.raises(InvalidParams):
        corrected_rate(found, correct, wrong)
