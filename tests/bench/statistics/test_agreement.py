"""Agreement against published tables, scikit-learn, and pairs counted one by one."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from diffatlas.bench.statistics import agreement
from diffatlas.errors import InvalidParams

#: Fourteen raters, ten subjects, five marks: the worked example of Fleiss' kappa, 0.210.
FLEISS = [
    (0, 0, 0, 0, 14),
    (0, 2, 6, 4, 2),
    (0, 0, 3, 5, 6),
    (0, 3, 9, 2, 0),
    (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0),
    (3, 2, 6, 3, 0),
    (2, 5, 3, 2, 2),
    (6, 5, 2, 1, 0),
    (0, 2, 2, 3, 7),
]


def spread(counts):
    return [mark for mark, times in enumerate(counts) for _ in range(times)]


def test_fleiss_own_example():
    assert agreement([spread(row) for row in FLEISS]).kappa == pytest.approx(0.210, abs=5e-4)


def test_raw_agreement_is_the_share_of_pairs_that_are_alike():
    random = np.random.default_rng(0)
    marks = [random.integers(0, 3, random.integers(2, 6)).tolist() for _ in range(30)]
    shares = [np.mean([a == b for a, b in itertools.combinations(row, 2)]) for row in marks]
    assert agreement(marks).raw == pytest.approx(np.mean(shares))


def test_where_nearly_all_marks_are_equal_kappa_fails_and_ac1_does_not():
    # Two raters, 125 subjects: 118 times both say yes, 5 and 2 times one of them, never both no.
    marks = [("yes", "yes")] * 118 + [("yes", "no")] * 5 + [("no", "yes")] * 2
    found = agreement(marks)
    assert found.raw == pytest.approx(0.944)
    assert found.kappa == pytest.approx(-0.029, abs=0.001)
    assert found.ac1 == pytest.approx(0.941, abs=0.001)
    assert found.shares == pytest.approx({"no": 0.028, "yes": 0.972})


def test_of_two_who_use_the_marks_alike_kappa_is_cohen_s():
    random = np.random.default_rng(1)
    first = random.integers(0, 2, 4000)
    second = np.where(random.random(4000) < 0.25, random.integers(0, 2, 4000), first)
    expected = cohen_kappa_score(first, second)
    found = agreement(list(zip(first.tolist(), second.tolist(), strict=True)))
    assert found.kappa == pytest.approx(expected, abs=1e-3)


def test_equal_marks_alone_have_no_kappa():
    found = agreement([("yes", "yes")] * 4)
    assert (found.raw, found.kappa, found.ac1) == (1, None, 1)


def test_missing_marks_are_left_out_and_images_with_one_too():
    found = agreement([(1, None, 1), (0, 1, None), (None, 1, None)])
    assert (found.images, found.raw) == (2, 0.5)
    with pytest.raises(InvalidParams, match="No image has two marks"):
        agreement([(1, None), (None, None)])


def test_intervals_are_wider_where_the_images_of_a_prompt_are_alike():
    random = np.random.default_rng(2)
    alike = np.repeat(random.random(40) < 0.7, 4)
    marks = [(1, int(same)) for same in alike]
    by_prompt = agreement(marks, np.repeat(np.arange(40), 4).tolist()).intervals["raw"]
    by_image = agreement(marks, list(range(160))).intervals["raw"]
    assert by_prompt[1] - by_prompt[0] > 1.6 * (by_image[1] - by_image[0])
    assert agreement(marks, ["one"] * 160).intervals is None
