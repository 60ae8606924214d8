"""The attention of a run, live or stored, and how that of two runs differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diffatlas.capture.attention_trace import AttentionTrace, LayerInfo, Measures, latent_grid
from diffatlas.capture.tokens import Token
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.geometry import attention as maths

if TYPE_CHECKING:
    from diffatlas.library import StoredRun

__all__ = ["AttentionTrace", "Divergence", "LayerInfo", "Measures", "attention_of", "js"]

#: Longest side of the grid on which the maps of two runs are compared.
COMMON = 32


def attention_of(stored: StoredRun) -> AttentionTrace:
    """Return the attention of a stored run. Maps are read when they are asked for, and not held.

    Raises `CapabilityError` where the run was recorded without attention.
    """
    steps = [line["index"] for line in stored.step_lines() if line.get("attention")]
    described = stored.provenance.get("attention")
    return AttentionTrace.described(
        described,
        steps,
        lambda step, key: stored.attention(step, [key])[key],
        latents=_latents(stored) if described else None,
        capture=stored.capture,
    )


@dataclass(frozen=True)
class Divergence:
    """How the attention of two runs differs (`diffatlas.geometry.attention.spatial_js`), in nats, 0 to ln 2.

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
    differ in a word are compared in the others. Steps are paired by index.

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
    values = np.stack(
        [maths.spatial_js(a.maps(size, s, layers, left)[0], b.maps(size, s, layers, right)[0]) for s in steps]
    )
    meant = [k for k, (x, _) in enumerate(pairs) if not x.special] or list(range(len(pairs)))
    return Divergence(steps, pairs, values, values[:, meant].mean(1))


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


def _latents(stored: StoredRun) -> tuple[int, int] | None:
    """(rows, columns) of the stored latents; None where they were not kept."""
    try:
        return latent_grid(stored.initial_latents().shape, stored.provenance)
    except CapabilityError:
        return None
