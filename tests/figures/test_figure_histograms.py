"""Histograms as a figure: every value counted once, the normal density of the same moments, and what is missing."""

import dataclasses
import statistics

import numpy as np
import pytest

from diffatlas import figures
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.look import NIGHT, PAPER
from tests.figures.written import HOSTILE, written
from tests.library.made_runs import made


def of(figure, step, metric="values"):
    (one,) = [t for t in figure.data if t.meta["step"] == step and t.meta["measure"] == metric]
    return one


def test_every_value_is_counted_in_its_bin():
    run = made(1)
    bars = of(figures.histograms(run), 2)
    values = run.steps[1].latents.astype(float).ravel()
    for k, (count, low, high) in enumerate(bars.customdata):
        inside = (values >= low) & ((values < high) | (k == len(bars.x) - 1) & (values <= high))
        assert count == inside.sum()
    assert sum(count for count, *_ in bars.customdata) == values.size
    assert sum(np.multiply(bars.y, bars.width)) == pytest.approx(1)


def test_the_dashed_line_is_the_normal_density_of_the_same_moments():
    run = made(1)
    line = of(figures.histograms(run), 0, "normal")
    values = run.initial_latents.astype(float).ravel().tolist()
    normal = statistics.NormalDist(statistics.fmean(values), statistics.pstdev(values))
    np.testing.assert_allclose(line.y, [normal.pdf(x) for x in line.x])
    assert line.line.dash == "dash"


def test_first_last_and_evenly_between_unless_others_are_asked_for():
    run = made(1)
    long = dataclasses.replace(
        run, steps=tuple(dataclasses.replace(run.steps[0], index=i) for i in range(30))
    )
    steps = [t.meta["step"] for t in figures.histograms(long).data if t.meta["measure"] == "values"]
    assert steps == [0, 6, 12, 18, 24, 30]
    assert {t.meta["step"] for t in figures.histograms(long, steps=[3, 30]).data} == {3, 30}
    with pytest.raises(InvalidParams, match="0, the noise, to 30"):
        figures.histograms(long, steps=[31])
    with pytest.raises(InvalidParams, match="at least one"):
        figures.histograms(long, steps=[])


def test_the_noise_is_gold_and_the_last_state_burgundy():
    for dark, on in ((False, PAPER), (True, NIGHT)):
        figure = figures.histograms(made(1), dark=dark)
        assert of(figure, 0).marker.color == on.gold
        assert of(figure, 3).marker.color == on.burgundy
        assert figure.layout.template.layout.paper_bgcolor == on.paper


def test_what_is_missing_or_no_number_is_said():
    run = made(1, initial_latents=None)
    run.steps[2].latents[0, 0, 0, 0] = np.inf
    words = written(figures.histograms(run))
    assert "not kept" in words
    assert "no numbers" in words
    bare = dataclasses.replace(run, steps=tuple(dataclasses.replace(s, latents=None) for s in run.steps))
    with pytest.raises(CapabilityError, match="not kept"):
        figures.histograms(bare)
    flat = made(1)
    flat.steps[2].latents[:] = 0.5
    assert (
        sum(count for count, *_ in of(figures.histograms(flat), 3).customdata) == flat.steps[2].latents.size
    )


def test_the_prompt_is_escaped():
    words = written(figures.histograms(made(1, prompt=HOSTILE)))
    assert "&lt;a href" in words
    assert "<a" not in words
