"""Audits of scorers whose errors are known."""

from collections import Counter

import pytest

from diffatlas.bench.audit import AS_ASKED, FAULTS, audit, planted
from diffatlas.bench.judgements import Card, Judgement
from diffatlas.bench.rules import Found, rule
from diffatlas.bench.scorers.shapes import ShapesScorer
from diffatlas.bench.statistics import corrected_rate, rate
from diffatlas.errors import InvalidParams
from diffatlas.shapes.detect import detect


class Blind:
    """Judges by the shapes that are there, and sees no colour."""

    card = Card("blind", "Colour-blind.")

    def cannot(self, task):
        return "It sees no places." if any(one.position for one in task.include) else None

    def judge(self, images, tasks):
        return [self._one(image, task) for image, task in zip(images, tasks, strict=True)]

    def _one(self, image, task):
        seen = Counter(one.shape for one in detect(image))
        enough = all(seen[one.noun] >= one.count for one in task.include)
        few = all(seen[one.noun] < one.count for one in task.exclude if one.color is None)
        return Judgement("pass" if enough and few else "fail")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_by_what_the_scene_holds(fault):
    drawn = planted(fault, 12, seed=4)
    assert [one.fault for one in drawn] == [AS_ASKED, fault] * 12
    assert len({one.task.prompt for one in drawn}) == 12
    for one in drawn:
        # By the objects themselves, before anything is drawn.
        found = {}
        for each in one.scene.objects:
            box = (each.x - each.radius, each.y - each.radius, each.x + each.radius, each.y + each.radius)
            found.setdefault(each.shape, []).append(Found(box, color=each.color))
        assert rule(one.task, found, cut=False).correct == (one.fault == AS_ASKED), one


def test_a_fault_is_the_only_difference_and_nothing_touches_or_leaves_the_picture():
    for fault in FAULTS:
        drawn = planted(fault, 10, seed=2)
        for asked, wrong in zip(drawn[::2], drawn[1::2], strict=True):
            assert asked.task == wrong.task
            assert asked.scene.background == wrong.scene.background
            for one in wrong.scene.objects:
                assert one.radius < one.x < 64 - one.radius
                assert one.radius < one.y < 64 - one.radius


def test_the_exact_detector_is_right_about_all_of_them():
    found = audit(ShapesScorer(), each=8, seed=1)
    assert {kind.fault: kind.right.value for kind in found.kinds} == dict.fromkeys((AS_ASKED, *FAULTS), 1.0)
    assert (found.passed_of_correct, found.failed_of_wrong) == ((48, 48), (48, 48))


def test_what_a_scorer_is_blind_to_is_found_by_the_fault_that_it_passes():
    found = audit(Blind(), each=8, seed=1)
    right = {kind.fault: kind.right.value if kind.right else None for kind in found.kinds}
    assert right["colours exchanged"] == right["recoloured"] == 0
    assert right["removed"] == right["one too many"] == 1
    assert right["moved"] is None
    assert {kind.fault: kind.unjudged for kind in found.kinds}["moved"] == 8
    assert found.failed_of_wrong[1] == 40
    # Its rates can be corrected by what was found.
    seen = rate([1] * 60 + [0] * 20, list(range(80)))
    assert corrected_rate(seen, found.passed_of_correct, found.failed_of_wrong).value < seen.value


def test_an_audit_is_drawn_by_its_seed_and_wants_two_scenes():
    assert planted("moved", 3, seed=0) == planted("moved", 3, seed=0) != planted("moved", 3, seed=1)
    with pytest.raises(InvalidParams, match="two or more"):
        audit(ShapesScorer(), each=1)
