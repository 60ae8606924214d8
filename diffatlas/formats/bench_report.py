"""What the files of a bench are made of: its lanes with what a scorer says of their images, and what that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from diffatlas.bench.agreeing import Pair, pairs_of
from diffatlas.bench.audit import Audit
from diffatlas.bench.bench import HAND, Bench, Mark, judged
from diffatlas.bench.judgements import Card, Judged
from diffatlas.errors import InvalidParams
from diffatlas.library.study import Cell
from diffatlas.params import GenerationParams

#: An image of a lane: the id of its task, and its number among the task's.
ImageKey = tuple[str, int]


@dataclass(frozen=True)
class ReportedLane:
    """One lane: its images, and what was said of each."""

    name: str
    #: As the scorer said it, whatever a person did.
    judged: Sequence[Judged]
    #: What was asked, but for prompt and seed; None for images that were made elsewhere.
    params: GenerationParams | None = None
    #: What a person says, which counts in the scorer's place.
    marks: Mapping[ImageKey, Mark] = field(default_factory=dict)
    #: The seed by the number of an image; empty where it is not known.
    seeds: Mapping[int, int] = field(default_factory=dict)
    #: An image (H, W, 3) uint8, or None where there is none.
    picture: Callable[[ImageKey], np.ndarray | None] | None = None
    #: Images that are to be, and are not there.
    missing: int = 0

    @property
    def counted(self) -> list[Judged]:
        """What counts: what a person says where one did, else what the scorer said."""
        return [
            one if mark is None else replace(one, judgement=mark.judgement)
            for one in self.judged
            for mark in (self.marks.get((one.task.id, one.number)),)
        ]


@dataclass(frozen=True)
class BenchReport:
    """A bench under one scorer. ``pack`` is the name of the pack, ``source`` and ``licence`` whose it is."""

    title: str
    pack: str
    lanes: tuple[ReportedLane, ...]
    scorer: Card
    level: float = 0.95
    id: str = ""
    created: str = ""
    source: str = ""
    licence: str = ""
    #: How far the scorers of this bench agree, with each other and with a person.
    pairs: tuple[Pair, ...] = ()
    #: Audits of scorers, by name.
    audits: Mapping[str, Audit] = field(default_factory=dict)


def report_of(
    bench: Bench,
    scorer: str,
    picture: Callable[[Cell], np.ndarray | None] | None = None,
    level: float = 0.95,
    audits: Mapping[str, Audit] | None = None,
) -> BenchReport:
    """Return what a bench's files are made of, as one of its scorers judged it.

    picture: the image of a cell, or None. Raises `InvalidParams` for a scorer that it was not judged by, and where no
    image is there yet.
    """
    lanes = []
    for lane in bench.study.lanes:
        cells = bench.study.in_lane(lane.key)
        by_image = {(bench.task(cell).id, cell.column): cell for cell in cells}
        lanes.append(
            ReportedLane(
                name=lane.name or (cells[0].params.model if cells else lane.key),
                judged=judged(bench, scorer, lane.key, by_hand=False),
                params=cells[0].params if cells else None,
                marks={
                    image: bench.marks[cell.key]
                    for image, cell in by_image.items()
                    if cell.key in bench.marks
                },
                seeds={cell.column: cell.params.seed for cell in cells if cell.params.seed is not None},
                picture=None if picture is None else _by_image(picture, by_image),
                missing=sum(cell.status != "complete" for cell in cells),
            )
        )
    if not any(lane.judged for lane in lanes):
        raise InvalidParams("The bench has no image yet: run it first.", field="bench")
    return BenchReport(
        title=bench.title,
        pack=bench.pack.name,
        lanes=tuple(lanes),
        scorer=bench.cards.get(scorer) or Card(scorer, "A person." if scorer == HAND else ""),
        level=level,
        id=bench.id,
        created=bench.study.created,
        source=bench.pack.source,
        licence=bench.pack.licence,
        pairs=pairs_of(bench),
        audits=audits or {},
    )


def _by_image(
    picture: Callable[[Cell], np.ndarray | None], cells: Mapping[ImageKey, Cell]
) -> Callable[[ImageKey], np.ndarray | None]:
    return lambda image: picture(cells[image])
