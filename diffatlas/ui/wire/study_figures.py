"""What the pages of studies ask to be drawn: the figures of `diffatlas.ui.study_figures`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Len
from pydantic import Field

from diffatlas.figures.distances import ORDERS
from diffatlas.figures.map import KINDS
from diffatlas.ui.wire.call import Call
from diffatlas.ui.wire.kinds import Answer, Asked, Figure, Flag, One, Whole

#: Charts in a row, and other studies in a figure, at most.
MOST_ACROSS, MOST_BESIDE = 4, 24
Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


@dataclass(frozen=True, kw_only=True)
class FigureAsked(One):
    """A figure of a study. across: charts in a row. complete: cells that are, which makes another figure of it."""

    dark: Flag = False
    across: Annotated[Whole, Field(ge=1, le=MOST_ACROSS)] = 1
    complete: Whole | None = None


@dataclass(frozen=True, kw_only=True)
class LaneFigure(FigureAsked):
    """The same of one lane, by its key; None for all, or for the first where there is a figure of one only."""

    lane: str | None = None


@dataclass(frozen=True, kw_only=True)
class OwnLine(Asked):
    """What the study in view is called beside others, and its colour; None for ink."""

    name: str
    colour: Colour | None = None


@dataclass(frozen=True, kw_only=True)
class BesideLine(OwnLine):
    """The same of another study."""

    id: str


@dataclass(frozen=True, kw_only=True)
class Guidance(LaneFigure):
    """The guidance by step, of one seed; None for all."""

    row: Whole | None = None


@dataclass(frozen=True, kw_only=True)
class Growth(LaneFigure):
    """How images part as their starts do, where others are drawn too beside those."""

    own: OwnLine | None = None
    beside: Annotated[list[BesideLine], Len(0, MOST_BESIDE)] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Drift(Growth, Guidance):
    """How far values carry from the baseline."""


@dataclass(frozen=True, kw_only=True)
class Distances(LaneFigure):
    """The matrix of distances. by: which distance. width: pixels that there are across."""

    by: str = "image"
    order: Literal[ORDERS] = "basin"  # type: ignore[valid-type]
    width: Annotated[Whole, Field(ge=100, le=10_000)] = 100


@dataclass(frozen=True, kw_only=True)
class Map(LaneFigure):
    """The map of a lane's cells."""

    of: Literal["image", "latent"] = "image"
    kind: Literal[KINDS] = "mds"  # type: ignore[valid-type]


class Pending(Answer):
    """What the figure waits for."""

    pending: str


CALLS = {
    "drift_figure": Call(Drift, Figure),
    "guidance_figure": Call(Guidance, Figure),
    "growth_figure": Call(Growth, Figure),
    "distances_figure": Call(Distances, Figure),
    "agreement_figure": Call(FigureAsked, Figure),
    "map_figure": Call(Map, Figure | Pending),
}
