"""Linear views of a path: principal components, and a frame that stays still while the path grows.

A path is (N, D): one row per state, x_T first. Coordinates keep the data's units: nothing is whitened, so
equal lengths on screen are equal lengths in latent space (within the shown subspace).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffatlas.errors import InvalidParams


@dataclass(frozen=True)
class Projection:
    """Scores on the leading principal components (Pearson 1901; Hotelling 1933).

    ``coords`` (N, k) are centred, in the data's units, largest variance first; ``explained_variance_ratio``
    (k,) is each axis' share of the whole variance (zeros where there is none).
    """

    coords: np.ndarray
    explained_variance_ratio: np.ndarray


def flatten(states: np.ndarray) -> np.ndarray:
    """(N, ...) states as (N, D) float64 rows."""
    states = np.asarray(states, dtype=np.float64)
    return states.reshape(len(states), -1)


def pca(points: np.ndarray, dimensions: int = 3) -> Projection:
    """Principal component scores of (N, D) points; missing dimensions (N <= k) are zero.

    Each axis is signed so that its largest score in absolute value is positive, which makes the result
    reproducible.
    """
    points = flatten(points)
    coords, ratio = from_gram(points @ points.T, dimensions)
    return Projection(coords * axis_signs(coords), ratio)


def axis_signs(coords: np.ndarray) -> np.ndarray:
    """(k,) factors, 1 or -1, that make the largest score in absolute value on each axis of (N, k) positive."""
    rows = np.abs(coords).argmax(0)
    return np.where(coords[rows, np.arange(coords.shape[1])] < 0, -1.0, 1.0)


def dimensions_for(points: np.ndarray, share: float = 0.95) -> int:
    """Least number of principal components that hold ``share`` of the variance of (N, ...) points.

    share: above 0, at most 1. Points that are all the same have no variance and need 0 components.
    """
    if not 0 < share <= 1:
        raise InvalidParams(f"The share of the variance must be above 0 and at most 1, not {share:g}.")
    points = flatten(points)
    n = len(points)
    scale = np.einsum("nd,nd->n", points, points).max()
    # Centred first: sums of squares as large as those of x_T would drown the smallest components.
    points = points - points.mean(0)
    values = np.linalg.eigvalsh(points @ points.T)[::-1].clip(0)
    held = values.cumsum()
    if held[-1] <= n * np.finfo(float).eps ** 2 * scale:
        return 0
    return int(np.searchsorted(held, share * held[-1] * (1 - 1e-12))) + 1


def from_gram(gram: np.ndarray, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """PCA scores from inner products alone: B = H G H, scores = U sqrt(lambda) (Torgerson 1952)."""
    n = len(gram)
    centred = gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()
    values, vectors = np.linalg.eigh(centred)
    values, vectors = values[::-1].clip(0), vectors[:, ::-1]
    k = min(dimensions, n)
    coords, ratio = np.zeros((n, dimensions)), np.zeros(dimensions)
    coords[:, :k] = vectors[:, :k] * np.sqrt(values[:k])
    total = values.sum()
    if total > 0:
        ratio[:k] = values[:k] / total
    return coords, ratio


def from_states(states: np.ndarray, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """The same from the states (N, D), by the eigenvectors of a D x D matrix: for paths of many small states."""
    centred = states - states.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    values, vectors = values[::-1].clip(0), vectors[:, ::-1]
    k = min(dimensions, states.shape[1])
    coords, ratio = np.zeros((len(states), dimensions)), np.zeros(dimensions)
    coords[:, :k] = centred @ vectors[:, :k]
    total = values.sum()
    if total > 0:
        ratio[:k] = values[:k] / total
    return coords, ratio


def align(coords: np.ndarray, target: np.ndarray, shared: int) -> np.ndarray:
    """Move (N, k) coords rigidly (rotation, reflection, shift) so that the first ``shared`` rows lie as close
    as possible to those of ``target``: the orthogonal Procrustes problem (Schönemann 1966)."""
    a, b = coords[:shared], target[:shared]
    a_mean, b_mean = a.mean(0), b.mean(0)
    u, _, vt = np.linalg.svd((a - a_mean).T @ (b - b_mean))
    return (coords - a_mean) @ (u @ vt) + b_mean


class LiveFrame:
    """The best 3D view of a path that is still growing, without flips or jumps.

    Each `view` computes the exact PCA of the states so far and moves it rigidly onto the view shown before,
    so the drawn distances are always those of the PCA and points already drawn stay where they were as nearly
    as a rigid motion allows. `finish` returns the PCA of the whole path, with its axes signed to lie closest to
    the last view. One new state costs one row of inner products, O(N D); a view the eigenvectors of an N x N or
    D x D matrix, whichever is smaller, so states may be added without one that nobody looks at.
    """

    def __init__(self, dimensions: int = 3) -> None:
        self.dimensions = dimensions
        self._rows: list[np.ndarray] = []
        self._gram = np.zeros((0, 0))
        self._coords = np.zeros((0, dimensions))

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, state: np.ndarray) -> None:
        """Add one state (any shape). Raises ValueError where it has another size than those before."""
        row = np.asarray(state, dtype=np.float64).ravel()
        if self._rows and row.shape != self._rows[0].shape:
            raise ValueError(f"This state has {row.size} values; the ones before had {self._rows[0].size}.")
        self._rows.append(row)
        n = len(self._rows)
        if n > row.size:
            return
        gram = np.empty((n, n))
        gram[:-1, :-1] = self._gram
        gram[-1] = gram[:, -1] = [r @ row for r in self._rows]
        self._gram = gram

    def view(self) -> np.ndarray:
        """Return the coordinates of all states so far, (N, k)."""
        shown = len(self._coords)
        if shown < len(self._rows):
            coords, _ = self._scores()
            self._coords = align(coords, self._coords, shown) if shown else coords
        return self._coords

    def _scores(self) -> tuple[np.ndarray, np.ndarray]:
        if len(self._rows) > len(self._gram):
            return from_states(np.stack(self._rows), self.dimensions)
        return from_gram(self._gram, self.dimensions)

    def update(self, state: np.ndarray) -> np.ndarray:
        """Add one state (any shape) and return the coordinates of all so far, (N, k)."""
        self.add(state)
        return self.view()

    def finish(self) -> Projection:
        """The PCA of the whole path; each axis points to the side on which the live view showed it."""
        coords, ratio = self._scores()
        if not len(self._coords):
            return Projection(coords, ratio)
        shown = self.view() - self.view().mean(0)
        # The live view is the PCA turned rigidly; an axis keeps its sign if it mostly points along the view's.
        turn = np.linalg.lstsq(coords, shown, rcond=None)[0] if len(coords) > 1 else np.eye(self.dimensions)
        main = np.abs(turn).argmax(1)
        signs = np.where(turn[np.arange(self.dimensions), main] < 0, -1.0, 1.0)
        return Projection(coords * signs, ratio)
