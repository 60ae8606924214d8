"""The parts of a model, by the layers of it that were captured."""

from __future__ import annotations

import numpy as np

from diffatlas.attention.info import PARTS, LayerInfo, is_called
from diffatlas.attention.trace import AttentionTrace

#: Parts of a transformer, which has no way down and up.
THIRDS = ("first", "middle", "last")


def parts_of(trace: AttentionTrace) -> dict[str, tuple[str, ...]]:
    """Return the parts of a model as `AttentionTrace.within` takes them, by name; none where there is one part only.

    Of a UNet the way down, the middle and the way up, of a transformer the thirds of its blocks, those with attention
    to words.
    """
    blocks = {layer.block for layer in trace.cross_layers}
    named = {part: (part,) for part in PARTS if part in blocks}
    if len(named) > 1:
        return named
    places = sorted(block for block in blocks if isinstance(block, int))
    if len(places) < len(THIRDS):
        return {}
    thirds = zip(THIRDS, np.array_split(places, len(THIRDS)), strict=True)
    return {name: tuple(f"blocks.{place}" for place in third) for name, third in thirds}


def part_of(layer: LayerInfo, parts: dict[str, tuple[str, ...]]) -> str | None:
    """Return which of the `parts_of` a model a layer belongs to; None for none."""
    for name, members in parts.items():
        if any(is_called(layer, member) for member in members):
            return name
    return None
