"""What the Bench page asks of benches held against each other: boards, two lanes compared, and where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from diffatlas.ui.wire.call import Call
from diffatlas.ui.wire.kinds import Answer, Asked, Figure, Flag, Measured, Whole


@dataclass(frozen=True, kw_only=True)
class BoardsAsked(Asked):
    """All benches. by_hand: whether marks by hand count in the place of what scorers say."""

    by_hand: Flag = True


@dataclass(frozen=True, kw_only=True)
class SideAsked(Asked):
    """A lane of a bench, by the verdicts of a scorer."""

    bench: str
    lane: str
    scorer: str


@dataclass(frozen=True, kw_only=True)
class TwoAsked(Asked):
    """Two lanes, of one bench or of two."""

    first: SideAsked
    second: SideAsked
    by_hand: Flag = True


@dataclass(frozen=True, kw_only=True)
class TwoDrawn(TwoAsked):
    """The figure of two lanes. id: what the page calls it; across: charts in a row."""

    id: str
    dark: Flag = False
    across: Annotated[Whole, Field(ge=1, le=3)] = 1


@dataclass(frozen=True, kw_only=True)
class ApartAsked(TwoAsked):
    """Images on which two lanes differ: those of which the first alone is right, the second alone, or both kinds."""

    which: Literal["any", "first", "second"] = "any"
    offset: Annotated[Whole, Field(ge=0)] = 0
    limit: Annotated[Whole, Field(ge=1, le=24)] = 12


class Share(Answer):
    """The rate of a category with its interval, or None where nothing could be judged; and what could not be."""

    tag: str
    value: Measured
    low: Measured
    high: Measured
    images: int
    unjudged: int


class BoardRow(Answer):
    """A lane of a bench on a board. of: images that it is to have; marked: those that count as a person said."""

    bench: str
    title: str
    created: str
    lane: str
    scorer: str
    name: str
    images: int
    of: int
    marked: int
    overall: Share
    categories: list[Share]


class Board(Answer):
    """Rows that can be held against each other: of one pack, judged by one scorer in one way."""

    id: str
    pack: str
    prompts: int
    scorer: str
    about: str
    tags: list[str]
    rows: list[BoardRow]


class Boards(Answer):
    """The boards, that of the newest bench first; and what is wrong with benches that cannot be read."""

    boards: list[Board]
    unread: list[str]


class CategoryCompared(Answer):
    """A category, or all prompts: the second minus the first. p: adjusted by Holm for a category."""

    tag: str
    prompts: int
    differ: int
    difference: float
    low: float
    high: float
    p: float
    detectable: float


class TwoCompared(Answer):
    """Two lanes compared. notes: what keeps the two from being alike in all but the lane."""

    first: str
    second: str
    notes: list[str]
    all: CategoryCompared
    categories: list[CategoryCompared]
    only_first: int
    only_second: int


class ApartImage(Answer):
    """One of two images: its card, its picture (None where it is gone), and what is said of it."""

    cell: str
    seed: str
    picture: str | None
    verdict: str
    reasons: list[str]


class ApartPair(Answer):
    """Two images of one prompt of which one is right."""

    task: str
    prompt: str
    tag: str
    demands: list[str]
    first: ApartImage
    second: ApartImage


class ApartFound(Answer):
    """Some of the images on which two lanes differ, and how many there are."""

    total: int
    pairs: list[ApartPair]


CALLS = {
    "boards": Call(BoardsAsked, Boards),
    "board_compare": Call(TwoAsked, TwoCompared),
    "board_figure": Call(TwoDrawn, Figure),
    "board_apart": Call(ApartAsked, ApartFound),
}
