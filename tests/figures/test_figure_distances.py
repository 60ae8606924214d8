"""The matrix of distances as a figure: the values of the measures in the order of the basins, and where those begin."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diffatlas.errors import InvalidParams
from diffatlas.figures import distances
from diffatlas.figures.template import RAMP_SCALE
from diffatlas.library.study import Study
from diffatlas.look import GROUPS, NIGHT
from tests.figures.made_neighbourhoods import HOSTILE, two_lanes

Made = tuple[Study, dict[str, Any]]


@pytest.fixture
def made() -> Made:
    return two_lanes()


@pytest.mark.parametrize("by", ["start", "latent", "image", "hash"])
def test_squares_hold_the_measured_distances_by_basin(made: Made, by: str) -> None:
    study, measures = made
    lane = measures["lanes"]["a"]
    figure = distances(study, measures, by=by)
    (drawn,) = figure.data
    keys = drawn.meta["cells"]
    assert keys == [key for own in lane["basins"]["members"] for key in own]
    at = [lane["cells"].index(key) for key in keys]
    np.testing.assert_array_equal(np.array(drawn.z, float), np.array(lane["matrices"][by])[np.ix_(at, at)])
    assert [one for _, one in drawn.colorscale] == [colour for _, colour in RAMP_SCALE]
    labels = {cell.key: cell.label for cell in study.cells}
    assert figure.layout.yaxis.ticktext == tuple(labels[key] for key in keys)
    about = next(one["about"] for one in measures["distances"] if one["key"] == by)
    assert about in figure.layout.meta["says"]


def test_basins_are_marked_where_they_begin(made: Made) -> None:
    study, measures = made
    first, second = measures["lanes"]["a"]["basins"]["members"]
    figure = distances(study, measures)
    bounds = {one.y0 for one in figure.layout.shapes if one.name == "bound" and one.y0 == one.y1}
    assert bounds == {len(first) - 0.5}
    bars = [one for one in figure.layout.shapes if one.name == "basin"]
    assert [one.fillcolor for one in bars] == list(GROUPS[:2])
    assert [round(one.y1 - one.y0) for one in bars] == [len(first), len(second)]
    assert [one.text[:16] for one in figure.layout.annotations if one.name == "basin"] == [
        f"basin 1, {len(first)} cells",
        f"basin 2, {len(second)} cells",
    ]


def test_one_basin_keeps_the_order_and_has_no_marks(made: Made) -> None:
    study, measures = made
    one = copy.deepcopy(measures)
    one["lanes"]["a"]["basins"] |= {"count": 1, "labels": [0] * 10}
    figure = distances(study, one)
    assert figure.data[0].meta["cells"] == one["lanes"]["a"]["cells"]
    assert not figure.layout.shapes


def test_the_nearest_and_the_farthest_are_said(made: Made) -> None:
    study, measures = made
    matrix = np.array(measures["lanes"]["a"]["matrices"]["image"])
    upper = matrix[np.triu_indices(10, 1)]
    says = distances(study, measures).layout.meta["says"]
    for value in (upper.min(), upper.max(), np.median(upper)):
        assert f"{value:.3g}" in says


def test_what_is_not_known_is_a_gap_and_what_was_not_measured_is_said(made: Made) -> None:
    study, measures = made
    gap = copy.deepcopy(measures)
    gap["lanes"]["a"]["matrices"]["image"][0][1] = None
    (drawn,) = distances(study, gap).data
    assert drawn.z[0][1] is None
    assert "not known" in drawn.hovertext[0][1]
    figure = distances(study, measures, by="feature")
    assert not figure.data
    assert "The feature distances of this lane were not measured." in figure.layout.annotations[0].text
    with pytest.raises(
        InvalidParams, match="no distance 'taste': choose one of start, latent, image, hash, feature"
    ):
        distances(study, measures, by="taste")


def test_names_are_shown_literally_and_night_is_dark(made: Made) -> None:
    study, measures = made
    study = replace(study, cells=tuple(replace(cell, label=HOSTILE) for cell in study.cells))
    figure = distances(study, measures, dark=True)
    assert figure.layout.template.layout.paper_bgcolor == NIGHT.paper
    notes = [one.text for one in figure.layout.annotations]
    assert not [word for word in (*figure.layout.yaxis.ticktext, *notes) if "<" in word]
