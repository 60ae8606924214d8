"""A bench: the images that models made of a pack, what scorers say of them, and what a person does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffatlas.bench.judgements import Card, Judged, Judgement, Verdict
from diffatlas.bench.tasks import Pack, Task
from diffatlas.errors import InvalidParams
from diffatlas.library.study import Cell, Study
from diffatlas.showing import show_html

#: The scorer that is a person.
HAND = "hand"
NOT_MADE = "There is no image yet."
NOT_JUDGED = "Nobody has judged it yet."


@dataclass(frozen=True)
class Mark:
    """What a person says of an image. It is kept beside the verdicts of scorers, and counts in their place."""

    verdict: Verdict
    note: str = ""
    #: When, in UTC, ISO 8601.
    at: str = ""

    @property
    def judgement(self) -> Judgement:
        """What a person says, as a judgement."""
        return Judgement(self.verdict, (self.note,) if self.note else ())


@dataclass(frozen=True)
class Bench:
    """A pack's tasks run with several seeds in one or more lanes.

    study: its rows are the tasks of the pack in their order, its columns the seeds; ``study.spec`` is what was asked.
    """

    study: Study
    pack: Pack
    #: The names of the scorers that are to judge, as `diffatlas.bench.scored.open_scorer` takes them.
    scorers: tuple[str, ...] = (HAND,)
    #: What decided the judgements, by the name of the scorer.
    cards: Mapping[str, Card] = field(default_factory=dict)
    #: By the name of the scorer, and by the key of the cell.
    said: Mapping[str, Mapping[str, Judgement]] = field(default_factory=dict)
    #: By the key of the cell.
    marks: Mapping[str, Mark] = field(default_factory=dict)
    #: What each scorer is opened with (threshold, revision...), by its name.
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        return show_html(self, "bench_html")

    @property
    def id(self) -> str:
        """The id of the bench."""
        return self.study.id

    @property
    def title(self) -> str:
        """The title of the bench."""
        return self.study.title

    def task(self, cell: Cell) -> Task:
        """Return the task of a cell."""
        return self.pack.tasks[cell.row]

    def judgement(self, cell: Cell, scorer: str, by_hand: bool = True) -> Judgement:
        """Return what is said of a cell; "cannot judge" where nothing is.

        by_hand: whether a person's mark counts in the place of what the scorer said.
        """
        mark = self.marks.get(cell.key)
        if mark is not None and (by_hand or scorer == HAND):
            return mark.judgement
        if cell.status != "complete":
            return Judgement("cannot judge", (NOT_MADE,))
        return self.said.get(scorer, {}).get(cell.key) or Judgement("cannot judge", (NOT_JUDGED,))


def judged(bench: Bench, scorer: str, lane: str = "a", by_hand: bool = True) -> list[Judged]:
    """Return what a scorer says of a lane's images, by task and seed; cells without an image are left out.

    by_hand: whether a person's marks count in the place of what the scorer said. Raises `InvalidParams` for a lane or
    a scorer that the bench does not have.
    """
    check_lane(bench, lane)
    check_scorer(bench, scorer)
    return [
        Judged(bench.task(cell), cell.column, bench.judgement(cell, scorer, by_hand))
        for cell in bench.study.in_lane(lane)
        if cell.status == "complete"
    ]


def check_lane(bench: Bench, lane: str) -> None:
    """Raise `InvalidParams` for a lane that the bench does not have."""
    keys = [one.key for one in bench.study.lanes]
    if lane not in keys:
        raise InvalidParams(f"The bench has no lane {lane!r:.40}: there are {', '.join(keys)}.", field="lane")


def check_scorer(bench: Bench, scorer: str) -> None:
    """Raise `InvalidParams` for a scorer that the bench was not judged by."""
    known = list(dict.fromkeys([*bench.scorers, *bench.said, HAND]))
    if scorer not in known:
        raise InvalidParams(
            f"The bench was not judged by {scorer!r:.80}: there are {', '.join(known)}.", field="scorer"
        )


def first_scorer(bench: Bench) -> str:
    """Return the scorer that is shown where none is asked for: the first that is no person."""
    return next((name for name in [*bench.scorers, *bench.said] if name != HAND), HAND)
