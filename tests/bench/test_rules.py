"""Verdicts on what was found, against GenEval's own program and the exact judge of the shapes."""

import json
from pathlib import Path

import numpy as np
import pytest

from diffatlas.bench.audit import pictures
from diffatlas.bench.packs.shapes import SIX, as_task
from diffatlas.bench.rules import Found, relations, rule
from diffatlas.bench.tasks import Exclude, Include, Task
from diffatlas.shapes.detect import detect
from diffatlas.shapes.tasks import judge
from tests.bench.drawn_folder import scenes_of

#: What GenEval's program (djghosh13/geneval, evaluation/evaluate_images.py) says of drawn boxes, colours and demands;
#: the names of relations, which it joins in any order, are in that of the alphabet.
OFFICIAL = json.loads((Path(__file__).parent / "geneval_verdicts.json").read_text(encoding="utf-8"))


def demanded(include=(), exclude=()):
    return Task(
        id="a",
        prompt="-",
        tag="-",
        include=tuple(
            Include(
                noun=one["class"],
                count=one["count"],
                color=one.get("color"),
                position=tuple(one["position"]) if "position" in one else None,
            )
            for one in include
        ),
        exclude=tuple(Exclude(noun=one["class"], count=one["count"]) for one in exclude),
    )


def boxes(found):
    return {
        noun: [Found(tuple(box), color=color) for *box, color in objects] for noun, objects in found.items()
    }


@pytest.mark.parametrize("case", OFFICIAL)
def test_verdict_and_reasons_are_those_of_geneval_s_program(case):
    found = rule(demanded(case["include"], case["exclude"]), boxes(case["found"]))
    assert (found.correct, list(found.reasons)) == (case["correct"], case["reasons"])


def test_the_cases_are_of_both_kinds_and_of_every_reason():
    told = [reason for case in OFFICIAL for reason in case["reasons"]]
    assert 10 < sum(case["correct"] for case in OFFICIAL) < len(OFFICIAL) - 10
    for part in (">=", " red; and ", "no target for", "target, found", "<"):
        assert any(part in reason for reason in told), part


def seen(image):
    found = {}
    for one in detect(image):
        found.setdefault(one.shape, []).append(Found(one.box, one.score, one.color))
    return found


KINDS = {"colour": "single", "two": "two", "binding": "two", "count": "count", "position": "relation"}


@pytest.mark.parametrize("category", SIX)
def test_without_the_cut_they_are_those_of_the_exact_judge_of_the_shapes(category):
    scenes = scenes_of(category, KINDS.get(category, "negation"), 14)
    images = pictures([scene for scene, _ in scenes])
    told = []
    for number, (_, scene) in enumerate(scenes):
        # On the scene of its own caption, and on those of two others.
        for image in (images[number], images[number - 1], images[number - 2]):
            told.append(judge(image, scene).correct)
            assert rule(as_task(scene, "x"), seen(image), cut=False).correct == told[-1], scene.prompt
    assert set(told) == {True, False}


def test_two_relations_can_hold_and_none_of_what_is_nearly_in_one_place():
    assert relations((0, 0, 10, 10), (100, 100, 110, 110)) == {"left of", "above"}
    assert relations((50, 0, 60, 10), (50, 40, 60, 50)) == {"above"}
    assert relations((0, 0, 100, 100), (5, 5, 105, 105)) == set()
    assert relations((0, 0, 10, 10), (0, 0, 10, 10)) == set()


def test_what_is_turned_about_stands_in_the_other_relation():
    rng = np.random.default_rng(0)
    other = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    for _ in range(200):
        a, b = (np.r_[corner, corner + rng.integers(4, 60, 2)] for corner in rng.integers(0, 80, (2, 2)))
        assert relations(b, a) == {other[name] for name in relations(a, b)}


def test_a_detector_that_is_never_wrong_takes_those_of_the_right_colour():
    task = demanded([{"class": "ring", "count": 1, "color": "red"}])
    found = boxes({"ring": [[0, 0, 9, 9, "blue"], [20, 0, 29, 9, "red"]]})
    assert not rule(task, found).correct
    assert rule(task, found, cut=False).correct


def test_colours_are_asked_for_only_where_one_is_demanded_and_of_those_that_count():
    asked = []

    def colors(objects, noun):
        asked.append((noun, len(objects)))
        return ["red"] * len(objects)

    found = boxes({"dog": [[0, 0, 9, 9, None]] * 3, "cat": [[40, 0, 49, 9, None]] * 3})
    task = demanded([{"class": "dog", "count": 2, "color": "red"}, {"class": "cat", "count": 1}])
    assert rule(task, found, colors).correct
    assert asked == [("dog", 2)]


def test_a_colour_that_is_denied_counts_only_what_has_it():
    task = Task(
        id="a",
        prompt="a heart that is not red",
        tag="-",
        include=(Include(noun="heart"),),
        exclude=(Exclude(noun="heart", color="red"),),
    )
    assert rule(task, boxes({"heart": [[0, 0, 9, 9, "blue"]]})).correct
    told = rule(task, boxes({"heart": [[0, 0, 9, 9, "red"]]}))
    assert told.reasons == ("expected red heart<1, found 1",)
