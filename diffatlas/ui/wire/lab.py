"""What the page of the 2D Lab asks: a target, training, samples, fields, files. Longer questions: `lab_studies`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired

from annotated_types import Len
from pydantic import Field

from diffatlas.lab2d.denoisers import QUANTITIES
from diffatlas.lab2d.samplers import SAMPLERS
from diffatlas.lab2d.schedules import T
from diffatlas.ui.wire.call import Call
from diffatlas.ui.wire.kinds import (
    Answer,
    Asked,
    Empty,
    File,
    Flag,
    Floats,
    Measured,
    Nothing,
    Number,
    Shorts,
    Whole,
)

MOST_SAMPLES = 5000
MOST_FRAMES = 49
#: Which field: that of the network, the exact one, that of the training points.
FIELDS = ("learned", "exact", "empirical")
Seed = Annotated[Whole, Field(ge=0, le=2**31 - 1)]
Level = Annotated[Number, Field(ge=0, le=1_000_000)]
Coordinate = Annotated[Number, Field(ge=-50, le=50)]


@dataclass(frozen=True, kw_only=True)
class LabAsked(Asked):
    """A lab that is open."""

    lab: str


@dataclass(frozen=True, kw_only=True)
class Begin(Asked):
    """A lab that begins. instead: the one that it replaces.

    target: {preset}, {points, labels, ...} as a file of the lab has it, {table}: text, or {kept}: the id of a drawing.
    recipe: some of `diffatlas.lab2d.training.Recipe`. pretrained: whether the preset's own weights are taken.
    """

    target: dict[str, Any]
    recipe: dict[str, Any] | None = None
    pretrained: Flag = False
    instead: str | None = None


@dataclass(frozen=True, kw_only=True)
class Open(Asked):
    """The text of a file that the lab has saved."""

    text: str
    instead: str | None = None


@dataclass(frozen=True, kw_only=True)
class Return(Asked):
    """A network that was ``kept``, or a lab that is in memory, by its id (``again``)."""

    kept: str | None = None
    again: str | None = None
    instead: str | None = None


@dataclass(frozen=True, kw_only=True)
class Train(LabAsked):
    """Training for so many steps; None for those of the recipe. anyway: although it may take more than the bounds."""

    steps: Annotated[Whole, Field(ge=1, le=100_000)] | None = None
    anyway: Flag = False


@dataclass(frozen=True, kw_only=True)
class Watch(LabAsked):
    """Where a training stands. since: blocks of losses that are known. samples: whether a cloud is wanted."""

    since: Annotated[Whole, Field(ge=0, le=10**7)] = 0
    samples: Flag = False


@dataclass(frozen=True, kw_only=True)
class FieldAsked(LabAsked):
    """Which field, for which class, with what guidance.

    classes: each point its own, the null token, or the number of one. interval: whether guidance acts between the noise
    levels ``low`` and ``high`` only. points: of the training set that "empirical" is made of.
    """

    field: Literal[FIELDS] = "learned"  # type: ignore[valid-type]
    classes: Literal["all", "none"] | Annotated[Whole, Field(ge=0)] = "all"
    weight: Annotated[Number, Field(ge=-1, le=20)] = 0.0
    kind: Literal["cfg", "auto"] = "cfg"
    interval: Flag = False
    low: Level | None = None
    high: Level | None = None
    points: Annotated[Whole, Field(ge=5, le=5000)] = 500


@dataclass(frozen=True, kw_only=True)
class Sampling(FieldAsked):
    """A sampling: the sampler, how many points, and what their noise is drawn by."""

    sampler: Literal[SAMPLERS] = "heun"  # type: ignore[valid-type]
    steps: Annotated[Whole, Field(ge=1, le=1000)] = 18
    eta: Annotated[Number, Field(ge=0, le=1)] = 0.0
    churn: Annotated[Number, Field(ge=0, le=100)] = 0.0
    n: Annotated[Whole, Field(ge=10, le=MOST_SAMPLES)] = 1000
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class Sample(Sampling):
    """A sampling to be shown. mesh: with what becomes of a mesh. anyway: although it may take more than the bounds."""

    mesh: Flag = False
    anyway: Flag = False


@dataclass(frozen=True, kw_only=True)
class Paths(Sampling):
    """The path from one start."""

    start: tuple[Coordinate, Coordinate]


@dataclass(frozen=True, kw_only=True)
class Density(Sampling):
    """The exact density at noise levels; straight: on the path of flow matching."""

    sigmas: Annotated[list[Annotated[Number, Field(ge=0, le=10**9)]], Len(1, MOST_FRAMES + 1)]
    straight: Flag = False


@dataclass(frozen=True, kw_only=True)
class FieldMap(FieldAsked):
    """The field on the grid at level ``t``."""

    quantity: Literal[QUANTITIES] = "score"  # type: ignore[valid-type]
    t: Annotated[Whole, Field(ge=0, le=T - 1)] = 200


@dataclass(frozen=True, kw_only=True)
class Save(LabAsked):
    """The lab's file. view: what the page shows of it, to be there again."""

    view: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class KeptAsked(Asked):
    """What is kept. lab: the one that is open."""

    lab: str | None = None


@dataclass(frozen=True, kw_only=True)
class KeptOne(KeptAsked):
    """One thing that is kept."""

    id: str


@dataclass(frozen=True, kw_only=True)
class KeptRename(KeptOne):
    """Another name for it."""

    name: str


class Preset(Answer):
    """A target that ships, with some points to be known by."""

    name: str
    title: str
    points: Shorts
    labels: list[int]


class Recipe(Answer):
    """How to train: `diffatlas.lab2d.training.Recipe`."""

    objective: str
    schedule: str
    width: int
    depth: int
    batch: int
    learning_rate: float
    label_drop: float
    ema: float
    fourier: bool
    steps: int
    seed: int
    train_points: int
    pairing: str


class Presets(Answer):
    """The targets that ship, and the defaults. far: the extent of points that are sent; extent: of the plane shown."""

    presets: list[Preset]
    recipe: Recipe
    far: float
    extent: float


class Points(Answer):
    """Points of the plane and their classes."""

    points: Shorts
    labels: list[int]


class KeepingTold(Answer):
    """How the keeping of a lab went: the id of what is kept, and why it is not."""

    kept: str | None
    unkept: str


class Aside(Answer):
    """The lab whose place was taken: what it is called, and the way back to it."""

    name: str
    kind: str
    kept: NotRequired[str]
    lab: NotRequired[str]
    problem: str


class LabTold(KeepingTold):
    """What the page has to know of a lab."""

    lab: str
    origin: str
    name: str
    title: str
    classes: list[str]
    components: int
    given: int
    recipe: Recipe
    parameters: int
    step: int
    target: Points
    sigmas: Floats
    #: The target as `Begin.target` takes it.
    source: dict[str, Any]
    far: float
    extent: float
    aside: Aside | None


class LabOpened(LabTold):
    """A lab out of a file, and what the page showed of it."""

    view: dict[str, Any]


class Trained(Answer):
    """From which step on it trains."""

    step: int


class Stopped(Answer):
    """What became of it."""

    status: str


class Watched(KeepingTold):
    """Where a training stands, and the losses from block ``since`` on, each the mean of ``block`` steps."""

    status: str
    step: int
    ahead: int
    wait: str
    #: Steps in a second.
    rate: float
    problem: str
    block: int
    since: int
    first: int
    floor: Measured
    #: The mean of the last 500 steps.
    recent: Measured
    #: None where one is no number.
    losses: list[Measured]
    samples: NotRequired[Points]


class Sampled(Answer):
    """The frames of a sampling, (count, n, 2), and what it took."""

    frames: Shorts
    count: int
    n: int
    labels: list[int] | None
    sigmas: list[Measured]
    alphas: list[Measured]
    steps: list[int]
    calls: int
    seconds: Measured
    straight: bool
    final: Floats
    #: The mean of the points, and the root mean square of their distances from it.
    middle: tuple[Measured, Measured]
    spread: Measured
    mesh: Shorts | None
    python: str


class MeasuresTold(Answer):
    """The measures of a sampling: `diffatlas.lab2d.metrics.Measures`."""

    mmd2: Measured
    mmd2_fine: Measured
    mmd2_biased: Measured
    w2: Measured
    excess_nll: Measured
    tv: Measured
    covered: Measured


class SampleMeasures(Answer):
    """The measures of the last sampling, and up to which value chance explains each."""

    measures: MeasuresTold
    chance: dict[str, Measured]


class PathsTold(Answer):
    """The path from one start through two fields."""

    learned: Shorts
    exact: Shorts


class DensityTold(Answer):
    """The exact density under each frame, cells x cells, as shares of its largest."""

    cells: int
    maps: Shorts


class FieldError(Answer):
    """How far a field is from the exact one: the share of its norm, and the cosine between them."""

    relative: Measured
    cosine: Measured


class FieldMaps(Answer):
    """The fields "learned", "exact" and "empirical" on the grid, (side^2, 2), and how far they are apart."""

    side: int
    extent: float
    sigma: Measured
    alpha: Measured
    maps: dict[str, Floats]
    #: Root mean squares over the grid.
    lengths: dict[str, Measured]
    apart: Floats
    largest: Measured
    empirical_points: int
    grid: dict[str, FieldError]
    on: dict[str, FieldError]
    paired: bool


class KeptEntry(Answer):
    """A network, a drawing, or what is damaged. given: the name that a person gave it."""

    id: str
    kind: str
    name: str
    given: str
    #: Seconds since 1970.
    changed: float
    problem: str
    preset: str | None
    points: NotRequired[Shorts]
    labels: NotRequired[list[int]]


class KeptList(Answer):
    """All that is kept, last changed first, and until when."""

    kept: list[KeptEntry]
    expires: str | None


CALLS = {
    "lab_presets": Call(Nothing, Presets),
    "lab_begin": Call(Begin, LabTold),
    "lab_open": Call(Open, LabOpened),
    "lab_return": Call(Return, LabTold),
    "lab_keep": Call(LabAsked, KeepingTold),
    "lab_train": Call(Train, Trained),
    "lab_stop": Call(LabAsked, Stopped),
    "lab_alive": Call(LabAsked, Empty),
    "lab_watch": Call(Watch, Watched),
    "lab_sample": Call(Sample, Sampled),
    "lab_measure": Call(LabAsked, SampleMeasures),
    "lab_paths": Call(Paths, PathsTold),
    "lab_density": Call(Density, DensityTold),
    "lab_field": Call(FieldMap, FieldMaps),
    "lab_save": Call(Save, File),
    "lab_gif": Call(LabAsked, File),
    "lab_kept": Call(KeptAsked, KeptList),
    "lab_kept_rename": Call(KeptRename, KeptList),
    "lab_kept_delete": Call(KeptOne, KeptList),
    "lab_kept_restore": Call(KeptOne, KeptList),
}
