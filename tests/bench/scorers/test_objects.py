"""Tasks of objects judged by what detectors see: GenEval's verdicts on the same boxes and colours."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from diffatlas.bench.audit import audit
from diffatlas.bench.judgements import Card, judge_all
from diffatlas.bench.packs.shipped import shipped_pack
from diffatlas.bench.scored import open_scorer
from diffatlas.bench.scorers.detectors.box import Box
from diffatlas.bench.scorers.objects import ObjectsScorer, is_counting
from diffatlas.bench.tasks import Exclude, Include, Task
from diffatlas.errors import InvalidParams

#: What GenEval's program says of drawn boxes, colours and demands (see tests.bench.test_rules).
OFFICIAL = json.loads((Path(__file__).parents[1] / "geneval_verdicts.json").read_text(encoding="utf-8"))
LOADED = SimpleNamespace(
    name="Given", dtype="fp32", checkpoint=SimpleNamespace(model="given", revision="1", name="Given")
)


class Given:
    """A detector of what is given, each image by the number of its first pixel."""

    loaded, template, masks = LOADED, "a {class}", False

    def __init__(self, boxes):
        self.boxes = boxes
        self.calls = []

    def cannot(self, nouns):
        return None

    def detect(self, images, nouns, threshold):
        self.calls.append(([int(image[0, 0, 0]) for image in images], nouns, threshold))
        return [[one for one in self.boxes[number] if one.score > threshold] for number in self.calls[-1][0]]


class GivenColors:
    """Tells the colour that a box was given."""

    clip = SimpleNamespace(loaded=LOADED)

    def __init__(self):
        self.asked = []

    def colors(self, image, boxes, noun):
        self.asked.append((noun, len(boxes)))
        return [one.color for one in boxes]


def numbered(number, size=(10, 10)):
    return np.full((*size, 3), number, np.uint8)


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


def test_verdicts_and_reasons_on_the_same_boxes_and_colours_are_those_of_geneval_s_program():
    boxes = [
        [
            Box(box=tuple(box), score=0.99 - 0.001 * k, color=color, noun=noun)
            for noun, objects in case["found"].items()
            for k, (*box, color) in enumerate(objects)
        ]
        for case in OFFICIAL
    ]
    detector = Given(boxes)
    # The detector's order is not that of how sure it is.
    detector.boxes = [one[::-1] for one in boxes]
    tasks = [demanded(case["include"], case["exclude"]) for case in OFFICIAL]
    images = [numbered(k) for k in range(len(OFFICIAL))]
    said = ObjectsScorer(detector, GivenColors()).judge(images, tasks)
    for one, case in zip(said, OFFICIAL, strict=True):
        assert one.verdict == ("pass" if case["correct"] else "fail")
        # The names of relations come in any order there.
        assert [set(reason.split()) for reason in one.reasons] == [set(r.split()) for r in case["reasons"]]


def test_where_a_task_counts_the_detector_has_to_be_surer():
    boxes = [
        Box(box=(k * 9, 0, k * 9 + 5, 5), score=score, noun="dog") for k, score in enumerate((0.95, 0.5, 0.2))
    ]
    scorer = ObjectsScorer(Given([boxes]), None)
    one, two = demanded([{"class": "dog", "count": 1}]), demanded([{"class": "dog", "count": 2}])
    none_more = demanded(exclude=[{"class": "dog", "count": 2}])
    said = scorer.judge([numbered(0)] * 3, [one, two, none_more])
    assert [each.verdict for each in said] == ["pass", "fail", "pass"]
    assert [each.evidence["threshold"] for each in said] == [0.3, 0.9, 0.9]
    assert said[1].reasons == ("expected dog>=2, found 1",)
    assert [len(each.evidence["objects"]) for each in said] == [2, 1, 1]
    other = ObjectsScorer(Given([boxes]), None, threshold=0.6, counting_threshold=0.1)
    said = other.judge([numbered(0)] * 2, [one, demanded([{"class": "dog", "count": 3}])])
    assert [each.verdict for each in said] == ["pass", "pass"]
    apart = [Box(box=(0, 0, 9, 9), score=0.9, noun="dog"), Box(box=(0, 0, 9, 8), score=0.8, noun="dog")]
    assert (
        ObjectsScorer(Given([apart]), None, counting_threshold=0.3).judge([numbered(0)], [two])[0].value == 1
    )
    assert (
        ObjectsScorer(Given([apart]), None, 0.3, 0.3, overlap=0.5).judge([numbered(0)], [two])[0].value == 0
    )


def test_the_tasks_that_count_are_those_of_geneval_s_tag():
    for name in ("geneval-form", "counting", "negation", "critical-absence", "spatial", "colour"):
        for task in shipped_pack(name).tasks:
            assert is_counting(task) == (task.tag == "counting"), task


def test_images_are_seen_in_batches_of_one_size_and_the_same_classes():
    detector = Given([[]] * 20)
    tasks = [demanded([{"class": noun, "count": 1}]) for noun in ("dog", "cat")]
    images = [numbered(k, (10, 12) if k == 2 else (10, 10)) for k in range(14)]
    ObjectsScorer(detector, None).judge(images, [tasks[k % 2] for k in range(14)])
    assert detector.calls == [
        ([0, 4, 6, 8], ("dog",), 0.3),
        ([10, 12], ("dog",), 0.3),
        ([1, 3, 5, 7], ("cat",), 0.3),
        ([9, 11, 13], ("cat",), 0.3),
        ([2], ("dog",), 0.3),
    ]


def test_colours_are_asked_once_of_each_object_and_told():
    boxes = [
        Box(box=(k * 9, 0, k * 9 + 5, 5), score=0.95, noun="dog", color=color)
        for k, color in enumerate(("red", "blue"))
    ]
    colors = GivenColors()
    task = Task(
        id="a",
        prompt="-",
        tag="-",
        include=(Include(noun="dog", count=2, color="red"),),
        exclude=(Exclude(noun="dog", color="blue"),),
    )
    (said,) = ObjectsScorer(Given([boxes]), colors).judge([numbered(0)], [task])
    assert colors.asked == [("dog", 2)]
    assert {one["color"] for one in said.evidence["objects"]} == {"red", "blue"}
    assert said.reasons == (
        "expected red dog>=2, found 1 red; and 1 red, 1 blue",
        "expected blue dog<1, found 1",
    )
    json.dumps(dict(said.evidence))


@pytest.mark.parametrize(
    ("include", "more", "words"),
    [
        (Include(noun="dog"), {"background": "navy"}, "no background"),
        (Include(noun="dog", color="cyan"), {}, "colour 'cyan'"),
        (Include(noun="zebra"), {}, "does not know 'zebra'"),
        (None, {"kind": "free"}, "'free' says nothing of objects"),
    ],
)
def test_what_it_cannot_judge_is_neither_right_nor_wrong(judge, photos, include, more, words):
    scorer = open_scorer(f"objects:{judge('mask2former')}", colors=str(judge("clip")))
    task = Task(id="a", prompt="-", tag="-", include=(include,) if include else (), **more)
    known = Task(id="b", prompt="-", tag="-", include=(Include(noun="dog", color="red"),))
    other, one = judge_all(scorer, photos[:2], [task, known], [0, 0])
    assert (other.judgement.verdict, other.judgement.value) == ("cannot judge", None)
    assert words in other.judgement.reasons[0]
    assert one.judgement.verdict in ("pass", "fail")


def test_without_a_model_of_colours_they_cannot_be_judged(judge):
    scorer = open_scorer(f"objects:{judge('mask2former')}", colors="none")
    assert scorer.cannot(demanded([{"class": "dog", "count": 1}])) is None
    assert "without a model that tells colours" in scorer.cannot(
        demanded([{"class": "dog", "count": 1, "color": "red"}])
    )
    assert scorer.card.settings["colors"] == "none"


@pytest.mark.parametrize(
    ("name", "template", "seen"),
    [
        ("mask2former", "", "what the mask covers"),
        ("owlv2", "a photo of a {class}", "the whole box"),
    ],
)
def test_the_card_tells_all_that_decides_and_can_be_written_down(judge, name, template, seen):
    folder, clip = judge(name), judge("clip")
    scorer = open_scorer(f"objects:{folder}", colors=str(clip), counting_threshold=0.5, dtype="fp32")
    card = scorer.card
    assert card.name == f"objects:{folder}"
    assert card.about.startswith("GenEval rules, other detector")
    assert (card.template, card.dtype) == (template, "fp32")
    assert card.revision.startswith("sha256:")
    assert card.settings["colors_seen"] == seen
    assert (card.settings["threshold"], card.settings["counting_threshold"]) == (0.3, 0.5)
    assert (card.settings["colors"], card.settings["most_of_a_class"]) == (str(clip), 16)
    assert Card(**json.loads(json.dumps(dataclasses.asdict(card)))) == card


def test_an_audit_on_drawn_shapes_judges_what_it_can(judge):
    scorer = open_scorer(f"objects:{judge('owlv2')}", colors=str(judge("clip")))
    found = audit(scorer, each=3)
    told = {kind.fault: kind.unjudged for kind in found.kinds}
    assert told["moved"] == told["removed"] == 0
    # The shapes have colours that GenEval does not tell apart.
    assert told["as asked"] > 0
    closed = audit(open_scorer(f"objects:{judge('detr')}", colors="none"), each=2)
    assert closed.failed_of_wrong == closed.passed_of_correct == (0, 0)


@pytest.mark.parametrize("option", ["threshold", "counting_threshold", "overlap"])
def test_what_is_no_share_is_refused_before_anything_is_loaded(option):
    with pytest.raises(InvalidParams, match=f"{option} is 30: give a number from 0 to 1"):
        open_scorer("objects:/nowhere", **{option: 30})
