"""How a lane's images drift from a baseline over the swept values, and where they clip or collapse.

A value is a column of a sweep; columns are counted from 0 in the order given, whatever their values. What is missing
(a cell that failed) is NaN or None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np

from diffatlas.errors import InvalidParams

#: Diversity below this share of the baseline's is collapse.
COLLAPSED = 0.5
#: Fewest seeds that tell how different the images of different seeds are.
FEWEST_SEEDS = 3
#: A clipped share above the baseline's by more than this is clipping.
CLIPPING = 0.05

DRIFT_DEFINITION = (
    "Drift: the distance between the result at a value and the result at the baseline, from the same seed."
)
LARGEST_CHANGE_DEFINITION = (
    "Largest change: the two neighbouring values between which the drift changes most."
)
DIVERSITY_DEFINITION = (
    "Diversity at a value: the mean image distance between the images of every two seeds at that value."
)
COLLAPSE_DEFINITION = (
    "Mode collapse begins at the smallest value from which on, at it and at all larger values, the diversity is below"
    " half of that at the baseline; to say so takes at least 3 seeds."
)
CLIPPING_DEFINITION = (
    "Clipping begins at the smallest value from which on, at it and at all larger values, the share of channel values"
    " at 0 or 255 is more than 5 percentage points above that at the baseline."
)


@dataclass(frozen=True)
class Change:
    """The drift changes by ``size`` (signed) from column ``start`` to column ``end``, the next larger value."""

    start: int
    end: int
    size: float


@dataclass(frozen=True)
class Onset:
    """Where something begins: the ``column``, or None where it does not or cannot be said; ``sentence`` says which."""

    column: int | None
    sentence: str


class Collapse(Onset):
    """Where the images of different seeds become alike."""


class Clipping(Onset):
    """Where the images' channels run into their limits."""


def drift(baseline_index: int, matrix: np.ndarray) -> np.ndarray:
    """Distance of every value's result from the baseline's: (n,), a row of the (n, n) distance matrix."""
    matrix = np.asarray(matrix, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not 0 <= baseline_index < len(matrix):
        raise InvalidParams(
            f"Drift needs a square matrix of distances and one of its rows, not row {baseline_index} of"
            f" {matrix.shape}."
        )
    return matrix[baseline_index].copy()


def largest_change(values: Sequence[Any], drift: Sequence[float | None]) -> Change | None:
    """The largest change in size of the drift between two neighbouring values; None where fewer than two are known.

    Numbers are neighbours by size; other values (names of schedulers) in the order given. Missing ones are passed
    over. Of equal changes the first counts.
    """
    known = _known(drift, len(values))
    numbers = all(_is_number(v) for v in values)
    order = [i for i in _by_value(values) if i in known] if numbers else sorted(known)
    steps = [Change(i, j, known[j] - known[i]) for i, j in pairwise(order)]
    return max(steps, key=lambda step: abs(step.size), default=None)


def diversity(matrices: Sequence[np.ndarray | None]) -> np.ndarray:
    """Mean distance between every two seeds at each value: (n values,), NaN where a value has fewer than 2 seeds.

    matrices: for each value the (k, k) distances between the images of its seeds, or None.
    """
    return np.array([_mean_pair(m) for m in matrices], dtype=float)


def collapse(
    values: Sequence[Any], diversity: Sequence[float | None] | None, baseline: int, seeds: int | None = None
) -> Collapse:
    """Where mode collapse begins, by `COLLAPSE_DEFINITION`.

    diversity: of each value, see `diversity`; None where there are too few seeds for one. baseline: a column.
    seeds: how many the diversity rests on, where that is known: fewer than `FEWEST_SEEDS` say nothing.
    """
    if diversity is None or (seeds is not None and seeds < FEWEST_SEEDS):
        return Collapse(
            None, f"Mode collapse cannot be told: it takes at least {FEWEST_SEEDS} seeds at each value."
        )
    known = _known(diversity, len(values))
    reason = _cannot(values, known, baseline, "mode collapse")
    if reason:
        return Collapse(None, reason)
    if known[baseline] <= 0:
        return Collapse(
            None, "Mode collapse cannot be told: the seeds give one and the same image at the baseline."
        )
    limit = COLLAPSED * known[baseline]
    column = _onset(values, known, lambda v: v < limit)
    at = _say(values[baseline])
    if column is None:
        return Collapse(
            None,
            f"No mode collapse: at {_say(_largest(values, known))}, the largest value, the images of different seeds"
            f" are at least half as different as at the baseline, {at}.",
        )
    return Collapse(
        column,
        f"Mode collapse begins at {_say(values[column])}: from there on the images of different seeds are less than"
        f" half as different as at the baseline, {at}.",
    )


def clipping(values: Sequence[Any], shares: Sequence[float | None], baseline: int) -> Clipping:
    """Where clipping begins, by `CLIPPING_DEFINITION`.

    shares: the clipped share at each value, 0 to 1. baseline: a column.
    """
    known = _known(shares, len(values))
    reason = _cannot(values, known, baseline, "clipping")
    if reason:
        return Clipping(None, reason)
    limit = known[baseline] + CLIPPING
    column = _onset(values, known, lambda v: v > limit + 1e-12)
    at = f"the {100 * known[baseline]:.1f}% at the baseline, {_say(values[baseline])}"
    if column is None:
        return Clipping(
            None,
            f"No clipping: at {_say(_largest(values, known))}, the largest value, the share of channel values at 0"
            f" or 255 is at most 5 percentage points above {at}.",
        )
    return Clipping(
        column,
        f"Clipping begins at {_say(values[column])}: from there on the share of channel values at 0 or 255 is more"
        f" than 5 percentage points above {at}.",
    )


def _onset(values: Sequence[Any], known: dict[int, float], beyond) -> int | None:
    """The column of the smallest value from which on all known ones are beyond."""
    first = None
    for i in reversed(_by_value(values)):
        if i in known:
            if not beyond(known[i]):
                break
            first = i
    return first


def _cannot(values: Sequence[Any], known: dict[int, float], baseline: int, what: str) -> str | None:
    if not all(_is_number(v) for v in values):
        return f"Where {what} begins cannot be told: the swept values are not numbers."
    if baseline not in known:
        return f"Where {what} begins cannot be told: the baseline has no result to compare with."
    if len(known) < 2:
        return f"Where {what} begins cannot be told: only the baseline has a result."
    return None


def _by_value(values: Sequence[Any]) -> list[int]:
    return sorted(range(len(values)), key=lambda i: values[i])


def _largest(values: Sequence[Any], known: dict[int, float]) -> Any:
    return max(values[i] for i in known)


def _known(series: Sequence[float | None], count: int) -> dict[int, float]:
    if len(series) != count:
        raise InvalidParams(f"There are {count} values and {len(series)} results of them.")
    numbers = np.array(series, dtype=float)
    return {i: float(v) for i, v in enumerate(numbers) if np.isfinite(v)}


def _mean_pair(matrix: np.ndarray | None) -> float:
    if matrix is None or len(matrix) < 2:
        return float("nan")
    matrix = np.asarray(matrix, dtype=float)
    return float(matrix[np.triu_indices(len(matrix), 1)].mean())


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _say(value: Any) -> str:
    return f"{value:g}"
