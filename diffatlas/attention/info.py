"""What a run says of its captured attention: its layers, its measures, and the tokens of each image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from diffatlas.attention.tokens import Token, read_table, unknown_token
from diffatlas.errors import DamagedRun

#: Where a name says which part of a UNet it belongs to, in the order in which the parts run.
PARTS = ("down", "mid", "up")
#: The tokens by image of each half of guidance, "cond" and "uncond"; a single table is that of every image.
Tables = Mapping[str, tuple[tuple[Token, ...], ...]]


@dataclass(frozen=True)
class LayerInfo:
    """One captured layer: ``kind`` "cross" or "self", its heads, the (rows, columns) of its queries, the number of its
    text tokens, its part of the model ("down", "mid", "up", or the index of a transformer's block), the (rows, columns)
    of its maps where those are others than ``grid`` (self-attention is pooled), whether they were resampled after they
    were captured, and whether its places attend to text and image at once."""

    name: str
    kind: str
    heads: int
    grid: tuple[int, int]
    tokens: int
    block: str | int | None = None
    cells: tuple[int, int] | None = None
    resampled: bool = False
    joint: bool = False

    @property
    def key(self) -> str:
        """Its key in a step's arrays."""
        return f"{self.kind}:{self.name}"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LayerInfo:
        """Build from an entry of ``provenance["attention"]["layers"]``. Raises `DamagedRun` where it has no grid."""
        if not data.get("grid"):
            raise DamagedRun(f"The layer {data['name']!r:.80} has no grid, so its attention cannot be read.")
        rows, columns = data["grid"]
        return cls(
            name=str(data["name"]),
            kind=str(data["kind"]),
            heads=int(data.get("heads") or 0),
            grid=(int(rows), int(columns)),
            tokens=int(data.get("tokens") or 0),
            block=data.get("block"),
            cells=tuple(data["cells"]) if data.get("cells") else None,
            resampled=bool(data.get("resampled")),
            joint=bool(data.get("joint")),
        )


@dataclass(frozen=True)
class Measures:
    """The measures of every captured step S; `diffatlas.geometry.attention` defines them.

    ``entropy`` and ``self_entropy`` (S, layers), nats; ``activation`` (S, tokens), the mean over the layers; ``kl``
    (S, layers), NaN at the first; ``layer_activation`` (S, layers, tokens), of each layer.
    """

    entropy: np.ndarray
    self_entropy: np.ndarray
    activation: np.ndarray
    kl: np.ndarray
    layer_activation: np.ndarray


def read_tables(described: Mapping[str, Any], length: int | None) -> Tables:
    """Return the tokens that ``provenance["attention"]`` has, ``length`` of each image; None for as many as there are.

    `diffatlas.capture.texts.describe_texts` says how they are kept. Runs that do not tell those of the unconditional
    half apart have the same of both.
    """
    found = {}
    for half, name in (("cond", "text"), ("uncond", "negative_text")):
        several = described.get(f"{name}s") or [described.get(name) or ()]
        found[half] = tuple(filled(read_table(table), length) for table in several)
    if "negative_text" not in described:
        found["uncond"] = found["cond"]
    return found


def filled(table: Sequence[Token], length: int | None) -> tuple[Token, ...]:
    """Return a table of ``length`` tokens, unknown ones where it has less; None leaves it as it is."""
    if length is None:
        return tuple(table)
    return (*table[:length], *(unknown_token(i) for i in range(len(table), length)))


def mean_there(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean along an axis over what is there; NaN where nothing is."""
    means = np.asarray(values.mean(axis))
    if not np.isnan(means).any():
        return means
    there = ~np.isnan(values)
    count = there.sum(axis)
    total = np.where(there, values, 0).sum(axis, dtype=np.float64)
    partial = np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
    # Where nothing is missing it is the plain mean, to the last bit.
    return np.where(count == values.shape[axis], means, partial).astype(means.dtype)


def latent_grid(shape: Sequence[int], provenance: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return (rows, columns) of latents (B, C, H, W); of packed ones those of their tokens, None where unknown."""
    if len(shape) >= 4:
        return int(shape[-2]), int(shape[-1])
    grid = provenance.get("latent_grid")
    return (int(grid[0]), int(grid[1])) if grid else None


def matches(name: str, block: str | int | None, patterns: Sequence[str] | None) -> bool:
    """Whether a layer is one of ``patterns`` (`Capture.attention_layers`); None asks for all.

    A pattern is a part ("mid"), the place of a block ("blocks.3"), a glob over the name, or the beginning of a name
    up to a dot ("down_blocks.1").
    """
    if patterns is None:
        return True
    return any(
        pattern == block
        or (isinstance(block, int) and pattern == f"blocks.{block}")
        or fnmatchcase(name, pattern)
        or fnmatchcase(name, f"{pattern}.*")
        for pattern in patterns
    )


def is_called(layer: LayerInfo, name: str) -> bool:
    """Whether a layer is meant by a name: its key, its part, its name or a glob over it."""
    return name == layer.key or matches(layer.name, layer.block, (name,))


def has_heads(read: Callable[[str], np.ndarray], layers: Iterable[LayerInfo]) -> bool:
    """Whether maps have an axis of heads, by their shapes, where nothing says what was captured.

    One axis more than without is that of the heads where it is as long as every layer's number of heads, else that of
    the halves in front.
    """
    lengths = []
    for layer in layers:
        shape, trailing = np.shape(read(layer.key)), 3 if layer.kind == "cross" else 4
        if len(shape) != trailing + 2:
            return len(shape) > trailing + 2
        lengths.append((shape[0], shape[1], layer.heads))
    if any(count != heads for _, count, heads in lengths):
        return False
    # Layers of one head each: a pair in front is the halves of one image, not two images.
    return any(heads > 1 for *_, heads in lengths) or any(first != 2 for first, *_ in lengths)
