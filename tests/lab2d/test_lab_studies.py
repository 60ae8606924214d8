"""Measures against what they are of, and the studies made of them."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from diffatlas import lab2d
from diffatlas.errors import CapabilityError
from diffatlas.lab2d import likelihood
from diffatlas.lab2d.denoisers import bound, exact
from diffatlas.lab2d.fields import density, error, field, grid, on_distribution
from diffatlas.lab2d.metrics import DIRECTIONS, measure, mmd2, mode_shares, sliced_w2
from diffatlas.lab2d.mixtures import draw, log_density, score
from diffatlas.lab2d.samplers import Plan
from diffatlas.lab2d.schedules import schedule
from diffatlas.lab2d.studies import (
    STEP_COUNTS,
    error_budget,
    memorisation,
    memory_recipe,
    noise_floor,
    quality,
    yardstick,
)
from diffatlas.lab2d.targets import preset
from diffatlas.lab2d.training import Recipe, Trainer

COSINE = schedule("cosine")


def test_mmd_is_the_double_sum_of_its_definition():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 2)), rng.standard_normal((40, 2)) + 0.5
    for h in (0.1, 0.3, 0.6, 1.2):

        def k(a, b, h=h):
            return np.exp(-np.sum((a - b) ** 2) / (2 * h * h))

        xx = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
        yy = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
        xy = np.mean([k(a, b) for a in x for b in y])
        got = mmd2(x, y, [0.1, 0.3, 0.6, 1.2])
        at = [0.1, 0.3, 0.6, 1.2].index(h)
        assert got.unbiased[at] == pytest.approx(xx + yy - 2 * xy, abs=1e-5)
        whole = np.mean([k(a, b) for a in x for b in x]) + np.mean([k(a, b) for a in y for b in y]) - 2 * xy
        assert got.biased[at] == pytest.approx(whole, abs=1e-5)


def test_sliced_distance_is_the_one_of_each_direction():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((200, 2)), 2 * rng.standard_normal((200, 2)) + 1
    # Independent: w2^2 of two sorted samples, direction by direction.
    angles = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    squares = [
        np.mean((np.sort(x @ a) - np.sort(y @ a)) ** 2)
        for a in (np.array([np.cos(t), np.sin(t)]) for t in angles)
    ]
    assert sliced_w2(x, y) == pytest.approx(np.sqrt(np.mean(squares)))
    # A shift alone is at a distance of its length over sqrt 2; and scipy's own W1 agrees on one direction.
    assert sliced_w2(x, x + np.array([3, 4])) == pytest.approx(5 / np.sqrt(2))
    assert wasserstein_distance(x[:, 0], x[:, 0] + 3) == pytest.approx(3)
    assert sliced_w2(x, np.repeat(x, 2, axis=0)) < 0.05


def test_each_measure_sees_what_the_others_miss():
    """The study of the measures: a dropped mode, wide modes, points between modes."""
    target = preset("eight_gaussians")
    stick, n = yardstick(target), 2000
    rng = np.random.default_rng(1)
    floors = [point.measures for point in noise_floor(target, n, 3, stick)]
    x, labels = draw(target, n, rng)

    def against(samples):
        return measure(target, samples, draw(target, n, rng)[0], stick.entropy, stick.median)

    most = {
        name: max(getattr(f, name) for f in floors)
        for name in ("mmd2", "mmd2_fine", "w2", "excess_nll", "tv")
    }
    dropped = against(x[labels != 3])
    assert dropped.mmd2 > most["mmd2"] + 0.004
    assert dropped.covered == 7 / 8
    assert dropped.tv == pytest.approx(1 / 8, abs=0.02)
    assert dropped.excess_nll < most["excess_nll"] + 0.1  # blind: every point is where points belong
    centres = target.parts.means[labels]
    wide = against(centres + 1.5 * (x - centres))
    assert wide.mmd2 < most["mmd2"] + 0.001  # blind
    assert wide.mmd2_fine > most["mmd2_fine"] + 0.002
    assert wide.excess_nll > 1
    between = x.copy()
    between[:100] = (target.parts.means[labels[:100]] + target.parts.means[(labels[:100] + 1) % 8]) / 2
    astray = against(between)
    assert astray.mmd2 < 0.002
    assert astray.excess_nll > 0.5


def test_mode_shares_count_the_nearest_mode():
    target = preset("eight_gaussians")
    x, labels = draw(target, 500, np.random.default_rng(0))
    np.testing.assert_allclose(mode_shares(target, x), np.bincount(labels, minlength=8) / 500)


def test_samples_that_are_not_finite_are_bad_and_break_nothing():
    target = preset("moons")
    stick = yardstick(target)
    x, _ = draw(target, 200, np.random.default_rng(0))
    x[:5] = [np.nan, np.inf]
    got = measure(target, x, draw(target, 200, np.random.default_rng(1))[0], stick.entropy, stick.median)
    assert np.isfinite(list(vars(got).values())).all()
    assert got.excess_nll > 100


def test_quality_with_the_exact_field_reaches_the_floor_and_draws_afresh():
    target = preset("moons")
    stick = yardstick(target)
    plans = [Plan("heun", 4), Plan("ddim", 32), Plan("heun", 32)]
    points = list(quality(lambda labels: bound(exact(target), labels), target, COSINE, plans, 500, 2, stick))
    assert [(p.sampler, p.steps, p.repeat) for p in points] == [
        (plan.sampler, plan.steps, repeat) for repeat in range(2) for plan in plans
    ]
    floors = [p.measures.mmd2 for p in noise_floor(target, 500, 4, stick)]
    by = {(p.sampler, p.steps): p.measures.mmd2 for p in points}
    assert by["heun", 4] > max(floors) + 0.01
    assert by["ddim", 32] < max(floors) + 0.004
    assert by["ddim", 32] != by["heun", 32]
    one = list(
        quality(
            lambda labels: bound(exact(target), labels), target, COSINE, plans[1:2], 500, 1, stick, label=1
        )
    )
    assert one[0].measures.excess_nll < 0  # half the target has half the surprise


def test_the_budget_of_an_exact_field_is_all_integration():
    target = preset("moons")
    binder = lambda labels: bound(exact(target), labels)  # noqa: E731
    found = error_budget(binder, binder, target, COSINE, Plan("heun"), n=100)
    assert found.model == 0
    np.testing.assert_array_equal(found.integration, found.total)
    assert found.steps.tolist() == list(STEP_COUNTS)
    assert found.integration[-1] < 0.05 * found.integration[0]
    with pytest.raises(CapabilityError, match="deterministic"):
        error_budget(binder, binder, target, COSINE, Plan("ddim", eta=1.0))


def test_the_budget_of_a_wrong_field_ends_at_the_models_error():
    target = preset("moons")
    shifted = lambda labels: lambda x, sigma: exact(target)(x, sigma, labels) + 0.1 * min(sigma, 1)  # noqa: E731
    right = lambda labels: bound(exact(target), labels)  # noqa: E731
    found = error_budget(shifted, right, target, COSINE, Plan("heun"), n=100)
    assert found.model > 0.05
    assert found.total[-1] == pytest.approx(found.model, rel=0.05)


def test_memorisation_tells_copies_from_new_points():
    target = preset("moons")
    recipe = memory_recipe(Recipe(width=64), 5, 800)
    trainer = Trainer(target, recipe)
    trainer.run(800)
    found = memorisation(trainer, Plan("heun", 24), 200)
    assert found.copies["empirical"] > 0.95
    assert found.copies["fresh"] < 0.5 < found.copies["learned"]
    assert np.median(found.nearest["empirical"]) < 1e-6
    assert found.points.shape == (5, 2)


def test_the_models_density_is_that_of_the_field():
    """With the exact field the ODE returns the exact density; with a learned one its divergence is a real one."""
    target = preset("three_modes")
    x, labels = draw(target, 200, np.random.default_rng(0))
    got = likelihood.log_likelihood(exact(target), likelihood.exact_divergence(target), x, labels, steps=256)
    np.testing.assert_allclose(got, log_density(target, x, likelihood.LOW, labels), atol=0.08)
    assert abs(np.mean(got - log_density(target, x, likelihood.LOW, labels))) < 0.005
    trainer = Trainer(target, Recipe(width=32, steps=300))
    trainer.run(300)
    model, h = trainer.learned(), 1e-3
    for sigma in (0.1, 1.0):
        want = sum(
            (model(x + h * e, sigma, labels)[:, i] - model(x - h * e, sigma, labels)[:, i]) / (2 * h)
            for i, e in enumerate(np.eye(2))
        )
        np.testing.assert_allclose(model.divergence(x, sigma, labels), want, atol=0.02)


def test_fields_and_their_errors():
    target, sigma = preset("rings"), 0.6
    places = grid()
    assert places.shape == (256, 2)
    a = COSINE.alpha(sigma)
    got = field(bound(exact(target), None), "score", places, sigma, COSINE)
    # p_t(x) = p(x / a; sigma) / a^2, so its score is the other's over a.
    np.testing.assert_allclose(got, score(target, places / a, sigma) / a)
    assert error(got, got).relative == 0
    assert error(2 * got, got).relative == pytest.approx(1)
    assert error(2 * got, got).cosine == pytest.approx(1)
    assert error(-got, got).cosine == pytest.approx(-1)
    same = on_distribution(exact(target), exact(target), target, "eps", sigma, COSINE, 1)
    assert same.relative == 0
    cells = density(target, sigma, a, None, 60, 4.0)
    assert cells.sum() * (8 / 59) ** 2 == pytest.approx(1, abs=0.01)


def test_the_notebooks_way():
    target = lab2d.preset("moons")
    x, labels = lab2d.generate(lab2d.exact(target), target, lab2d.Plan("heun", 18), COSINE, n=50, weight=1.0)
    assert x.shape == (50, 2)
    assert set(labels) == {0, 1}
    again, _ = lab2d.generate(lab2d.exact(target), target, lab2d.Plan("heun", 18), COSINE, n=50, weight=1.0)
    np.testing.assert_array_equal(x, again)
