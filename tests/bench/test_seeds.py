"""Rates by the number of an image, and whether some seeds are better whatever is asked."""

import itertools

import numpy as np
import pytest

from diffatlas.bench.judgements import Judged, Judgement
from diffatlas.bench.seeds import by_number
from diffatlas.bench.statistics import rate, seed_effect, variance_shares
from diffatlas.bench.tasks import Task
from diffatlas.errors import InvalidParams

SAID = {1: "pass", 0: "fail", None: "cannot judge"}


def bench(table):
    """Judgements of a prompt a row and an image a column."""
    return [
        Judged(Task(id=f"t{row}", prompt=f"p{row}", tag="a", kind="free"), k, Judgement(SAID[value]))
        for row, values in enumerate(table)
        for k, value in enumerate(values)
    ]


def test_each_number_has_its_rate_and_the_shares_are_of_all():
    table = (np.random.default_rng(0).random((30, 4)) < [0.2, 0.5, 0.5, 0.9]).astype(int)
    found = by_number(bench(table.tolist()))
    prompts = [f"p{row}" for row in range(30)]
    assert [one.rate for one in found.numbers] == [rate(column, prompts) for column in table.T]
    columns = (table.ravel(), np.repeat(np.arange(30), 4).tolist(), np.tile(np.arange(4), 30).tolist())
    assert found.shares == variance_shares(*columns)
    assert found.p < 0.01
    assert (found.prompts, found.left_out, found.why) == (30, 0, "")


def test_prompts_that_lack_a_number_are_left_out_and_a_number_that_few_have_does_not_count():
    rows = [[1, 0, 1], [0, 0, 1], [1, None, 0], [1, 1, 0, 1]]
    found = by_number(bench(rows))
    assert [one.number for one in found.numbers] == [0, 1, 2, 3]
    assert (found.numbers[1].rate.images, found.numbers[1].unjudged) == (3, 1)
    assert (found.prompts, found.left_out) == (3, 1)
    assert found.shares is not None


def test_what_is_not_known_is_said():
    assert "no variance" in by_number(bench([[1, 1], [1, 1]])).why
    single = by_number(bench([[1], [0]]))
    assert single.shares is None
    assert "two of each" in single.why
    nothing = by_number(bench([[None, None]]))
    assert (nothing.numbers[0].rate, nothing.numbers[0].unjudged, nothing.p) == (None, 1, None)
    with pytest.raises(InvalidParams, match="nothing to count"):
        by_number([])


def test_the_p_value_is_that_of_all_ways_to_name_the_seeds():
    table = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0]], dtype=float)
    seen = table.mean(0).var() - 1e-12
    ways = itertools.product(itertools.permutations(range(3)), repeat=4)
    spreads = [
        np.array([row[list(p)] for row, p in zip(table, way, strict=True)]).mean(0).var() for way in ways
    ]
    exact = np.mean([spread >= seen for spread in spreads])
    columns = (table.ravel(), np.repeat(np.arange(4), 3).tolist(), np.tile(np.arange(3), 4).tolist())
    assert seed_effect(*columns, draws=8000) == pytest.approx(exact, abs=0.02)
    assert seed_effect(np.ones(4), ["p", "p", "q", "q"], [0, 1, 0, 1]) == 1
