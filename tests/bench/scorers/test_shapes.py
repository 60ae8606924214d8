"""The shapes' detector as a scorer."""

import numpy as np
import pytest

from diffatlas.bench.audit import pictures
from diffatlas.bench.judgements import judge_all
from diffatlas.bench.packs.shapes import as_task
from diffatlas.bench.packs.shipped import shipped_pack
from diffatlas.bench.scorers.shapes import ShapesScorer
from diffatlas.bench.tasks import Exclude, Include, Question, Task
from diffatlas.shapes.scenes import Object, Scene
from diffatlas.shapes.tasks import sample_tasks

SCENE = Scene(
    "two",
    "navy",
    (Object("circle", "red", 18.0, 30.0, 10.0), Object("star", "yellow", 46.0, 34.0, 10.0)),
)


def task(include=(), exclude=(), **more):
    return Task(id="a", prompt="-", tag="-", include=tuple(include), exclude=tuple(exclude), **more)


@pytest.mark.parametrize(
    ("demand", "reasons"),
    [
        (task([Include(noun="circle", color="red"), Include(noun="star", color="yellow")]), ()),
        (
            task([Include(noun="circle", color="yellow")]),
            ("expected yellow circle>=1, found 0 yellow; and 1 red",),
        ),
        (task([Include(noun="ring")]), ("expected ring>=1, found 0",)),
        (task([Include(noun="star"), Include(noun="circle", position=("left of", 0))]), ()),
        (task([Include(noun="star", count=2)]), ("expected star>=2, found 1",)),
        (task(exclude=[Exclude(noun="star")]), ("expected star<1, found 1",)),
        (task(exclude=[Exclude(noun="star", color="red")]), ()),
        (task(background="navy"), ()),
        (task(background="white"), ("expected a white background, found navy",)),
    ],
)
def test_a_drawn_scene_is_judged_by_what_is_in_it(demand, reasons):
    (judgement,) = ShapesScorer().judge(pictures([SCENE]), [demand])
    assert judgement.reasons == reasons
    assert judgement.verdict == ("fail" if reasons else "pass")
    assert judgement.value == float(not reasons)
    found = {(one["class"], one["color"]) for one in judgement.evidence["objects"]}
    assert found == {("circle", "red"), ("star", "yellow")}


@pytest.mark.parametrize(
    ("demand", "words"),
    [
        (task([Include(noun="dog")]), "does not know 'dog'"),
        (task([Include(noun="star", color="brown")]), "does not know 'brown'"),
        (task([Include(noun="star")], background="beige"), "does not know 'beige'"),
        (Task(id="a", prompt="-", tag="-", kind="free"), "'free' says nothing of objects"),
        (
            Task(id="a", prompt="-", tag="-", kind="questions", questions=(Question(id="q", text="Is it?"),)),
            "'questions' says nothing of objects",
        ),
    ],
)
def test_what_it_cannot_judge_is_neither_right_nor_wrong(demand, words):
    scorer = ShapesScorer()
    known = task([Include(noun="star")])
    judged = judge_all(scorer, pictures([SCENE] * 3), [known, demand, known], [0, 0, 1])
    assert [one.judgement.verdict for one in judged] == ["pass", "cannot judge", "pass"]
    assert words in judged[1].judgement.reasons[0]
    assert judged[1].judgement.value is None


def test_every_task_of_its_packs_can_be_judged():
    scorer = ShapesScorer()
    for name in ("shapes", "shapes-hard"):
        assert all(scorer.cannot(task) is None for task in shipped_pack(name).tasks)
    backgrounds = [as_task(task, "x") for task in sample_tasks("background", 5)]
    assert all(scorer.cannot(task) is None for task in backgrounds)
    assert all(scorer.cannot(task) for task in shipped_pack("lite").tasks)


def test_an_empty_picture_passes_only_what_must_not_be_there():
    empty = np.full((64, 64, 3), 250, np.uint8)
    scorer = ShapesScorer()
    assert scorer.judge([empty], [task(exclude=[Exclude(noun="star")])])[0].verdict == "pass"
    assert scorer.judge([empty], [task([Include(noun="star")])])[0].verdict == "fail"
