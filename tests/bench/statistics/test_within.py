"""Failing against passing images of one prompt: by least squares, scipy, every deal of verdicts, and draws."""

import itertools

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from diffatlas.bench.statistics import Verdicts, over_all, within_prompts
from diffatlas.errors import InvalidParams


def drawn(random, prompts=30, images=4, effect=0.0, hardness=3.0, pairs=False):
    """Prompts of unequal difficulty; hard ones have larger numbers, failing images larger ones by ``effect``."""
    found = []
    for prompt in range(prompts):
        chance = random.beta(0.5, 0.5)
        failed = random.random(images) < chance
        values = random.normal() + hardness * chance + random.normal(size=images) + effect * failed
        found.append(Verdicts(prompt, failed, np.abs(values[:, None] - values) if pairs else values))
    return found


def mixed(groups):
    return [one for one in groups if one.failed.any() and not one.failed.all()]


def test_the_difference_is_that_of_least_squares_with_a_mean_for_each_prompt():
    groups = drawn(np.random.default_rng(0), effect=0.5)
    columns = [
        np.concatenate([one.failed.astype(float) for one in groups]),
        *(np.repeat(np.arange(len(groups)) == k, 4).astype(float) for k in range(len(groups))),
    ]
    values = np.concatenate([one.values for one in groups])
    found = within_prompts(groups, draws=10)
    assert found.difference == pytest.approx(np.linalg.lstsq(np.stack(columns, 1), values, rcond=None)[0][0])
    assert found.prompts == len(mixed(groups))
    assert found.failing == sum(one.failed.sum() for one in mixed(groups))


def test_the_deviation_is_what_is_left_about_the_means_of_prompt_and_verdict():
    groups = drawn(np.random.default_rng(1))
    left = [
        side - side.mean()
        for one in groups
        for side in (one.values[one.failed], one.values[~one.failed])
        if len(side) > 1
    ]
    freedom = sum(len(side) - 1 for side in left)
    found = within_prompts(groups, draws=10)
    assert found.deviation == pytest.approx(np.sqrt((np.concatenate(left) ** 2).sum() / freedom))
    assert found.standardised[0] == pytest.approx(found.difference / found.deviation)


def test_how_often_the_failing_one_is_larger_is_mann_whitney_s_within_prompts():
    random = np.random.default_rng(2)
    # Whole numbers, so that there are ties.
    groups = [Verdicts(one.prompt, one.failed, one.values.round()) for one in drawn(random, images=6)]
    counts = [
        (
            mannwhitneyu(one.values[one.failed], one.values[~one.failed]).statistic,
            one.failed.sum() * (~one.failed).sum(),
        )
        for one in mixed(groups)
    ]
    larger = within_prompts(groups, draws=10).larger
    assert larger.value == pytest.approx(sum(u for u, _ in counts) / sum(n for _, n in counts))
    assert larger.low < larger.value < larger.high


def test_of_prompts_that_are_alike_it_is_the_area_under_the_curve():
    random = np.random.default_rng(3)
    failed, values = np.array([True, True, False, False]), random.normal(size=4)
    found = within_prompts([Verdicts(k, failed, values) for k in range(3)], draws=10)
    assert found.larger.value == pytest.approx(roc_auc_score(failed, values))


def test_a_number_of_two_images_is_taken_to_the_others_that_passed():
    table = np.array([[0, 1, 2, 3], [1, 0, 4, 5], [2, 4, 0, 6], [3, 5, 6, 0]], dtype=float)
    failed = np.array([True, False, False, True])
    assert Verdicts("a", failed, table).numbers.tolist() == [1.5, 4, 4, 5.5]
    # One passing image has no other that passed.
    alone = Verdicts("b", np.array([True, False, True, True]), table)
    assert np.isnan(alone.numbers[1])
    assert not alone.tells


@pytest.mark.parametrize("pairs", [False, True])
def test_p_is_the_share_of_all_deals_of_the_verdicts_within_prompts(pairs):
    random = np.random.default_rng(4)
    groups = []
    for prompt in range(3):
        values = random.normal(size=4) * 3
        values = np.abs(values[:, None] - values) if pairs else values
        groups.append(Verdicts(prompt, np.array([True, True, False, False]), values))
    deals = [np.array(deal) for deal in set(itertools.permutations([True, True, False, False]))]

    def difference(chosen):
        sums = []
        for one, failed in zip(groups, chosen, strict=True):
            own = Verdicts(one.prompt, failed, one.values).numbers
            sums.append(own[failed].mean() - own[~failed].mean())
        return np.mean(sums)

    seen = abs(difference([one.failed for one in groups]))
    exact = np.mean([abs(difference(chosen)) >= seen - 1e-9 for chosen in itertools.product(deals, repeat=3)])
    assert within_prompts(groups, draws=20_000).p == pytest.approx(exact, abs=0.015)


@pytest.mark.parametrize("pairs", [False, True])
def test_verdicts_that_say_nothing_are_rejected_one_time_in_twenty_and_the_interval_holds(pairs):
    random = np.random.default_rng(5)
    rejected, held, often = np.zeros((3, 400))
    for k in range(400):
        found = within_prompts(drawn(random, prompts=30, pairs=pairs), draws=199, seed=k)
        rejected[k] = found.p <= 0.05
        held[k] = found.low <= 0 <= found.high
        often[k] = found.larger.low <= 0.5 <= found.larger.high
    assert 0.025 < rejected.mean() < 0.08
    assert 0.93 < held.mean() < 0.99
    assert often.mean() > 0.93


def test_a_planted_difference_is_found_where_hard_prompts_would_hide_it():
    random = np.random.default_rng(6)
    held, found_out = np.zeros((2, 100))
    for k in range(100):
        # Failing images have smaller numbers than others of their prompt, while hard prompts have larger ones.
        groups = drawn(random, prompts=60, effect=-1.5, hardness=8.0)
        found = within_prompts(groups, draws=199)
        held[k] = found.low <= -1.5 <= found.high
        found_out[k] = found.p <= 0.05 and found.larger.high < 0.5
        assert over_all(groups).low > 0
    assert held.mean() > 0.9
    assert found_out.mean() > 0.95


def test_over_all_images_it_is_the_difference_of_the_means_with_a_robust_interval():
    random = np.random.default_rng(7)
    groups = drawn(random, effect=1.0)
    failed, values = (
        np.concatenate(parts) for parts in zip(*((g.failed, g.values) for g in groups), strict=True)
    )
    found = over_all(groups)
    assert found.difference == pytest.approx(values[failed].mean() - values[~failed].mean())
    # Images that are copies of each other are worth no more than one.
    copies = [Verdicts(g.prompt, np.repeat(g.failed, 5), np.repeat(g.values, 5)) for g in groups]
    assert (over_all(copies).low, over_all(copies).high) == pytest.approx((found.low, found.high))


def test_images_without_a_number_take_no_part():
    random = np.random.default_rng(8)
    groups = drawn(random)
    more = [Verdicts(g.prompt, np.append(g.failed, True), np.append(g.values, np.nan)) for g in groups]
    assert within_prompts(more, draws=50) == within_prompts(groups, draws=50)
    assert over_all(more) == over_all(groups)


@pytest.mark.parametrize("prompts", [0, 1])
def test_without_two_prompts_of_both_verdicts_nothing_is_said(prompts):
    both = Verdicts("a", np.array([True, False]), np.array([1.0, 2.0]))
    one = Verdicts("b", np.array([True, True]), np.array([1.0, 2.0]))
    with pytest.raises(InvalidParams, match="2 at least"):
        within_prompts([both] * prompts + [one])
    with pytest.raises(InvalidParams, match="two prompts"):
        over_all([both] * prompts)


def test_a_difference_that_all_prompts_share_to_the_last_digit_has_an_interval_of_no_width():
    groups = [Verdicts(k, np.array([True, False]), np.array([k + 1.0, k])) for k in range(5)]
    found = within_prompts(groups, draws=99)
    assert (found.difference, found.deviation, found.standardised) == (1.0, None, None)
    assert found.low == pytest.approx(1.0)
