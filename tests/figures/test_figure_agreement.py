"""The agreement of lanes as a figure: maps laid over each other as the disparity has it, and the measures' numbers."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.spatial import procrustes

from diffatlas.errors import InvalidParams
from diffatlas.figures import agreement
from diffatlas.library.study import Study
from diffatlas.look import NIGHT
from tests.figures.made_neighbourhoods import HOSTILE, two_lanes

Made = tuple[Study, dict[str, Any]]


@pytest.fixture
def made() -> Made:
    return two_lanes()


def places(figure: Any, lane: str, other: str) -> dict[str, tuple[float, float]]:
    """Where the cells of a lane are in the row of these two."""
    bars = [one for one in figure.data if one.meta["measure"] == "agreement"]
    row = next(k for k, one in enumerate(bars) if set(one.meta["lanes"]) == {lane, other})
    own = [f"x{k or ''}" for k in (3 * row + 1 if row else 0, 3 * row + 2)]
    return {
        key: (x, y)
        for one in figure.data
        if one.meta.get("part") == "cells" and one.meta["lane"] == lane and one.xaxis in own
        for key, x, y in zip(one.customdata, one.x, one.y, strict=True)
    }


def test_what_is_left_between_the_maps_is_the_disparity(made: Made) -> None:
    study, measures = made
    figure = agreement(study, measures)
    for one in measures["agreement"]:
        maps = [measures["lanes"][one[side]]["maps"]["image"]["mds"]["coords"] for side in "ab"]
        wanted = procrustes(*maps)
        for k, (lane, other) in enumerate(((one["a"], one["b"]), (one["b"], one["a"]))):
            drawn = places(figure, lane, other)
            found = [drawn[key] for key in measures["lanes"][lane]["cells"]]
            np.testing.assert_allclose(found, wanted[k], atol=1e-12)
        assert wanted[2] == pytest.approx(one["procrustes"])


def test_the_numbers_are_those_of_the_measures(made: Made) -> None:
    study, measures = made
    found = measures["agreement"][0]
    measures = measures | {
        "agreement": [found, found | {"a": "b", "b": "a", "rand": -0.2, "sentence": "Turned."}]
    }
    figure = agreement(study, measures)
    bars = [one for one in figure.data if one.type == "bar"]
    assert len(bars) == 2
    for bar, one in zip(bars, measures["agreement"], strict=True):
        assert dict(zip(bar.meta["keys"], bar.y, strict=True)) == {
            k: one[k] for k in ("rank", "rand", "procrustes")
        }
        assert (bar.meta["n"], bar.meta["p"]) == (one["n"], one["p"])
        assert f"p = {one['p']:.3g}" in bar.text[0]
        assert one["sentence"] in figure.layout.meta["says"]
    assert figure.layout.yaxis6.range[0] < -0.2


def test_a_cell_has_one_colour_in_both_maps_and_the_symbol_of_its_own_basin(made: Made) -> None:
    study, measures = made
    drawn = [one for one in agreement(study, measures).data if one.meta.get("part") == "cells"]
    marks = {
        key: (one.marker.color, shape)
        for one in drawn
        for key, shape in zip(one.customdata, one.marker.symbol, strict=True)
    }
    assert len(marks) == 20
    labels = {lane: measures["lanes"][lane]["basins"]["labels"] for lane in "ab"}
    for column in range(10):
        assert marks[f"a-0-{column}"][0] == marks[f"b-0-{column}"][0]
    for lane, own in labels.items():
        shapes = [marks[f"{lane}-0-{column}"][1] for column in range(10)]
        assert len(set(zip(shapes, own, strict=True))) == len(set(own)) == len(set(shapes))


def test_one_basin_each_is_said_beside_the_index(made: Made) -> None:
    study, measures = made
    one = copy.deepcopy(measures)
    one["agreement"][0]["rand"] = 1.0
    for lane in one["lanes"].values():
        lane["basins"] |= {"count": 1, "labels": [0] * 10}
    figure = agreement(study, one)
    (bar,) = (trace for trace in figure.data if trace.type == "bar")
    assert bar.text[1] == "1.00<br>one basin each"
    assert "colour" not in figure.layout.meta["says"]


def test_only_cells_that_both_lanes_have_are_drawn(made: Made) -> None:
    study, measures = made
    fewer = copy.deepcopy(measures)
    lane = fewer["lanes"]["b"]
    lane["cells"] = lane["cells"][1:]
    for kind in lane["maps"]["image"].values():
        kind["coords"] = kind["coords"][1:]
    lane["basins"]["labels"] = lane["basins"]["labels"][1:]
    figure = agreement(study, fewer)
    assert len(places(figure, "a", "b")) == len(places(figure, "b", "a")) == 9


def test_what_cannot_be_told_is_said(made: Made) -> None:
    study, measures = made
    assert (
        "has one lane"
        in agreement(replace(study, lanes=study.lanes[:1]), {"agreement": []}).layout.meta["says"]
    )
    assert "too little in common" in agreement(study, measures | {"agreement": []}).layout.meta["says"]
    assert "Nothing was measured" in agreement(study, {}).layout.meta["says"]
    without = copy.deepcopy(measures)
    without["agreement"] = [without["agreement"][0] | {"rank": None, "p": None, "procrustes": None}]
    for lane in without["lanes"].values():
        lane["maps"] = {}
    figure = agreement(study, without)
    notes = [note.text for note in figure.layout.annotations]
    assert notes.count("There are no maps of the images of both.") == 2
    assert notes.count("not known") == 2
    with pytest.raises(InvalidParams, match="this figure is of a neighbourhood"):
        agreement(replace(study, operation="sweep"), measures)


def test_names_are_shown_literally_and_night_is_dark(made: Made) -> None:
    study, measures = made
    study = replace(
        study, title=HOSTILE, lanes=tuple(replace(one, name=HOSTILE + one.key) for one in study.lanes)
    )
    figure = agreement(study, measures, dark=True)
    assert figure.layout.template.layout.paper_bgcolor == NIGHT.paper
    shown = [*(one.name for one in figure.data), *(note.text for note in figure.layout.annotations)]
    assert not [word for word in (*shown, figure.layout.title.text) if word and "<a href" in word]
