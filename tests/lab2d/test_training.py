"""The network's gradient against autograd, the training against its exact floor, and a lab's file."""

import json

import numpy as np
import pytest
import torch

from diffatlas.errors import InvalidParams, NewerVersion
from diffatlas.lab2d import objectives, states
from diffatlas.lab2d.denoisers import convert, exact
from diffatlas.lab2d.floors import excess, floor, loss_floor
from diffatlas.lab2d.mixtures import denoise, draw
from diffatlas.lab2d.network import Backward, Network, Shape, begin, split, time_features
from diffatlas.lab2d.schedules import SCHEDULES, T, schedule
from diffatlas.lab2d.targets import drawn, preset
from diffatlas.lab2d.training import EARLY, Recipe, Trainer


def torch_outputs(shape, vector, inputs):
    """The same network in torch, over a vector of parameters."""
    h, at = inputs, 0
    for number, (rows, columns) in enumerate(shape.layers):
        weights = vector[at : at + rows * columns].view(rows, columns)
        at += rows * columns
        h = h @ weights + vector[at : at + columns]
        at += columns
        if number < len(shape.layers) - 1:
            h = torch.nn.functional.silu(h)
    return h


@pytest.mark.parametrize("fourier", [False, True])
def test_gradient_and_directional_derivative_are_those_of_autograd(fourier):
    rng = np.random.default_rng(0)
    shape = Shape(classes=3, width=16, depth=3, fourier=fourier)
    backward = Backward(shape, 32)
    backward.vector[:] = begin(shape, rng)
    backward.vector += rng.normal(0, 0.05, backward.vector.shape).astype(np.float32)
    network = Network(shape, backward.vector)
    x = rng.standard_normal((32, 2)).astype(np.float32)
    inputs = network.inputs(x, time_features(rng.integers(0, T, 32), T), rng.integers(0, 4, 32))
    wanted = rng.standard_normal((32, 2)).astype(np.float32)
    loss = backward(inputs, wanted)

    vector = torch.tensor(backward.vector, dtype=torch.float64, requires_grad=True)
    outputs = torch_outputs(shape, vector, torch.tensor(inputs, dtype=torch.float64))
    expected = ((outputs - torch.tensor(wanted)) ** 2).mean()
    (gradient,) = torch.autograd.grad(expected, vector)
    assert abs(loss - expected.item()) < 1e-5
    np.testing.assert_allclose(network(inputs), outputs.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(backward.gradient, gradient.numpy(), atol=1e-5)

    h = 1e-3
    for axis in (0, 1):
        step = np.zeros((1, 2), np.float32)
        step[0, axis] = h
        classes = inputs[:, -4:].argmax(axis=1)
        time = inputs[:, -4 - 32 : -4]
        ends = [
            torch_outputs(
                shape, vector, torch.tensor(network.inputs(x + s * step, time, classes), dtype=torch.float64)
            )
            for s in (1, -1)
        ]
        want = (ends[0] - ends[1]).detach().numpy() / (2 * h)
        np.testing.assert_allclose(network.derivative(inputs, network.directions(x, axis)), want, atol=5e-3)


def test_adam_is_torchs():
    """Ten steps of training, against torch's Adam on the same batches."""
    trainer = Trainer(preset("moons"), Recipe(width=16, batch=32, steps=1000))
    vector = torch.tensor(trainer.vector.astype(np.float64), requires_grad=True)
    optimizer = torch.optim.Adam([vector])
    for step in range(10):
        x, levels, classes, wanted = trainer._batch(step)
        inputs = Network(trainer.shape, trainer.vector).inputs(x, time_features(levels, T), classes)
        optimizer.param_groups[0]["lr"] = trainer.rate(step)
        optimizer.zero_grad()
        outputs = torch_outputs(trainer.shape, vector, torch.tensor(inputs, dtype=torch.float64))
        ((outputs - torch.tensor(wanted)) ** 2).mean().backward()
        optimizer.step()
        trainer.run(1)
    np.testing.assert_allclose(trainer.vector, vector.detach().numpy(), atol=2e-4)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("objective", objectives.OBJECTIVES)
def test_an_objective_and_its_inverse_meet(name, objective):
    rng = np.random.default_rng(0)
    x0, eps = rng.standard_normal((2, 50, 2))
    sched = schedule(name)
    for level in (5, 500, 950):
        sigma = float(sched.sigmas[level])
        a = float(sched.alpha(sigma))
        s = a * sigma
        wanted = objectives.target_of(objective, x0, eps, np.array(a), np.array(s))
        x = a * x0 + s * eps
        np.testing.assert_allclose(
            objectives.x0_from(objective, wanted, x, a, s), x0, atol=1e-6 * (1 + sigma)
        )
        # A change of eps at fixed x changes the target by the stated factor.
        other = objectives.target_of(objective, x0 - sigma * 0.1, eps + 0.1, np.array(a), np.array(s))
        np.testing.assert_allclose(
            np.abs(other - wanted), 0.1 * objectives.per_eps(objective, np.array(a), np.array(s))
        )
        np.testing.assert_allclose(convert("eps", x / a, x0, sigma, sched), eps, atol=1e-6)


def test_cosine_levels_are_those_of_the_paper():
    sched = schedule("cosine")
    t = 500
    f = [np.cos((u / T + 0.008) / 1.008 * np.pi / 2) ** 2 for u in (t + 1, 0)]
    remaining = f[0] / f[1]
    assert abs(sched.sigmas[t] - np.sqrt((1 - remaining) / remaining)) < 1e-9
    assert sched.level(float(sched.sigmas[t])) == pytest.approx(t)
    assert sched.sigmas[-1] > 1000


@pytest.mark.parametrize("conditional", [True, False])
def test_the_floor_is_the_least_error_in_eps(conditional):
    """Monte Carlo: the exact denoiser's squared error in eps is the floor, and any other's is more by its excess."""
    target, sigma = preset("swiss_roll"), 0.5
    rng = np.random.default_rng(3)
    x0, labels = draw(target, 100_000, rng)
    eps = rng.standard_normal(x0.shape)
    x, given = x0 + sigma * eps, labels if conditional else None
    best = (x - denoise(target, x, sigma, given)) / sigma
    measured = np.mean(np.sum((eps - best) ** 2, axis=1))
    assert floor(target, sigma, 20_000, np.random.default_rng(1), conditional) == pytest.approx(
        measured, rel=0.01
    )
    worse = best + 0.2 * np.sin(3 * x[:, ::-1])
    more = np.mean(np.sum((eps - worse) ** 2, axis=1))
    assert more - measured == pytest.approx(np.mean(np.sum((worse - best) ** 2, axis=1)), rel=0.05)


def test_the_exact_denoiser_has_no_excess():
    target = preset("rings")
    found = excess(exact(target), target, schedule("cosine"), True, n=100)
    assert found.excess.max() == 0
    assert found.floor[0] > 1 > 0.1 > found.floor[-1]  # the noisier, the better eps is known


@pytest.mark.parametrize(
    ("objective", "name"), [("v", "cosine"), ("eps", "cosine"), ("flow", "straight"), ("x0", "linear")]
)
def test_training_comes_near_the_floor_and_not_below(objective, name):
    target = preset("eight_gaussians")
    trainer = Trainer(target, Recipe(objective=objective, schedule=name, steps=1200, width=64))
    trainer.run(1200)
    least = loss_floor(target, trainer.schedule, objective, 0.2)
    reached = np.mean(trainer.losses[-200:])
    assert 0.9 * least < reached < 1.25 * least
    assert excess(trainer.learned(), target, trainer.schedule, True).relative < (
        0.4 if objective == "x0" else 0.1
    )


def test_a_training_set_has_the_floor_of_being_learned_by_heart():
    target = preset("moons")
    trainer = Trainer(target, Recipe(train_points=5))
    assert loss_floor(trainer.source, trainer.schedule, "eps", 0) < 0.5 * loss_floor(
        target, trainer.schedule, "eps", 0
    )


def test_paired_noise_is_still_normal_and_costs_less():
    target = preset("moons")
    plain = Trainer(target, Recipe(objective="flow", schedule="straight"))
    paired = Trainer(target, Recipe(objective="flow", schedule="straight", pairing="ot"))
    # What is predicted is eps - x0: its mean square is the cost of the pairing.
    apart = [np.mean(t._draw(0)[3].astype(float) ** 2) for t in (plain, paired)]
    assert apart[1] < 0.7 * apart[0]
    x, levels, _, wanted = (part.reshape(-1, *part.shape[2:]) for part in paired._draw(0))
    t = ((levels + 0.5) / T)[:, None]
    eps = x + (1 - t) * wanted
    np.testing.assert_allclose(eps.std(axis=0), 1, atol=0.03)


def test_two_trainers_agree_and_a_file_goes_on_to_the_bit(tmp_path):
    target = drawn(np.random.default_rng(0).uniform(-1, 1, (30, 2)), np.arange(30) % 2)
    recipe = Recipe(width=16, batch=32, steps=500)
    one = Trainer(target, recipe)
    one.run(EARLY + 7)
    states.write(tmp_path / "lab.json", one, {"tab": "field"})
    other, view = states.read(tmp_path / "lab.json")
    assert view == {"tab": "field"}
    one.run(40)
    other.run(40)
    assert np.array_equal(one.average, other.average)
    assert np.array_equal(one.early, other.early)
    np.testing.assert_allclose(one.losses, other.losses, rtol=1e-6)
    assert not (tmp_path / "lab.json.tmp").exists()


@pytest.mark.parametrize("name", ["moons", "checkerboard"])
def test_the_pretrained_starts_are_good(name):
    trainer = states.pretrained(name)
    found = excess(trainer.learned(), trainer.target, trainer.schedule, True)
    assert found.relative < 0.015


def test_a_lab_that_is_no_lab_is_refused():
    good = states.to_json(Trainer(preset("moons"), Recipe(width=8, depth=1)))
    cases = [
        ("[]", "not a lab"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (json.dumps({**good, "version": "1"}), "no version of it"),
        (json.dumps({**good, "recipe": {**good["recipe"], "depth": 2}}), "do not fit"),
        (json.dumps({**good, "recipe": {**good["recipe"], "colour": 2}}), "no field 'colour'"),
        (json.dumps({**good, "recipe": {**good["recipe"], "width": 1e9}}), "width is a whole number"),
        (json.dumps({**good, "weights": {"average": "AAAAAA=="}}), "do not fit"),
        (json.dumps({**good, "weights": {"average": "\u00e9"}}), "cannot be read"),
        (json.dumps({**good, "target": {"preset": "nowhere"}}), "no target"),
        (json.dumps({**good, "target": {"points": [["a", 1]]}}), "not numbers"),
        (json.dumps({**good, "step": -1}), "no step"),
    ]
    for text, says in cases:
        with pytest.raises(InvalidParams, match=says):
            states.parse(text)


def test_a_lab_of_a_later_version_is_refused():
    later = {**states.to_json(Trainer(preset("moons"), Recipe(width=8, depth=1))), "version": 2}
    with pytest.raises(
        NewerVersion, match=r"This lab is of format 2, and .* reads format 1: update diffatlas"
    ):
        states.parse(json.dumps(later))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("objective", "u"),
        ("steps", 3),
        ("batch", 1.5),
        ("learning_rate", float("nan")),
        ("fourier", 1),
        ("train_points", 1),
    ],
)
def test_a_wrong_recipe_names_its_field(field, value):
    with pytest.raises(InvalidParams) as caught:
        Recipe(**{field: value}).validate()
    assert caught.value.field == field


def test_splitting_covers_the_whole_vector():
    shape = Shape(classes=2, width=8, depth=2)
    vector = np.arange(shape.parameters, dtype=np.float32)
    parts = np.concatenate([part.ravel() for pair in split(shape, vector) for part in pair])
    np.testing.assert_array_equal(parts, vector)
