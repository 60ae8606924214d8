"""What the pages of studies ask: a study, its measures and files, and the layers of studies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from diffatlas.library.study import OPERATIONS
from diffatlas.ui.wire.call import Call
from diffatlas.ui.wire.kinds import (
    Answer,
    Asked,
    Done,
    File,
    Flag,
    Known,
    Nothing,
    One,
    Opened,
    Problem,
    Query,
    Wait,
)
from diffatlas.ui.wire.measures import GrowthOfBins, NeighbourhoodMeasures, SweepMeasures
from diffatlas.ui.wire.run_value import Params
from diffatlas.ui.wire.runs import Counted, LayerEdit


@dataclass(frozen=True, kw_only=True)
class OfOperation(Asked):
    """The studies of one operation."""

    operation: Literal[OPERATIONS]  # type: ignore[valid-type]


@dataclass(frozen=True, kw_only=True)
class Rename(One):
    """Another title for a study."""

    title: str


@dataclass(frozen=True, kw_only=True)
class StudyExport(One):
    """A file of a study. kind: of `diffatlas.formats.study_kinds.STUDY_KINDS`."""

    kind: str


@dataclass(frozen=True, kw_only=True)
class CellsAsked(One):
    """Some cells of a study, by their runs."""

    ids: list[str]


@dataclass(frozen=True, kw_only=True)
class CellAsked(One):
    """One cell of a study, by its key."""

    cell: str


@dataclass(frozen=True, kw_only=True)
class CellDetail(CellAsked):
    """Its image in full. dark: of the histogram."""

    dark: Flag = False


@dataclass(frozen=True, kw_only=True)
class LaneAsked(One):
    """One lane of a study, by its key."""

    lane: str


@dataclass(frozen=True, kw_only=True)
class StudyLayerEdit(LayerEdit, OfOperation):
    """A change of a layer of a study, or a look at a study, which makes it one."""

    action: Literal["look", "lock", "rename", "show", "delete", "reset"]


@dataclass(frozen=True, kw_only=True)
class StudyCurvesAsked(One, OfOperation):
    """What of a layer's study is drawn beside another."""


class StudyRow(Answer):
    """A study in the list."""

    id: str
    title: str
    created: str
    status: str
    cells: int
    done: int
    thumb: str | None
    error: str | None


class StudyList(Answer):
    """The studies, the newest first."""

    studies: list[StudyRow]


class Lane(Answer):
    """A lane: what it changes of the request, and where it runs."""

    key: str
    name: str
    backend: str
    changes: dict[str, Any]
    #: Fields that a provider's model has no input for.
    not_sent: list[str]


class Column(Answer):
    """A column of the grid; value: what it varies, of a sweep."""

    column: int
    value: Any
    label: str
    caption: str


class RowOfGrid(Answer):
    """A row of the grid."""

    row: int
    seed: int | None


class Cell(Answer):
    """A cell: where it stands, and what it asks."""

    key: str
    lane: str
    row: int
    column: int
    label: str
    caption: str
    params: Params


class StudyTold(Answer):
    """What was asked of a study; spec: `diffatlas.library.study.Study.spec`."""

    id: str
    operation: str
    title: str
    created: str
    spec: dict[str, Any]
    python: str
    query: Query
    lanes: list[Lane]
    columns: list[Column]
    rows: list[RowOfGrid]
    cells: list[Cell]


class CellProblem(Answer):
    """Why a cell has failed."""

    message: str | None
    code: str | None


class CellState(Answer):
    """How far a cell is, and what came of it."""

    status: str
    step: int
    total: int | None
    preview: str | None
    image: str | None
    run: str | None
    cached: bool
    batched: bool
    seconds: float | None
    error: CellProblem | None
    unread: list[str]
    wait: Wait | None


class LaneState(Answer):
    """How far a lane is."""

    status: str
    message: str | None


class StudyValue(Answer):
    """A study as the page shows it, live or stored: `diffatlas.ui.components.study_view`."""

    request: str
    status: str
    message: str
    ahead: int
    wait: str
    study: StudyTold | None
    cells: dict[str, CellState]
    lanes: dict[str, LaneState]
    notes: list[str]
    known: Known
    error: Problem | None


class ImageDetail(Counted):
    """A cell's image, and what is measured of it."""

    image: str


class StudyLayer(Answer):
    """A layer, and what is told of its study."""

    id: str
    name: str
    label: str
    locked: bool
    visible: bool
    colour: str | None
    status: str
    cells: int
    done: int
    error: str | None


class StudyLayers(Answer):
    """The visitor's layers of one operation, and a sentence on those that are left out."""

    layers: list[StudyLayer]
    left_out: str | None


class Measured(Answer):
    """The study that is measured now."""

    id: str


class LaneGrowth(Answer):
    """How images part as their starts do in one lane, its jumps and its basins."""

    key: str
    name: str
    cells: int
    growth: GrowthOfBins | None
    growth_latent: GrowthOfBins | None
    jumps: int
    basins: int | None
    silhouette: float | None


class LaneAgreement(Answer):
    """How two lanes agree."""

    a: str
    b: str
    rank: float | None
    p: float | None
    n: int


class NeighbourhoodCurves(Answer):
    """What of a neighbourhood is drawn beside another."""

    id: str
    mode: str
    lanes: list[LaneGrowth]
    agreement: list[LaneAgreement]


CALLS = {
    "studies": Call(OfOperation, StudyList),
    "study": Call(One, StudyValue),
    "rename_study": Call(Rename, StudyList),
    "forget_study": Call(One, Done),
    "restore_study": Call(One, Done),
    "measures": Call(One, SweepMeasures | NeighbourhoodMeasures),
    "study_export": Call(StudyExport, File),
    "to_layers": Call(CellsAsked, Opened),
    "image_detail": Call(CellDetail, ImageDetail),
    "stop_lane": Call(LaneAsked, Done),
    "stop_measures": Call(Nothing, Done),
    "study_layers": Call(OfOperation, StudyLayers),
    "edit_study_layer": Call(StudyLayerEdit, StudyLayers),
    "study_curves": Call(StudyCurvesAsked, Measured | NeighbourhoodCurves),
}
