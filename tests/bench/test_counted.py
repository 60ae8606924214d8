"""Judgements counted by category, and two benches compared."""

import numpy as np
import pytest

from diffatlas.bench.counted import count, differences
from diffatlas.bench.judgements import Judged, Judgement
from diffatlas.bench.statistics import compare, holm, mean_rate, rate
from diffatlas.bench.tasks import Task
from diffatlas.errors import InvalidParams


def judged(values, tag="a", prompt="p"):
    """Judgements of prompts with four images each; None could not be judged."""
    task = Task(id=f"{tag}{prompt}", prompt=f"{tag} {prompt}", tag=tag, kind="free")
    said = {1: "pass", 0: "fail", None: "cannot judge"}
    return [Judged(task, k, Judgement(said[value])) for k, value in enumerate(values)]


def bench(random, chance, prompts=15):
    return [
        one
        for tag in ("a", "b")
        for number in range(prompts)
        for one in judged((random.random(4) < chance).astype(int).tolist(), tag, f"{number}")
    ]


def test_each_category_has_its_rate_and_all_have_the_mean_of_them():
    random = np.random.default_rng(0)
    found = bench(random, 0.6)
    counted = count(found)
    values = np.array([one.judgement.value for one in found])
    prompts = [one.task.prompt for one in found]
    assert [line.tag for line in counted.lines] == ["a", "b"]
    assert counted.lines[0].rate == rate(values[:60], prompts[:60])
    assert counted.overall == mean_rate(values, prompts, ["a"] * 60 + ["b"] * 60)


def test_what_could_not_be_judged_counts_as_nothing_and_is_told():
    counted = count([*judged([1, 0, None, None], "a"), *judged([None] * 4, "b"), *judged([1, 1], "a", "q")])
    a, b = counted.lines
    assert (a.rate.value, a.rate.images, a.unjudged) == (0.75, 4, 2)
    assert (b.rate, b.unjudged) == (None, 4)
    assert counted.overall.value == 0.75
    nothing = count(judged([None] * 3))
    assert (nothing.overall, nothing.lines[0].unjudged) == (None, 3)
    with pytest.raises(InvalidParams, match="nothing to count"):
        count([])


def test_a_graded_score_is_what_is_counted():
    task = Task(id="t", prompt="p", tag="a", kind="free")
    found = [Judged(task, k, Judgement("pass", score=score)) for k, score in enumerate((0.5, 0.75))]
    assert count(found).lines[0].rate.value == 0.625


def test_two_benches_are_compared_on_what_both_have():
    random = np.random.default_rng(1)
    first, second = bench(random, 0.3), bench(random, 0.7)
    whole, found = differences(first, second)
    sides = [
        ([one.judgement.value for one in side], [one.task.prompt for one in side]) for side in (first, second)
    ]
    assert whole == compare(*sides)
    assert whole.difference > 0.2
    assert {one.tag: one.adjusted for one in found} == holm({one.tag: one.compared.p for one in found})
    _, only = differences(first, [one for one in second if one.task.tag == "b"])
    assert [one.tag for one in only] == ["b"]
    with pytest.raises(InvalidParams, match="0 prompts in common"):
        differences(first, judged([1, 0], "z"))
