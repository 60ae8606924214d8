from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from diffatlas.errors import InvalidParams
from diffatlas.geometry.drift import (
    CLIPPING,
    COLLAPSED,
    Change,
    clipping,
    collapse,
    diversity,
    drift,
    largest_change,
)

VALUES = [1, 4, 7.5, 12, 18]
NAN = float("nan")


def test_drift_is_the_row_of_the_baseline() -> None:
    points = np.array([0.0, 1.0, 4.0, 9.0])
    matrix = np.abs(points[:, None] - points)
    found = drift(2, matrix)
    assert found.tolist() == [4, 3, 0, 5]
    found[0] = 99
    assert matrix[2, 0] == 4
    for row in (-1, 4):
        with pytest.raises(InvalidParams):
            drift(row, matrix)


def test_largest_change_is_between_neighbours_by_size() -> None:
    assert largest_change(VALUES, [0.5, 0.2, 0, 0.1, 0.6]) == Change(3, 4, 0.5)
    assert largest_change(VALUES, [0.9, 0.2, 0, 0.1, 0.6]) == Change(0, 1, pytest.approx(-0.7))
    # The columns as the user typed them: 18 and 1 stand side by side and are not neighbours.
    assert largest_change([18, 1, 7.5], [1.0, 0.1, 0.2]) == Change(2, 0, pytest.approx(0.8))
    # A missing value is passed over.
    assert largest_change(VALUES, [0.1, None, 0.7, NAN, 0.8]) == Change(0, 2, pytest.approx(0.6))
    # Names have no size: as given.
    assert largest_change(["euler", "ddim", "dpm"], [0.0, 0.3, 1.0]) == Change(1, 2, 0.7)
    assert largest_change(VALUES, [None, 0.1, None, None, None]) is None
    with pytest.raises(InvalidParams):
        largest_change(VALUES, [0.1])


def test_diversity_is_the_mean_over_pairs_of_seeds() -> None:
    points = np.random.default_rng(0).normal(size=(4, 3))
    matrix = np.linalg.norm(points[:, None] - points, axis=-1)
    expected = np.mean([matrix[i, j] for i, j in combinations(range(4), 2)])
    found = diversity([matrix, matrix[:2, :2], matrix[:1, :1], None])
    assert found[:2] == pytest.approx([expected, matrix[0, 1]])
    assert np.isnan(found[2:]).all()


def brute_onset(values, series, beyond):
    """From the definition: the smallest value such that it and all larger known ones are beyond."""
    known = {v: s for v, s in zip(values, series, strict=True) if s is not None}
    found = [v for v in known if all(beyond(known[w]) for w in known if w >= v)]
    return values.index(min(found)) if found else None


@pytest.mark.parametrize("seed", range(40))
def test_onsets_against_their_definitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.permutation(30)[: rng.integers(3, 9)].tolist()
    series = [float(v) for v in rng.uniform(size=len(values))]
    baseline = int(rng.integers(len(values)))
    missing = int(rng.integers(len(values)))
    if missing != baseline:
        series[missing] = None
    base = series[baseline]
    found = collapse(values, series, baseline, seeds=3)
    assert found.column == brute_onset(values, series, lambda v: v < COLLAPSED * base)
    assert (found.column is None) == found.sentence.startswith("No mode collapse")
    found = clipping(values, series, baseline)
    assert found.column == brute_onset(values, series, lambda v: v > base + CLIPPING)


def test_collapse_has_to_last() -> None:
    found = collapse(VALUES, [1.0, 0.3, 1.0, 0.4, 0.3], 2)
    assert found.column == 3
    assert "begins at 12" in found.sentence
    assert "7.5" in found.sentence
    assert collapse(VALUES, [1.0, 1.0, 1.0, 0.1, 0.6], 2).column is None
    # Half is not below half.
    assert collapse(VALUES, [1.0, 1.0, 1.0, 1.0, 0.5], 2).column is None


def test_collapse_that_cannot_be_told_says_why() -> None:
    series = [1.0, 1.0, 1.0, 0.1, 0.1]
    assert collapse(VALUES, series, 2, seeds=3).column == 3
    for found, why in (
        (collapse(VALUES, None, 2), "3 seeds"),
        (collapse(VALUES, series, 2, seeds=2), "3 seeds"),
        (collapse(["euler", "ddim", "a", "b", "c"], series, 2), "not numbers"),
        (collapse(VALUES, [1, 1, None, 0.1, 0.1], 2), "baseline"),
        (collapse(VALUES, [None, None, 1, NAN, None], 2), "only the baseline"),
        (collapse(VALUES, [1, 1, 0, 0, 0], 2), "same image"),
    ):
        assert found.column is None
        assert why in found.sentence
        assert "\u2014" not in found.sentence


def test_clipping_needs_five_points_more_than_the_baseline() -> None:
    assert clipping(VALUES, [0.0, 0.0, 0.01, 0.06, 0.30], 2).column == 4
    found = clipping(VALUES, [0.0, 0.0, 0.01, 0.07, 0.30], 2)
    assert found.column == 3
    assert found.sentence == (
        "Clipping begins at 12: from there on the share of channel values at 0 or 255 is more than 5 percentage"
        " points above the 1.0% at the baseline, 7.5."
    )
    assert clipping(VALUES, [0.9, 0.0, 0.01, 0.07, 0.02], 2).column is None
    assert "only the baseline" in clipping([5], [0.2], 0).sentence
