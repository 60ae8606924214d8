"""A seeded UMAP of states whose distances are known."""

from __future__ import annotations

import contextlib
import functools
import threading

import numpy as np

from diffatlas.errors import InvalidParams
from diffatlas.geometry.projection import from_gram

#: Fewer points have no neighbourhoods to speak of.
FEWEST = 5

# Two fits at once end the process where numba has no thread-safe threading layer.
_one_fit = threading.Lock()


def umap(distances: np.ndarray, dimensions: int = 3, seed: int = 42, neighbours: int = 15) -> np.ndarray:
    """Uniform manifold approximation and projection (McInnes, Healy and Melville 2018, arXiv 1802.03426).

    distances: (N, N), symmetric, of at least `FEWEST` points (`diffatlas.geometry.common_basis.distances`).
    neighbours: size of the neighbourhood; at most N - 1 are used.

    Returns (N, dimensions) float64. The same arguments give bit-equal results on one machine. The layout
    starts from classical scaling of the distances (the principal components), not from a spectral layout: it
    keeps the large-scale arrangement (Kobak and Linderman 2021, doi 10.1038/s41587-020-00809-z) and exists for
    any N. Takes seconds, and many more the first time on a machine: keep it off the request thread. One fit runs at
    a time.

    Raises `InvalidParams` (a ValueError) for fewer points than `FEWEST` or a matrix that is not square.
    """
    distances = np.asarray(distances, dtype=np.float64)
    n = len(distances)
    if distances.shape != (n, n):
        raise InvalidParams(f"UMAP needs a square matrix of distances, not one of shape {distances.shape}.")
    if n < FEWEST:
        raise InvalidParams(f"UMAP needs at least {FEWEST} states; there are {n}.")

    from umap import UMAP

    with _one_fit:
        _keep_compiled()
        model = UMAP(
            n_components=dimensions,
            n_neighbors=min(neighbours, n - 1),
            metric="precomputed",
            init=_start(distances, dimensions, seed),
            random_state=seed,
            n_jobs=1,
        )
        return model.fit_transform(distances).astype(np.float64)


@functools.cache
def _keep_compiled() -> None:
    """Let numba keep on disk what it compiles for a fit, so that only a machine's first fit waits for it."""
    import umap.layouts
    import umap.umap_
    import umap.utils
    from numba.core.dispatcher import Dispatcher

    for module in (umap.utils, umap.umap_, umap.layouts):
        for function in vars(module).values():
            if isinstance(function, Dispatcher) and function.py_func.__module__ == module.__name__:
                # Where no folder can be written, it compiles each time.
                with contextlib.suppress(RuntimeError):
                    function.enable_caching()


def _start(distances: np.ndarray, dimensions: int, seed: int) -> np.ndarray:
    """Classical scaling (Torgerson 1952): the principal components, from distances."""
    coords, _ = from_gram(-(distances**2) / 2, dimensions)
    # UMAP stretches every axis of its start to one length, and an axis without extent would turn to NaN.
    flat = np.ptp(coords, axis=0) <= 1e-9 * max(float(np.ptp(coords)), 1e-300)
    noise = np.random.default_rng(seed).normal(size=coords.shape)
    return np.where(flat, noise, coords)
