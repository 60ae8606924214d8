"""The map of a neighbourhood as a figure: the coordinates of the measures, to one scale, marked by basin."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from diffatlas.errors import InvalidParams
from diffatlas.figures import map, page
from diffatlas.figures.map import label_sides
from diffatlas.geometry.hull import hull
from diffatlas.library.study import Study
from diffatlas.look import GROUPS, NIGHT, PAPER
from tests.figures.made_neighbourhoods import HOSTILE, two_lanes

Made = tuple[Study, dict[str, Any]]


@pytest.fixture
def made() -> Made:
    return two_lanes()


def cells(figure: Any) -> list[Any]:
    return [one for one in figure.data if one.meta["part"] == "cells"]


@pytest.mark.parametrize("of", ["image", "latent"])
@pytest.mark.parametrize("kind", [None, "pca"])
def test_cells_lie_where_the_measures_put_them(made: Made, of: str, kind: str | None) -> None:
    study, measures = made
    lane = measures["lanes"]["b"]
    figure = map(study, measures, "b", of, kind)
    wanted = dict(zip(lane["cells"], lane["maps"][of][kind or "mds"]["coords"], strict=True))
    found = {k: [x, y] for one in cells(figure) for k, x, y in zip(one.customdata, one.x, one.y, strict=True)}
    assert found == wanted
    assert (figure.layout.yaxis.scaleanchor, figure.layout.yaxis.scaleratio) == ("x", 1)
    for values, axis in zip(
        np.transpose(list(wanted.values())), (figure.layout.xaxis, figure.layout.yaxis), strict=True
    ):
        assert axis.range[0] < values.min() < values.max() < axis.range[1]


def test_basins_differ_in_colour_and_in_symbol_and_the_anchor_is_ringed(made: Made) -> None:
    study, measures = made
    lane = measures["lanes"]["a"]
    assert lane["basins"]["count"] == 2
    drawn = cells(map(study, measures))
    assert [set(one.customdata) for one in drawn] == [set(own) for own in lane["basins"]["members"]]
    assert [one.marker.color for one in drawn] == list(GROUPS[:2])
    assert len({one.marker.symbol for one in drawn}) == 2
    (ring,) = (one for one in map(study, measures).data if one.meta["part"] == "anchor")
    assert ring.customdata == ("a-0-0",)
    assert ring.marker.line.color == PAPER.gold
    assert lane["basins"]["sentence"] in map(study, measures).layout.meta["says"]


def test_stress_and_shares_are_said(made: Made) -> None:
    study, measures = made
    maps = measures["lanes"]["a"]["maps"]["image"]
    assert f"stress {maps['mds']['stress']:.2g}" in map(study, measures).layout.meta["says"]
    figure = map(study, measures, kind="pca")
    assert f"component 1, {maps['pca']['axes'][0]:.0%} of the variance" == figure.layout.xaxis.title.text
    assert f"{maps['pca']['axes'][1]:.0%} of the variance" in figure.layout.meta["says"]


def test_few_points_are_cautioned_of(made: Made) -> None:
    study, measures = made
    few = copy.deepcopy(measures)
    few["lanes"]["a"]["cells"] = few["lanes"]["a"]["cells"][:3]
    assert "Only 3 points: a plane always holds so few exactly" in map(study, few).layout.meta["says"]
    assert "Only" not in map(study, measures).layout.meta["says"]
    few["lanes"]["a"]["maps"]["image"]["umap"] = {"coords": [[0, 1], [2, 3], [4, 5]]}
    assert "UMAP may show groups that are not there" in map(study, few, kind="umap").layout.meta["says"]


def test_stops_between_two_seeds_are_joined_in_order(made: Made) -> None:
    study, measures = made
    stops = replace(study, spec={"mode": "slerp"})
    drawn = {one.meta["part"]: one for one in map(stops, measures).data}
    coords = measures["lanes"]["a"]["maps"]["image"]["mds"]["coords"]
    assert [list(one) for one in zip(drawn["way"].x, drawn["way"].y, strict=True)] == coords
    rings = [one.marker.line.color for one in map(stops, measures).data if one.meta["part"] == "anchor"]
    assert rings == [PAPER.gold, PAPER.burgundy]


def test_what_is_missing_is_said_and_what_is_unknown_refused(made: Made) -> None:
    study, measures = made
    without = copy.deepcopy(measures)
    del without["lanes"]["a"]["maps"]["latent"], without["lanes"]["a"]["matrices"]["latent"]
    figure = map(study, without, of="latent")
    assert not figure.data
    assert "The final latent distances of this lane are not known." in figure.layout.annotations[0].text
    with pytest.raises(InvalidParams, match="no map of 'start': choose one of image, latent"):
        map(study, measures, of="start")
    with pytest.raises(InvalidParams, match="no kind of map 'tsne': choose one of mds, pca, umap"):
        map(study, measures, kind="tsne")


def test_names_are_shown_literally_and_night_is_dark(made: Made) -> None:
    study, measures = made
    study = replace(study, title=HOSTILE, cells=tuple(replace(c, label=HOSTILE[:7]) for c in study.cells))
    figure = map(study, measures, dark=True)
    assert figure.layout.template.layout.paper_bgcolor == NIGHT.paper
    shown = [*(one.name for one in figure.data), figure.layout.title.text]
    shown += [word for one in cells(figure) for word in (*one.text, *one.hovertext)]
    assert not [word for word in shown if word and "<a href" in word.replace("<br>", " ")]
    written = page(figure)
    assert '<a href="x' not in written
    assert '<a href=\\"x' not in written


def test_labels_keep_away_from_other_dots() -> None:
    sides = label_sides({"low": (0.0, 0.0), "high": (0.0, 0.03), "far": (1.0, 0.0)}, 500)
    assert sides["far"] == "top center"
    assert sides["low"] != "top center"


def test_an_outline_is_scipys() -> None:
    points = np.random.default_rng(3).normal(size=(40, 2))
    corners = hull(points)
    wanted = points[ConvexHull(points).vertices]
    first = int(np.argmin(wanted[:, 0]))
    np.testing.assert_array_equal(corners, np.roll(wanted, -first, axis=0))
    assert hull(np.array([[0, 0], [1, 1], [2, 2], [0, 0]])).tolist() == [[0, 0], [2, 2]]
    assert hull(np.ones((3, 2))).tolist() == [[1, 1]]
    with pytest.raises(InvalidParams, match="in a plane"):
        hull(np.ones((3, 3)))
