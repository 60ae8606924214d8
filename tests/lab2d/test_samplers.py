"""Samplers on the exact field, where the right answer is known."""

from itertools import pairwise, product

import numpy as np
import pytest

from diffatlas.errors import InvalidParams
from diffatlas.lab2d import samplers
from diffatlas.lab2d.denoisers import bound, exact, guided, widened
from diffatlas.lab2d.metrics import median_distance, mmd2
from diffatlas.lab2d.mixtures import draw, log_density, points_target, score
from diffatlas.lab2d.samplers import SAMPLERS, Plan, ddim, ddpm, dpmpp_2m, final, heun, record, sample, scale
from diffatlas.lab2d.schedules import Schedule, even_levels, karras_sigmas, schedule
from diffatlas.lab2d.studies import flow_end
from diffatlas.lab2d.targets import preset

COSINE = schedule("cosine")


def one_gaussian():
    """N(m, S), for which the flow is known in closed form."""
    points = np.array([[0.7, -0.3]])
    target = points_target("one", points, np.zeros(1, int), ("all",))
    covariance = np.array([[[0.8, 0.3], [0.3, 0.4]]])
    return target.__class__(
        "one",
        target.parts.__class__(points, covariance),
        target.weights,
        target.labels,
        target.modes,
        target.classes,
    )


def flow_of_gaussian(target, x, sigma):
    """x(0) = m + (S / (S + sigma^2))^(1/2) (x - m): the probability-flow ODE of a Gaussian, solved."""
    values, vectors = np.linalg.eigh(target.parts.covariances[0])
    mean = target.parts.means[0]
    root = vectors @ np.diag(np.sqrt(values / (values + sigma**2))) @ vectors.T
    return mean + (x - mean) @ root


PLANS = [
    Plan("ddim", 200),
    Plan("heun", 64),
    Plan("dpmpp_2m", 128),
    Plan("euler", 1000),
    Plan("midpoint", 256),
]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.sampler)
def test_deterministic_samplers_follow_the_flow(plan):
    target = one_gaussian()
    noise = np.random.default_rng(0).standard_normal((50, 2))
    states = list(sample(bound(exact(target), None), plan, COSINE, noise, np.random.default_rng(1)))
    want = flow_of_gaussian(target, states[0].x, states[0].sigma)
    np.testing.assert_allclose(states[-1].x, want, atol=0.03)
    assert states[-1].calls == plan.calls
    assert states[-1].sigma == 0


@pytest.mark.parametrize(
    ("name", "order"), [("ddim", 1), ("heun", 2), ("dpmpp_2m", 2), ("euler", 1), ("midpoint", 2)]
)
def test_the_error_falls_with_the_order_of_the_method(name, order):
    """Against the flow of two Gaussians; the last step to 0 is left out, which is the same in every run."""
    target = preset("three_modes")
    noise = np.random.default_rng(0).standard_normal((40, 2))
    denoise = bound(exact(target), None)
    levels = np.exp(np.linspace(np.log(30), np.log(0.05), 1000))[::-1]
    # An even grid in the sampler's own time keeps the slope clean.
    errors = []
    counts = {"euler": (256, 512, 1024), "ddim": (100, 200, 500)}.get(name, (32, 64, 128))
    for steps in counts:
        if name in ("heun", "dpmpp_2m"):
            sigmas = karras_sigmas(steps + 1, 0.1, 20.0)[:-1]
            states = (
                heun(denoise, noise, sigmas, 0.0, None)
                if name == "heun"
                else dpmpp_2m(denoise, noise, sigmas)
            )
        elif name == "ddim":
            grid = np.sort(np.interp(np.arange(1000), np.arange(1000), levels))
            states = ddim(denoise, noise, Schedule("log", grid), steps, 0.0, None)
        else:
            states = getattr(samplers, name)(denoise, noise, steps, 20.0)
        states = list(states)
        last = states[-2] if states[-1].sigma == 0 else states[-1]
        want = flow_fine(denoise, states[0].x, states[0].sigma, last.sigma)
        errors.append(np.sqrt(np.mean((last.x - want) ** 2)))
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert abs(slope - order) < 0.35, (slope, errors)


def flow_fine(denoise, x, start, end):
    """The classical Runge-Kutta method in log sigma, 200 steps: its error is 10^-4 of the samplers' least."""
    levels = np.geomspace(start, end, 201)
    for now, after in pairwise(levels):
        h, middle = np.log(after / now), np.sqrt(now * after)
        k1 = x - denoise(x, now)
        k2 = x + h / 2 * k1
        k2 = k2 - denoise(k2, middle)
        k3 = x + h / 2 * k2
        k3 = k3 - denoise(k3, middle)
        k4 = x + h * k3
        k4 = k4 - denoise(k4, after)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


def test_the_reference_flow_is_the_flow():
    target = one_gaussian()
    x = 80.0 * np.random.default_rng(0).standard_normal((50, 2))
    np.testing.assert_allclose(
        flow_end(bound(exact(target), None), x, 80.0), flow_of_gaussian(target, x, 80.0), atol=1e-3
    )


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        # Of DDPM's thousand steps once: it is DDIM with eta 1 over all levels, as the next test says.
        ("eight_gaussians", Plan("ddpm")),
        *product(
            ("eight_gaussians", "moons", "checkerboard"),
            (Plan("ddim", 32), Plan("ddim", 100, eta=1), Plan("heun", 32, churn=10)),
        ),
    ],
)
def test_the_exact_field_gives_the_target(name, plan):
    """The unbiased MMD of 2,000 samples lies within the spread of the target against itself."""
    target = preset(name)
    rng = np.random.default_rng(5)
    n = 2000
    x0, labels = draw(target, n, rng)
    widths = median_distance(x0) * np.array([0.1, 0.5, 1.0])
    floor = [mmd2(draw(target, n, rng)[0], draw(target, n, rng)[0], widths).unbiased for _ in range(4)]
    x = final(sample(bound(exact(target), labels), plan, COSINE, rng.standard_normal((n, 2)), rng))
    got = mmd2(x, draw(target, n, rng)[0], widths).unbiased
    assert (got < np.max(floor, axis=0) + 0.0015).all(), (got, floor)


def test_ddpm_is_ddim_with_eta_one_over_all_levels():
    denoise = bound(exact(preset("moons")), None)
    noise = np.random.default_rng(0).standard_normal((20, 2))
    assert (even_levels(1000) == np.arange(999, -1, -1)).all()
    one = final(ddpm(denoise, noise, COSINE, np.random.default_rng(1)))
    other = final(ddim(denoise, noise, COSINE, 1000, 1.0, np.random.default_rng(1)))
    np.testing.assert_allclose(one, other, atol=1e-8)


def test_the_empirical_score_returns_the_training_points():
    points, labels = draw(preset("swiss_roll"), 30, np.random.default_rng(0))
    source = points_target("set", points, labels, ("inner", "outer"))
    noise = np.random.default_rng(1).standard_normal((100, 2))
    x = final(sample(bound(exact(source), None), Plan("heun", 40), COSINE, noise, np.random.default_rng(2)))
    nearest = np.linalg.norm(x[:, None] - points[None], axis=2).min(axis=1)
    assert np.median(nearest) < 1e-6
    assert np.mean(nearest < 0.02) > 0.95  # the others end between two points nearer to each other than that


def test_guidance_of_weight_zero_is_the_conditional_field_itself():
    target = preset("moons")
    x, labels = draw(target, 50, np.random.default_rng(0))
    plain = exact(target)(x, 0.5, labels)
    np.testing.assert_array_equal(guided(exact(target), labels, 0.0)(x, 0.5), plain)
    # eps = (1 + w) eps_c - w eps_null
    eps_c, eps_null = (-0.5 * score(target, x, 0.5, given) for given in (labels, None))
    got = (x - guided(exact(target), labels, 2.0)(x, 0.5)) / 0.5
    np.testing.assert_allclose(got, 3 * eps_c - 2 * eps_null, atol=1e-9)


def test_interval_guidance_acts_inside_only_and_autoguidance_away_from_the_weak():
    target = preset("moons")
    x, labels = draw(target, 50, np.random.default_rng(0))
    full, plain = guided(exact(target), labels, 2.0), guided(exact(target), labels, 0.0)
    part = guided(exact(target), labels, 2.0, interval=(0.2, 1.0))
    for sigma, want in ((0.1, plain), (0.5, full), (1.0, full), (1.5, plain), (0.2, plain)):
        np.testing.assert_array_equal(part(x, sigma), want(x, sigma))
    wide = widened(target, 0.3)
    np.testing.assert_allclose(log_density(wide, x, 0.4), log_density(target, x, 0.5), atol=1e-9)
    auto = guided(exact(target), labels, 1.0, weak=exact(wide))
    np.testing.assert_allclose(auto(x, 0.5), 2 * exact(target)(x, 0.5, labels) - exact(wide)(x, 0.5, labels))


@pytest.mark.parametrize("name", SAMPLERS)
def test_frames_begin_with_the_noise_and_end_with_the_points(name):
    plan = Plan(name, 40)
    noise = np.random.default_rng(0).standard_normal((30, 2))
    total = 1000 if name == "ddpm" else 40
    states = list(sample(bound(exact(preset("rings")), None), plan, COSINE, noise, np.random.default_rng(1)))
    assert len(states) == total + 1
    frames = record(iter(states), plan.straight, total, most=9)
    assert len(frames.points) == 9
    np.testing.assert_allclose(frames.points[0], noise, atol=0.01)
    np.testing.assert_array_equal(frames.points[-1], states[-1].x)
    assert frames.steps[0] == 0
    assert frames.steps[-1] == total
    assert scale(0.0, True) == 1


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        (Plan("rk4"), "sampler"),
        (Plan("heun", 1), "steps"),
        (Plan("ddim", 5, eta=2), "eta"),
        (Plan("heun", 5, churn=-1), "churn"),
    ],
)
def test_a_wrong_plan_names_its_field(plan, field):
    with pytest.raises(InvalidParams) as caught:
        plan.validate()
    assert caught.value.field == field
