"""The colours of locked layers: lines and bands that can be told apart on ivory and on near-black."""

from __future__ import annotations

from collections.abc import Iterable

#: Each has a contrast of at least 3 to both grounds; none is the gold or the burgundy of a path's ends.
PALETTE = (
    "#2f7cb5",
    "#3f8f5a",
    "#c2602a",
    "#a25a94",
    "#2f8f8c",
    "#7a6bc4",
    "#b5587c",
    "#7d8530",
    "#8f7358",
    "#6f7b86",
)


def next_colour(used: Iterable[str]) -> str:
    """Return the first colour that is used least."""
    used = list(used)
    return min(PALETTE, key=lambda colour: (used.count(colour), PALETTE.index(colour)))
