"""Principal components of several paths in one basis, from inner products alone.

Paths can be laid over each other only if all are drawn along the same axes. A path has few states N (tens)
of many numbers D (16 384 for 4x64x64 latents, 65 536 for 4x128x128), so everything is worked out from the
N x N inner products (the Gram matrix) and no axis is ever formed in D dimensions.

**Fitted on all states.** Let G = X X^T for the (N, D) stack X of every state of every path, m the mean row,
and H = I - (1/N) 1 1^T. Taking m off every row takes the row and column means off G ("double centring",
Torgerson 1952):

    B = H G H,    B_ab = G_ab - mean_a(G) - mean_b(G) + mean(G) = <x_a - m, x_b - m>.

With B = U diag(lambda) U^T the principal axes are v_k = (X - 1 m^T)^T u_k / sqrt(lambda_k), so the scores of
the rows are u_k sqrt(lambda_k), and axis k holds lambda_k / trace(B) of the variance. No axis is scaled to
unit variance: the drawn lengths are lengths in latent space.

**Fitted on one path, the others projected into it.** Let F be the rows of that path and m their mean. A row
x of another path has on the same axes the scores

    <x - m, v_k> = sum_f <x - m, f - m> u_fk / sqrt(lambda_k),
    <x - m, f - m> = <x, f> - mean_f <x, f> - mean_f' <f', f> + mean(F F^T),

which is the double centring again, with the fit's mean on both sides. Only <x, f> is needed beyond the fit's
own Gram matrix, so a cached block per pair of paths serves every choice of fit and of visible paths.

**Precision.** Centring subtracts numbers of the size of ||x||^2 to leave numbers of the size of the spread.
In float64 that costs about 1e-16 ||x||^2 absolute, which is far below what can be drawn as long as the states
are spread over more than about 1e-6 of their distance from the origin (every denoising path is). For data far
from the origin, subtract one shared origin from all stacks before `gram`; the result does not depend on it.
Axes whose variance lies below that rounding error are given as zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffatlas.errors import InvalidParams, NonFiniteLatents
from diffatlas.geometry.projection import axis_signs

Blocks = Sequence[Sequence[np.ndarray]]

#: Columns converted to float64 at a time: 51 states make 1.7 MB, which stays in the cache.
CHUNK = 4096
#: Up to this many states the full eigendecomposition is the faster one.
FULL_EIGH = 150
EPS = float(np.finfo(np.float64).eps)
#: Inner products of 65 536 numbers are off by a few EPS of ||x|| ||y||; distances below that count as 0.
SAME = 32 * EPS


@dataclass(frozen=True)
class CommonBasis:
    """Scores of several paths on the same principal axes, in the data's units.

    ``coords``: an (N_i, k) array per path. ``explained_variance_ratio`` (k,): each axis' share of the variance
    of what was fitted (all states, or those of the one path). ``captured``: for each path the share of its own
    variance, about its own mean, that lies in the k axes; 1 for a path that does not move.
    """

    coords: list[np.ndarray]
    explained_variance_ratio: np.ndarray
    captured: list[float]


def gram(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Inner products of the rows of two stacks of states, (Na, ...) and (Nb, ...): (Na, Nb) float64.

    Sums are in float64 whatever the stacks hold; they are converted a slice of columns at a time, so float16
    and float32 stacks are never copied whole. Pass the same array twice for a symmetric result.

    Raises `InvalidParams` (a ValueError) where the states differ in shape.
    """
    same = a is b
    a, b = np.asarray(a), np.asarray(b)
    check_shapes(a, b)
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    total = np.zeros((len(a), len(b)))
    for start in range(0, a.shape[1], CHUNK):
        columns = slice(start, start + CHUNK)
        left = a[:, columns].astype(np.float64, copy=False)
        right = left if same else b[:, columns].astype(np.float64, copy=False)
        total += left @ right.T
    return total


def common_pca(blocks: Blocks, dimensions: int = 3, fit: int | None = None) -> CommonBasis:
    """Principal component scores of several paths in one basis (Pearson 1901; see the module's text).

    blocks: ``blocks[i][j] = gram(path_i, path_j)``. Only i <= j is read; the rest may be None.
    dimensions: number of axes k; those that the data cannot fill are zero.
    fit: None fits the axes on all states together; i fits them on path i, and the others are projected.

    Each axis is signed as `diffatlas.geometry.projection.pca` signs it, by the scores of what was fitted.

    Raises `InvalidParams` for no paths or an unknown ``fit``, `NonFiniteLatents` for NaN or infinity.
    """
    count = len(blocks)
    if count == 0:
        raise InvalidParams("There are no paths to project.")
    if fit is not None and not 0 <= fit < count:
        raise InvalidParams(f"There is no path {fit} to fit on; there are {count}, counted from 0.")

    fitted = range(count) if fit is None else [fit]
    whole = _assemble(blocks, fitted, fitted)
    check_finite(whole)
    scores, loadings, ratio = _principal(whole, dimensions)
    signs = axis_signs(scores)
    scores, loadings = scores * signs, loadings * signs

    coords = []
    start = 0
    for i in range(count):
        own = _block(blocks, i, i)
        if i in fitted:
            coords.append(scores[start : start + len(own)])
            start += len(own)
        else:
            cross = _block(blocks, i, fit)
            check_finite(cross)
            centred = cross - cross.mean(1)[:, None] - whole.mean(0) + whole.mean()
            coords.append(centred @ loadings)
    captured = [_captured(_block(blocks, i, i), c) for i, c in enumerate(coords)]
    return CommonBasis(coords, ratio, captured)


def distances(blocks: Blocks) -> np.ndarray:
    """Euclidean distances between all states of all paths, in order: (N, N), symmetric, 0 on the diagonal.

    blocks: as for `common_pca`. States closer than rounding can tell (1e-7 of their norm) are at 0.
    """
    every = range(len(blocks))
    whole = _assemble(blocks, every, every)
    check_finite(whole)
    squares = whole.diagonal()
    result = distances_from(whole, squares, squares)
    np.fill_diagonal(result, 0.0)
    return result


def distances_from(cross: np.ndarray, squares_a: np.ndarray, squares_b: np.ndarray) -> np.ndarray:
    """Euclidean distances from inner products: ||x - y||^2 = ||x||^2 + ||y||^2 - 2 <x, y>.

    cross: (Na, Nb) inner products; squares_a (Na,) and squares_b (Nb,): squared norms. Differences below
    rounding error are 0.
    """
    sums = squares_a[:, None] + squares_b
    squared = sums - 2 * cross
    squared[squared <= SAME * sums] = 0.0
    return np.sqrt(squared, out=squared)


def check_shapes(a: np.ndarray, b: np.ndarray) -> None:
    """Raise `InvalidParams` where the states of two stacks differ in shape."""
    if a.shape[1:] != b.shape[1:]:
        raise InvalidParams(
            "Runs of different latent shapes cannot be compared or share a basis:"
            f" one has {_shape(a)} and the other {_shape(b)}."
        )


def check_finite(values: np.ndarray) -> None:
    """Raise `NonFiniteLatents` where inner products or distances of latents are NaN or infinite."""
    if not np.isfinite(values).all():
        raise NonFiniteLatents("A run holds NaN or infinite latents, so it cannot be drawn or compared.")


def _shape(stack: np.ndarray) -> str:
    return " × ".join(map(str, stack.shape[1:])) or "single numbers"


def _block(blocks: Blocks, i: int, j: int) -> np.ndarray:
    return blocks[i][j] if i <= j else blocks[j][i].T


def _assemble(blocks: Blocks, rows: Sequence[int], columns: Sequence[int]) -> np.ndarray:
    return np.block([[_block(blocks, i, j) for j in columns] for i in rows])


def _principal(whole: np.ndarray, dimensions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (n, k) and loadings (n, k) of a Gram matrix, and the share of each axis (k,).

    Loadings turn rows of centred inner products with the fitted states into scores.
    """
    n = len(whole)
    means = whole.mean(0)
    centred = whole - means
    centred -= means[:, None]
    centred += whole.mean()
    total = centred.trace()
    floor = n * EPS * whole.diagonal().max()

    scores, loadings, ratio = np.zeros((n, dimensions)), np.zeros((n, dimensions)), np.zeros(dimensions)
    if total <= floor:
        return scores, loadings, ratio
    values, vectors = _leading(centred, min(dimensions, n))
    for k in np.flatnonzero(values > floor):
        length = np.sqrt(values[k])
        scores[:, k] = vectors[:, k] * length
        loadings[:, k] = vectors[:, k] / length
        ratio[k] = values[k] / total
    return scores, loadings, ratio


def _leading(matrix: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest eigenvalues of a symmetric matrix, largest first, and their vectors as columns."""
    n = len(matrix)
    if n > FULL_EIGH and 4 * k < n:
        from scipy.sparse.linalg import ArpackNoConvergence, eigsh

        # Not a vector of ones, the usual choice: centring has made that one an eigenvector of value 0.
        start = np.random.default_rng(0).normal(size=n)
        try:
            values, vectors = eigsh(matrix, k=k, which="LA", v0=start)
            order = values.argsort()[::-1]
            return values[order], vectors[:, order]
        except ArpackNoConvergence:
            pass
    values, vectors = np.linalg.eigh(matrix)
    return values[::-1][:k], vectors[:, ::-1][:, :k]


def _captured(own: np.ndarray, coords: np.ndarray) -> float:
    n = len(own)
    diagonal = own.diagonal()
    variance = diagonal.sum() - own.sum() / n
    if variance <= n * EPS * diagonal.max():
        return 1.0
    return float(min(((coords - coords.mean(0)) ** 2).sum() / variance, 1.0))
