"""How the attention of two runs differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffatlas.attention.tokens import Token
from diffatlas.attention.trace import AttentionTrace
from diffatlas.errors import InvalidParams
from diffatlas.geometry import attention as maths

#: Longest side of the grid on which the maps of two runs are compared.
COMMON = 32


@dataclass(frozen=True)
class Divergence:
    """How the attention of two runs differs (`diffatlas.geometry.attention.spatial_js`), in nats, 0 to ln 2.

    NaN at steps at which no layer ran in both.

    ``steps``: the step indices that both have. ``tokens``: pairs of the tokens that both prompts have, in order.
    ``values``: (steps, tokens). ``by_step``: (steps,), the mean over the tokens that are not special; over all where
    every one is.
    """

    steps: tuple[int, ...]
    tokens: tuple[tuple[Token, Token], ...]
    values: np.ndarray
    by_step: np.ndarray


def js(
    a: AttentionTrace,
    b: AttentionTrace,
    resolution: int | tuple[int, int] | None = None,
    layers: str | Sequence[str] | None = None,
) -> Divergence:
    """Return the Jensen-Shannon divergence between the token maps of two runs, by step and token.

    Each map is the mean over the layers, on one grid for both: ``resolution``, or the finer of the two runs' grids, at
    most 32 cells long. Tokens are paired by text and by which of equal ones they are, specials too, so prompts that
    differ in a word are compared in the others. Steps are paired by index. Where layers did not run at a step in one of
    the runs, those that ran in both are compared.

    Raises `InvalidParams` where the runs share no step or no token.
    """
    steps = tuple(s for s in a.steps if s in set(b.steps))
    if not steps:
        raise InvalidParams("The two runs share no step that has attention, so they cannot be compared.")
    pairs = _paired(a.tokens, b.tokens)
    if not pairs:
        raise InvalidParams("The two prompts share no token, so their attention cannot be compared.")
    size = _common_size(a, b, resolution)
    left, right = [x.index for x, _ in pairs], [y.index for _, y in pairs]
    values = np.full((len(steps), len(pairs)), np.nan)
    for k, step in enumerate(steps):
        shared = _shared(a, b, step, layers)
        if shared is not None:
            one, other = a.maps(size, step, shared[0], left)[0], b.maps(size, step, shared[1], right)[0]
            values[k] = maths.spatial_js(one, other)
    meant = [k for k, (x, _) in enumerate(pairs) if not x.special] or list(range(len(pairs)))
    return Divergence(steps, pairs, values, values[:, meant].mean(1))


def _shared(
    a: AttentionTrace, b: AttentionTrace, step: int, layers: str | Sequence[str] | None
) -> tuple[str | Sequence[str] | None, str | Sequence[str] | None] | None:
    """Return the layers of each run to compare at a step: all that are asked for, or where one of the runs lacks some
    those that both have; None where there is none."""
    ran = [[(x.key, t.holds(step, x.key)) for x in t.chosen("cross", layers)] for t in (a, b)]
    if all(there for found in ran for _, there in found):
        return layers, layers
    first, second = ([key for key, there in found if there] for found in ran)
    if {key for key, _ in ran[0]} == {key for key, _ in ran[1]}:
        first = second = [key for key in first if key in second]
    return (first, second) if first and second else None


def _paired(a: Sequence[Token], b: Sequence[Token]) -> tuple[tuple[Token, Token], ...]:
    there = dict(_numbered(b))
    return tuple((token, there[key]) for key, token in _numbered(a) if key in there)


def _numbered(table: Sequence[Token]) -> list[tuple[tuple, Token]]:
    """Tokens by what they are: encoder, text, special, and which of equal ones."""
    seen: dict[tuple, int] = {}
    keyed = []
    for token in table:
        what = (token.encoder, token.text.casefold(), token.special)
        seen[what] = seen.get(what, -1) + 1
        keyed.append(((*what, seen[what]), token))
    return keyed


def _common_size(
    a: AttentionTrace, b: AttentionTrace, resolution: int | tuple[int, int] | None
) -> tuple[int, int]:
    grid = maths.common_grid((a.grid, b.grid))
    if resolution is None:
        resolution = min(COMMON, max(grid))
    return maths.scaled_grid(grid, resolution)
