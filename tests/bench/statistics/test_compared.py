"""Comparisons of two models over prompts, against SciPy, brute force and simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import permutation_test

from diffatlas.bench.statistics import compare, holm, mcnemar
from diffatlas.bench.statistics.compared import sign_flip
from diffatlas.errors import InvalidParams
from tests.bench.statistics.drawn import verdicts


def pair(random, prompts=30):
    """Two models' verdicts on the same prompts, of the same chances."""
    chance = random.beta(1, 1, prompts)
    both = [random.random((prompts, 4)) < chance[:, None] for _ in range(2)]
    names = np.repeat(np.arange(prompts), 4).tolist()
    return [(each.astype(float).ravel(), names) for each in both]


@pytest.mark.parametrize("count", [3, 8, 11])
def test_all_signs_give_scipy_s_permutation_test(count):
    differences = np.round(np.random.default_rng(count).normal(0.2, 0.5, count), 2)
    expected = permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    ).pvalue
    assert sign_flip(differences) == pytest.approx(expected)


def test_prompts_that_do_not_differ_change_nothing():
    differences = np.array([0.5, 0.25, 0, 0.75, 0, -0.25])
    signs = itertools.product((1, -1), repeat=6)
    seen = [abs(np.dot(sign, differences)) >= abs(differences.sum()) - 1e-9 for sign in signs]
    assert sign_flip(differences) == pytest.approx(np.mean(seen))
    assert sign_flip(np.zeros(5)) == 1


def test_drawn_signs_come_near_to_all_signs():
    differences = np.random.default_rng(4).normal(0.25, 0.5, 20)
    exact = permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=200_000, rng=np.random.default_rng(0)
    ).pvalue
    assert sign_flip(differences) == pytest.approx(exact, abs=0.01)


def test_true_nulls_are_rejected_as_often_as_the_level_says():
    random = np.random.default_rng(8)
    found = [compare(*pair(random), draws=400) for _ in range(400)]
    assert np.mean([one.p <= 0.05 for one in found]) <= 0.08
    assert np.mean([one.low <= 0 <= one.high for one in found]) >= 0.92


def test_a_difference_of_the_detectable_size_is_found_four_times_of_five():
    random = np.random.default_rng(9)
    spread, prompts = 0.06, 30
    first = np.full(prompts, 0.4)

    def compared(gain):
        second = first + gain + random.normal(0, spread, prompts)
        return compare((first, range(prompts)), (second, range(prompts)), draws=500)

    detectable = np.mean([compared(0).detectable for _ in range(200)])
    found = [compared(detectable).p <= 0.05 for _ in range(600)]
    # Of 600 trials of 80% fewer than 75% or more than 85% are seen once in five hundred.
    assert 0.75 <= np.mean(found) <= 0.85


def test_only_prompts_that_both_have_are_compared():
    found = compare(([0, 0, 1], ["a", "b", "x"]), ([1, 1, 0], ["a", "b", "y"]))
    assert (found.difference, found.prompts, found.differ) == (1.0, 2, 2)
    with pytest.raises(InvalidParams, match="1 prompt in common"):
        compare(([0, 0], ["a", "b"]), ([1, 1], ["a", "c"]))


def test_holm_is_what_closed_testing_of_bonferroni_comes_to():
    random = np.random.default_rng(10)
    for _ in range(20):
        p = dict(enumerate(random.random(5) ** 3))
        closed = {}
        for name in p:
            families = [
                members
                for size in range(1, 6)
                for members in itertools.combinations(p, size)
                if name in members
            ]
            closed[name] = max(min(1.0, len(each) * min(p[k] for k in each)) for each in families)
        assert holm(p) == pytest.approx(closed)
    assert holm({}) == {}


def test_mcnemar_is_the_binomial_of_the_prompts_that_only_one_passes():
    first = [1] * 9 + [0] * 2 + [1] * 5 + [0] * 4
    second = [0] * 9 + [1] * 2 + [1] * 5 + [0] * 4
    names = list(range(20))
    exact = 2 * sum(math.comb(11, k) for k in range(3)) / 2**11
    assert mcnemar((first, names), (second, names)) == pytest.approx(exact)
    assert mcnemar((first, names), (first, names)) == 1


def test_mcnemar_is_refused_where_prompts_have_several_images():
    values, prompts = verdicts(np.random.default_rng(0), prompts=5)
    with pytest.raises(InvalidParams, match="one image a prompt"):
        mcnemar((values, prompts), (values, prompts))
    with pytest.raises(InvalidParams, match="0 or 1"):
        mcnemar(([0.5, 1], ["a", "b"]), ([0, 1], ["a", "b"]))
