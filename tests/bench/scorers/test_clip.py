"""Likeness by CLIP, against CLIP written out in NumPy."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from diffatlas.bench.audit import audit
from diffatlas.bench.judgements import Card, Judgement, judge_all
from diffatlas.bench.scored import open_scorer
from diffatlas.bench.scorers.clip import with_threshold
from diffatlas.bench.tasks import Exclude, Include, Question, Task
from diffatlas.errors import InvalidParams
from tests.bench.clip_by_hand import ClipByHand

PROMPTS = ("a photo of a dog", "two red cats", "a photo of a dog", "a street with no car and a tree", "Bears")


def asked(prompt):
    return Task(id=prompt[:200], prompt=prompt, tag="-", kind="free")


def test_the_cosine_is_that_of_clip_written_out(judge, photos):
    folder = judge("clip")
    scorer = open_scorer(f"clip:{folder}")
    by_hand = ClipByHand(folder)
    said = scorer.judge(photos, [asked(prompt) for prompt in PROMPTS])
    for photo, prompt, one in zip(photos, PROMPTS, said, strict=True):
        cosine = by_hand.image(Image.fromarray(photo)) @ by_hand.text(prompt)
        assert one.evidence["cosine"] == pytest.approx(cosine, abs=2e-5)
        assert one.verdict == ("pass" if cosine >= 0.25 else "fail")
        # What is counted is the verdict.
        assert one.value == float(cosine >= 0.25)
    assert len({round(one.evidence["cosine"], 4) for one in said}) == len(said)


def test_an_image_is_judged_alike_alone_and_among_others_of_other_sizes(judge, photos):
    scorer = open_scorer(f"clip:{judge('clip')}")
    images = [photos[0], photos[1][:33], photos[2][:, :20], *photos]
    tasks = [asked(PROMPTS[k % 3]) for k in range(len(images))]
    together = scorer.judge(images * 4, tasks * 4)
    for image, task, one in zip(images, tasks, together, strict=False):
        (alone,) = scorer.judge([image], [task])
        assert alone.evidence["cosine"] == pytest.approx(one.evidence["cosine"], abs=1e-5)
    assert [one.verdict for one in together[:8]] == [one.verdict for one in together[24:]]


def test_a_prompt_beyond_the_window_is_cut_and_that_is_said(judge, photos):
    folder = judge("clip")
    scorer = open_scorer(f"clip:{folder}", threshold=-1)
    fits, beyond = "a" * 75, "a" * 75 + "bcdef"
    one, other = scorer.judge(photos[:1] * 2, [asked(fits), asked(beyond)])
    assert one.reasons == ()
    assert "tokens not read" not in one.evidence
    assert (other.verdict, other.evidence["tokens not read"]) == ("pass", 5)
    assert other.reasons == ("the prompt is too long: its last 5 tokens were not read",)
    read = ClipByHand(folder)
    expected = read.image(Image.fromarray(photos[0])) @ read.text("a" * 75 + "b")
    assert other.evidence["cosine"] == pytest.approx(expected, abs=2e-5)


def test_another_threshold_needs_no_model(judge, photos):
    folder = judge("clip")
    tasks = [asked(prompt) for prompt in (*PROMPTS[:4], "x" * 90)]
    before = open_scorer(f"clip:{folder}").judge(photos, tasks)
    middle = float(np.median([one.evidence["cosine"] for one in before]))
    after = open_scorer(f"clip:{folder}", threshold=middle).judge(photos, tasks)
    assert [with_threshold(one, middle) for one in before] == after
    assert {one.verdict for one in after} == {"pass", "fail"}
    # So it is from what was written down.
    written = json.loads(json.dumps([dict(one.evidence) for one in before]))
    assert [with_threshold(Judgement("fail", evidence=one), middle) for one in written] == after
    for threshold in (1.5, float("nan")):
        with pytest.raises(InvalidParams, match="a cosine is from -1 to 1"):
            with_threshold(before[0], threshold)
    with pytest.raises(InvalidParams, match="not judged by CLIP"):
        with_threshold(Judgement("pass"), 0.2)


def test_the_card_tells_all_that_decides_and_can_be_written_down(judge):
    folder = judge("clip")
    card = open_scorer(f"clip:{folder}", threshold=0.3, device="cpu", dtype="fp32").card
    assert (card.name, card.model, card.dtype) == (f"clip:{folder}", str(folder), "fp32")
    assert card.revision.startswith("sha256:")
    assert card.settings == {"threshold": 0.3}
    assert "blind to counts" in card.about
    assert Card(**json.loads(json.dumps(dataclasses.asdict(card)))) == card


def test_every_kind_of_task_has_a_prompt_and_can_be_judged(judge, photos):
    tasks = [
        Task(id="a", prompt="a dog", tag="-", include=(Include(noun="dog"),), exclude=(Exclude(noun="cat"),)),
        Task(id="b", prompt="a dog", tag="-", kind="questions", questions=(Question(id="q", text="Is it?"),)),
        asked("a dog"),
    ]
    said = judge_all(open_scorer(f"clip:{judge('clip')}"), photos[:3], tasks, [0, 0, 0])
    assert all(one.judgement.verdict != "cannot judge" for one in said)


def test_an_audit_on_drawn_shapes_judges_it_too(judge):
    found = audit(open_scorer(f"clip:{judge('clip')}"), each=3)
    assert found.passed_of_correct[1] == found.failed_of_wrong[1] == 18
    assert all(kind.unjudged == 0 for kind in found.kinds)


def test_a_threshold_that_is_no_cosine_is_refused_before_anything_is_loaded():
    with pytest.raises(InvalidParams, match="The threshold is 25"):
        open_scorer("clip:/nowhere", threshold=25)
