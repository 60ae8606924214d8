"""What was captured of a run's attention, read one map at a time: maps of tokens and words, and their measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from diffatlas.capture.attention_layers import matches
from diffatlas.capture.tokens import Token, find_word, read_table
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.geometry import attention as maths
from diffatlas.geometry.overlay import overlay

#: DAAM leaves out layers that are this many times smaller than the latents.
DAAM_SKIPPED_FACTOR = 8

#: The maps of a step's index and a layer's key, as `Step.attention` has them; KeyError where the step has none.
Read = Callable[[int, str], np.ndarray]


@dataclass(frozen=True)
class LayerInfo:
    """One captured layer: ``kind`` "cross" or "self", its heads, the (rows, columns) of its queries, the number of its
    text tokens, its part of the model ("down", "mid", "up", or the index of a transformer's block), and the
    (rows, columns) that its self-attention was pooled to."""

    name: str
    kind: str
    heads: int
    grid: tuple[int, int]
    tokens: int
    block: str | int | None = None
    cells: tuple[int, int] | None = None

    @property
    def key(self) -> str:
        """Its key in a step's arrays."""
        return f"{self.kind}:{self.name}"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LayerInfo:
        """Build from an entry of ``provenance["attention"]["layers"]``."""
        rows, columns = data["grid"]
        return cls(
            name=str(data["name"]),
            kind=str(data["kind"]),
            heads=int(data.get("heads") or 0),
            grid=(int(rows), int(columns)),
            tokens=int(data.get("tokens") or 0),
            block=data.get("block"),
            cells=tuple(data["cells"]) if data.get("cells") else None,
        )


@dataclass(frozen=True)
class Measures:
    """The measures of every captured step S; `diffatlas.geometry.attention` defines them.

    ``entropy`` and ``self_entropy`` (S, layers), nats; ``activation`` (S, tokens), the mean over the layers; ``kl``
    (S, layers), NaN at the first.
    """

    entropy: np.ndarray
    self_entropy: np.ndarray
    activation: np.ndarray
    kl: np.ndarray


@dataclass(frozen=True)
class AttentionTrace:
    """The attention of one image of a run. It holds no maps: ``read(step, key)`` gives those of a step and layer.

    ``steps``: the indices of the steps that have attention. ``layers``: all that were captured. ``tokens``: along the
    keys of cross-attention. ``latents``: (rows, columns) of the latents, the size of DAAM's maps; None takes the
    finest layer's. ``image``, ``head`` (None for the mean) and ``half`` ("cond" or "uncond") say what is looked at:
    `at` chooses others. ``per_head``: whether the maps have an axis of heads.

    A step is given by its index; ``steps`` and ``layers`` arguments take None for all, one, or several. Layers are
    named as in `Capture.attention_layers`: by part ("mid", "blocks.3"), by name or by glob.
    """

    steps: tuple[int, ...]
    layers: tuple[LayerInfo, ...]
    tokens: tuple[Token, ...]
    read: Read = field(repr=False, compare=False)
    latents: tuple[int, int] | None = None
    per_head: bool = False
    image: int = 0
    head: int | None = None
    half: str = "cond"

    @classmethod
    def of(cls, trace: Any, tokens: Iterable[Token] | None = None) -> AttentionTrace:
        """Return the attention of a live `Trace` or of a `Run` in memory.

        tokens: where the trace does not know its prompt, `diffatlas.capture.tokens.token_table` of it.

        Raises `CapabilityError` where no attention was captured.
        """
        provenance = getattr(trace, "provenance", None) or getattr(trace, "latent_provenance", None) or {}
        steps = {s.index: s.attention for s in trace.steps if s.attention}
        initial = trace.initial_latents
        return cls.described(
            provenance.get("attention"),
            tuple(steps),
            lambda step, key: steps[step][key],
            latents=None if initial is None else latent_grid(initial.shape, provenance),
            capture=getattr(trace, "capture", None),
            tokens=tokens,
        )

    @classmethod
    def described(
        cls,
        described: Mapping[str, Any] | None,
        steps: Sequence[int],
        read: Read,
        *,
        latents: tuple[int, int] | None = None,
        capture: Mapping[str, Any] | None = None,
        tokens: Iterable[Token] | None = None,
    ) -> AttentionTrace:
        """Build from ``provenance["attention"]``, the steps that have attention, and what reads one of them.

        capture: the fields of `Capture`; without it the shapes tell whether there is an axis of heads.

        Raises `CapabilityError` where there is no attention.
        """
        if not described or not steps:
            raise CapabilityError(
                "This run holds no attention: capture it again with attention='cross', 'self' or 'all'.",
                field="attention",
            )
        layers = tuple(LayerInfo.from_dict(entry) for entry in described["layers"])
        table = read_table(described.get("text") or () if tokens is None else tokens)
        counts = [layer.tokens for layer in layers if layer.kind == "cross"]
        length = counts[0] if counts else len(table)
        unknown = [Token(i, "", "", None, True) for i in range(len(table), length)]
        heads = (capture or {}).get("attention_heads")
        per_head = heads == "each" if heads else _has_heads(lambda key: read(steps[0], key), layers)
        return cls(tuple(steps), layers, (*table[:length], *unknown), read, latents, per_head)

    def at(
        self, *, image: int | None = None, head: int | str | None = None, half: str | None = None
    ) -> AttentionTrace:
        """Return the same looked at for another image of the batch, head ("mean" for all) or half of the guidance.

        Raises `InvalidParams` or `CapabilityError` for what was not captured, here or when maps are read.
        """
        if half not in (None, "cond", "uncond"):
            raise InvalidParams(f"half is {half!r}: give 'cond' or 'uncond'.", field="half")
        if head not in (None, "mean") and not self.per_head:
            raise CapabilityError(
                "The heads of this run were averaged: capture it again with attention_heads='each'.",
                field="head",
            )
        chosen = self.head if head is None else (None if head == "mean" else int(head))
        return replace(
            self,
            image=self.image if image is None else image,
            head=chosen,
            half=half or self.half,
        )

    def within(self, layers: str | Iterable[str] | None) -> AttentionTrace:
        """Return the same with these layers alone; those of a kind that has none of them stay. None for all.

        Raises `InvalidParams` for layers that there are not.
        """
        if layers is None:
            return self
        wanted = (layers,) if isinstance(layers, str) else tuple(layers)
        kept = {x.key for x in self.layers if any(_is_called(x, name) for name in wanted)}
        if not kept:
            there = ", ".join(x.name for x in self.layers)
            raise InvalidParams(
                f"No layer is called {' or '.join(wanted)!r}. There are: {there}.", field="layers"
            )
        kinds = {key.partition(":")[0] for key in kept}
        return replace(self, layers=tuple(x for x in self.layers if x.key in kept or x.kind not in kinds))

    @property
    def cross_layers(self) -> tuple[LayerInfo, ...]:
        """The layers of cross-attention to the tokens."""
        return tuple(x for x in self.layers if x.kind == "cross" and x.tokens == len(self.tokens))

    @property
    def self_layers(self) -> tuple[LayerInfo, ...]:
        """The layers of self-attention."""
        return tuple(x for x in self.layers if x.kind == "self")

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the finest layer of cross-attention."""
        return maths.common_grid(x.grid for x in self._chosen("cross", None))

    def token_maps(self, step: int, layer: str) -> np.ndarray:
        """Return the maps of every token in one layer, as captured: (tokens, h, w), float32.

        At every place they sum to 1 over the tokens in a UNet; in joint attention to what the place looks at text.
        """
        (found,) = self._one("cross", layer)
        return self._maps(step, found)

    def self_maps(self, step: int, layer: str) -> np.ndarray:
        """Return one layer's pooled self-attention, (gh, gw, gh, gw), float32: query cell y, x, then key cell y, x."""
        (found,) = self._one("self", layer)
        return self._maps(step, found)

    def looks_at(
        self,
        step: int,
        place: tuple[float, float],
        layers: str | Iterable[str] | None = None,
        resolution: int | tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Return where a place of the image looks, the mean over the layers of self-attention: (H, W), float32.

        place: (x, y) as fractions of the picture's width and height, each from 0 up to 1. Each layer's map is brought
        to the finest grid among them, or to ``resolution``, as a density (mean 1 over the cells).
        """
        if not all(0 <= v <= 1 for v in place):
            raise InvalidParams(f"place is {place}: give (x, y), each from 0 to 1.", field="place")
        maps = [self._maps(self._step(step), layer) for layer in self._chosen("self", layers)]
        size = maths.scaled_grid(maths.common_grid(m.shape[:2] for m in maps), resolution)
        total = np.zeros(size)
        for m in maps:
            y, x = (min(int(v * n), n - 1) for v, n in zip(place[::-1], m.shape[:2], strict=True))
            total += maths.resample(m[y, x] * m[y, x].size, size)
        return (total / len(maps)).astype(np.float32)

    def maps(
        self,
        resolution: int | tuple[int, int] | None = None,
        steps: int | Iterable[int] | None = None,
        layers: str | Iterable[str] | None = None,
        tokens: Sequence[int] | None = None,
        method: str = "bilinear",
    ) -> np.ndarray:
        """Return the maps of the tokens by step, the mean over the layers: (S, tokens, H, W), float32.

        resolution: the longer side in cells, or (rows, columns); None for the finest layer's grid. tokens: indices;
        None for all. method: see `diffatlas.geometry.attention.resample`. Layers are not renormalised.
        """
        return np.stack(list(self._by_step(resolution, steps, layers, tokens, method)))

    def word_maps(
        self,
        word: str,
        nth: int = 0,
        steps: int | Iterable[int] | None = None,
        layers: str | Iterable[str] | None = None,
        resolution: int | tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Return a word's map by step: the mean over its tokens and the layers, (S, H, W), float32.

        word: of the prompt, or several in a row; nth: which of equal ones. Raises `InvalidParams` for another.
        """
        return self.maps(resolution, steps, layers, self._word(word, nth)).mean(1)

    def word_map(
        self,
        word: str,
        nth: int = 0,
        steps: int | Iterable[int] | None = None,
        layers: str | Iterable[str] | None = None,
        resolution: int | tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Return a word's map, the mean over its tokens, the layers and the steps: (H, W), float32."""
        return self.word_maps(word, nth, steps, layers, resolution).mean(0)

    def daam(
        self,
        word: str | None = None,
        nth: int = 0,
        steps: int | Iterable[int] | None = None,
        layers: str | Iterable[str] | None = None,
        size: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Return DAAM's heat map of a word, (H, W), or of every token, (tokens, H, W), float32.

        `diffatlas.geometry.attention.daam` has the definition. steps: None for the global map, one for that step's.
        layers: None for those that DAAM takes: not the mid block, and not those 8 times smaller than the latents.
        size: (H, W); None for that of the latents.

        Values are sums over the steps, as DAAM has them. With the heads averaged they differ from DAAM's only where
        the bicubic kernel's undershoot is cut off; with ``attention_heads="each"`` they do not.
        """
        chosen = self._steps(steps)
        size = size or self.latents or self.grid
        taken = self._daam_layers(size) if layers is None else self._chosen("cross", layers)
        tokens = None if word is None else self._word(word, nth)
        whole = replace(self, head=None)
        sums: dict[str, np.ndarray] = {}
        for step in chosen:
            for layer in taken:
                maps = whole._raw(step, layer) if self.head is None else self._maps(step, layer)
                maps = maps.reshape(-1, *maps.shape[-3:]).astype(np.float32)
                maps = maps if tokens is None else maps[:, tokens]
                sums[layer.key] = sums[layer.key] + maps if layer.key in sums else maps
        result = maths.daam(sums.values(), size)
        return result if word is None else result.mean(0)

    def entropy(self, kind: str = "cross", normalised: bool = False) -> np.ndarray:
        """Return the mean entropy of every step and layer, (S, layers), nats; normalised: divided by ln n.

        kind: "cross", over the tokens, or "self", over the cells of the pooled grid.
        """
        if kind not in ("cross", "self"):
            raise InvalidParams(f"kind is {kind!r}: give 'cross' or 'self'.", field="kind")
        layers = self._chosen(kind, None)
        values = self.measures.entropy if kind == "cross" else self.measures.self_entropy
        if not normalised:
            return values
        # Of a single token or cell both are 0.
        most = [len(self.tokens) if kind == "cross" else math.prod(x.cells or x.grid) for x in layers]
        return values / np.log(np.maximum(most, 2))

    def activation(self) -> np.ndarray:
        """Return the mean probability of every token by step, (S, tokens): over the places, then the layers."""
        self._chosen("cross", None)
        return self.measures.activation

    def dominance(self, special: bool = True, top: int | None = None) -> list[tuple[Token, float]]:
        """Return (token, score) by falling score, the mean of `activation` over the steps.

        special: whether the beginning, the end and padding take part; in most models they lead by far.
        """
        scores = self.activation().mean(0)
        keep = None if special else [not t.special for t in self.tokens]
        return [(self.tokens[i], float(scores[i])) for i in maths.rank(scores, keep)[:top]]

    def kl(self) -> list[float | None]:
        """Return by step the KL divergence from the captured step before it, in nats; None for the first."""
        self._chosen("cross", None)
        values = self.measures.kl.mean(1)
        return [None if math.isnan(v) else float(v) for v in values]

    def spikes(self) -> list[int]:
        """Return the indices of the steps whose divergence stands out (`diffatlas.geometry.attention.spikes`)."""
        return [self.steps[k] for k in maths.spikes(self.kl())]

    def overlay(
        self,
        image: np.ndarray,
        word: str,
        nth: int = 0,
        steps: int | Iterable[int] | None = None,
        layers: str | Iterable[str] | None = None,
        alpha: float = 0.6,
    ) -> np.ndarray:
        """Return a picture with a word's map laid over it, from the map's least to its most: (H, W, 3) uint8.

        image: (H, W, 3) uint8, the final image or a preview.
        """
        return overlay(image, self.word_map(word, nth, steps, layers), alpha)

    @cached_property
    def measures(self) -> Measures:
        """All measures, from one reading of the maps."""
        cross, own = self.cross_layers, self.self_layers
        count = len(self.steps)
        entropy, kl = (np.full((count, len(cross)), np.nan) for _ in range(2))
        self_entropy = np.full((count, len(own)), np.nan)
        activation = np.zeros((count, len(self.tokens)))
        before: list[np.ndarray | None] = [None] * len(cross)
        for k, step in enumerate(self.steps):
            for i, layer in enumerate(cross):
                maps = self._maps(step, layer)
                entropy[k, i], kl[k, i], before[i] = maths.entropy_and_kl(maps, before[i])
                activation[k] += maths.activation(maps) / len(cross)
            for i, layer in enumerate(own):
                maps = self._maps(step, layer)
                self_entropy[k, i] = maths.self_entropy(maps)
        return Measures(entropy, self_entropy, activation, kl)

    def _by_step(
        self,
        resolution: int | tuple[int, int] | None,
        steps: int | Iterable[int] | None,
        layers: str | Iterable[str] | None,
        tokens: Sequence[int] | None,
        method: str,
    ) -> Iterator[np.ndarray]:
        chosen = self._chosen("cross", layers)
        size = maths.scaled_grid(maths.common_grid(x.grid for x in chosen), resolution)
        for step in self._steps(steps):
            total = 0.0
            for layer in chosen:
                maps = self._maps(step, layer)
                total = total + maths.resample(maps if tokens is None else maps[list(tokens)], size, method)
            yield (total / np.float32(len(chosen))).astype(np.float32)

    def _maps(self, step: int, layer: LayerInfo) -> np.ndarray:
        """The maps of one layer without the axes of halves, images and heads, float32."""
        maps = self._raw(step, layer).astype(np.float32)
        if not self.per_head:
            return maps
        if self.head is None:
            return maps.mean(0)
        if not 0 <= self.head < len(maps):
            raise InvalidParams(
                f"{layer.name} has {len(maps)} heads, from 0, so there is no head {self.head}.", field="head"
            )
        return maps[self.head]

    def _raw(self, step: int, layer: LayerInfo) -> np.ndarray:
        """The stored maps of one image and half: with an axis of heads where they were kept."""
        step = self._step(step)
        try:
            maps = np.asarray(self.read(step, layer.key))
        except KeyError:
            raise CapabilityError(
                f"Step {step} holds no attention of {layer.name}.", field="layers"
            ) from None
        trailing = (3 if layer.kind == "cross" else 4) + self.per_head
        halves = len(maps) if maps.ndim == trailing + 2 else 0
        if halves:
            maps = maps[1 if halves > 1 and self.half == "uncond" else 0]
        if self.half == "uncond" and halves == 1:
            raise CapabilityError("This run was not guided, so it has no unconditional half.", field="half")
        if self.half == "uncond" and not halves:
            raise CapabilityError(
                "Only the conditional half was kept: capture with attention_halves='both'.", field="half"
            )
        if not 0 <= self.image < len(maps):
            raise InvalidParams(
                f"The batch has {len(maps)} images, from 0, so there is no image {self.image}.", field="image"
            )
        return maps[self.image]

    def _word(self, word: str, nth: int) -> list[int]:
        return find_word(self.tokens, word, nth)

    def _step(self, step: int) -> int:
        if step not in self.steps:
            there = ", ".join(str(s) for s in self.steps)
            raise InvalidParams(f"Step {step!r} has no attention: captured are {there}.", field="step")
        return step

    def _steps(self, steps: int | Iterable[int] | None) -> tuple[int, ...]:
        if steps is None:
            return self.steps
        chosen = (steps,) if isinstance(steps, int) else tuple(steps)
        if not chosen:
            raise InvalidParams("No step was chosen: give at least one.", field="steps")
        return tuple(self._step(s) for s in chosen)

    def _chosen(self, kind: str, layers: str | Iterable[str] | None) -> tuple[LayerInfo, ...]:
        there = self.cross_layers if kind == "cross" else self.self_layers
        if not there:
            raise CapabilityError(
                f"This run holds no {kind}-attention: capture it again with attention='{kind}' or 'all'.",
                field="attention",
            )
        if layers is None:
            return there
        wanted = (layers,) if isinstance(layers, str) else tuple(layers)
        chosen = tuple(x for x in there if any(_is_called(x, name) for name in wanted))
        if not chosen:
            names = ", ".join(x.name for x in there)
            raise InvalidParams(
                f"No layer of {kind}-attention is called {' or '.join(wanted)!r}. There are: {names}.",
                field="layers",
            )
        return chosen

    def _one(self, kind: str, layer: str) -> tuple[LayerInfo]:
        return self._chosen(kind, layer)[:1]

    def _daam_layers(self, size: tuple[int, int]) -> tuple[LayerInfo, ...]:
        cells = size[0] * size[1]
        taken = tuple(
            x
            for x in self._chosen("cross", None)
            if x.block != "mid" and math.isqrt(cells // (x.grid[0] * x.grid[1])) != DAAM_SKIPPED_FACTOR
        )
        return taken or self.cross_layers


def latent_grid(shape: Sequence[int], provenance: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return (rows, columns) of latents (B, C, H, W); of packed ones those of their tokens, None where unknown."""
    if len(shape) >= 4:
        return int(shape[-2]), int(shape[-1])
    grid = provenance.get("latent_grid")
    return (int(grid[0]), int(grid[1])) if grid else None


def _is_called(layer: LayerInfo, name: str) -> bool:
    return name == layer.key or matches(layer.name, layer.block, (name,))


def _has_heads(read: Callable[[str], np.ndarray], layers: Iterable[LayerInfo]) -> bool:
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
