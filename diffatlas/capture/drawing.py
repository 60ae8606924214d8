"""Pictures of stored latents without a model: by the linear map that is kept with a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from diffatlas.capture.latent_grid import lay_out
from diffatlas.capture.preview import LinearMap, resize


def linear_drawer(
    provenance: Mapping[str, Any], size: int | None = None
) -> Callable[[np.ndarray], np.ndarray | None]:
    """Return what draws clean latents (B, ...) as pictures (B, H, W, 3) uint8, or gives None for what it cannot draw.

    provenance: a run's, with its linear map and how its latents are packed. size: the longest side in pixels; None for
    that of the latents' grid.
    """
    stored = provenance.get("latent_rgb")
    linear = LinearMap.from_dict(stored) if stored else None

    def draw(latents: np.ndarray) -> np.ndarray | None:
        grid = lay_out(latents, provenance) if linear is not None else None
        if grid is None or grid.shape[1] != len(linear.weight):
            return None
        pictures = linear(grid)
        return pictures if size is None else resize(pictures, size)

    return draw
