"""Summaries of measurements, and the density of a model, against their definitions."""

import dataclasses
import statistics

import numpy as np
import pytest

from diffatlas.lab2d.denoisers import exact
from diffatlas.lab2d.densities import densities, kl_divergence, mass
from diffatlas.lab2d.fields import density
from diffatlas.lab2d.likelihood import exact_divergence
from diffatlas.lab2d.metrics import Measures
from diffatlas.lab2d.studies import Point
from diffatlas.lab2d.summaries import BINS, by_steps, chance, shares, spread
from diffatlas.lab2d.targets import preset
from diffatlas.lab2d.training import Recipe, Trainer


def point(sampler: str, steps: int, value: float, calls: int = 1) -> Point:
    return Point(sampler, steps, calls, 0, Measures(*[value] * len(dataclasses.fields(Measures))))


def test_a_spread_is_the_deviation_of_a_sample_and_leaves_out_what_is_not_finite():
    found = spread([1.0, 2.0, 4.0, float("nan")])
    assert found.mean == pytest.approx(statistics.mean([1, 2, 4]))
    assert found.sd == pytest.approx(statistics.stdev([1, 2, 4]))
    assert (found.low, found.high) == pytest.approx((found.mean - 2 * found.sd, found.mean + 2 * found.sd))
    assert spread([3.0]).sd == 0
    assert spread([float("inf")]) is None


def test_samplers_and_the_floor_are_kept_apart():
    points = [point("floor", 0, 1), point("floor", 0, 3), point("heun", 8, 5), point("heun", 4, 7, 7)]
    assert chance(points, "w2").mean == 2
    assert chance(points[:1], "w2") is None
    rows = by_steps([*points, point("heun", 4, 9, 7)], "w2")
    assert list(rows) == ["heun"]
    assert [(row.steps, row.calls, row.spread.mean) for row in rows["heun"]] == [(4, 7, 8), (8, 1, 5)]


def test_shares_of_distances_sum_to_one_with_those_outside():
    middles, found = shares(np.array([0.0, 1e-2, 1e-2, 1e5]))
    assert len(middles) == BINS
    assert found.sum() == 1
    assert (found[0], found[-1]) == (0.25, 0.25)
    assert middles[np.argmax(found)] == pytest.approx(1e-2, rel=0.3)


def test_the_exact_density_is_no_distance_from_itself_and_a_models_is_some():
    target = preset("moons")
    gap, error = kl_divergence(exact(target), exact_divergence(target), target, 0, n=100)
    assert abs(gap) < 0.02 + 3 * error
    assert mass(density(target, 0.01, 1.0, None, 48)) == pytest.approx(1, abs=0.02)
    trainer = Trainer(target, Recipe(width=8, depth=1, steps=100))
    trainer.run(20)
    found = densities(trainer.learned(), target, 1, 12)
    assert found.model.shape == found.exact.shape == (12, 12)
    assert found.divergence > 10 * found.error > 0
