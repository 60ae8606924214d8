"""The exact detector of the embedded models' scenes as a scorer: it has no learned part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffatlas.bench.judgements import Card, Judgement
from diffatlas.bench.rules import Found, rule
from diffatlas.bench.tasks import Task
from diffatlas.shapes.detect import background, detect
from diffatlas.shapes.scenes import BACKGROUNDS, COLORS, SHAPES


class ShapesScorer:
    """Judges scenes of the shapes' grammar by what is drawn in them."""

    card = Card("shapes", "The exact detector of the coloured shapes, by GenEval's rules.")

    def cannot(self, task: Task) -> str | None:
        """Why it cannot judge a task: it is no task of objects, or is of others than these shapes and colours."""
        if task.kind != "objects":
            return f"A task of kind {task.kind!r} says nothing of objects."
        demands = (*task.include, *task.exclude)
        for words, known in (
            ([one.noun for one in demands], SHAPES),
            ([one.color for one in demands if one.color], COLORS),
            ([task.background] if task.background else [], BACKGROUNDS),
        ):
            strange = [word for word in words if word not in known]
            if strange:
                return f"It does not know {strange[0]!r}: it knows {', '.join(known)}."
        return None

    def judge(self, images: Sequence[np.ndarray], tasks: Sequence[Task]) -> list[Judgement]:
        """Return a judgement of each image (H, W, 3) uint8 by its task."""
        return [self._one(image, task) for image, task in zip(images, tasks, strict=True)]

    def _one(self, image: np.ndarray, task: Task) -> Judgement:
        seen = detect(image)
        found: dict[str, list[Found]] = {}
        for one in seen:
            found.setdefault(one.shape, []).append(Found(one.box, one.score, one.color))
        ruling = rule(task, found, cut=False)
        ground = background(image)
        reasons = [*ruling.reasons]
        if task.background and ground != task.background:
            reasons.append(f"expected a {task.background} background, found {ground}")
        objects = [
            {"class": d.shape, "color": d.color, "box": list(d.box), "score": round(d.score, 4)} for d in seen
        ]
        evidence = {"objects": objects, "background": ground}
        return Judgement("fail" if reasons else "pass", tuple(reasons), evidence=evidence)
