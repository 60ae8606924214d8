"""How one distance grows with another: where near starts give near images, and where they do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffatlas.errors import InvalidParams

#: Near distances tell no slope at 0 where the least of them is above this share of their median: then no pair is
#: close, as among independent draws in many dimensions, which all lie about equally far apart.
CLOSE = 0.8
#: Fewest items whose pairs tell a slope.
FEWEST_ITEMS = 3
RESAMPLES = 1000
#: A pair is close if its near distance is in this lowest share of all pairs.
CLOSE_SHARE = 0.25
#: Fewest close pairs that tell what is usual among close pairs.
FEWEST_CLOSE = 8
#: How many scaled median absolute deviations above the median is unusual.
DEVIATIONS = 3.0
#: A jump is also far among all pairs: at least this share of the 95th percentile of the far distances.
FAR_SHARE = 0.5
#: Makes the median absolute deviation that of a standard deviation, for normal values.
MAD_SCALE = 1.4826

GROWTH_DEFINITION = (
    "Slope at 0: the slope s of the curve y = s x + c x² that fits all pairs best (least squares), where a pair at near"
    " distance x weighs exp(-x²/2h²) and h is the lower quartile of the near distances; the interval holds the middle"
    " 95% of the slopes of 1000 resamples of the items."
)
JUMP_DEFINITION = (
    "A jump is a pair whose near distance is in the lowest quarter, whose ratio of far to near distance lies more than"
    " three scaled median absolute deviations above the median ratio of such pairs, and whose far distance is at least"
    " half of the largest ones (the 95th percentile of all pairs)."
)


@dataclass(frozen=True)
class Growth:
    """Far distance against near distance, pair by pair.

    ``x``, ``y`` (m,): near and far distance of each pair. ``curve_x``, ``curve_y``: medians of groups of pairs with
    like x, by x. ``slope``: at 0, with ``slope_low`` and ``slope_high``, its 95% bootstrap interval; None where the
    pairs cannot tell. ``definition``: what that means, in a sentence.
    """

    x: np.ndarray
    y: np.ndarray
    curve_x: np.ndarray
    curve_y: np.ndarray
    slope: float | None
    slope_low: float | None
    slope_high: float | None
    definition: str = GROWTH_DEFINITION


@dataclass(frozen=True)
class Jump:
    """Items a < b that are near and yet far apart.

    ``near``, ``far``: their distances. ``ratio``: far / near over its median among close pairs, so how many times as
    far as usual; infinite where close pairs usually do not differ. ``named``: whether their labels differ; None where
    no labels were given.
    """

    a: int
    b: int
    near: float
    far: float
    ratio: float
    named: bool | None = None


def growth(near: np.ndarray, far: np.ndarray, bins: int = 8, seed: int = 0) -> Growth:
    """Fit how the far distance grows with the near one.

    near, far: both (n, n) distance matrices of the same items, read above the diagonal, row by row; or both (m,),
    the distances of m pairs. Pairs with a value that is not finite keep their place in x and y and count for nothing.

    The slope at 0 is the s of y = s x + c x^2, fitted by least squares with the weights w = exp(-x^2 / 2 h^2), h being
    the lower quartile of the x above 0: a local quadratic through the origin (Fan and Gijbels 1996), as a straight
    line would take the bend of a curve that levels off for a smaller slope. It is in units of far per near. For its
    interval the items are drawn again with replacement `RESAMPLES` times (h kept), as pairs with a common item are
    not independent; given pairs, the pairs are drawn. No slope (None) for fewer than `FEWEST_ITEMS` items or pairs,
    or where no pair is close: the least x above `CLOSE` of the median x.

    The curve has the medians of at most ``bins`` groups of equally many pairs, three pairs or more in each.
    """
    near, far = np.asarray(near, dtype=float), np.asarray(far, dtype=float)
    if near.shape != far.shape or near.ndim not in (1, 2) or len({*near.shape}) > 1:
        raise InvalidParams(
            "Distances of the same pairs can be compared, as two square matrices or two lists;"
            f" these are {near.shape} and {far.shape}."
        )
    if bins < 1:
        raise InvalidParams(f"A curve has at least 1 bin, not {bins}.")
    x, y = (m[np.triu_indices(len(m), 1)] if m.ndim == 2 else m for m in (near, far))
    known = np.isfinite(x) & np.isfinite(y)
    curve = _medians(x[known], y[known], bins)

    used = known & (x > 0)
    if used.sum() < FEWEST_ITEMS or x[used].min() > CLOSE * np.median(x[used]):
        return Growth(x, y, *curve, None, None, None)
    h = float(np.quantile(x[used], 0.25))
    terms = _terms(np.where(used, x / h, 0.0), np.where(used, y, 0.0), used)
    slope = _slopes(terms.sum(1)[:, None])
    if not len(slope):
        return Growth(x, y, *curve, None, None, None)
    rng = np.random.default_rng(seed)
    drawn = _by_items(terms, len(near), rng) if near.ndim == 2 else _by_pairs(terms[:, used], rng)
    low, high = np.quantile(_slopes(drawn), [0.025, 0.975]) / h
    return Growth(x, y, *curve, float(slope[0] / h), float(low), float(high))


def jumps(near: np.ndarray, far: np.ndarray, labels: list | None = None) -> list[Jump]:
    """Pairs of n items that are close by ``near`` and yet far apart by ``far``, strongest first.

    near, far: (n, n). Close pairs are those of the lowest `CLOSE_SHARE` of the near distances above 0 (`FEWEST_CLOSE`
    at least, counted within these n items). With r = far / near, a close pair is a jump if r exceeds the median of r
    over the close pairs by more than `DEVIATIONS` scaled median absolute deviations (Leys et al. 2013) and far is at
    least `FAR_SHARE` of the 95th percentile of all far distances. Where most close pairs jump none of them is unusual,
    and the slope of `growth` says so instead.

    labels: what each item shows, n values, None where unknown. A close pair of two different labels is a jump by
    that fact alone, whatever its distances.

    No jumps are found among too few pairs, or where no pair is close (`CLOSE`).
    """
    near, far = np.asarray(near, dtype=float), np.asarray(far, dtype=float)
    n = len(near)
    if near.shape != (n, n) or far.shape != (n, n) or (labels is not None and len(labels) != n):
        raise InvalidParams(
            f"Jumps need two square matrices of the same items; these are {near.shape}, {far.shape}."
        )
    a, b = np.triu_indices(n, 1)
    known = np.isfinite(near[a, b]) & np.isfinite(far[a, b]) & (near[a, b] > 0)
    a, b = a[known], b[known]
    x, y = near[a, b], far[a, b]
    if len(x) < FEWEST_CLOSE or x.min() > CLOSE * np.median(x):
        return []
    count = max(FEWEST_CLOSE, int(np.ceil(CLOSE_SHARE * len(x))))
    close = np.argsort(x, kind="stable")[:count]
    ratios = y[close] / x[close]
    usual = float(np.median(ratios))
    limit = usual + DEVIATIONS * MAD_SCALE * float(np.median(np.abs(ratios - usual)))
    far_enough = FAR_SHARE * float(np.quantile(y, 0.95))

    found = []
    for p, r in zip(close.tolist(), ratios.tolist(), strict=True):
        i, j = int(a[p]), int(b[p])
        named = None if labels is None else _differ(labels[i], labels[j])
        if named or (r > limit and y[p] >= far_enough):
            times = r / usual if usual > 0 else (np.inf if r > 0 else 1.0)
            found.append(Jump(i, j, float(x[p]), float(y[p]), float(times), named))
    return sorted(found, key=lambda jump: (-jump.ratio, -jump.far, jump.a, jump.b))


def _differ(a: object, b: object) -> bool | None:
    return None if a is None or b is None else a != b


def _medians(x: np.ndarray, y: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(x, kind="stable")
    groups = np.array_split(order, min(bins, len(x) // 3 or 1)) if len(x) else []
    return np.array([np.median(x[g]) for g in groups]), np.array([np.median(y[g]) for g in groups])


def _terms(x: np.ndarray, y: np.ndarray, used: np.ndarray) -> np.ndarray:
    """What each pair adds to the sums of the normal equations, w times x^2, x^3, x^4, x y and x^2 y: (5, m)."""
    weights = used * np.exp(-(x**2) / 2)
    return weights * np.stack([x**2, x**3, x**4, x * y, x**2 * y])


def _slopes(sums: np.ndarray) -> np.ndarray:
    """Slope for each column of sums (5, r); columns whose pairs lie at one distance have none and are left out."""
    xx, xxx, xxxx, xy, xxy = sums
    determinant = xx * xxxx - xxx**2
    fits = determinant > 1e-9 * xx * xxxx
    return (xy * xxxx - xxy * xxx)[fits] / determinant[fits]


def _by_items(terms: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Sums of resampled items: a pair counts as often as its two items were drawn together."""
    counts = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)
    square = np.zeros((n, n))
    sums = []
    for term in terms:
        square[np.triu_indices(n, 1)] = term
        sums.append(((counts @ square) * counts).sum(1))
    return np.stack(sums)


def _by_pairs(terms: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    m = terms.shape[1]
    return terms @ rng.multinomial(m, np.full(m, 1 / m), size=RESAMPLES).T
