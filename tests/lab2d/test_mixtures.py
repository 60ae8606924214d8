"""The exact answers, against autograd, quadrature and Monte Carlo."""

import numpy as np
import pytest
import torch

from diffatlas.errors import InvalidParams
from diffatlas.lab2d.mixtures import (
    denoise,
    draw,
    laplacian,
    log_density,
    points_target,
    posterior_variance,
    responsibilities,
    score,
)
from diffatlas.lab2d.targets import EXTENT, MOST_POINTS, PRESETS, drawn, preset, read_table, table_text

SIGMAS = (0.05, 0.4, 2.0, 30.0)


def noisy(target, sigma, n=40, seed=0):
    rng = np.random.default_rng(seed)
    points, labels = draw(target, n, rng)
    return points + sigma * rng.standard_normal((n, 2)), labels


def torch_log_density(target, x, sigma):
    """The same density, written with torch.distributions or torch's own normal integral."""
    weights = torch.tensor(target.weights)
    if hasattr(target.parts, "means"):
        covariances = torch.tensor(target.parts.covariances) + sigma**2 * torch.eye(2, dtype=torch.float64)
        parts = torch.distributions.MultivariateNormal(torch.tensor(target.parts.means), covariances)
        terms = parts.log_prob(x[:, None, :])
    else:
        wide = float(np.hypot(sigma, target.parts.soft))
        low, high = torch.tensor(target.parts.low), torch.tensor(target.parts.high)
        normal = torch.distributions.Normal(0.0, 1.0)
        mass = normal.cdf((high - x[:, None]) / wide) - normal.cdf((low - x[:, None]) / wide)
        terms = torch.log(mass.clamp_min(1e-300) / (high - low)).sum(dim=2)
    return torch.logsumexp(terms + torch.log(weights), dim=1)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_score_is_the_gradient_of_the_log_density(name, sigma):
    target = preset(name)
    points, _ = noisy(target, sigma)
    x = torch.tensor(points, requires_grad=True)
    want = torch_log_density(target, x, sigma)
    (gradient,) = torch.autograd.grad(want.sum(), x)
    near = np.isfinite(want.detach().numpy()) & np.isfinite(gradient.numpy()).all(axis=1)
    assert near.mean() > 0.6  # torch's integral loses the far tails, ours does not
    size = np.abs(gradient.numpy()[near]).max() + 1
    np.testing.assert_allclose(
        log_density(target, points, sigma)[near], want.detach().numpy()[near], atol=1e-6
    )
    np.testing.assert_allclose(score(target, points, sigma)[near], gradient.numpy()[near], atol=1e-6 * size)


@pytest.mark.parametrize("name", PRESETS)
def test_laplacian_is_the_divergence_of_the_score(name):
    target, sigma, h = preset(name), 0.4, 1e-4
    x, labels = noisy(target, sigma)
    want = sum(
        (score(target, x + h * e, sigma, labels)[:, i] - score(target, x - h * e, sigma, labels)[:, i])
        / (2 * h)
        for i, e in enumerate(np.eye(2))
    )
    np.testing.assert_allclose(laplacian(target, x, sigma, labels), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", PRESETS)
def test_denoiser_and_variance_are_the_posteriors_moments(name):
    """Against self-normalised importance sampling: many x0 of the target, weighted by N(x; x0, sigma^2)."""
    target, sigma = preset(name), 0.7
    x, _ = noisy(target, sigma, n=6)
    x0, _ = draw(target, 200_000, np.random.default_rng(1))
    for point, mean, variance in zip(
        x, denoise(target, x, sigma), posterior_variance(target, x, sigma), strict=True
    ):
        weights = np.exp(-np.sum((point - x0) ** 2, axis=1) / (2 * sigma**2))
        weights /= weights.sum()
        want = weights @ x0
        np.testing.assert_allclose(mean, want, atol=0.02)
        np.testing.assert_allclose(variance, weights @ np.sum((x0 - want) ** 2, axis=1), atol=0.03)


@pytest.mark.parametrize("name", PRESETS)
def test_density_integrates_to_one_and_is_drawn_from(name):
    target = preset(name)
    side, extent = 200, 4.0
    axis = (np.arange(side) + 0.5) / side * 2 * extent - extent
    places = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    density = np.exp(log_density(target, places, 0.1))
    cell = (2 * extent / side) ** 2
    assert abs(density.sum() * cell - 1) < 1e-3
    points, labels = draw(target, 40_000, np.random.default_rng(0))
    points = points + 0.1 * np.random.default_rng(1).standard_normal(points.shape)
    # The mean of the drawn points' density is the integral of its square.
    drawn_mean = np.exp(log_density(target, points, 0.1)).mean()
    assert abs(drawn_mean / ((density**2).sum() * cell) - 1) < 0.03
    np.testing.assert_allclose(np.bincount(labels) / len(labels), target.class_weights, atol=0.01)


def test_presets_are_centred_with_unit_variance_and_inside_the_plane():
    for name in PRESETS:
        points, _ = draw(preset(name), 20_000, np.random.default_rng(0))
        assert abs(np.mean(points**2) - 1) < 0.06, name
        assert np.abs(points.mean(axis=0)).max() < 0.05, name
        assert np.quantile(np.abs(points), 0.999) < EXTENT, name


def test_the_class_mixture_is_the_whole():
    target = preset("moons")
    x, _ = noisy(target, 0.3)
    parts = [np.log(w) + log_density(target.only(k), x, 0.3) for k, w in enumerate(target.class_weights)]
    np.testing.assert_allclose(np.logaddexp.reduce(parts), log_density(target, x, 0.3))
    np.testing.assert_allclose(responsibilities(target, x, 0.3).sum(axis=1), 1)
    labels = np.arange(len(x)) % 2
    by_point = [score(target.only(int(k)), x[i : i + 1], 0.3)[0] for i, k in enumerate(labels)]
    np.testing.assert_allclose(score(target, x, 0.3, labels), by_point)


def test_the_far_tail_of_a_box_keeps_its_digits():
    """Far out the density of a box falls as that of its corner does; a difference of integrals would be 0 there."""
    target = preset("checkerboard")
    far = np.array([[40.0, -35.0]])
    value = score(target, far, 0.5)
    assert np.isfinite(value).all()
    h = 1e-5
    want = [
        (log_density(target, far + h * e, 0.5) - log_density(target, far - h * e, 0.5))[0] / (2 * h)
        for e in np.eye(2)
    ]
    np.testing.assert_allclose(value[0], want, rtol=1e-6)


def test_points_without_jitter_denoise_to_themselves():
    points = np.array([[0.0, 0.0], [1.0, 1.0], [-1.0, 0.5]])
    target = points_target("p", points, np.zeros(3, int), ("all",))
    np.testing.assert_allclose(denoise(target, points + 1e-3, 0.01), points, atol=1e-9)


def test_a_drawing_becomes_a_mixture_of_its_points():
    rng = np.random.default_rng(0)
    points = rng.uniform(-2, 2, (50, 2))
    target = drawn(points, np.repeat([3, 7], 25), jitter=0.1)
    assert target.classes == ("3", "7")
    np.testing.assert_allclose(target.parts.covariances[0], 0.01 * np.eye(2))
    assert len(drawn(rng.uniform(-2, 2, (5000, 2))).weights) == MOST_POINTS


@pytest.mark.parametrize(
    ("points", "labels", "says"),
    [
        ([[0, 0], [1, 1]], None, "at least 3"),
        ([[0, 0], [1, 1], [np.nan, 0]], None, "finite"),
        ([[0, 0], [1, 1], [90, 0]], None, "scale them down"),
        ([[0, 0], [1, 1], [0, 1]], [0, 1], "one class"),
        (np.zeros((9, 2)), np.arange(9), "at most 8 classes"),
    ],
)
def test_a_wrong_drawing_is_refused(points, labels, says):
    with pytest.raises(InvalidParams, match=says):
        drawn(np.array(points, float), None if labels is None else np.array(labels))


def test_a_table_is_read_with_its_classes():
    points, labels, classes = read_table("x,y,kind\n1,2,a\n3,4,b\n\n5,9,a\n")
    assert classes == ("a", "b")
    assert labels.tolist() == [0, 1, 0]
    assert abs(np.mean(points**2) - 1) < 1e-9
    assert read_table("1;2\n".replace(";", ",") * 2 + "3,5\n")[2] is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "at least 3"),
        ("x,y\n1,2\n3,oops\n", "Line 3"),
        ("1,1\n1,1\n1,1\n", "the same"),
        ("1\n2\n3\n", "Line 1"),
    ],
)
def test_a_wrong_table_is_refused(text, says):
    with pytest.raises(InvalidParams, match=says):
        read_table(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(("comma", "mark"), [(".", ","), (".", "\t"), (",", ";"), (",", "\t")])
def test_a_table_of_a_spreadsheet_is_read(encoding, comma, mark):
    rows = [("x", "y", "Größe"), ("1.5", "2", "ä"), ("3", "4.25", "b"), ("-5", "9", "ä")]
    text = "".join(mark.join([*(c.replace(".", comma) for c in row[:2]), row[2]]) + "\r\n" for row in rows)
    bom = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    points, labels, classes = read_table(table_text(bom + text.encode(encoding)))
    wanted = np.array([[1.5, 2], [3, 4.25], [-5, 9]])
    wanted -= wanted.mean(axis=0)
    np.testing.assert_allclose(points, wanted / np.sqrt(np.mean(wanted**2)))
    assert (labels.tolist(), classes) == ([0, 1, 0], ("ä", "b"))


def test_a_byte_order_mark_before_numbers_is_no_heading():
    points, _, _ = read_table("\ufeff1,2\n3,4\n5,9\n")
    assert len(points) == 3


def test_a_table_in_another_encoding_is_refused():
    with pytest.raises(InvalidParams, match="UTF-8"):
        table_text("x,y,Größe\n".encode("latin-1"))
