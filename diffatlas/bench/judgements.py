"""What a scorer says of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from diffatlas.bench.tasks import Pack, Task

Verdict = Literal["pass", "fail", "cannot judge"]


@dataclass(frozen=True)
class Judgement:
    """A verdict on one image. What cannot be judged is neither right nor wrong, and counts as neither."""

    verdict: Verdict
    #: What is wrong, or why it cannot be judged.
    reasons: tuple[str, ...] = ()
    #: 0 to 1, where the scorer has more to say than the verdict.
    score: float | None = None
    #: What was seen, as plain values.
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float | None:
        """What is counted: the score, or 1 for a pass and 0 for a fail; None where it cannot be judged."""
        if self.verdict == "cannot judge":
            return None
        return float(self.verdict == "pass") if self.score is None else self.score


@dataclass(frozen=True)
class Card:
    """What decides a scorer's judgements: its model, if any, and how that was used."""

    name: str
    about: str
    model: str = ""
    revision: str = ""
    template: str = ""
    dtype: str = ""
    #: What else decides them, such as a threshold, as plain values by name.
    settings: Mapping[str, Any] = field(default_factory=dict)


class Scorer(Protocol):
    """Judges images by what their tasks demand."""

    card: Card

    def cannot(self, task: Task) -> str | None:
        """Why it cannot judge a task, as a sentence; None where it can."""

    def judge(self, images: Sequence[np.ndarray], tasks: Sequence[Task]) -> list[Judgement]:
        """Return a judgement of each image (H, W, 3) uint8 by its task, each of which it can judge."""


@dataclass(frozen=True)
class Judged:
    """An image of a task, and what was said of it."""

    task: Task
    number: int
    judgement: Judgement


def by_pack(scorer: Scorer, pack: Pack) -> Scorer:
    """Return a scorer as it judges the tasks of a pack.

    One that asks questions has to know what the pack makes of a wrong parent: it has a method `by_pack`.
    """
    fitted = getattr(scorer, "by_pack", None)
    return scorer if fitted is None else fitted(pack)


def judge_all(
    scorer: Scorer, images: Sequence[np.ndarray], tasks: Sequence[Task], numbers: Sequence[int]
) -> list[Judged]:
    """Return what a scorer says of images, "cannot judge" where it cannot. numbers: that of each among its task's."""
    missing = [scorer.cannot(task) for task in tasks]
    able = [k for k, reason in enumerate(missing) if reason is None]
    said = dict(zip(able, scorer.judge([images[k] for k in able], [tasks[k] for k in able]), strict=True))
    return [
        Judged(task, number, said[k] if k in said else Judgement("cannot judge", (missing[k] or "",)))
        for k, (task, number) in enumerate(zip(tasks, numbers, strict=True))
    ]
