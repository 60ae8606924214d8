"""Objects, counts, colours and places by GenEval's rules, on what a detector of transformers sees.

The rules are those of GenEval's program (`diffatlas.bench.rules`), the detector is another: on the same boxes and
colours the verdicts are equal, on the same images they need not be.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffatlas.bench.judgements import Card, Judgement
from diffatlas.bench.rules import Found, rule
from diffatlas.bench.scorers.clip_model import open_clip
from diffatlas.bench.scorers.colors import TEMPLATES, ColorJudge
from diffatlas.bench.scorers.detectors.box import Box, Detector
from diffatlas.bench.scorers.detectors.kept import kept
from diffatlas.bench.scorers.detectors.opened import open_detector
from diffatlas.bench.scorers.registry import default_model
from diffatlas.bench.tasks import COLORS, MOST_OBJECTS, Task
from diffatlas.errors import InvalidParams

#: How sure a detector must be of an object, and where objects are counted: GenEval's choice, for its Mask2Former.
THRESHOLD, COUNTING = 0.3, 0.9
#: Images that a detector is given together.
AT_ONCE = 4
#: Named instead of a model of colours where there is to be none.
NO_COLORS = "none"


class ObjectsScorer:
    """Judges tasks of objects by what a detector sees. Without `colors`, what names a colour cannot be judged."""

    def __init__(
        self,
        detector: Detector,
        colors: ColorJudge | None,
        threshold: float = THRESHOLD,
        counting_threshold: float = COUNTING,
        overlap: float = 1.0,
    ) -> None:
        _check(threshold=threshold, counting_threshold=counting_threshold, overlap=overlap)
        self._detector, self._colors = detector, colors
        self._threshold, self._counting, self._overlap = threshold, counting_threshold, overlap
        self.card = self._card()

    def _card(self) -> Card:
        loaded = self._detector.loaded
        checkpoint = loaded.checkpoint
        settings = {
            "threshold": self._threshold,
            "counting_threshold": self._counting,
            "overlap": self._overlap,
            "most_of_a_class": MOST_OBJECTS,
            "colors": NO_COLORS,
        }
        if self._colors is not None:
            clip = self._colors.clip.loaded
            settings |= {
                "colors": clip.checkpoint.model,
                "colors_revision": clip.checkpoint.revision,
                "colors_dtype": clip.dtype,
                "colors_templates": list(TEMPLATES),
                "colors_seen": "what the mask covers" if self._detector.masks else "the whole box",
            }
        return Card(
            name=f"objects:{checkpoint.model}",
            about=f"GenEval rules, other detector: {loaded.name}.",
            model=checkpoint.model,
            revision=checkpoint.revision,
            template=self._detector.template,
            dtype=loaded.dtype,
            settings=settings,
        )

    def cannot(self, task: Task) -> str | None:
        """Why it cannot judge a task: it is none of objects, or is of classes or colours that cannot be told."""
        if task.kind != "objects":
            return f"A task of kind {task.kind!r} says nothing of objects."
        if task.background:
            return "It sees objects, and no background."
        named = [one.color for one in (*task.include, *task.exclude) if one.color]
        if named and self._colors is None:
            return "It was opened without a model that tells colours."
        strange = [color for color in named if color not in COLORS]
        if strange:
            return f"It does not know the colour {strange[0]!r}: it knows {', '.join(COLORS)}."
        return self._detector.cannot(_nouns(task))

    def judge(self, images: Sequence[np.ndarray], tasks: Sequence[Task]) -> list[Judgement]:
        """Return a judgement of each image (H, W, 3) uint8 by its task, each of which it can judge."""
        least = min(self._threshold, self._counting)
        seen: list[list[Box]] = [[] for _ in images]
        # What knows its classes by number looks for all of them.
        asked = [_nouns(task) if self._detector.template else () for task in tasks]
        for numbers, nouns in _batches(images, asked):
            found = self._detector.detect([images[k] for k in numbers], nouns, least)
            for k, boxes in zip(numbers, found, strict=True):
                seen[k] = boxes
        return [self._one(*each) for each in zip(images, tasks, seen, strict=True)]

    def _one(self, image: np.ndarray, task: Task, boxes: Sequence[Box]) -> Judgement:
        threshold = self._counting if is_counting(task) else self._threshold
        found = kept(boxes, threshold, self._overlap)
        told: dict[int, str] = {}

        def colors(objects: Sequence[Found], noun: str) -> list[str]:
            new = [one for one in objects if id(one) not in told]
            if new and self._colors is not None:
                told.update(zip(map(id, new), self._colors.colors(image, new, noun), strict=True))
            return [told[id(one)] for one in objects]

        ruling = rule(task, found, colors)
        objects = [
            {"class": noun, "box": list(one.box), "score": one.score}
            | ({"color": told[id(one)]} if id(one) in told else {})
            for noun, several in found.items()
            for one in several
        ]
        evidence = {"objects": objects, "threshold": threshold}
        return Judgement("pass" if ruling.correct else "fail", ruling.reasons, evidence=evidence)


def open_objects(
    model: str,
    threshold: float = THRESHOLD,
    counting_threshold: float = COUNTING,
    overlap: float = 1.0,
    colors: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    revision: str | None = None,
) -> ObjectsScorer:
    """Load a detector, and the CLIP that tells colours, as a scorer.

    threshold, counting_threshold: how sure the detector must be of an object, 0 to 1, the second where a task counts.
    overlap: see `kept`. colors: a CLIP by its id or folder, by default the registry's first; "none" for none. Raises as
    `open_detector` and `open_clip` do, and `InvalidParams` for what is not from 0 to 1.
    """
    _check(threshold=threshold, counting_threshold=counting_threshold, overlap=overlap)
    detector = open_detector(model, device, dtype, revision)
    judge = None
    if colors != NO_COLORS:
        judge = ColorJudge(open_clip(colors or default_model("clip"), device, dtype))
    return ObjectsScorer(detector, judge, threshold, counting_threshold, overlap)


def is_counting(task: Task) -> bool:
    """Whether a task counts: more than one of a class is asked for, or more than so many are too many.

    Of GenEval's own tasks these are the ones with the tag "counting".
    """
    return any(one.count > 1 for one in (*task.include, *task.exclude))


def _nouns(task: Task) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.noun for one in (*task.include, *task.exclude)))


def _batches(
    images: Sequence[np.ndarray], asked: Sequence[tuple[str, ...]]
) -> list[tuple[list[int], tuple[str, ...]]]:
    """The numbers of images that a detector is given together, and their classes: of one size and the same classes."""
    alike: dict[tuple, list[int]] = {}
    for k, (image, nouns) in enumerate(zip(images, asked, strict=True)):
        alike.setdefault((image.shape, nouns), []).append(k)
    return [
        (numbers[start : start + AT_ONCE], nouns)
        for (_, nouns), numbers in alike.items()
        for start in range(0, len(numbers), AT_ONCE)
    ]


def _check(**shares: float) -> None:
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise InvalidParams(f"{name} is {value:g}: give a number from 0 to 1.", field=name)
