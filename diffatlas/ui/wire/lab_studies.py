"""The longer questions of the 2D Lab, each a job whose state grows as it is measured; and their figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, NotRequired

from annotated_types import Len
from pydantic import Field

from diffatlas.figures.lab_words import MEASURES
from diffatlas.lab2d.samplers import SAMPLERS
from diffatlas.ui.wire.call import Call
from diffatlas.ui.wire.kinds import (
    Answer,
    Empty,
    Figure,
    Flag,
    JobAsked,
    Measured,
    Problem,
    Shorts,
    Started,
    Whole,
)
from diffatlas.ui.wire.lab import FieldAsked, LabAsked, MeasuresTold, Sampling

MEMORY_SIZES = (5, 20, 100, 500, 2000, 5000)
#: The samplers that take as many steps as are asked.
STEPPING = tuple(name for name in SAMPLERS if name != "ddpm")


@dataclass(frozen=True, kw_only=True)
class Quality(Sampling):
    """How good samplers are with more and more steps."""

    samplers: Annotated[list[Literal[STEPPING]], Len(1)]  # type: ignore[valid-type]
    n: Annotated[Whole, Field(ge=50, le=4000)] = 2000
    repeats: Annotated[Whole, Field(ge=1, le=10)] = 3


@dataclass(frozen=True, kw_only=True)
class Budget(Sampling):
    """Where a sampler's error comes from."""

    n: Annotated[Whole, Field(ge=20, le=2000)] = 500


@dataclass(frozen=True, kw_only=True)
class Memory(LabAsked):
    """Networks on training sets of some sizes, trained for so many steps each."""

    train_steps: Annotated[Whole, Field(ge=100, le=20_000)] = 2000
    sizes: Annotated[list[Annotated[Whole, Field(ge=2, le=5000)]], Len(1, 8)] = field(
        default_factory=lambda: list(MEMORY_SIZES)
    )


@dataclass(frozen=True, kw_only=True)
class LossFigure(LabAsked):
    """The loss of a network, as far as its training has come. across: charts in a row."""

    dark: Flag = False
    across: Annotated[Whole, Field(ge=1, le=2)] = 2


@dataclass(frozen=True, kw_only=True)
class LabJob(JobAsked):
    """A job. lab: the one that is open."""

    lab: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobFigure(LabJob):
    """The figure of a job, as far as that has come."""

    dark: Flag = False


@dataclass(frozen=True, kw_only=True)
class QualityFigure(JobFigure):
    """The same of one measure of a quality."""

    measure: Literal[tuple(MEASURES)] = "mmd2"  # type: ignore[valid-type]
    axis: Literal["steps", "calls"] = "steps"
    scale: Literal["log", "linear"] = "log"


@dataclass(frozen=True, kw_only=True)
class MemoryFigure(JobFigure):
    """The same of a memory. count: the size of the training set whose distances and samples are drawn."""

    count: Whole | None = None


class QualityRow(MeasuresTold):
    """The measures of one sampling."""

    sampler: str
    steps: int
    calls: int
    repeat: int


class QualityPart(Answer):
    """What was measured so far; summary: by measure and sampler, (steps, calls, mean, deviation)."""

    floor: list[QualityRow]
    rows: list[QualityRow]
    summary: dict[str, dict[str, list[tuple[int, int, Measured, Measured]]]]


class QualityTold(QualityPart):
    """All that was measured, with ``n`` points each."""

    n: int


class BudgetTold(Answer):
    """Root mean square distances by number of steps: `diffatlas.lab2d.studies.Budget`."""

    steps: list[float]
    calls: list[float]
    integration: list[Measured]
    exact_integration: list[Measured]
    total: list[Measured]
    model: Measured
    enough: int | None
    sampler: str
    n: int


class Histograms(Answer):
    """Shares of samples by their distance to the nearest training point."""

    middles: list[Measured]
    learned: list[float]
    empirical: list[float]
    fresh: list[float]


class MemoryRow(Answer):
    """What one size of the training set shows."""

    n: int
    copies: dict[str, Measured]
    median: dict[str, Measured]
    histograms: Histograms
    excess: Measured
    heart: Measured


class MemoryPart(Answer):
    """What was measured so far."""

    rows: list[MemoryRow]


class MemoryTold(MemoryPart):
    """All that was measured."""

    train_steps: int


class ModelDensity(Answer):
    """The density of the network beside the exact one, (cells, cells), as shares of twice ``top``."""

    cells: int
    top: Measured
    model: Shorts
    exact: Shorts
    mass: Measured
    #: In nats, and its error.
    divergence: Measured
    spread: Measured


class LabJobState(Answer):
    """Where a job stands."""

    done: bool
    progress: float | None
    message: str
    partial: NotRequired[QualityPart | MemoryPart]
    result: NotRequired[QualityTold | BudgetTold | MemoryTold | ModelDensity]
    error: NotRequired[Problem]


class ExcessPart(Answer):
    """By noise level; relative: the excess over the floor, of all levels."""

    floor: list[Measured]
    excess: list[Measured]
    relative: Measured


class Excess(Answer):
    """The loss's floor and what lies above it, with the class and without; drop: the share of hidden classes."""

    loss_floor: Measured
    drop: float
    class_: Annotated[ExcessPart, Field(alias="class")]
    null: ExcessPart
    #: How many times the relative excess without the class is that with it.
    times: Measured
    levels: list[int]
    sigmas: list[Measured]


CALLS = {
    "lab_quality": Call(Quality, Started),
    "lab_quality_figure": Call(QualityFigure, Figure),
    "lab_budget": Call(Budget, Started),
    "lab_budget_figure": Call(JobFigure, Figure),
    "lab_memory": Call(Memory, Started),
    "lab_memory_figure": Call(MemoryFigure, Figure),
    "lab_excess": Call(LabAsked, Excess),
    "lab_loss_figure": Call(LossFigure, Figure),
    "lab_model_density": Call(FieldAsked, Started),
    "lab_job": Call(LabJob, LabJobState),
    "lab_job_stop": Call(LabJob, Empty),
}
