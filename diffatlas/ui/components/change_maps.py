"""Where, and in which channels, a run's latents change: the numbers behind the maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.formats.wire import floats, rounded
from diffatlas.geometry.change import as_grid, channel_change, spatial_change

if TYPE_CHECKING:
    from diffatlas.library.stored import StoredRun

#: Longest side of the map of one step; the map of the whole run keeps the latents' own size.
STEP_SIDE = 32

NO_GRID = "These latents are packed in a way that is not known here, so they cannot be laid out as a picture."


def change_maps(stored: StoredRun) -> dict[str, Any]:
    """Return the root mean square change by step and channel, by step and place, and by place over the run."""
    path = stored.latents()[:, :1]
    empty = {"channels": None, "spatial": None, "whole": None}
    if len(path) < 2:
        return {**empty, "note": "This run ended before its first step."}
    grid = as_grid(path, stored.params.width, stored.params.height)
    if grid is None:
        return {**empty, "note": NO_GRID}
    starts = [
        None if start is None else as_grid(start[None, :1], stored.params.width, stored.params.height)[0]
        for start in stored.starts()
    ]
    by_channel = channel_change(grid, starts)[:, 0]
    by_place = spatial_change(grid, starts)[:, 0]
    whole = np.sqrt((by_place**2).mean(0))
    small = _smaller(by_place)
    return {
        "channels": {
            "steps": len(by_channel),
            "channels": by_channel.shape[1],
            "values": floats(by_channel),
            "largest": _largest(by_channel),
        },
        "spatial": {
            "steps": len(small),
            "height": small.shape[1],
            "width": small.shape[2],
            "values": floats(small),
            "largest": _largest(small),
        },
        "whole": {
            "height": whole.shape[0],
            "width": whole.shape[1],
            "values": floats(whole),
            "largest": _largest(whole),
        },
        "note": None,
    }


def _largest(maps: np.ndarray) -> float | None:
    return rounded(float(maps.max()))


def _smaller(maps: np.ndarray) -> np.ndarray:
    """Root mean square over square patches, so that no side of the (T, H, W) maps is over `STEP_SIDE`."""
    factor = -(-max(maps.shape[1:]) // STEP_SIDE)
    if factor == 1:
        return maps
    steps, height, width = maps.shape
    rows, columns = height // factor * factor, width // factor * factor
    squares = maps[:, :rows, :columns] ** 2
    patches = squares.reshape(steps, rows // factor, factor, columns // factor, factor)
    return np.sqrt(patches.mean((2, 4)))
