"""The loss of a network: its curve, its floor, and the errors by noise level."""

import dataclasses

import numpy as np
import pytest

from diffatlas import figures
from diffatlas.figures.panels import panels
from diffatlas.lab2d.floors import excess, loss_floor
from diffatlas.lab2d.training import Trainer
from diffatlas.look import NIGHT, PAPER
from tests.figures.lab_made import HOSTILE, hostile_target, trace, traces, trained, trainer, unescaped


def test_every_step_is_drawn_beside_the_floor():
    own = trainer()
    made = figures.loss(own)
    curve = trace(made, measure="loss")
    np.testing.assert_allclose(curve.y, own.losses)
    assert list(curve.x) == list(range(1, 31))
    want = loss_floor(own.target, own.schedule, "v", 0.2)
    assert set(trace(made, measure="floor").y) == {want}
    low, high = made.layout.yaxis.range
    assert low < np.log10(min(want, *own.losses)) < np.log10(max(own.losses)) < high


def test_errors_by_level_are_those_of_the_lab_and_said():
    own = trainer()
    made = figures.loss(own)
    for name, conditional in (("with class", True), ("without class", False)):
        want = excess(own.learned(), own.target, own.schedule, conditional)
        drawn = trace(made, measure=f"Excess, {name}")
        np.testing.assert_allclose(drawn.y, want.excess)
        np.testing.assert_array_equal(drawn.x, want.levels)
        assert f"{100 * want.relative:.3g} %" in made.layout.meta["says"]
    assert [panel.title for panel in panels(made)] == ["<b>Loss</b>", "<b>Error by noise level</b>"]


def test_of_many_steps_a_point_is_a_mean_which_is_said():
    own = trained(1)
    own.step, own.losses = 998, [1.0 + k for k in range(998)]
    made = figures.loss(own)
    curve = trace(made, measure="loss")
    want = [np.mean(own.losses[k : k + 3]) for k in range(0, 998, 3)]
    np.testing.assert_allclose(curve.y, want)
    assert list(curve.x[:2]) == [3, 6]
    assert curve.x[-1] == 998
    assert "mean over 3 steps" in made.layout.meta["says"]


def test_paired_noise_has_no_floor_and_no_training_has_no_loss():
    made = figures.loss(trained(3, objective="flow", schedule="straight", pairing="ot"))
    assert not traces(made, measure="floor")
    assert any("paired noise" in note.text for note in made.layout.annotations)
    empty = figures.loss(trained(0))
    assert not empty.data
    assert any("Not trained" in note.text for note in empty.layout.annotations)


def test_of_a_network_that_was_opened_the_losses_begin_where_they_were_kept():
    own = trained(4)
    own.step = 104
    assert list(trace(figures.loss(own), measure="loss").x) == [101, 102, 103, 104]
    own.losses = []
    made = figures.loss(own)
    assert not traces(made, measure="loss")
    assert any("No losses were kept" in note.text for note in made.layout.annotations)


def test_a_training_set_has_another_floor():
    made = figures.loss(trained(2, train_points=5))
    assert "5 training points by heart" in made.layout.meta["says"]


@pytest.mark.parametrize(("dark", "on"), [(False, PAPER), (True, NIGHT)])
def test_its_colours_are_of_the_ground(dark, on):
    made = figures.loss(trainer(), dark=dark)
    assert made.layout.template.layout.paper_bgcolor == on.paper
    assert trace(made, measure="loss").line.color == on.burgundy
    assert trace(made, measure="floor").line.color == on.gold


def test_names_from_outside_are_words():
    own = Trainer(hostile_target(), dataclasses.replace(trainer().recipe))
    own.run(1)
    made = figures.loss(own)
    assert not unescaped(made)
    assert HOSTILE in made.layout.meta["title"]
