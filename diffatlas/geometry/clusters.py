"""How many basins a set of results falls into: clusters, tested against the one cluster that they might be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffatlas.errors import InvalidParams, NonFiniteLatents
from diffatlas.geometry.projection import from_gram

#: Fewer items are one basin.
FEWEST = 4
#: Most basins looked for, and no more than one for every two items.
MOST = 8
#: One Gaussian is given up for several basins where it would look as clustered in at most this share of cases.
LEVEL = 0.02
#: Samples of the one Gaussian.
SAMPLES = 500
#: So many are in memory together.
SAMPLES_AT_ONCE = 50
#: The nearest items of two basins are apart by at least this times the widest step inside either of them.
VALLEY = 1.3
#: The same where one of the two is a single item, which has no steps of its own to compare with.
VALLEY_OF_ONE = 1.6
#: Besides all axes together, this many leading ones are looked at.
LEADING = (1, 2, 3)
#: Sums of squares below this share of the whole are rounding.
ROUNDING = 1e-9

BASINS_METHOD = (
    "Basins are groups by Ward's clustering that pass two tests: one Gaussian with the same spread along each principal"
    f" axis looks as clustered in at most {100 * LEVEL:g}% of {SAMPLES} samples, and any two groups lie further apart"
    f" than {VALLEY:g} times the widest step inside either ({VALLEY_OF_ONE:g} times for a group of one); their number"
    " is that of the largest gap statistic, by the one-standard-error rule."
)
TOO_FEW = f"Fewer than {FEWEST} results count as one basin."


@dataclass(frozen=True)
class Basins:
    """Groups of n items.

    ``count``: how many. ``labels`` (n,): from 0, in the order in which the groups first appear. ``silhouette``: the
    mean silhouette (Rousseeuw 1987), -1 to 1; None for one basin. ``gap`` (K,): the gap statistic of 1 to K groups,
    0 for one, and ``gap_error`` (K,) its standard error; empty for too few items. ``p``: the share of samples of
    one Gaussian that look at least as clustered; None for too few items. ``method``: what was done, in a sentence.
    """

    count: int
    labels: np.ndarray
    silhouette: float | None
    gap: np.ndarray
    gap_error: np.ndarray
    method: str
    p: float | None = None


def basins(distances: np.ndarray, most: int | None = None, seed: int = 0) -> Basins:
    """Number of clusters of n items, one included, from their (n, n) distances.

    most: groups looked for, `MOST` unless told, and never more than n / 2.

    1. Classical scaling turns the distances into points; Ward's clustering (1963) of the points groups them into
       2 to ``most``. W_k is the sum of squares about the means of k groups.
    2. The null is one cluster: a Gaussian with the variances of the points along their principal axes, as in SigClust
       (Liu et al. 2008, doi 10.1198/016214508000000454), of which `SAMPLES` samples of n are drawn and treated alike.
       A sample's spectrum is wider than that of its population, which makes the test more careful, not less. gap_k
       is the mean of log(W_k / W_1) over the samples less that of the points (Tibshirani, Walther and Hastie 2001,
       with this null in place of the uniform one), its error the standard deviation times sqrt(1 + 1 / SAMPLES).
    3. The test statistic is the largest gap_k in standard deviations, over all k, in all axes and in the leading ones
       (`LEADING`), where a few groups among many noisy axes show. One cluster is given up where at most `LEVEL` of
       the samples reach it.
    4. A curve, or a cloud with long tails, is no Gaussian either and would be cut into pieces. So groups count only if
       the least distance between any two is at least `VALLEY` (`VALLEY_OF_ONE`) times the longest edge of the minimum
       spanning tree of each, and if no more of them are of a single item than of several.
       Items strewn at random along a curve may still be parted where they lie widest apart.
    5. Of the k that remain, the largest gap_k tells; the least k within one standard error of it is taken.

    Raises `InvalidParams` for a matrix that is not square, `NonFiniteLatents` for NaN or infinite distances.
    """
    distances = np.asarray(distances, dtype=np.float64)
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1]:
        raise InvalidParams(f"Basins need a square matrix of distances, not one of shape {distances.shape}.")
    if not np.isfinite(distances).all():
        raise NonFiniteLatents("A distance is NaN or infinite, so no basins can be told.")
    n = len(distances)
    one = np.zeros(n, dtype=int)
    most = min(MOST if most is None else most, n // 2)
    if n < FEWEST or most < 2:
        return Basins(1, one, None, np.zeros(0), np.zeros(0), TOO_FEW if n < FEWEST else BASINS_METHOD)
    distances = (distances + distances.T) / 2
    np.fill_diagonal(distances, 0.0)
    if not distances.any():
        return Basins(1, one, None, np.zeros(most), np.zeros(most), BASINS_METHOD, 1.0)

    points, shares = from_gram(-(distances**2) / 2, n - 1)
    points = points[:, shares > ROUNDING]
    gap, error, p = _test(points, most, seed)
    groups = {k: labels for k, labels in _groups(points, most) if _separate(distances, labels)}
    if p > LEVEL or not groups:
        return Basins(1, one, None, gap, error, BASINS_METHOD, p)
    best = max(groups, key=lambda k: gap[k - 1])
    count = min(k for k in groups if gap[k - 1] >= gap[best - 1] - error[best - 1])
    labels = groups[count]
    return Basins(count, labels, _silhouette(distances, labels), gap, error, BASINS_METHOD, p)


def _test(points: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """gap and error of 1 to ``most`` groups, (most,) each, and the share of samples that look as clustered."""
    deviations = np.sqrt((points**2).sum(0) / (len(points) - 1))
    rng = np.random.default_rng(seed)
    given = _log_within(points[None], most)[:, 0]
    parts = [
        _log_within(_principal(rng.normal(size=(some, *points.shape)) * deviations), most)
        for some in [SAMPLES_AT_ONCE] * (SAMPLES // SAMPLES_AT_ONCE)
    ]
    samples = np.concatenate(parts, axis=1)
    mean, deviation = samples.mean(1), samples.std(1, ddof=1)
    scale = np.maximum(deviation, 1e-9)
    height = ((mean[:, None] - samples) / scale[:, None]).max((0, 2))
    reached = height >= ((mean - given) / scale).max() - 1e-9
    gap = np.concatenate([[0.0], (mean - given)[0]])
    error = np.concatenate([[0.0], deviation[0] * np.sqrt(1 + 1 / SAMPLES)])
    return gap, error, float((1 + reached.sum()) / (1 + SAMPLES))


def _log_within(points: np.ndarray, most: int) -> np.ndarray:
    """log(W_k / W_1) for k = 2 to ``most``, of (s, n, axes) points: (views, s, most - 1).

    The first view is of all axes; then comes one for each smaller number of leading ones.
    """
    n, width = points.shape[1:]
    views = []
    for axes in (width, *(axes for axes in LEADING if axes < width)):
        within = np.cumsum(_ward(points[..., :axes]), axis=1)
        ratios = within[:, n - 1 - np.arange(2, most + 1)] / np.maximum(within[:, -1:], np.finfo(float).tiny)
        views.append(np.log(np.maximum(ratios, ROUNDING)))
    return np.stack(views)


def _ward(points: np.ndarray) -> np.ndarray:
    """What each merger of Ward's clustering adds to the sum of squares within: (s, n - 1) for (s, n, axes) points.

    All s sets at once, by the recurrence of Lance and Williams (1967): scipy's linkage one by one takes many times
    as long for few items.
    """
    s, n, _ = points.shape
    sets = np.arange(s)
    squares = np.einsum("sna,sna->sn", points, points)
    apart = squares[:, :, None] + squares[:, None] - 2 * points @ points.transpose(0, 2, 1)
    apart = apart.clip(0)
    apart[:, np.arange(n), np.arange(n)] = np.inf
    sizes = np.ones((s, n))
    added = np.empty((s, n - 1))
    for merger in range(n - 1):
        i, j = np.divmod(apart.reshape(s, -1).argmin(1), n)
        least = apart[sets, i, j]
        added[:, merger] = least / 2
        size_i, size_j = sizes[sets, i, None], sizes[sets, j, None]
        joined = (
            (size_i + sizes) * apart[sets, i] + (size_j + sizes) * apart[sets, j] - sizes * least[:, None]
        )
        joined /= size_i + size_j + sizes
        joined[sets, i] = np.inf
        apart[sets, i], apart[sets, :, i] = joined, joined
        apart[sets, j], apart[sets, :, j] = np.inf, np.inf
        sizes[sets, i] += sizes[sets, j]
    return added


def _principal(points: np.ndarray) -> np.ndarray:
    """Principal component scores of each of (s, n, axes) sets of points."""
    u, lengths, _ = np.linalg.svd(points - points.mean(1, keepdims=True), full_matrices=False)
    return u * lengths[:, None]


def _groups(points: np.ndarray, most: int) -> list[tuple[int, np.ndarray]]:
    """Ward's labels for each number of groups that ties do not rule out, numbered by first appearance."""
    from scipy.cluster.hierarchy import fcluster, linkage

    tree = linkage(points, "ward")
    found = []
    for k in range(2, most + 1):
        _, first, labels = np.unique(fcluster(tree, k, "maxclust"), return_index=True, return_inverse=True)
        if len(first) == k:
            found.append((k, first.argsort().argsort()[labels]))
    return found


def _separate(distances: np.ndarray, labels: np.ndarray) -> bool:
    members = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
    if 2 * sum(len(m) == 1 for m in members) > len(members):
        return False
    steps = [_widest_step(distances[np.ix_(m, m)]) for m in members]
    for i, a in enumerate(members):
        for j, b in enumerate(members[:i]):
            factor = VALLEY_OF_ONE if min(len(a), len(b)) == 1 else VALLEY
            if distances[np.ix_(a, b)].min() < factor * max(steps[i], steps[j]):
                return False
    return True


def _widest_step(distances: np.ndarray) -> float:
    """Longest edge of the minimum spanning tree, which is the last height of single linkage; 0 for one item."""
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    if len(distances) < 2:
        return 0.0
    return float(linkage(squareform(distances, checks=False), "single")[-1, 2])


def _silhouette(distances: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(distances, labels, metric="precomputed"))
