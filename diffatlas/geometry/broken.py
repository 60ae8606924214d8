"""Where a run broke: latents that are no numbers, and images that are one colour all over."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def first_broken(states: Iterable[np.ndarray | None]) -> int | None:
    """Return the place of the first of some states, of any shape, that holds NaN or infinity; None where none does.

    A state that is None, because it was not kept, counts as whole.
    """
    for place, state in enumerate(states):
        if state is not None and not np.isfinite(state).all():
            return place
    return None


def one_colour(pixels: np.ndarray) -> tuple[int, ...] | None:
    """Return the colour of (H, W, C) uint8 pixels that are all the same; None where two differ."""
    flat = pixels.reshape(-1, pixels.shape[-1])
    if not len(flat) or (flat != flat[0]).any():
        return None
    return tuple(int(level) for level in flat[0])
