"""Where, and in which channels, the latents change from step to step.

A path here is (T + 1, B, C, H, W), x_T first. Packed latents are laid out by `as_grid` first. ``starts``, T states of
(B, C, H, W) or None, are those that the steps started from (`diffatlas.geometry.path`): what was changed between the
steps is in none of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from diffatlas.errors import InvalidParams
from diffatlas.geometry.path import Starts, steps_of


def channel_change(path: np.ndarray, starts: Starts | None = None) -> np.ndarray:
    """Root mean square change of each channel in each step: (T, B, C), in the latents' units."""
    return _changes(path, starts, lambda step: np.sqrt((step**2).mean((2, 3))), axes=(1, 2))


def spatial_change(path: np.ndarray, starts: Starts | None = None) -> np.ndarray:
    """Root mean square change over the channels at each place in each step: (T, B, H, W)."""
    return _changes(path, starts, lambda step: np.sqrt((step**2).mean(1)), axes=(1, 3, 4))


def as_grid(latents: np.ndarray, width: int, height: int) -> np.ndarray | None:
    """A path's latents as grids of channels, or None where they cannot be laid out as a picture.

    latents: (T + 1, B, C, H, W) is returned as it is; (T + 1, B, C, 1, H, W), a single frame, without its
        frame axis; (T + 1, B, tokens, channels), packed row by row (FLUX and its kin), as
        (T + 1, B, channels, rows, columns).
    width, height: the image's size in pixels. A token covers a square of pixels whose side is not known, and
        the picture may hold a part of a token more than the grid does, so rows and columns are those that
        fill the tokens exactly and fit such a square; the ratio nearest to the picture's wins.
    """
    latents = np.asarray(latents)
    if latents.ndim == 5:
        return latents
    if latents.ndim == 6 and latents.shape[3] == 1:
        return latents[:, :, :, 0]
    if latents.ndim != 4:
        return None
    *lead, tokens, channels = latents.shape
    rows = _rows(tokens, width, height)
    if rows is None:
        return None
    grid = latents.reshape(*lead, rows, tokens // rows, channels)
    return np.moveaxis(grid, -1, -3)


def _changes(
    path: np.ndarray, starts: Starts | None, measure: Callable[[np.ndarray], np.ndarray], axes: tuple
) -> np.ndarray:
    path = np.asarray(path)
    if path.ndim != 5:
        raise InvalidParams(
            f"Change maps need latents of the shape (states, batch, channels, height, width), not {path.shape}."
        )
    result = np.zeros((max(len(path) - 1, 0), *(path.shape[axis] for axis in axes)))
    # One step at a time, in float64: a whole path of SDXL in float64 is 27 MB.
    for k, (before, after) in enumerate(steps_of(path, starts)):
        result[k] = measure(after.astype(np.float64) - before)
    return result


def _rows(tokens: int, width: int, height: int) -> int | None:
    fitting = [
        rows
        for rows in range(1, tokens + 1)
        if tokens % rows == 0 and _squares_fit(rows, tokens // rows, width, height)
    ]
    wanted = np.log(height / width)
    return min(fitting, key=lambda rows: abs(np.log(rows**2 / tokens) - wanted), default=None)


def _squares_fit(rows: int, columns: int, width: int, height: int) -> bool:
    """Whether squares of one size exist of which exactly ``columns`` fit in a row and ``rows`` in a column."""
    largest = min(width / columns, height / rows)
    smallest = max(width / (columns + 1), height / (rows + 1))
    return smallest < largest
