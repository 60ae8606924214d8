"""The interval of a rate holds what it says, where that of independent images does not."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from diffatlas.bench.statistics import mean_rate, rate, resample
from diffatlas.errors import InvalidParams
from tests.bench.statistics.drawn import verdicts


def coverage(interval, prompts, truth, correlation, trials=500, seed=0):
    random = np.random.default_rng(seed)
    held = 0
    for _ in range(trials):
        low, high = interval(*verdicts(random, prompts, rate=truth, correlation=correlation))
        held += low <= truth <= high
    return held / trials


def of_rate(values, prompts):
    found = rate(values, prompts)
    return found.low, found.high


def as_if_independent(values, prompts):
    found = binomtest(int(values.sum()), len(values)).proportion_ci(method="wilson")
    return found.low, found.high


@pytest.mark.parametrize("prompts", [12, 40, 100])
@pytest.mark.parametrize("truth", [0.05, 0.35, 0.9])
@pytest.mark.parametrize("correlation", [0.02, 0.6])
def test_the_interval_covers_the_truth_as_often_as_it_says(prompts, truth, correlation):
    # Of 500 trials of 95% fewer than 92% are seen once in a thousand. Where two prompts or so decide, it holds less.
    rare = correlation > 0.5 and prompts * min(truth, 1 - truth) < 5
    assert coverage(of_rate, prompts, truth, correlation) >= (0.9 if rare else 0.92)


def test_the_interval_of_independent_images_covers_far_less():
    assert coverage(as_if_independent, 100, 0.35, 0.6) < 0.85
    assert coverage(of_rate, 100, 0.35, 0.6) < 0.98


def test_one_image_a_prompt_gives_nearly_wilson_s_interval():
    values = np.r_[np.ones(130), np.zeros(70)]
    found = rate(values, list(range(200)))
    low, high = as_if_independent(values, None)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.002)
    assert found.design_effect == pytest.approx(1, abs=0.01)
    assert found.correlation is None


def test_images_that_are_all_alike_count_as_one_a_prompt():
    values, prompts = np.repeat(np.arange(50) % 2, 4), np.repeat(np.arange(50), 4).tolist()
    found = rate(values, prompts)
    assert found.effective == pytest.approx(50, abs=1.1)
    assert found.design_effect == pytest.approx(4, abs=0.1)
    assert found.any_correct == 0.5


def test_where_all_pass_the_interval_is_that_of_the_prompts():
    found = rate([1] * 80, np.repeat(np.arange(20), 4).tolist())
    assert (found.value, found.high) == (1, 1)
    # Wilson's lower end, with Student's t.
    from scipy.stats import t

    quantile = t.ppf(0.975, 19)
    assert found.low == pytest.approx(20 / (20 + quantile**2))


def test_a_prompt_with_any_correct_image_counts_once():
    assert rate([0, 1, 0, 0, 1, 1], list("aabbcc")).any_correct == pytest.approx(2 / 3)


def test_graded_scores_have_an_interval_that_holds():
    random = np.random.default_rng(5)
    held = 0
    for _ in range(400):
        base = random.beta(6, 3, 30)
        values = np.clip(base[:, None] + random.normal(0, 0.03, (30, 4)), 0, 1)
        found = rate(values.ravel(), np.repeat(np.arange(30), 4).tolist())
        held += found.low <= 2 / 3 <= found.high
    assert 0.92 <= held / 400 <= 0.99
    # Far narrower than that of verdicts, which are either 0 or 1.
    assert found.high - found.low < 0.2


def test_the_mean_over_tags_weighs_tags_alike_and_its_interval_holds():
    values = [1] * 8 + [0] * 2
    tags = ["a"] * 8 + ["b"] * 2
    assert mean_rate(values, list(range(10)), tags).value == 0.5
    random = np.random.default_rng(6)
    truths, counts = (0.9, 0.5, 0.1), (10, 30, 50)
    held = 0
    for _ in range(400):
        parts = [verdicts(random, n, rate=p, correlation=0.5) for n, p in zip(counts, truths, strict=True)]
        values = np.concatenate([values for values, _ in parts])
        prompts = [(tag, prompt) for tag, (_, own) in enumerate(parts) for prompt in own]
        found = mean_rate(values, prompts, [tag for tag, _ in prompts])
        held += found.low <= 0.5 <= found.high
    assert 0.92 <= held / 400 <= 0.99


def test_prompts_that_are_drawn_again_spread_as_the_standard_error_says():
    values, prompts = verdicts(np.random.default_rng(7), prompts=80)
    table = values.reshape(80, 4)
    drawn = resample(dict(enumerate(table)), lambda rows: np.mean(rows), draws=4000)
    assert drawn.std() == pytest.approx(table.mean(1).std() / np.sqrt(80), rel=0.05)
    found = rate(values, prompts)
    assert np.quantile(drawn, norm.cdf([-1.96, 1.96])) == pytest.approx([found.low, found.high], abs=0.02)


def test_what_has_no_answer_is_refused():
    with pytest.raises(InvalidParams, match="between 0 and 1"):
        rate([1, 0], ["a", "b"], level=95)
    with pytest.raises(InvalidParams, match="only one"):
        resample({"a": [1]}, np.mean)
