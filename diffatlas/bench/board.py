"""Benches held against each other: a row for each lane and scorer, and the images of which two say different things."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from diffatlas.bench.bench import HAND, Bench, judged
from diffatlas.bench.counted import Counted, count
from diffatlas.bench.judgements import Card, Judgement
from diffatlas.bench.packs.files import plain
from diffatlas.bench.tasks import Pack, Task
from diffatlas.library.study import Cell
from diffatlas.params import GenerationParams


@dataclass(frozen=True)
class Row:
    """What one scorer says of one lane of a bench.

    of: images that the lane is to have, of which ``images`` are there. marked: of those, how many count as a person
    said.
    """

    lane: str
    scorer: str
    card: Card | None
    #: `digest_of` it.
    pack: str
    params: GenerationParams
    counted: Counted
    images: int
    of: int
    marked: int

    @property
    def board(self) -> str:
        """What rows have in common that can be held against each other: the pack's tasks, and all that judged."""
        card = None if self.card is None else asdict(self.card)
        text = json.dumps([self.pack, self.scorer, card], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Side:
    """One of two that are compared: a lane of a bench, by what a scorer says of it."""

    bench: Bench
    lane: str
    scorer: str
    by_hand: bool = True


@dataclass(frozen=True)
class Apart:
    """Two images of one prompt, one of which is right and the other wrong. number: of the image among its prompt's."""

    task: Task
    number: int
    cells: tuple[Cell, Cell]
    judgements: tuple[Judgement, Judgement]

    @property
    def first_right(self) -> bool:
        """Whether it is the first that is right."""
        return self.judgements[0].verdict == "pass"


def digest_of(pack: Pack) -> str:
    """Return what tells the tasks of a pack from others: what they ask and demand, whatever they are called."""
    tasks = sorted(json.dumps(plain(replace(task, id="-")), sort_keys=True) for task in pack.tasks)
    text = json.dumps([pack.dependencies, tasks])
    return hashlib.sha256(text.encode()).hexdigest()


def rows_of(bench: Bench, by_hand: bool = True) -> list[Row]:
    """Return a row for each lane and each scorer that has judged any of it.

    by_hand: whether a person's marks count in the place of what scorers say. Marks have rows of their own.
    """
    pack = digest_of(bench.pack)
    rows = []
    for lane in bench.study.lanes:
        cells = bench.study.in_lane(lane.key)
        images = [cell for cell in cells if cell.status == "complete"]
        for scorer in dict.fromkeys([*bench.scorers, *bench.said, HAND]):
            marked = sum(cell.key in bench.marks for cell in images) if by_hand or scorer == HAND else 0
            said = {} if scorer == HAND else bench.said.get(scorer, {})
            if not (marked if scorer == HAND else any(cell.key in said for cell in images)):
                continue
            card = None if scorer == HAND else bench.cards.get(scorer)
            counted = count(judged(bench, scorer, lane.key, by_hand))
            rows.append(
                Row(
                    lane.key,
                    scorer,
                    card,
                    pack,
                    cells[0].params,
                    counted,
                    len(images),
                    len(cells),
                    marked,
                )
            )
    return rows


def apart(first: Side, second: Side) -> list[Apart]:
    """Return the images on which two differ, in the order of the first's prompts: one passes and the other fails.

    They are paired by prompt, and by their number among its images. What cannot be judged is left out.
    """
    others = {(task.prompt, number): (cell, said) for task, number, cell, said in _said(second)}
    found = []
    for task, number, cell, said in _said(first):
        other = others.get((task.prompt, number))
        if other is not None and {said.verdict, other[1].verdict} == {"pass", "fail"}:
            found.append(Apart(task, number, (cell, other[0]), (said, other[1])))
    return found


def _said(side: Side) -> Iterator[tuple[Task, int, Cell, Judgement]]:
    for cell in side.bench.study.in_lane(side.lane):
        if cell.status == "complete":
            judgement = side.bench.judgement(cell, side.scorer, side.by_hand)
            yield side.bench.task(cell), cell.column, cell, judgement
