"""Quality by steps and evaluations: the means and deviations of the points, and the band of the noise floor."""

import re

import numpy as np
import pytest

from diffatlas import figures
from diffatlas.errors import InvalidParams
from diffatlas.figures.lab_words import MEASURES
from diffatlas.figures.panels import panels
from diffatlas.lab2d.denoisers import bound, exact
from diffatlas.lab2d.samplers import Plan
from diffatlas.lab2d.schedules import schedule
from diffatlas.lab2d.studies import noise_floor, yardstick
from diffatlas.lab2d.studies import quality as study
from diffatlas.lab2d.targets import preset
from diffatlas.look import NIGHT, PAPER
from tests.figures.lab_made import HOSTILE, hostile_target, point, trace, traces, unescaped

FLOOR = [point("floor", 0, value) for value in (0.001, 0.003)]
MADE = [
    *FLOOR,
    *(point("heun", 4, value, 7) for value in (0.4, 0.6)),
    *(point("heun", 32, value, 63) for value in (0.0002, 0.0004)),
    *(point("ddim", 4, value) for value in (0.1, 0.2, 0.3)),
]


def test_marks_are_means_bars_are_deviations_and_the_band_is_two():
    made = figures.quality(MADE, measures=["mmd2"])
    heun, ddim = (_line(made, name) for name in ("heun", "ddim"))
    assert heun.x == (4, 32)
    assert heun.y[0] == pytest.approx(0.5)
    assert ddim.y == pytest.approx((0.2,))
    bars = trace(made, sampler="ddim", bars=True)
    assert bars.y[:2] == pytest.approx((0.1, 0.3))
    (band,) = panels(made)[0].shapes
    sd = np.std([0.001, 0.003], ddof=1)
    assert band.y1 == pytest.approx(0.002 + 2 * sd)
    # Below the scale: open, at the foot, with its number.
    assert heun.y[1] == pytest.approx(band.y1 / 3)
    assert heun.marker.symbol == ("circle", "circle-open")
    assert heun.customdata[1][2] == pytest.approx(0.0003)
    assert "0.5 at 4 steps" in made.layout.meta["spoken"]


def _line(made, sampler, measure="mmd2"):
    (found,) = [one for one in traces(made, sampler=sampler, measure=measure) if "bars" not in one.meta]
    return found


def test_by_evaluations_samplers_lie_where_they_cost():
    made = figures.quality(MADE, by="calls", measures=["w2"], scale="linear")
    assert _line(made, "heun", "w2").x == (7, 63)
    assert _line(made, "ddim", "w2").x == (4,)
    assert panels(made)[0].x.title.text == "evaluations of the field"
    assert _line(made, "heun", "w2").y[1] == pytest.approx(0.0003 * 4)  # nothing is moved on a linear scale


def test_a_study_of_the_lab_is_drawn_whole():
    target = preset("three_modes")
    stick = yardstick(target)
    plans = [Plan("heun", 4), Plan("ddim", 8)]
    points = [
        *noise_floor(target, 60, 2, stick),
        *study(lambda labels: bound(exact(target), labels), target, schedule("cosine"), plans, 60, 2, stick),
    ]
    made = figures.quality(points, by="calls", target=target)
    assert [re.sub("<.*?>", "", panel.title) for panel in panels(made)] == list(MEASURES.values())
    assert made.layout.meta["title"] == "Quality by evaluations of the field on Three modes"
    for name in MEASURES:
        own = [getattr(p.measures, name) for p in points if p.sampler == "ddim"]
        assert _line(made, "ddim", name).customdata[0][2] == pytest.approx(np.mean(own))


def test_without_a_floor_it_says_so_and_the_legend_names_each_once():
    made = figures.quality(MADE[2:])
    assert not made.layout.shapes
    assert "was not measured" in made.layout.meta["says"]
    whole = figures.quality(MADE)
    named = [one.name for one in whole.data if one.showlegend]
    assert sorted(named) == ["DDIM", "Heun", "noise floor"]


def test_samplers_are_told_apart_without_colour():
    made = figures.quality([point(name, k, 0.1) for name in ("heun", "ddim", "euler") for k in (4, 8)])
    looks = {(one.line.dash, one.marker.symbol[0]) for one in traces(made, measure="mmd2") if one.name}
    assert len(looks) == 3


@pytest.mark.parametrize(("dark", "on"), [(False, PAPER), (True, NIGHT)])
def test_its_colours_are_of_the_ground(dark, on):
    made = figures.quality(MADE, dark=dark)
    assert _line(made, "heun").line.color == on.burgundy
    assert _line(made, "ddim").line.color == on.ink
    assert made.layout.shapes[0].fillcolor == on.gold


def test_names_from_outside_are_words_and_wrong_questions_are_told():
    made = figures.quality([*MADE, point(HOSTILE, 4, 0.2)], target=hostile_target())
    assert not unescaped(made)
    for wrong in ({"by": "time"}, {"measures": ["fid"]}, {"measures": []}, {"scale": "square"}):
        with pytest.raises(InvalidParams):
            figures.quality(MADE, **wrong)
    with pytest.raises(InvalidParams, match="No sampler"):
        figures.quality(FLOOR)
