"""Scorers held against each other and against marks by hand."""

import numpy as np
import pytest

from diffatlas.bench.against_marks import ALL, audit_by_marks, corrected_by, corrected_lines
from diffatlas.bench.agreeing import agree, among
from diffatlas.bench.audit import Audit
from diffatlas.bench.judgements import Judged, Judgement
from diffatlas.bench.packs.geneval_marks import Marked
from diffatlas.bench.statistics import agreement, corrected_rate, rate
from diffatlas.bench.tasks import Task
from diffatlas.errors import InvalidParams

SAID = {1: "pass", 0: "fail", None: "cannot judge"}


def task(tag, number):
    return Task(id=f"{tag}-{number}", prompt=f"{tag} {number}", tag=tag, kind="free")


def bench(table, tag="a"):
    """Judgements of a prompt a row and an image a column."""
    return [
        Judged(task(tag, row), k, Judgement(SAID[value]))
        for row, values in enumerate(table)
        for k, value in enumerate(values)
    ]


def test_images_are_paired_by_prompt_and_number_in_whatever_order_they_come():
    one = bench([[1, 0], [1, 1], [0, 1]]) + bench([[1, None]], "b")
    other = bench([[1, 1], [1, 1], [0, 0]]) + bench([[1, 1]], "b")
    (pair,) = agree({"x": one, "y": [*reversed(other)][:-1]})
    marks = [(0, 1), (1, 1), (1, 1), (0, 0), (1, 0)]
    prompts = ["a 0", "a 1", "a 1", "a 2", "a 2"]
    a, b = pair.lines
    assert (a.tag, b.tag) == ("a", "b")
    expected = agreement([[bool(m) for m in both] for both in marks], prompts)
    assert (a.agreement.raw, a.agreement.kappa, a.agreement.ac1) == (
        expected.raw,
        expected.kappa,
        expected.ac1,
    )
    assert a.agreement.intervals == expected.intervals
    assert (b.agreement.kappa, b.agreement.images, b.unjudged) == (None, 1, 1)
    assert (pair.overall.agreement.images, pair.overall.unjudged) == (6, 1)
    assert pair.name == "x and y"


def test_three_make_three_pairs_and_a_score_does_not_change_a_verdict():
    first = bench([[1, 0]])
    graded = [Judged(one.task, one.number, Judgement(one.judgement.verdict, score=0.4)) for one in first]
    pairs = agree({"x": first, "y": graded, "z": bench([[0, 0]])})
    assert [pair.name for pair in pairs] == ["x and y", "x and z", "y and z"]
    assert pairs[0].overall.agreement.raw == 1


def test_people_among_themselves_are_all_who_marked():
    marked = [Marked(task("a", 0), 0, (True, True, False)), Marked(task("a", 1), 0, (False,) * 3)]
    pair = among("people", marked)
    assert pair.overall.agreement.raw == pytest.approx((1 / 3 + 1) / 2)
    assert pair.name == "people among themselves"


def test_who_cannot_be_paired_is_told_so():
    with pytest.raises(InvalidParams, match="between two"):
        agree({"x": bench([[1]])})
    with pytest.raises(InvalidParams, match="x and y have no image in common"):
        agree({"x": bench([[1]]), "y": bench([[1]], "b")})
    with pytest.raises(InvalidParams, match="No image was marked"):
        audit_by_marks(bench([[1]]), bench([[1]], "b"))


def test_a_scorer_is_right_on_both_kinds_of_images_by_hand():
    judged, marks = bench([[1, 1], [0, 0], [1, None]]), bench([[1, 0], [1, 0], [1, 1]])
    found = audit_by_marks(judged, marks)
    correct, wrong = found.kinds
    assert correct.right == rate([1.0, 0.0, 1.0], ["a 0", "a 1", "a 2"])
    assert wrong.right == rate([0.0, 1.0], ["a 0", "a 1"])
    assert (found.passed_of_correct, found.failed_of_wrong) == ((2, 3), (1, 2))
    assert (correct.unjudged, wrong.unjudged) == (1, 0)


def test_rates_are_freed_of_the_errors_on_the_images_that_were_marked():
    random = np.random.default_rng(0)
    truth = (random.random((200, 4)) < 0.3).astype(int)
    said = np.where(truth == 1, random.random(truth.shape) < 0.8, random.random(truth.shape) < 0.3).astype(
        int
    )
    judged, marks = bench(said.tolist()), bench(truth[:80].tolist())
    line, whole = corrected_lines(judged, marks)
    audit = audit_by_marks(judged, marks)
    errors = [(k.right.value * k.right.effective, k.right.effective) for k in audit.kinds]
    assert line.corrected == corrected_rate(line.rate, *errors)
    assert line.rate.value > 0.4
    assert line.corrected.low < truth.mean() < line.corrected.high
    assert abs(line.corrected.value - truth.mean()) < abs(line.rate.value - truth.mean()) / 2
    assert (line.marked, whole.tag) == (320, "all images")


def test_what_keeps_a_rate_from_being_corrected_is_said():
    judged = bench([[1, 0]]) + bench([[None]], "b") + bench([[1, 0], [1, 0]], "c")
    marks = bench([[1, 1]]) + bench([[0, 1], [0, 1]], "c")
    a, b, c, _ = corrected_lines(judged, marks)
    assert "marked as wrong" in a.why
    assert (b.rate, b.why) == (None, "Nothing could be judged.")
    assert "no better than a coin" in c.why


def test_rates_are_freed_of_the_errors_that_an_audit_found():
    # A scorer that passes 9 of 10 correct scenes and fails 8 of 10 wrong ones.
    audit = Audit((), (90, 100), (80, 100))
    judged = bench([[1, 1], [1, 0], [0, 1], [1, 1]]) + bench([[0, 0], [0, None]], "b") + bench([[None]], "c")
    lines = {line.tag: line for line in corrected_by(audit, judged)}
    assert list(lines) == ["a", "b", "c", ALL]
    # Rogan and Gladen: (rate + specificity - 1) / (sensitivity + specificity - 1).
    assert lines["a"].corrected.value == pytest.approx((6 / 8 + 0.8 - 1) / 0.7)
    assert lines["b"].corrected.value == 0.0
    assert lines[ALL].corrected.value == pytest.approx((6 / 11 + 0.8 - 1) / 0.7)
    assert (lines["c"].rate, lines["c"].corrected) == (None, None)
    assert lines["c"].why == "Nothing could be judged."
    blind = corrected_by(Audit((), (50, 100), (50, 100)), judged)
    assert "no better than a coin" in blind[0].why
    assert blind[0].corrected is None
