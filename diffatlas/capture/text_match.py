"""Which hidden states of text encoders a denoiser's text is made of, told by what they hold.

Of every position of every hidden state a few features are kept, its print. A pipeline may cast hidden states, cut
positions out or off, repeat rows, set several encoders' features side by side, fill up with zeros: a position that it
hands on still has the features that the encoder gave. What it changes in itself, such as a weighted word, is not found.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: Features that are kept of each position.
FEATURES = 8
#: Where a position came from: (which event, which of its rows, which position there).
Source = tuple[int, int, int]


@dataclass(frozen=True)
class _Candidate:
    """A row of an event that may explain positions: the numbers of both (L,), and which positions it has."""

    event: int
    row: int
    mine: np.ndarray
    theirs: np.ndarray
    hit: np.ndarray


@dataclass
class Prints:
    """The prints (B, L, features) of one hidden state of ``width`` features, float32."""

    width: int
    values: np.ndarray
    _hashes: dict[Any, np.ndarray] = field(default_factory=dict, repr=False)

    def hashes(self, dtype: Any) -> np.ndarray:
        """Return a number (B, L) of every print as it is when cast to a dtype; 0 where it holds nothing."""
        if dtype not in self._hashes:
            self._hashes[dtype] = _hashed(_cast(self.values, dtype))
        return self._hashes[dtype]


def prints_of(states: Sequence[Any]) -> list[Prints]:
    """Return the prints of hidden states, tensors (B, L, D) of one B and L. Waits for them to be computed."""
    import torch

    found = []
    for state in states:
        columns = torch.as_tensor(_picks(state.shape[-1]), device=state.device)
        found.append((state.shape[-1], state.detach()[..., columns].float().cpu().numpy()))
    return [Prints(width, values) for width, values in found]


def same(prints: Prints, others: Prints) -> bool:
    """Whether two hidden states have the same prints."""
    return prints.width == others.width and np.array_equal(prints.values, others.values)


def sources(text: Any, events: Sequence[Sequence[Prints]]) -> list[Source | None]:
    """Return where each position of one sample's text (L, D) came from; None where that is not found.

    events: the hidden states of every call of an encoder, the newest last. Features beside each other may be of
    several encoders: the first that is found counts. As few rows as can be explain the positions, so that prompts
    which begin alike are not mixed.
    """
    import torch

    found: list[Source | None] = [None] * len(text)
    if not len(text):
        return found
    text = text.detach().cpu()
    filled = (text.float().abs() > 0).any(-1).numpy()
    offsets = sorted({0, *(p.width for prints in events for p in prints if p.width < text.shape[-1])})
    coarser = [torch.float16, torch.bfloat16] if text.dtype != torch.bfloat16 else []
    # What is float32 now may have been something shorter on its way.
    for dtype in [text.dtype, *(d for d in coarser if d != text.dtype)]:
        for offset in offsets:
            open_ = filled & np.array([source is None for source in found])
            if not open_.any():
                return found
            _explain(text, offset, dtype, events, open_, found)
    return found


def _explain(
    text: Any,
    offset: int,
    dtype: Any,
    events: Sequence[Sequence[Prints]],
    open_: np.ndarray,
    found: list[Source | None],
) -> None:
    """Fill in the sources of the open positions that have an encoder's features from ``offset`` on."""
    candidates = list(_candidates(text, offset, dtype, events, open_))
    while candidates:
        counts = [int((candidate.hit & open_).sum()) for candidate in candidates]
        if not max(counts):
            return
        best = candidates[counts.index(max(counts))]
        before = -1
        for i in np.flatnonzero(best.hit & open_):
            places = np.flatnonzero(best.theirs == best.mine[i])
            # Positions that are alike, as those of one word said twice may be, are in their order.
            later = places[places > before]
            before = int(later[0] if len(later) else places[-1])
            found[i] = (best.event, best.row, before)
        open_ = open_ & ~best.hit


def _candidates(
    text: Any, offset: int, dtype: Any, events: Sequence[Sequence[Prints]], open_: np.ndarray
) -> Iterator[_Candidate]:
    """Rows that have some of the open positions, the newest first; none after one that has all of them."""
    mine: dict[int, np.ndarray] = {}
    for event in range(len(events) - 1, -1, -1):
        for p in events[event]:
            if offset + p.width > text.shape[-1]:
                continue
            if p.width not in mine:
                mine[p.width] = _hashed(_cast(text[:, offset + _picks(p.width)].float().numpy(), dtype))
            theirs = p.hashes(dtype)
            if not np.isin(mine[p.width][open_], theirs).any():
                continue
            for row in range(len(theirs)):
                hit = open_ & (mine[p.width] != 0) & np.isin(mine[p.width], theirs[row])
                if hit.any():
                    yield _Candidate(event, row, mine[p.width], theirs[row], hit)
                if hit.sum() == open_.sum():
                    return


@functools.lru_cache(maxsize=64)
def _picks(width: int) -> np.ndarray:
    return np.unique(np.linspace(0, width - 1, min(FEATURES, width)).round().astype(np.int64))


def _cast(values: np.ndarray, dtype: Any) -> np.ndarray:
    import torch

    return torch.from_numpy(np.ascontiguousarray(values)).to(dtype).float().numpy()


def _hashed(prints: np.ndarray) -> np.ndarray:
    """A number of each print (..., features), 0 of those that hold only zeros or what is no number."""
    # The two zeros are one.
    bits = (prints.astype(np.float32) + np.float32(0)).view(np.uint32).astype(np.uint64)
    factors = np.random.default_rng(0).integers(1, 2**63, prints.shape[-1], dtype=np.uint64) * np.uint64(2)
    numbers = (bits * (factors + np.uint64(1))).sum(-1, dtype=np.uint64)
    holds = np.isfinite(prints).all(-1) & (prints != 0).any(-1)
    return np.where(holds, numbers, np.uint64(0))
