"""Density, memory and field: what is drawn in the plane, against the lab's own numbers."""

import dataclasses

import numpy as np
import pytest

from diffatlas import figures
from diffatlas.errors import InvalidParams
from diffatlas.figures.panels import panels
from diffatlas.lab2d.denoisers import bound, exact
from diffatlas.lab2d.densities import Densities
from diffatlas.lab2d.fields import density, error, field, grid
from diffatlas.lab2d.mixtures import draw, score
from diffatlas.lab2d.schedules import schedule
from diffatlas.lab2d.studies import Memory
from diffatlas.lab2d.summaries import shares
from diffatlas.lab2d.targets import preset
from diffatlas.lab2d.training import Trainer
from diffatlas.look import LAYERS, NIGHT, PAPER
from tests.figures.lab_made import HOSTILE, hostile_target, trace, traces, trained, trainer, unescaped

MOONS = preset("moons")


def memory(n: int, copies: float) -> Memory:
    rng = np.random.default_rng(n)
    nearest = {name: rng.random(40) for name in ("learned", "empirical", "fresh")}
    shared = {"learned": copies, "empirical": 1.0, "fresh": 0.05}
    return Memory(n, nearest, shared, rng.random((n, 2)), rng.random((40, 2)), 0.2, 0.9)


def test_the_density_is_the_targets_at_its_noise():
    made = figures.density(MOONS, sigma=0.5, straight=True, label=1, cells=12)
    drawn = trace(made, measure="Density")
    want = density(MOONS, 0.5, 1 / 1.5, 1, 12)
    np.testing.assert_allclose(drawn.customdata, want)
    np.testing.assert_allclose(np.square(drawn.z), want)
    np.testing.assert_allclose(drawn.x, grid(12)[:12, 0])
    assert made.layout.meta["title"] == "Density of Moons, class lower at σ = 0.5"


def test_points_lie_over_it_by_class_and_those_outside_are_counted():
    x, labels = draw(MOONS, 30, np.random.default_rng(0))
    x[0] = [9, 0]
    made = figures.density(MOONS, points=x, labels=labels, cells=8)
    own = [trace(made, points="samples", **{"class": k}) for k in (0, 1)]
    for k, one in enumerate(own):
        np.testing.assert_array_equal(np.column_stack([one.x, one.y]), x[labels == k])
        assert one.marker.color == LAYERS[k]
        assert one.name == MOONS.classes[k]
    assert own[0].marker.symbol != own[1].marker.symbol
    assert "30 points, 1 of them outside" in made.layout.meta["says"]
    for wrong in (
        {"points": x[None]},
        {"points": x, "labels": labels[:3]},
        {"points": x, "labels": labels + 5},
    ):
        with pytest.raises(InvalidParams):
            figures.density(MOONS, **wrong)


def test_a_networks_density_is_beside_the_exact_one_on_its_scale():
    truth = density(MOONS, 0.01, 1.0, None, 8)
    made = figures.density(Densities(MOONS, truth / 2, truth, 0.5, 0.7, 0.05))
    network, target = (trace(made, measure=name) for name in ("Of the network", "Of the target"))
    np.testing.assert_allclose(network.customdata, truth / 2)
    assert network.zmax == target.zmax == pytest.approx(np.sqrt(truth.max()))
    assert "0.7 ± 0.05 nats" in made.layout.meta["says"]


def test_memory_draws_copies_by_size_and_the_distances_of_one():
    rows = [memory(20, 0.4), memory(5, 0.9)]
    made = figures.memory(rows, n=5)
    assert trace(made, measure="copies", of="learned").x == (5, 20)
    assert trace(made, measure="copies", of="learned").y == (0.9, 0.4)
    for name, distances in rows[1].nearest.items():
        line = trace(made, measure="nearest", of=name, n=5)
        np.testing.assert_allclose(line.y, shares(distances)[1])
    assert len(trace(made, measure="points").x) == 5
    np.testing.assert_array_equal(trace(made, measure="samples").x, rows[1].samples[:, 0])
    says = made.layout.meta["says"]
    assert "5 points: 90 % copies, 5 % by chance" in says
    assert "Error above the floor 20 %, that of knowing the points by heart 90 %" in says
    assert len(trace(figures.memory(rows), measure="points").x) == 20
    with pytest.raises(InvalidParams, match="choose among 5, 20"):
        figures.memory(rows, n=6)
    with pytest.raises(InvalidParams, match="nothing to draw"):
        figures.memory([])


def test_arrows_point_along_the_field_and_are_as_long_as_its_root():
    made = figures.field(MOONS, sigma=0.6, side=5)
    cosine, places = schedule("cosine"), grid(5)
    want = field(bound(exact(MOONS), None), "score", places, 0.6, cosine)
    alpha = cosine.alpha(0.6)
    np.testing.assert_allclose(want, score(MOONS, places / alpha, 0.6) / alpha)
    np.testing.assert_allclose(np.array(trace(made, field="exact", arrows=False).customdata)[:, :2], want)
    line = trace(made, field="exact", arrows=True)
    x, y = (
        np.array([np.nan if v is None else v for v in values]).reshape(25, 7) for values in (line.x, line.y)
    )
    shafts = np.stack([x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]], axis=1)
    lengths, sizes = np.linalg.norm(shafts, axis=1), np.linalg.norm(want, axis=1)
    np.testing.assert_allclose(np.sum(shafts * want, axis=1), lengths * sizes)
    np.testing.assert_allclose(
        np.stack([x[:, 0] + x[:, 1], y[:, 0] + y[:, 1]], axis=1) / 2, places, atol=1e-12
    )
    short = np.argsort(sizes)[:10]
    np.testing.assert_allclose(lengths[short] / lengths[short[0]], np.sqrt(sizes[short] / sizes[short[0]]))


def test_a_trainers_field_is_beside_the_exact_one_with_its_error():
    own = trained(3, train_points=6)
    made = figures.field(own, sigma=0.5, label=0, weight=1.0, side=4)
    titles = [panel.title for panel in panels(made)]
    assert titles == ["<b>Learned</b>", "<b>Exact</b>", "<b>Training points</b>", "<b>Learned less exact</b>"]
    learned, truth = (
        np.array(trace(made, field=name, arrows=False).customdata)[:, :2] for name in ("learned", "exact")
    )
    apart = np.linalg.norm(learned - truth, axis=1).reshape(4, 4)
    np.testing.assert_allclose(trace(made, measure="error").customdata, apart)
    found = error(learned, truth)
    assert f"Relative error on the grid {100 * found.relative:.3g} %" in made.layout.meta["says"]
    labels = np.zeros(16, int)
    a, places = own.schedule.alpha(0.5), grid(4)
    x = places / a
    mixed = 2 * own.learned()(x, 0.5, labels) - own.learned()(x, 0.5, None)
    np.testing.assert_allclose(learned, -(x - mixed) / 0.5 / (a * 0.5))
    assert len(panels(figures.field(trainer(), side=3))) == 3


@pytest.mark.parametrize(("dark", "on"), [(False, PAPER), (True, NIGHT)])
def test_colours_are_of_the_ground(dark, on):
    made = figures.field(trainer(), side=3, dark=dark)
    assert trace(made, field="learned", arrows=True).line.color == on.burgundy
    assert trace(made, field="exact", arrows=True).line.color == on.ink
    made = figures.memory(memory(5, 0.5), dark=dark)
    assert trace(made, measure="copies", of="empirical").line.color == on.gold
    assert figures.density(MOONS, cells=4, dark=dark).layout.template.layout.paper_bgcolor == on.paper


def test_names_from_outside_are_words():
    own = Trainer(hostile_target(), dataclasses.replace(trainer().recipe))
    own.run(1)
    for made in (
        figures.field(own, label=0, side=3),
        figures.density(own.target, points=np.zeros((2, 2)), labels=[0, 1], label=0, cells=4),
    ):
        assert not unescaped(made)
        assert HOSTILE.split("\u202e")[0] in made.layout.meta["title"]


@pytest.mark.parametrize(
    "wrong",
    [{"sigma": 0}, {"quantity": "speed"}, {"label": 2}, {"weight": 1.0}, {"side": 1}, {"schedule": "x"}],
)
def test_a_wrong_question_about_a_field_is_told(wrong):
    with pytest.raises(InvalidParams):
        figures.field(MOONS, **wrong)
    for draw_it in (figures.field, figures.density):
        with pytest.raises(InvalidParams, match="A str has no"):
            draw_it("moons")
    assert not traces(figures.field(MOONS, side=2), measure="error")
