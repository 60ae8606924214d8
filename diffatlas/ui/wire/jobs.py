"""How far work is that takes longer than an answer may (`diffatlas.ui.jobs`)."""

from __future__ import annotations

from typing import NotRequired

from diffatlas.ui.wire.kinds import Answer, Figure, File, Measured, Problem


class Address(Answer):
    """Where a dataset is on the Hub."""

    address: str


class Imported(Answer):
    """The runs and studies that have come in, and what of them was left out, a sentence each."""

    ids: list[str]
    studies: list[str]
    notes: list[str]


class JobState(Answer):
    """How far a job of the Library is; progress: from 0 to 1, where that is known."""

    done: bool
    progress: float | None
    message: str
    result: File | Address | Imported | None
    error: Problem | None


class ComparedRow(Answer):
    """One thing in which two runs differ, and what it is in each."""

    name: str
    a: str
    b: str


class Machine(Answer):
    """What differs in what two runs ran on."""

    rows: list[ComparedRow]
    sentences: list[str]


class ReplayReport(Answer):
    """How a replay compares with the stored run: `diffatlas.operations.replay.ReplayReport`."""

    verdict: str
    sentence: str
    first_step: int | None
    maximum: Measured
    relative: Measured
    #: `diffatlas.figures.departure` of the states; None where nothing is apart.
    figure: Figure | None
    image_identical: bool | None
    image_mean_absolute: Measured
    environment: Machine
    same_pipeline: bool | None


class ReplayState(Answer):
    """How far a replay is, and its report at the end."""

    step: int
    total: int | None
    message: str
    report: ReplayReport | None
    error: NotRequired[Problem]
