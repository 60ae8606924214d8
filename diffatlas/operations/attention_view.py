"""Attention of stored runs as a view asks for it: one look at a time, its maps at a size that travels, kept a while.

Reading the maps of every step and layer costs seconds on a large model, and choosing another word must not.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.library import StoredRun
from diffatlas.operations.attention import COMMON, AttentionTrace, Divergence, Measures, attention_of, js

#: Longest side of the maps of a single layer; those of several together have `COMMON`.
SINGLE = 64
#: What is kept of all looks, in bytes.
LIMIT_BYTES = 256 << 20


@dataclass(frozen=True)
class Look:
    """What is looked at. ``layers``: their names, None for all. ``head``: None for the mean over the heads. ``half``:
    "cond" or "uncond". ``image``: of the batch."""

    layers: tuple[str, ...] | None = None
    head: int | None = None
    half: str = "cond"
    image: int = 0


class Readings:
    """What was read of stored runs; the least recently used goes first. May be shared by threads."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def empty(self) -> None:
        """Let go of what is kept, to be read again when it is asked for."""
        with self._lock:
            self._kept.clear()

    def trace(self, stored: StoredRun, look: Look) -> AttentionTrace:
        """Return the attention of a run, looked at so. Holds no maps.

        Raises `CapabilityError` where it was not captured, `InvalidParams` for a layer, head or image that is not.
        """
        return attention_of(stored).at(image=look.image, head=look.head, half=look.half).within(look.layers)

    def measures(self, stored: StoredRun, look: Look) -> Measures:
        """Return the measures of the layers looked at, each at its native resolution."""

        def read() -> tuple[Measures, int]:
            found = self.trace(stored, look).measures
            return found, sum(array.nbytes for array in vars(found).values())

        def shared() -> tuple[Measures, int]:
            # Each visitor of a workshop has a copy of the same run.
            content = stored.content() if stored.status == "complete" else None
            found = self._get(("measures", content, look), read) if content else read()[0]
            return found, sum(array.nbytes for array in vars(found).values())

        return self._get(("measures", *_of(stored), look), shared)

    def maps(self, stored: StoredRun, look: Look) -> np.ndarray:
        """Return the token maps by step, the mean over the layers: (S, tokens, H, W), float32.

        On the finest layer's grid, at most `COMMON` cells long, or `SINGLE` where a single layer is looked at.

        NaN at steps at which none of the layers looked at ran (`AttentionTrace.coverage`).

        Raises `CapabilityError` where no cross-attention was captured.
        """

        def read() -> tuple[np.ndarray, int]:
            trace = self.trace(stored, look)
            need_words(trace)
            most = SINGLE if len(trace.cross_layers) == 1 else COMMON
            maps = trace.maps(min(most, max(trace.grid)))
            return maps, maps.nbytes

        return self._get(("maps", *_of(stored), look), read)

    def daam(self, stored: StoredRun, look: Look) -> np.ndarray:
        """Return DAAM's heat maps of every token, (tokens, H, W), of all layers that DAAM takes."""

        def read() -> tuple[np.ndarray, int]:
            maps = self.trace(stored, look).daam()
            return maps, maps.nbytes

        return self._get(("daam", *_of(stored), look), read)

    def divergence(self, a: StoredRun, b: StoredRun, look: Look) -> Divergence:
        """Return how the attention of two runs differs (`diffatlas.operations.attention.js`), both looked at so."""

        def read() -> tuple[Divergence, int]:
            found = js(self.trace(a, look), self.trace(b, look))
            return found, found.values.nbytes

        return self._get(("divergence", *_of(a), *_of(b), look), read)

    def _get(self, key: Hashable, read: Callable[[], tuple[Any, int]]) -> Any:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
        found = read()
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > 1 and sum(size for _, size in self._kept.values()) > self._limit:
                self._kept.popitem(last=False)
        return found[0]


def need_words(trace: AttentionTrace) -> None:
    """Raise `CapabilityError` where there is no attention to words."""
    if not trace.cross_layers:
        raise CapabilityError(
            "This run holds no attention to words: capture it again with attention='cross' or 'all'.",
            field="attention",
        )


def word_map(maps: np.ndarray, tokens: tuple[int, ...] | list[int]) -> np.ndarray:
    """Return the mean over some tokens of maps (..., tokens, H, W): (..., H, W), float32.

    Raises `InvalidParams` for no token, or one that is not.
    """
    count = maps.shape[-3]
    if not tokens or not all(
        isinstance(t, int) and not isinstance(t, bool) and 0 <= t < count for t in tokens
    ):
        raise InvalidParams(
            f"The tokens {list(tokens)!r} are not of this prompt: give indices from 0 to {count - 1}.",
            field="tokens",
        )
    return maps[..., list(tokens), :, :].mean(-3, dtype=np.float32)


def _of(stored: StoredRun) -> tuple[Hashable, ...]:
    """What tells a run from another, and from itself while it still grows."""
    return str(stored.folder), stored.step_count
