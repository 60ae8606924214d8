"""How far samples are from the target: several measures, because each is blind to something."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffatlas.lab2d.mixtures import Target, log_density, nearest_modes

#: Bandwidths in units of the median distance between two points: those of the common choice, and finer ones which
#: see the width of a mode.
COMMON = (0.5, 1.0, 2.0)
FINE = (0.05, 0.1, 0.2)
DIRECTIONS = 64


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return |x_i - y_j|^2, (n, m), float32."""
    x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
    out = np.sum(x * x, axis=1)[:, None] + np.sum(y * y, axis=1)[None] - 2 * x @ y.T
    return np.maximum(out, 0, out=out)


def median_distance(y: np.ndarray) -> float:
    """Return the median distance between two different points of y (of at most 1,000 of them)."""
    some = y[:1000]
    return float(np.sqrt(np.median(squared_distances(some, some)[np.triu_indices(len(some), 1)])))


@dataclass(frozen=True)
class Discrepancy:
    """Squared maximum mean discrepancies for each Gaussian kernel, (B,).

    unbiased: 0 on average for two samples of one distribution, so that it may be negative (Gretton et al. 2012, eq. 3).
    biased: the V-statistic, whose floor is above 0 and falls with the sample size.
    """

    unbiased: np.ndarray
    biased: np.ndarray


def mmd2(x: np.ndarray, y: np.ndarray, bandwidths: np.ndarray | list[float]) -> Discrepancy:
    """Return the squared maximum mean discrepancies of two samples, (n, 2) and (m, 2).

    bandwidths: standard deviations of the kernels, (B,).
    """
    widths = np.asarray(bandwidths, float)
    xx, yy, xy = (_kernel_sums(squared_distances(a, b), widths) for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    # The diagonals, where the kernel is 1, are left out.
    unbiased = (xx - n) / (n * (n - 1)) + (yy - m) / (m * (m - 1)) - 2 * xy / (n * m)
    return Discrepancy(unbiased, xx / n**2 + yy / m**2 - 2 * xy / (n * m))


def _kernel_sums(squared: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Return the sum of exp(-d^2 / (2 h^2)) for each h, by squaring where one width is half of another."""
    sums = np.empty(len(widths))
    order = np.argsort(-widths)
    kernel, last = None, 0.0
    for at in order:
        h = widths[at]
        if kernel is not None and np.isclose(2 * h, last):
            np.square(kernel, out=kernel)
            np.square(kernel, out=kernel)
        else:
            kernel = np.exp(squared * np.float32(-1 / (2 * h * h)))
        last = h
        sums[at] = kernel.sum(dtype=np.float64)
    return sums


def sliced_w2(x: np.ndarray, y: np.ndarray) -> float:
    """Return the sliced 2-Wasserstein distance (Bonneel et al. 2015) over evenly spaced directions.

    Of samples of different size the quantiles at the smaller one's ranks are compared.
    """
    angles = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    axes = np.stack([np.cos(angles), np.sin(angles)])
    n = min(len(x), len(y))
    ranks = (np.arange(n) + 0.5) / n
    a, b = (np.sort(z @ axes, axis=0) for z in (x, y))
    if len(x) != len(y):
        a, b = (np.quantile(z, ranks, axis=0) if len(z) != n else z for z in (a, b))
    return float(np.sqrt(np.mean((a - b) ** 2)))


def mode_shares(target: Target, x: np.ndarray) -> np.ndarray:
    """Return the share of the points in each mode, (modes,): each counts for the mode that most probably drew it."""
    counts = np.bincount(nearest_modes(target, x), minlength=len(target.mode_weights))
    return counts / max(1, len(x))


@dataclass(frozen=True)
class Measures:
    """What `measure` returns.

    mmd2, mmd2_fine: unbiased, the means over `COMMON` and over `FINE` bandwidths. mmd2_biased: the V-statistic over
    `COMMON`, which small demonstrations show. w2: sliced. excess_nll: the mean of -log p(sample) less the target's own,
    in nats. tv: half the sum of |share - weight| over the modes. covered: the share of modes that have at least half
    of their weight.
    """

    mmd2: float
    mmd2_fine: float
    mmd2_biased: float
    w2: float
    excess_nll: float
    tv: float
    covered: float


@dataclass(frozen=True)
class Cloud:
    """Where points lie: their mean (2,), and the root mean square of their distances from it."""

    middle: np.ndarray
    spread: float


def cloud(points: np.ndarray) -> Cloud:
    """Return where ``points`` (N, 2) lie."""
    middle = points.mean(axis=0)
    return Cloud(middle, float(np.sqrt(((points - middle) ** 2).sum(axis=1).mean())))


def measure(target: Target, x: np.ndarray, fresh: np.ndarray, entropy: float, median: float) -> Measures:
    """Compare samples ``x`` with the target. Points that are not finite count as far away.

    fresh: points drawn from the target for this comparison alone. entropy: of the target, see `entropy_of`. median:
    `median_distance` of the target's points.
    """
    x = np.nan_to_num(np.clip(x, -1e3, 1e3), nan=1e3)
    values = mmd2(x, fresh, median * np.array([*FINE, *COMMON]))
    shares, weights = mode_shares(target, x), target.mode_weights
    return Measures(
        mmd2=float(values.unbiased[len(FINE) :].mean()),
        mmd2_fine=float(values.unbiased[: len(FINE)].mean()),
        mmd2_biased=float(values.biased[len(FINE) :].mean()),
        w2=sliced_w2(x, fresh),
        excess_nll=float(-np.mean(log_density(target, x)) - entropy),
        tv=float(0.5 * np.abs(shares - weights).sum()),
        covered=float(np.mean(shares >= weights / 2)),
    )


def entropy_of(target: Target, points: np.ndarray) -> float:
    """Return the target's entropy in nats: the mean of -log p over ``points`` drawn from it."""
    return float(-np.mean(log_density(target, points)))
