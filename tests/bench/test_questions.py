"""Scores from answers: both meanings of a parent that was answered wrongly, and Soft-TIFA's means."""

import itertools

import numpy as np
import pytest
from scipy.stats import gmean

from diffatlas.bench.questions import arithmetic_mean, counted_answers, geometric_mean
from diffatlas.bench.tasks import Question
from diffatlas.errors import InvalidParams


def question(name, *parents):
    return Question(id=name, text="-", parents=parents)


#: A car; a red car, if there is one; a red car beside a dog, if both are there.
CHAIN = [question("car"), question("dog"), question("red", "car"), question("beside", "red", "dog")]


def test_a_wrong_parent_takes_all_below_along_or_its_children_alone():
    right = {"car": 0, "dog": 1, "red": 1, "beside": 1}
    assert counted_answers(CHAIN, right) == {"car": 0, "dog": 1, "red": 0, "beside": 0}
    assert counted_answers(CHAIN, right, "direct") == {"car": 0, "dog": 1, "red": 0, "beside": 1}


def test_over_all_answers_it_is_what_walking_up_the_tree_says():
    for answers in itertools.product((0, 1), repeat=4):
        right = dict(zip(("car", "dog", "red", "beside"), answers, strict=True))
        red = right["red"] and right["car"]
        cascading = {**right, "red": red, "beside": right["beside"] and red and right["dog"]}
        direct = {**right, "red": red, "beside": right["beside"] and right["red"] and right["dog"]}
        assert counted_answers(CHAIN, right) == cascading
        assert counted_answers(CHAIN, right, "direct") == direct


def test_the_order_of_questions_does_not_matter():
    right = {"car": 0.2, "dog": 0.9, "red": 0.8, "beside": 0.7}
    for order in itertools.permutations(CHAIN):
        assert counted_answers(order, right) == counted_answers(CHAIN, right)


def test_probabilities_are_kept_and_below_a_half_is_wrong():
    right = {"car": 0.5, "dog": 0.9, "red": 0.49, "beside": 0.7}
    assert counted_answers(CHAIN, right) == {"car": 0.5, "dog": 0.9, "red": 0.49, "beside": 0.0}


def test_what_has_no_answer_is_refused():
    with pytest.raises(InvalidParams, match="'red' was not answered"):
        counted_answers(CHAIN, {"car": 1, "dog": 1})
    with pytest.raises(InvalidParams, match="'cascading' or 'direct'"):
        counted_answers(CHAIN, {}, "all")


def test_means_are_numpy_s_and_scipy_s():
    random = np.random.default_rng(0)
    for size in (1, 3, 40):
        values = random.random(size)
        assert arithmetic_mean(values) == pytest.approx(values.mean())
        assert geometric_mean(values) == pytest.approx(gmean(values))


def test_many_small_probabilities_do_not_underflow_and_one_of_0_is_0():
    assert geometric_mean([1e-9] * 80) == pytest.approx(1e-9)
    assert geometric_mean([0.9, 0.0]) == 0
    for wrong in ([], [1.2], [float("nan")]):
        with pytest.raises(InvalidParams):
            geometric_mean(wrong)
