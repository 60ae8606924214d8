"""Failing against passing images of one prompt: by least squares, scipy, every deal of verdicts, and draws."""

import itertools
from dataclasses import replace

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


def regression(groups):
    """The numbers, the verdicts and a column for each prompt."""
    values, failed = (np.concatenate([getattr(one, name) for one in groups]) for name in ("values", "failed"))
    place = np.repeat(np.arange(len(groups)), [len(one.failed) for one in groups])
    return values, failed.astype(float), (place[:, None] == np.arange(len(groups))).astype(float)


def test_the_difference_is_that_of_least_squares_with_a_mean_for_each_prompt():
    groups = drawn(np.random.default_rng(0), effect=0.5)
    values, failed, columns = regression(groups)
    found = within_prompts(groups, draws=10)
    fitted = np.linalg.lstsq(np.column_stack([failed, columns]), values, rcond=None)[0]
    assert found.difference == pytest.approx(fitted[0])
    assert found.prompts == len(mixed(groups))
    assert found.failing == sum(one.failed.sum() for one in mixed(groups))


def test_the_deviation_is_what_least_squares_leaves():
    groups = drawn(np.random.default_rng(1), effect=0.5)
    values, failed, columns = regression(groups)
    fitted, (squares,), _, _ = np.linalg.lstsq(np.column_stack([failed, columns]), values, rcond=None)
    found = within_prompts(groups, draws=10)
    assert found.deviation == pytest.approx(np.sqrt(squares / (len(values) - len(fitted))))
    assert found.standardised[0] == pytest.approx(found.difference / found.deviation)


def test_what_a_seed_does_in_all_prompts_is_taken_away():
    random = np.random.default_rng(2)
    groups = [
        replace(one, values=one.values + np.array([5.0, 0, -3, 1]), seeds=(7, 8, 9, 10))
        for one in drawn(random, effect=0.5)
    ]
    # One prompt lacks a seed, another has one of its own.
    groups[0] = Verdicts(0, groups[0].failed[:3], groups[0].values[:3], (7, 8, 9))
    groups[1] = replace(groups[1], seeds=(7, 8, 9, 11))
    values, failed, columns = regression(groups)
    seeds = np.concatenate([one.seeds for one in groups])
    dummies = np.stack([seeds == seed for seed in (7, 8, 9, 10)], 1)
    fitted = np.linalg.lstsq(np.column_stack([failed, columns, dummies]), values, rcond=None)[0]
    found = within_prompts(groups, draws=10)
    assert found.difference == pytest.approx(fitted[0])
    assert found.seeds == 3 + 1
    # Seeds that no two prompts share change nothing.
    own = [replace(one, seeds=tuple((one.prompt, k) for k in range(len(one.failed)))) for one in groups]
    assert within_prompts(own, draws=10) == within_prompts([replace(one, seeds=()) for one in own], draws=10)


@pytest.mark.parametrize("pairs", [False, True])
def test_seeds_that_fail_more_often_and_have_larger_numbers_are_no_cause(pairs):
    random = np.random.default_rng(3)
    rejected, held = np.zeros((2, 2, 100))
    for k in range(100):
        numbers, chances = random.normal(size=4) * 2, random.normal(size=4)
        groups = []
        for prompt in range(40):
            failed = random.random(4) < 1 / (1 + np.exp(-random.normal() * 2 - chances))
            values = random.normal() + numbers + random.normal(size=4)
            values = np.abs(values[:, None] - values) if pairs else values
            groups.append(Verdicts(prompt, failed, values, (0, 1, 2, 3)))
        for way, own in enumerate((groups, [replace(one, seeds=()) for one in groups])):
            found = within_prompts(own, draws=99, seed=k)
            rejected[way, k] = found.p <= 0.05
            held[way, k] = found.low <= 0 <= found.high
    assert rejected.mean(1)[0] < 0.1
    assert held.mean(1)[0] > 0.9
    # Without the seeds chance alone is found far more often than one time in twenty.
    assert rejected.mean(1)[1] > 0.12


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
    rejected, held, often = np.zeros((3, 300))
    for k in range(300):
        found = within_prompts(drawn(random, prompts=30, pairs=pairs), draws=99, seed=k)
        rejected[k] = found.p <= 0.05
        held[k] = found.low <= 0 <= found.high
        often[k] = found.larger.low <= 0.5 <= found.larger.high
    assert 0.025 < rejected.mean() < 0.08
    assert 0.93 < held.mean() < 0.99
    assert often.mean() > 0.93


def test_a_planted_difference_is_found_where_hard_prompts_would_hide_it():
    random = np.random.default_rng(6)
    held, found_out = np.zeros((2, 60))
    for k in range(60):
        # Failing images have smaller numbers than others of their prompt, while hard prompts have larger ones.
        groups = drawn(random, prompts=60, effect=-1.5, hardness=8.0)
        found = within_prompts(groups, draws=99)
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


def test_what_prompts_and_seeds_decide_alone_is_no_difference():
    random = np.random.default_rng(9)
    verdicts, base = np.array([True, False, True, False]), random.normal(size=4)
    seeds = (1, 2, 3, 4)
    numbers = [Verdicts(p, random.permutation(verdicts), base + p, seeds) for p in range(5)]
    with pytest.raises(InvalidParams, match="alone decide this number"):
        within_prompts(numbers)
    fails = [Verdicts(p, verdicts, random.normal(size=4), seeds) for p in range(5)]
    with pytest.raises(InvalidParams, match="alone decide which images fail"):
        within_prompts(fails)
    table = np.abs(base[:, None] - base)
    pairs = [Verdicts(p, random.permutation(verdicts), table, seeds) for p in range(5)]
    with pytest.raises(InvalidParams, match="alone decide this number"):
        within_prompts(pairs)
