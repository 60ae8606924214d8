"""Mixtures in the plane, known exactly at every noise level.

A noisy point is x = x0 + sigma eps with eps ~ N(0, I) (the coordinates of Karras et al. 2022; other schedules
scale it: x_t = a_t x). The density of x is the mixture with every component widened by sigma, so its logarithm, its
gradient (the score) and its Laplacian are closed forms, and by Tweedie's formula (Efron 2011)::

    E[x0 | x]      = x + sigma^2 grad log p(x; sigma)
    tr Cov[x0 | x] = 2 sigma^2 + sigma^4 laplacian log p(x; sigma)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy.special import log_ndtr, logsumexp

from diffatlas.errors import InvalidParams

#: A class for every point, (n,) whole numbers; None where no class is given.
Labels = np.ndarray | None

_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Gaussians:
    """Components N(means[k], covariances[k]); a covariance may be zero, which is a point."""

    means: np.ndarray  # (K, 2)
    covariances: np.ndarray  # (K, 2, 2)

    def __len__(self) -> int:
        return len(self.means)

    def take(self, index: np.ndarray) -> Gaussians:
        """Return the components ``index``."""
        return Gaussians(self.means[index], self.covariances[index])

    def draw(self, component: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw one point of each of the components ``component``."""
        return self.means[component] + np.einsum(
            "nij,nj->ni", self._roots[component], rng.standard_normal((len(component), 2))
        )

    @cached_property
    def _roots(self) -> np.ndarray:
        values, vectors = np.linalg.eigh(self.covariances)
        return vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]

    def _precision(self, sigma: float) -> tuple[np.ndarray, np.ndarray]:
        wide = self.covariances + sigma**2 * np.eye(2)
        a, b, d = wide[:, 0, 0], wide[:, 0, 1], wide[:, 1, 1]
        determinant = a * d - b * b
        rows = np.stack([d, -b, a], axis=1) / determinant[:, None]  # xx, xy, yy
        return rows, determinant

    def log_terms(self, x: np.ndarray, sigma: float) -> np.ndarray:
        """Return log N(x; mean, covariance + sigma^2 I), (n, K)."""
        rows, determinant = self._precision(sigma)
        quadratic = _features(x) @ _quadratic(rows, self.means)
        quadratic += np.log(determinant) + 2 * _LOG_2PI
        quadratic *= -0.5
        return quadratic

    def mean_gradient(self, x: np.ndarray, sigma: float, share: np.ndarray) -> np.ndarray:
        """Return the gradients of the logarithms, averaged with the weights ``share`` (n, K)."""
        rows, _ = self._precision(sigma)
        pulled = np.stack(
            [
                rows[:, 0] * self.means[:, 0] + rows[:, 1] * self.means[:, 1],
                rows[:, 1] * self.means[:, 0] + rows[:, 2] * self.means[:, 1],
            ],
            axis=1,
        )
        got = share @ np.concatenate([rows, pulled], axis=1)
        p, q = x[:, 0], x[:, 1]
        return np.stack(
            [got[:, 3] - got[:, 0] * p - got[:, 1] * q, got[:, 4] - got[:, 1] * p - got[:, 2] * q], axis=1
        )

    def mean_curvature(self, x: np.ndarray, sigma: float, share: np.ndarray) -> np.ndarray:
        """Return laplacian + squared gradient of the logarithms, averaged with the weights ``share``, (n,)."""
        rows, _ = self._precision(sigma)
        xx, xy, yy = rows.T
        squared = np.stack([xx**2 + xy**2, xy * (xx + yy), xy**2 + yy**2], axis=1)
        terms = _features(x) @ _quadratic(squared, self.means) - (xx + yy)
        return np.einsum("nk,nk->n", share, terms)


def _features(x: np.ndarray) -> np.ndarray:
    p, q = x[:, 0], x[:, 1]
    return np.stack([p * p, p * q, q * q, p, q, np.ones_like(p)], axis=1)


def _quadratic(rows: np.ndarray, means: np.ndarray) -> np.ndarray:
    """(x - m)^T A (x - m) as a product with the features of x; rows: xx, xy, yy of each A. (6, K)."""
    xx, xy, yy = rows.T
    m, n = means.T
    return np.stack(
        [
            xx, 2 * xy, yy, -2 * (xx * m + xy * n), -2 * (xy * m + yy * n),
            xx * m * m + 2 * xy * m * n + yy * n * n,
        ]
    )  # fmt: skip


@dataclass(frozen=True)
class Boxes:
    """Components uniform on a box, with soft edges: each point is moved by N(0, soft^2 I)."""

    low: np.ndarray  # (K, 2)
    high: np.ndarray  # (K, 2)
    soft: float

    def __len__(self) -> int:
        return len(self.low)

    def take(self, index: np.ndarray) -> Boxes:
        """Return the components ``index``."""
        return Boxes(self.low[index], self.high[index], self.soft)

    def draw(self, component: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw one point of each of the components ``component``."""
        low, high = self.low[component], self.high[component]
        return low + (high - low) * rng.random(low.shape) + self.soft * rng.standard_normal(low.shape)

    def _sides(self, x: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(log of the mass, its first and its second derivative over the mass), each (n, K, 2)."""
        wide = np.hypot(sigma, self.soft)
        # Mirrored to the left half, where the difference of normal integrals keeps its digits.
        centre = (self.low + self.high) / 2
        flip = np.where(x[:, None, :] > centre, -1.0, 1.0)
        offset = flip * (x[:, None, :] - centre)
        half = (self.high - self.low) / 2
        upper, lower = (offset + half) / wide, (offset - half) / wide
        log_upper, log_lower = log_ndtr(upper), log_ndtr(lower)
        log_mass = log_upper + np.log1p(-np.exp(log_lower - log_upper))
        phi_upper = np.exp(-0.5 * upper**2 - 0.5 * _LOG_2PI - log_mass)
        phi_lower = np.exp(-0.5 * lower**2 - 0.5 * _LOG_2PI - log_mass)
        first = flip * (phi_upper - phi_lower) / wide
        second = (-upper * phi_upper + lower * phi_lower) / wide**2
        return log_mass - np.log(self.high - self.low), first, second

    def log_terms(self, x: np.ndarray, sigma: float) -> np.ndarray:
        """Return the log densities of the components widened by ``sigma``, (n, K)."""
        return self._sides(x, sigma)[0].sum(axis=2)

    def mean_gradient(self, x: np.ndarray, sigma: float, share: np.ndarray) -> np.ndarray:
        """Return the gradients of the logarithms, averaged with the weights ``share`` (n, K)."""
        return np.einsum("nk,nkd->nd", share, self._sides(x, sigma)[1])

    def mean_curvature(self, x: np.ndarray, sigma: float, share: np.ndarray) -> np.ndarray:
        """Return laplacian + squared gradient of the logarithms, averaged with the weights ``share``, (n,)."""
        # In each direction (log m)'' + (log m)'^2 = m'' / m.
        return np.einsum("nk,nkd->n", share, self._sides(x, sigma)[2])


@dataclass(frozen=True)
class Target:
    """A distribution p(x0, class): components with weights, each of one class and of one mode.

    ``modes`` groups components into the places whose coverage is counted.
    """

    name: str
    parts: Gaussians | Boxes
    weights: np.ndarray  # (K,), sums to 1
    labels: np.ndarray  # (K,), 0 .. classes - 1
    modes: np.ndarray  # (K,), 0 .. modes - 1
    classes: tuple[str, ...]
    _of: dict[int, Target] = field(default_factory=dict, repr=False, compare=False)

    def only(self, label: int) -> Target:
        """Return p(x0 | class)."""
        if label not in self._of:
            index = np.flatnonzero(self.labels == label)
            if not index.size:
                raise InvalidParams(f"{self.name} has no class {label}: it has {len(self.classes)}.")
            weights = self.weights[index]
            self._of[label] = replace(
                self,
                parts=self.parts.take(index),
                weights=weights / weights.sum(),
                labels=self.labels[index],
                modes=self.modes[index],
                _of={},
            )
        return self._of[label]

    @cached_property
    def class_weights(self) -> np.ndarray:
        """The probability of each class, (classes,)."""
        return np.bincount(self.labels, self.weights, len(self.classes))

    @cached_property
    def mode_weights(self) -> np.ndarray:
        """The probability of each mode, (modes,)."""
        return np.bincount(self.modes, self.weights, int(self.modes.max()) + 1)

    @cached_property
    def mean(self) -> np.ndarray:
        """E[x0], (2,)."""
        centres = (
            self.parts.means if isinstance(self.parts, Gaussians) else (self.parts.low + self.parts.high) / 2
        )
        return self.weights @ centres


def points_target(
    name: str, points: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], jitter: float = 0.0
) -> Target:
    """Return the mixture of equal components N(point, jitter^2 I); with jitter 0 it is the data set itself.

    Its denoiser is then the minimiser of the training loss on these points (the empirical one). points: (N, 2).
    """
    covariances = np.broadcast_to(jitter**2 * np.eye(2), (len(points), 2, 2))
    return Target(
        name,
        Gaussians(np.asarray(points, float), covariances),
        np.full(len(points), 1 / len(points)),
        np.asarray(labels, int),
        np.zeros(len(points), int),
        classes,
    )


def draw(
    target: Target, n: int, rng: np.random.Generator, labels: Labels = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``n`` points and their classes: (n, 2), (n,). With ``labels`` given, of these classes."""
    if labels is None:
        component = rng.choice(len(target.weights), n, p=target.weights)
        return target.parts.draw(component, rng), target.labels[component]
    points = np.empty((n, 2))
    for label, at in _by_class(labels):
        points[at] = draw(target.only(label), len(at), rng)[0]
    return points, labels


def draw_labels(target: Target, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``n`` classes, (n,)."""
    return rng.choice(len(target.classes), n, p=target.class_weights)


def log_density(target: Target, x: np.ndarray, sigma: float = 0.0, labels: Labels = None) -> np.ndarray:
    """Return log p(x; sigma), (n,) in nats; of p(x | class; sigma) where ``labels`` are given."""
    return _by_label(target, x, labels, lambda t, points: logsumexp(_weighted(t, points, sigma), axis=1))


def score(target: Target, x: np.ndarray, sigma: float, labels: Labels = None) -> np.ndarray:
    """Return the gradient of log p(x; sigma), (n, 2)."""
    return _by_label(
        target,
        x,
        labels,
        lambda t, points: t.parts.mean_gradient(points, sigma, responsibilities(t, points, sigma)),
    )


def laplacian(target: Target, x: np.ndarray, sigma: float, labels: Labels = None) -> np.ndarray:
    """Return the Laplacian of log p(x; sigma), (n,)."""

    def of(t: Target, points: np.ndarray) -> np.ndarray:
        share = responsibilities(t, points, sigma)
        gradient = t.parts.mean_gradient(points, sigma, share)
        return t.parts.mean_curvature(points, sigma, share) - np.sum(gradient**2, axis=1)

    return _by_label(target, x, labels, of)


def denoise(target: Target, x: np.ndarray, sigma: float, labels: Labels = None) -> np.ndarray:
    """Return E[x0 | x], (n, 2), by Tweedie's formula."""
    return x + sigma**2 * score(target, x, sigma, labels)


def posterior_variance(target: Target, x: np.ndarray, sigma: float, labels: Labels = None) -> np.ndarray:
    """Return tr Cov[x0 | x], (n,)."""
    return np.maximum(2 * sigma**2 + sigma**4 * laplacian(target, x, sigma, labels), 0.0)


def responsibilities(target: Target, x: np.ndarray, sigma: float) -> np.ndarray:
    """Return p(component | x), (n, K)."""
    terms = _weighted(target, x, sigma)
    terms -= terms.max(axis=1, keepdims=True)
    np.exp(terms, out=terms)
    terms /= terms.sum(axis=1, keepdims=True)
    return terms


def nearest_modes(target: Target, x: np.ndarray) -> np.ndarray:
    """Return the mode that most probably drew each point, (n,)."""
    return target.modes[np.argmax(_weighted(target, x, 0.0), axis=1)]


def _weighted(target: Target, x: np.ndarray, sigma: float) -> np.ndarray:
    return target.parts.log_terms(x, sigma) + np.log(target.weights)


def _by_label(
    target: Target, x: np.ndarray, labels: Labels, of: Callable[[Target, np.ndarray], np.ndarray]
) -> np.ndarray:
    """``of(target, x)``, with the target of its class for each point where ``labels`` are given."""
    if labels is None:
        return of(target, x)
    out: np.ndarray | None = None
    for label, at in _by_class(labels):
        values = of(target.only(label), x[at])
        if out is None:
            out = np.empty((len(x), *values.shape[1:]))
        out[at] = values
    return np.empty((0, 2)) if out is None else out


def _by_class(labels: np.ndarray) -> list[tuple[int, np.ndarray]]:
    return [(int(label), np.flatnonzero(labels == label)) for label in np.unique(labels)]
