"""What was captured of a run's attention, read one map at a time: maps of tokens and words, and their measures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from diffatlas.attention.held import HeldAttention, none_ran
from diffatlas.attention.info import LayerInfo, Measures, latent_grid, mean_there
from diffatlas.attention.tokens import Token, find_word
from diffatlas.errors import InvalidParams
from diffatlas.geometry import attention as maths
from diffatlas.geometry.overlay import overlay

__all__ = ["AttentionTrace", "LayerInfo", "Measures", "latent_grid"]

#: DAAM leaves out layers that are this many times smaller than the latents.
DAAM_SKIPPED_FACTOR = 8


@dataclass(frozen=True)
class AttentionTrace(HeldAttention):
    """The attention of one image of a run, as maps of its tokens and words, and what is measured of them.

    What there is of it, and what is looked at, `HeldAttention` says.
    """

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the finest layer of cross-attention."""
        return maths.common_grid(x.grid for x in self.chosen("cross", None))

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
        chosen = self._ran(self._step(step), self.chosen("self", layers))
        maps = [self._maps(step, layer) for layer in chosen]
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
        None for all. method: see `diffatlas.geometry.attention.resample`. Layers are not renormalised. Of a step at
        which none of the layers ran all is NaN.

        Raises `CapabilityError` where none of them ran at any of the steps.
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
        return mean_there(self.word_maps(word, nth, steps, layers, resolution), 0)

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
        the bicubic kernel's undershoot is cut off; with ``attention_heads="each"`` they do not. A layer that ran at
        some of the steps only counts as if it had looked at the others as it did at those on average.
        """
        chosen = self._steps(steps)
        size = size or self.latents or self.grid
        taken = self._daam_layers(size) if layers is None else self.chosen("cross", layers)
        tokens = None if word is None else self._word(word, nth)
        whole = replace(self, head=None)
        sums: dict[str, np.ndarray] = {}
        counts: dict[str, int] = {}
        for step in chosen:
            for layer in taken:
                if not self.holds(step, layer.key):
                    continue
                counts[layer.key] = counts.get(layer.key, 0) + 1
                maps = whole._raw(step, layer) if self.head is None else self._maps(step, layer)
                maps = maps.reshape(-1, *maps.shape[-3:]).astype(np.float32)
                maps = maps if tokens is None else maps[:, tokens]
                sums[layer.key] = sums[layer.key] + maps if layer.key in sums else maps
        if not sums:
            raise none_ran(taken, chosen)
        for key, count in counts.items():
            if count < len(chosen):
                sums[key] = sums[key] * np.float32(len(chosen) / count)
        result = maths.daam(sums.values(), size)
        return result if word is None else result.mean(0)

    def entropy(self, kind: str = "cross", normalised: bool = False) -> np.ndarray:
        """Return the mean entropy of every step and layer, (S, layers), nats; normalised: divided by ln n.

        kind: "cross", over the tokens, or "self", over the cells of the pooled grid.
        """
        layers = self.chosen(kind, None)
        values = self.measures.entropy if kind == "cross" else self.measures.self_entropy
        if not normalised:
            return values
        # Of a single token or cell both are 0.
        most = [len(self.tokens) if kind == "cross" else math.prod(x.cells or x.grid) for x in layers]
        return values / np.log(np.maximum(most, 2))

    def activation(self) -> np.ndarray:
        """Return the mean probability of every token by step, (S, tokens): over the places, then the layers."""
        self.chosen("cross", None)
        return self.measures.activation

    def dominance(self, special: bool = True, top: int | None = None) -> list[tuple[Token, float]]:
        """Return (token, score) by falling score, the mean of `activation` over the steps that have it.

        special: whether the beginning, the end and padding take part; in most models they lead by far.
        """
        scores = mean_there(self.activation(), 0)
        keep = None if special else [not t.special for t in self.tokens]
        return [(self.tokens[i], float(scores[i])) for i in maths.rank(scores, keep)[:top]]

    def kl(self) -> list[float | None]:
        """Return by step the KL divergence from the captured step before it, in nats; None for the first.

        Over the layers that both have; None where there is none.
        """
        self.chosen("cross", None)
        values = mean_there(self.measures.kl, 1)
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
        """All measures, from one reading of the maps; of those that were resampled as they were measured before."""
        cross, own = self.cross_layers, self.self_layers
        count = len(self.steps)
        entropy, kl = (np.full((count, len(cross)), np.nan) for _ in range(2))
        self_entropy = np.full((count, len(own)), np.nan)
        activation = np.zeros((count, len(self.tokens)))
        by_layer = np.full((count, len(cross), len(self.tokens)), np.nan)
        before: list[np.ndarray | None] = [None] * len(cross)
        there, own_there = self.coverage("cross"), self.coverage("self")
        for k, step in enumerate(self.steps):
            for i, layer in enumerate(cross):
                if not there[k, i]:
                    before[i] = None
                    continue
                known = self.kept_numbers(step, layer.key)
                if known is None:
                    maps = self._maps(step, layer)
                    entropy[k, i], kl[k, i], before[i] = maths.entropy_and_kl(maps, before[i])
                    by_layer[k, i] = maths.activation(maps)
                else:
                    entropy[k, i], kl[k, i], before[i] = known.entropy, known.kl, None
                    by_layer[k, i] = (
                        maths.activation(self._maps(step, layer))
                        if known.activation is None
                        else known.activation
                    )
                activation[k] += by_layer[k, i] / int(there[k].sum())
            if cross and not there[k].any():
                activation[k] = np.nan
            for i, layer in enumerate(own):
                if own_there[k, i]:
                    known = self.kept_numbers(step, layer.key)
                    self_entropy[k, i] = (
                        maths.self_entropy(self._maps(step, layer)) if known is None else known.entropy
                    )
        return Measures(entropy, self_entropy, activation, kl, by_layer)

    def _by_step(
        self,
        resolution: int | tuple[int, int] | None,
        steps: int | Iterable[int] | None,
        layers: str | Iterable[str] | None,
        tokens: Sequence[int] | None,
        method: str,
    ) -> Iterator[np.ndarray]:
        chosen = self.chosen("cross", layers)
        size = maths.scaled_grid(maths.common_grid(x.grid for x in chosen), resolution)
        there = {s: [x for x in chosen if self.holds(s, x.key)] for s in self._steps(steps)}
        if not any(there.values()):
            raise none_ran(chosen, there)
        count = len(self.tokens if tokens is None else tokens)
        for step in self._steps(steps):
            if not there[step]:
                yield np.full((count, *size), np.nan, np.float32)
                continue
            total = 0.0
            for layer in there[step]:
                maps = self._maps(step, layer)
                total = total + maths.resample(maps if tokens is None else maps[list(tokens)], size, method)
            yield (total / np.float32(len(there[step]))).astype(np.float32)

    def _word(self, word: str, nth: int) -> list[int]:
        return find_word(self.tokens, word, nth)

    def _daam_layers(self, size: tuple[int, int]) -> tuple[LayerInfo, ...]:
        cells = size[0] * size[1]
        taken = tuple(
            x
            for x in self.chosen("cross", None)
            if x.block != "mid" and math.isqrt(cells // (x.grid[0] * x.grid[1])) != DAAM_SKIPPED_FACTOR
        )
        return taken or self.cross_layers
