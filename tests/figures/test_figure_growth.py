"""Growth as a figure: every pair at its two distances, the medians, the slope at 0 and the jumps of the measures."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffatlas.errors import InvalidParams
from diffatlas.figures import growth
from diffatlas.library.study import Study
from diffatlas.look import NIGHT, PAPER
from tests.figures.made_neighbourhoods import HOSTILE, neighbourhood, two_lanes

Made = tuple[Study, dict[str, Any]]


@pytest.fixture
def made() -> Made:
    return two_lanes()


def parts(figure: Any, measure: str = "growth") -> dict[str, Any]:
    return {one.meta["part"]: one for one in figure.data if one.meta["measure"] == measure}


def test_every_pair_is_a_dot_at_its_two_distances_and_jumps_are_ringed(made: Made) -> None:
    study, measures = made
    lane = measures["lanes"]["a"]
    jumps = {(one["a"], one["b"]) for one in lane["jumps"]}
    assert jumps
    figure = growth(study, measures)
    for way, near in (("growth", "start"), ("growth_latent", "latent")):
        drawn = parts(figure, way)
        places = {key: i for i, key in enumerate(lane["cells"])}
        seen = set()
        for part in ("pair", "jump"):
            for (a, b), x, y in zip(drawn[part].customdata, drawn[part].x, drawn[part].y, strict=True):
                assert x == lane["matrices"][near][places[a]][places[b]]
                assert y == lane["matrices"]["image"][places[a]][places[b]]
                assert ((a, b) in jumps) == (part == "jump")
                seen.add((a, b))
        assert len(seen) == len(places) * (len(places) - 1) / 2
        assert np.allclose(list(zip(drawn["median"].x, drawn["median"].y, strict=True)), lane[way]["curve"])
    assert parts(figure)["jump"].marker.line.color == PAPER.burgundy
    assert "the anchor and neighbour 2</b>: a jump" in " ".join(parts(figure)["jump"].hovertext).replace(
        "The", "the"
    )


def test_the_slope_begins_at_the_origin_and_its_band_is_the_interval(made: Made) -> None:
    study, measures = made
    found = measures["lanes"]["a"]["growth"]
    figure = growth(study, measures)
    drawn = parts(figure)
    assert (
        (drawn["slope"].x[0], drawn["slope"].y[0]) == (0, 0) == (drawn["origin"].x[0], drawn["origin"].y[0])
    )
    assert drawn["slope"].y[1] / drawn["slope"].x[1] == pytest.approx(found["slope"])
    tilts = [y / x for x, y in zip(drawn["interval"].x, drawn["interval"].y, strict=True) if x]
    assert max(tilts) == pytest.approx(found["high"])
    assert min(tilts) == pytest.approx(found["low"])
    for axes in "", "2":
        assert figure.layout[f"xaxis{axes}"].range[0] == figure.layout[f"yaxis{axes}"].range[0] == 0
    for trace in figure.data:
        axes = trace.xaxis[1:]
        for values, name in ((trace.x, "xaxis"), (trace.y, "yaxis")):
            assert max(values) <= figure.layout[f"{name}{axes}"].range[1] * 1.0001
    for sentence in (found["sentence"], measures["lanes"]["a"]["growth_latent"]["sentence"]):
        assert sentence in figure.layout.meta["says"]


def test_a_slope_below_0_is_said_and_not_drawn(made: Made) -> None:
    study, measures = made
    measures = copy.deepcopy(measures)
    measures["lanes"]["a"]["growth"] |= {"slope": -0.3, "low": -0.6, "high": -0.1}
    assert not {"slope", "interval"} & parts(growth(study, measures)).keys()


def test_what_is_missing_is_said(made: Made) -> None:
    study, measures = made
    without = copy.deepcopy(measures)
    lane = without["lanes"]["a"]
    lane["growth"] = None
    del lane["matrices"]["start"]
    notes = [note.text for note in growth(study, without).layout.annotations]
    assert "These cells keep no noise to hold their distances against." in notes
    assert parts(growth(study, without), "growth_latent")["pair"].x
    assert "Nothing was measured of these cells." in growth(study, {}).layout.meta["says"]
    unknown = copy.deepcopy(measures)
    unknown["lanes"]["a"]["growth"]["pairs"][0]["y"] = None
    assert "Of 1 more a distance is not known." in growth(study, unknown).layout.meta["spoken"]


def test_seeds_near_in_number_have_no_slope_and_no_verdict_on_jumps(tmp_path: Path) -> None:
    study, measures = neighbourhood(tmp_path, k=4, lanes="a", mode="offset")
    figure = growth(study, measures)
    assert "slope" not in parts(figure)
    assert measures["note"] in figure.layout.meta["says"]
    assert "jump" not in figure.layout.meta["says"]


def test_names_are_shown_literally_and_night_is_dark(made: Made) -> None:
    study, measures = made
    figure = growth(study, measures, dark=True)
    assert figure.layout.template.layout.paper_bgcolor == NIGHT.paper
    assert parts(figure)["jump"].marker.line.color == NIGHT.burgundy
    words = " ".join(parts(figure)["jump"].hovertext)
    assert "&lt;a href" in words
    assert HOSTILE not in words


def test_a_sweep_and_an_unknown_lane_are_refused(made: Made) -> None:
    study, measures = made
    with pytest.raises(
        InvalidParams, match=r"no lane 'z' in this study: there is a \(lane a\), b \(lane b\)"
    ):
        growth(study, measures, lane="z")
    sweep = Study(**{**study.__dict__, "operation": "sweep"})
    with pytest.raises(InvalidParams, match="is a sweep: this figure is of a neighbourhood"):
        growth(sweep, measures)
