"""Which colour the next locked layer gets."""

from __future__ import annotations

from collections.abc import Iterable

from diffatlas.look import LAYERS


def next_colour(used: Iterable[str]) -> str:
    """Return the first of the layers' colours that is used least."""
    used = list(used)
    return min(LAYERS, key=lambda colour: (used.count(colour), LAYERS.index(colour)))
