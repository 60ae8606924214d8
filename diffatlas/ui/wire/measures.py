"""What is measured of studies, as pages are answered it: the parts of the measures of `diffatlas.studies`."""

from __future__ import annotations

from typing import Any

from diffatlas.ui.wire.kinds import Answer, Measured

#: A curve by column, with what is not known.
Curve = list[float | None]


class Distance(Answer):
    """A distance between two cells: its key, its label, and what it is."""

    key: str
    label: str
    about: str


class MeasuredCaption(Answer):
    """What a cell is, and what was measured of it."""

    asked: str
    found: str


class CellMeasures(Answer):
    """`diffatlas.studies.measure_sweep.CellMeasures`."""

    drift: dict[str, Measured]
    parting: int | None
    parting_note: str | None
    guidance_norm: Curve | None
    guidance_angle: Curve | None
    guidance_norm_mean: Measured
    guidance_angle_mean: Measured
    path_length: Measured
    straightness: Measured
    saturation: Measured
    luma_std: Measured
    clipped: Measured
    latent_max: Measured


#: {from, to, size}: between which columns, and how large. "from" is no name that a class can have.
Change = dict[str, int | float]


class Begins(Answer):
    """From which column on something is so, None where it never is; in words."""

    column: int | None
    sentence: str


class SweepLane(Answer):
    """`diffatlas.studies.measure_sweep.LaneMeasures`."""

    curves: dict[str, Curve]
    largest_change: dict[str, Change | None]
    clipping: Begins
    diversity: Curve | None
    collapse: Begins
    finding: str | None


class Rank(Answer):
    """A rank correlation over ``n`` values."""

    rho: Measured
    n: int


class SweepAgreement(Answer):
    """`diffatlas.studies.measure_sweep.LaneAgreement`."""

    a: str
    b: str
    by: dict[str, Rank]
    sentence: str


class SweepMeasures(Answer):
    """`diffatlas.studies.measure_sweep.SweepMeasures`. values: what the columns vary: numbers or texts."""

    baseline: int
    field: str
    values: list[Any]
    distances: list[Distance]
    feature: str | None
    cells: dict[str, CellMeasures]
    captions: dict[str, MeasuredCaption]
    lanes: dict[str, SweepLane]
    agreement: list[SweepAgreement]
    definitions: dict[str, str]


class PairOfCells(Answer):
    """Two cells: how far their starts are apart, and how far what became of them."""

    a: str
    b: str
    x: float
    y: float


class GrowthOfBins(Answer):
    """`diffatlas.studies.measure_neighbourhood.GrowthMeasures` without its pairs."""

    near: str
    far: str
    curve: list[list[float]]
    slope: Measured
    low: Measured
    high: Measured
    sentence: str


class Growth(GrowthOfBins):
    """The same with them."""

    pairs: list[PairOfCells]


class Jump(Answer):
    """`diffatlas.studies.measure_neighbourhood.JumpMeasures`."""

    a: str
    b: str
    near: float
    far: float
    ratio: Measured
    named: bool | None


class Basins(Answer):
    """`diffatlas.studies.measure_neighbourhood.BasinMeasures`."""

    count: int
    labels: list[int]
    silhouette: Measured
    on: str
    members: list[list[str]]
    names: list[list[str]] | None
    sentence: str


class ByPca(Answer):
    """Places (n, 2), and the shares of the axes."""

    coords: list[list[float]]
    axes: list[float]


class ByMds(Answer):
    """Places (n, 2), and how far their distances are off."""

    coords: list[list[float]]
    stress: float


class Maps(Answer):
    """The maps of one distance; each is left out where it cannot be made."""

    pca: ByPca
    mds: ByMds


class NeighbourhoodLane(Answer):
    """`diffatlas.studies.measure_neighbourhood.LaneNeighbourhood`."""

    cells: list[str]
    matrices: dict[str, list[Curve]]
    names: list[str | None] | None
    growth: Growth | None
    growth_latent: Growth | None
    jumps: list[Jump]
    basins: Basins | None
    maps: dict[str, Maps]
    finding: str | None


class NeighbourhoodAgreement(Answer):
    """`diffatlas.studies.measure_neighbourhood.NeighbourhoodAgreement`."""

    a: str
    b: str
    procrustes: Measured
    rand: Measured
    rank: Measured
    p: Measured
    n: int
    sentence: str


class NeighbourhoodMeasures(Answer):
    """`diffatlas.studies.measure_neighbourhood.NeighbourhoodMeasures`."""

    mode: str
    note: str | None
    distances: list[Distance]
    feature: str | None
    captions: dict[str, MeasuredCaption]
    lanes: dict[str, NeighbourhoodLane]
    agreement: list[NeighbourhoodAgreement]
    definitions: dict[str, str]
