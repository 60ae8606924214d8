"""What the views of runs ask: their data, their projections, steps, comparisons and files; and about layers of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Len
from pydantic import Field

from diffatlas.ui.wire.call import Call
from diffatlas.ui.wire.kinds import (
    Answer,
    Asked,
    Figure,
    File,
    Flag,
    Floats,
    Measured,
    Nothing,
    One,
    Pair,
    Several,
    Whole,
)
from diffatlas.ui.wire.run_value import LayerInfo, News, StoredRun

#: Runs in one figure, at most: more would not be told apart.
MOST_RUNS = 60
#: Lines of values that a page writes beneath each title of a figure, at most.
MOST_READINGS = 4
_COLOUR = r"^(#[0-9a-fA-F]{6}|rgb\(\d{1,3}, \d{1,3}, \d{1,3}\))$"


@dataclass(frozen=True, kw_only=True)
class LayerEdit(Asked):
    """A change of a layer. name: of "rename"; visible: of "show"."""

    action: Literal["lock", "rename", "show", "delete", "reset"]
    id: str = ""
    name: str = ""
    visible: Flag = False


@dataclass(frozen=True, kw_only=True)
class Projected(Several):
    """The paths of runs in one basis. fit: the run whose basis it is, or "all"."""

    view: Literal["pca", "umap"] = "pca"
    fit: str = "all"


@dataclass(frozen=True, kw_only=True)
class StepAsked(One):
    """One step of a run. decode: whether the VAE draws its pictures, which needs the model. dark: of its histogram."""

    index: Whole
    decode: Flag = False
    dark: Flag = False


@dataclass(frozen=True, kw_only=True)
class Compared(Pair):
    """Two paths, step by step. across: charts in a row."""

    align: Literal["auto", "step", "dtw", "procrustes"] = "auto"
    dark: Flag = False
    across: Annotated[Whole, Field(ge=1, le=2)] = 1


@dataclass(frozen=True, kw_only=True)
class Export(Several):
    """A file of runs. kind: of `diffatlas.formats.kinds.KINDS`."""

    kind: str


@dataclass(frozen=True, kw_only=True)
class Drawn(Asked):
    """A run of a figure, what it is called there, and its colour: "#rrggbb" or "rgb(r, g, b)"."""

    id: str
    name: str
    colour: Annotated[str, Field(pattern=_COLOUR)] | None = None


@dataclass(frozen=True, kw_only=True)
class Curves(Asked):
    """The curves of runs. readings: the lines of values that the page writes beneath each title."""

    layers: Annotated[list[Drawn], Len(1, MOST_RUNS)]
    along: Literal["step", "progress"] = "step"
    dark: Flag = False
    readings: Annotated[Whole, Field(ge=0, le=MOST_READINGS)] = 0


@dataclass(frozen=True, kw_only=True)
class Grown(Asked):
    """What a page knows of a run in progress. points: of the path; None where no path is in sight."""

    request: str
    changes: Annotated[Whole, Field(ge=0)]
    steps: Annotated[Whole, Field(ge=0)]
    points: Annotated[Whole, Field(ge=0)] | None = None


class LayersTold(Answer):
    """The visitor's layers."""

    layers: list[LayerInfo]


class Projection(Answer):
    """Paths in one basis, (steps + 1, dimensions) by run. message: what it waits for, or why there is none."""

    view: str
    pending: bool
    coords: dict[str, Floats]
    #: The shares of the variance that the axes explain, and what of each run's they show; None of UMAP.
    axes: list[Measured] | None
    captured: dict[str, Measured] | None
    message: str | None


class StepPicture(Answer):
    """A picture of a step."""

    key: str
    label: str
    url: str
    #: None where it is not known what drew a preview.
    decoder: str | None
    width: int
    height: int


class Value(Answer):
    """A number of a step, its name in the glossary and on the page, and its unit."""

    key: str
    label: str
    value: Measured
    unit: str


class Counted(Answer):
    """What is measured of a picture. histogram: `diffatlas.figures.picture_values`."""

    histogram: Figure | None
    statistics: list[Value]


class StepDetail(Counted):
    """One step in full."""

    id: str
    index: int
    decoder: str
    can_decode: bool
    pictures: list[StepPicture]
    scalars: list[Value]


class ChannelMap(Answer):
    """Change by step and channel: (steps, channels)."""

    steps: int
    channels: int
    values: Floats
    largest: Measured


class PlaceMaps(Answer):
    """Change by step and place: (steps, height, width)."""

    steps: int
    height: int
    width: int
    values: Floats
    largest: Measured


class PlaceMap(Answer):
    """Change by place over the run: (height, width)."""

    height: int
    width: int
    values: Floats
    largest: Measured


class ChangeMaps(Answer):
    """Where and in which channels a run changes, as root mean squares; None with a note where that cannot be told."""

    channels: ChannelMap | None
    spatial: PlaceMaps | None
    whole: PlaceMap | None
    note: str | None


CALLS = {
    "layers": Call(Nothing, LayersTold),
    "edit": Call(LayerEdit, LayersTold),
    "run_data": Call(One, StoredRun),
    "grown": Call(Grown, News),
    "curves": Call(Curves, Figure),
    "project": Call(Projected, Projection),
    "step": Call(StepAsked, StepDetail),
    "deep": Call(One, ChangeMaps),
    "compare": Call(Compared, Figure),
    "export": Call(Export, File),
}
