"""The error budget: the lines of its fields, for one sampler and for several."""

import numpy as np
import pytest

from diffatlas import figures
from diffatlas.errors import InvalidParams
from diffatlas.figures.budget import LINES
from diffatlas.figures.panels import panels
from diffatlas.lab2d.studies import Budget
from diffatlas.look import NIGHT, PAPER
from tests.figures.lab_made import HOSTILE, trace, traces, unescaped

STEPS = np.array([4, 8, 16])
HEUN = Budget(
    STEPS,
    2 * STEPS - 1,
    np.array([0.5, 0.1, 0.02]),
    np.array([0.4, 0.09, 0.0]),
    np.array([0.6, 0.2, 0.11]),
    0.1,
)
DDIM = Budget(STEPS, STEPS, HEUN.integration * 2, HEUN.exact_integration * 2, HEUN.total * 2, 0.1)


def test_each_line_is_a_field_of_the_budget():
    made = figures.budget(HEUN)
    for name, label, _ in LINES:
        line = trace(made, measure=name)
        assert line.name == label
        assert line.x == (4, 8, 16)
        assert line.y == tuple(value or None for value in getattr(HEUN, name))
    assert trace(made, measure="model").y == (0.1, 0.1)
    assert "own error is 0.1, whatever the steps" in made.layout.meta["spoken"]


def test_samplers_share_one_scale_by_what_they_cost():
    made = figures.budget({"heun": HEUN, "ddim": DDIM}, by="calls")
    assert [panel.title for panel in panels(made)] == ["<b>Heun</b>", "<b>DDIM</b>"]
    assert trace(made, sampler="heun", measure="total").x == (7, 15, 31)
    assert trace(made, sampler="ddim", measure="total").x == (4, 8, 16)
    assert made.layout.xaxis.range == made.layout.xaxis2.range
    assert made.layout.yaxis.range == made.layout.yaxis2.range
    low, high = made.layout.yaxis.range
    assert low < np.log10(0.02) < np.log10(1.2) < high
    assert len([one for one in made.data if one.showlegend]) == 4


def test_an_exact_field_has_no_error_of_its_own():
    same = Budget(STEPS, STEPS, HEUN.total, HEUN.total, HEUN.total, 0.0)
    assert not traces(figures.budget(same), measure="model")
    none = Budget(STEPS, STEPS, *[np.zeros(3)] * 3, 0.0)
    assert any("No error at all" in note.text for note in figures.budget(none).layout.annotations)


@pytest.mark.parametrize(("dark", "on"), [(False, PAPER), (True, NIGHT)])
def test_its_colours_are_of_the_ground_and_its_lines_differ_without(dark, on):
    made = figures.budget(HEUN, dark=dark)
    assert trace(made, measure="total").line.color == on.ink
    assert trace(made, measure="integration").line.color == on.burgundy
    assert len({one.line.dash for one in made.data}) == 4


def test_names_from_outside_are_words_and_wrong_questions_are_told():
    assert not unescaped(figures.budget({HOSTILE: HEUN}))
    assert not unescaped(figures.budget({HOSTILE: HEUN, "heun": HEUN}))
    with pytest.raises(InvalidParams, match="no error budget"):
        figures.budget({})
    with pytest.raises(InvalidParams, match="steps or calls"):
        figures.budget(HEUN, by="time")
