"""What many measurements come to: means and deviations by sampler, what chance explains, shares of distances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from diffatlas.lab2d.studies import Point

#: The name of those points of a study that are of the target itself, see `studies.noise_floor`.
FLOOR = "floor"
#: Bins of a histogram of distances, and the powers of ten between which they lie.
BINS, LEAST, MOST = 24, -3, 1


@dataclass(frozen=True)
class Spread:
    """The mean of ``n`` values and their standard deviation, which is 0 of a single one."""

    mean: float
    sd: float
    n: int

    @property
    def low(self) -> float:
        """Two standard deviations below the mean."""
        return self.mean - 2 * self.sd

    @property
    def high(self) -> float:
        """Two standard deviations above the mean: of the noise floor, the most that chance explains."""
        return self.mean + 2 * self.sd


@dataclass(frozen=True)
class Measured:
    """What the repeats of one sampler and number of steps come to in one measure."""

    sampler: str
    steps: int
    calls: int
    spread: Spread


def spread(values: Iterable[float]) -> Spread | None:
    """Return mean and standard deviation (with n - 1) of the values that are finite; None where none is."""
    known = np.array([value for value in values if np.isfinite(value)], float)
    if not len(known):
        return None
    return Spread(float(known.mean()), float(known.std(ddof=1)) if len(known) > 1 else 0.0, len(known))


def chance(points: Iterable[Point], measure: str) -> Spread | None:
    """Return what a measure says of the target against itself; None for fewer than two measurements of it.

    points: of `studies.noise_floor`, among others or alone. measure: a field of `metrics.Measures`.
    """
    found = spread(getattr(point.measures, measure) for point in points if point.sampler == FLOOR)
    return found if found is not None and found.n > 1 else None


def by_steps(points: Sequence[Point], measure: str) -> dict[str, list[Measured]]:
    """Return what a measure says of each sampler, by rising steps: sampler -> one for each number of steps.

    points: of `studies.quality`; those of the noise floor are left out.
    """
    groups: dict[tuple[str, int], list[Point]] = {}
    for point in points:
        if point.sampler != FLOOR:
            groups.setdefault((point.sampler, point.steps), []).append(point)
    found: dict[str, list[Measured]] = {}
    for (sampler, steps), own in groups.items():
        told = spread(getattr(point.measures, measure) for point in own)
        if told is not None:
            found.setdefault(sampler, []).append(Measured(sampler, steps, own[0].calls, told))
    return {sampler: sorted(rows, key=lambda row: row.steps) for sampler, rows in found.items()}


def shares(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (middles, shares), (`BINS`,) each: a histogram of distances in equal bins of their logarithm.

    It goes from 10^`LEAST` to 10^`MOST`; what lies outside counts for the first or the last bin.
    """
    edges = np.linspace(LEAST, MOST, BINS + 1)
    logs = np.clip(np.log10(np.maximum(distances, 1e-9)), LEAST, MOST)
    return 10 ** ((edges[:-1] + edges[1:]) / 2), np.histogram(logs, edges)[0] / len(distances)
