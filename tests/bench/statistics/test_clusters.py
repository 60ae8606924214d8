"""Correlation within a prompt, and where the variance lies."""

import itertools

import numpy as np
import pytest

from diffatlas.bench.statistics import intra_prompt_correlation, prompt_means, variance_shares
from diffatlas.errors import InvalidParams
from tests.bench.statistics.drawn import verdicts


def test_the_mean_of_each_prompt_is_in_the_order_in_which_prompts_come():
    assert list(prompt_means([1, 0, 1, 1], ["b", "a", "b", "a"]).items()) == [("b", 1.0), ("a", 0.5)]


@pytest.mark.parametrize("correlation", [0.05, 0.3, 0.8])
def test_the_correlation_is_that_of_the_model_that_drew_the_verdicts(correlation):
    random = np.random.default_rng(1)
    found = [
        intra_prompt_correlation(*verdicts(random, prompts=200, correlation=correlation)) for _ in range(60)
    ]
    assert np.mean(found) == pytest.approx(correlation, abs=0.02)


def test_of_equal_sizes_it_is_the_correlation_of_all_ordered_pairs_but_for_degrees_of_freedom():
    values, prompts = verdicts(np.random.default_rng(2), prompts=400, images=3)
    table = values.reshape(400, 3)
    pairs = np.array([(row[i], row[j]) for row in table for i, j in itertools.permutations(range(3), 2)])
    assert intra_prompt_correlation(values, prompts) == pytest.approx(np.corrcoef(pairs.T)[0, 1], abs=0.005)


def test_images_that_are_all_alike_within_their_prompts_correlate_fully():
    assert intra_prompt_correlation([1, 1, 0, 0, 0], ["a", "a", "b", "b", "b"]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("values", "prompts"), [([1, 0], ["a", "b"]), ([1, 0], ["a", "a"]), ([1] * 4, "aabb")]
)
def test_where_it_is_not_known_there_is_none(values, prompts):
    assert intra_prompt_correlation(values, list(prompts)) is None


@pytest.mark.parametrize("values", [[], [0.5, 1.2], [float("nan"), 0]])
def test_what_cannot_be_counted_is_refused(values):
    with pytest.raises(InvalidParams):
        intra_prompt_correlation(values, ["a"] * len(values))


def test_as_many_prompts_as_values_are_wanted():
    with pytest.raises(InvalidParams, match="3 values and 2 prompts"):
        prompt_means([0, 1, 1], ["a", "b"])


def test_shares_of_the_variance_are_those_that_were_put_in():
    random = np.random.default_rng(3)
    found = []
    for _ in range(40):
        table = 0.5 + 0.1 * random.normal(size=(60, 1)) + 0.05 * random.normal(size=(1, 30))
        table = np.clip(table + 0.05 * random.normal(size=(60, 30)), 0, 1)
        prompts, seeds = np.indices(table.shape)
        found.append(variance_shares(table.ravel(), prompts.ravel().tolist(), seeds.ravel().tolist()))
    means = {name: np.mean([one[name] for one in found]) for name in ("prompt", "seed", "rest")}
    assert means == pytest.approx({"prompt": 4 / 6, "seed": 1 / 6, "rest": 1 / 6}, abs=0.04)
    assert sum(found[0].values()) == pytest.approx(1)


@pytest.mark.parametrize("prompts", ["aabb", "abab", "aaab"])
def test_shares_want_one_image_of_each_prompt_with_each_seed(prompts):
    seeds = [1, 1, 2, 2] if prompts == "aabb" else [1, 1, 1, 1]
    with pytest.raises(InvalidParams, match="one image of each prompt with each seed"):
        variance_shares([0, 1, 1, 0], list(prompts), seeds)
