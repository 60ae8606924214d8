"""Attention probabilities as maps, for devices that compute beside the CPU: all samples at once, and nothing waits.

The same maps as `diffatlas.capture.attention_maps` makes, softmax(Q K^T scale + mask) (Vaswani et al. 2017, arXiv
1706.03762, eq. 1), in another order: few large kernels, each chunk small enough for the cache that all cores of a GPU
share. Products take Q and K as they are and give float32. No value is asked for on the CPU, so that logits of many
thousands are as exact as float32 has them, as they are in the model's own attention.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffatlas.capture.attention_maps import NOWHERE, Part

if TYPE_CHECKING:
    import torch

#: Numbers of a chunk of logits, 32 MB: a GPU's cache holds 40 MB (A100) to 50 MB (H100).
CHUNK = 2**23
#: From so many logits on, the log-sum-exp saves more than the kernels that bring it into the product cost.
LARGE = 2**27
#: Digits of the log-sum-exp go into so many further columns of Q, each a multiple of ``unit``, and a product of
#: matrices is fastest where their number is a multiple of 8. (unit by type: float16 ends at 65,504 and 6e-8.)
PIECES, COLUMNS = 3, 8
_UNITS = {"torch.float16": 1024.0, "torch.bfloat16": 1.0}


def maps_of(
    query: torch.Tensor,
    key: torch.Tensor,
    part: Part,
    scale: float | None = None,
    mask: torch.Tensor | None = None,
    log_sum_exp: torch.Tensor | None = None,
    each_head: bool = False,
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return (cross, self) of several samples, the mean over their heads or each head.

    query: (N, heads, S, D); key: (N, heads or fewer that are shared, M, D): as scaled_dot_product_attention receives
    them. scale: of the logits; 1 / sqrt(D) where None.
    mask: broadcastable to (N, heads, S, M): added to the logits, or False where a query may not look.
    log_sum_exp: (N, heads, S), of the masked logits over all keys; then only the keys of ``part`` are looked at.

    cross: (N, tokens, rows, columns) float16. self: (N, cell rows, cell columns, cell rows, cell columns) float16,
    queries first; both with an axis of heads after N for ``each_head``. Queries that may look nowhere give 0.
    """
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    if scale == 0:
        log_sum_exp = None
    given = _of_part(query, key, part, mask, log_sum_exp)
    if each_head:
        given = tuple(None if t is None else _heads_as_samples(t, *query.shape[:2]) for t in given)
    cross, own = _samples(*given, scale, part if log_sum_exp is None else part.within(part.span))
    if each_head:
        cross, own = (None if t is None else t.unflatten(0, query.shape[:2]) for t in (cross, own))
    return cross, own


def saves(part: Part, heads: int, queries: int, keys: int) -> bool:
    """Whether the log-sum-exp makes this cheaper: of a layer with so many heads, queries and keys, of one sample."""
    wanted = part.span.stop - part.span.start
    return 2 * wanted <= keys or heads * queries * keys >= LARGE


def _of_part(
    query: torch.Tensor,
    key: torch.Tensor,
    part: Part,
    mask: torch.Tensor | None,
    log_sum_exp: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Return the arguments with the queries and keys that are looked at."""
    query, heads = query[:, :, part.queries], query.shape[1]
    if mask is not None and mask.shape[-2] > 1:
        mask = mask[..., part.queries, :]
    if log_sum_exp is not None:
        keys = part.span
        log_sum_exp = log_sum_exp[:, :, part.queries].nan_to_num(NOWHERE, NOWHERE, NOWHERE)
        key = key[:, :, keys]
        mask = mask if mask is None or mask.shape[-1] == 1 else mask[..., keys]
    if key.shape[1] != heads:
        key = key.repeat_interleave(heads // key.shape[1], 1)
    return query, key, mask, log_sum_exp


def _heads_as_samples(tensor: torch.Tensor, samples: int, heads: int) -> torch.Tensor:
    """Return (N * heads, 1, ...) of (N, heads, ...); a tensor for all samples and heads stays as it is."""
    if tensor.shape[:2] == (1, 1):
        return tensor
    return tensor.expand(samples, heads, *tensor.shape[2:]).flatten(0, 1)[:, None]


def _samples(
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    log_sum_exp: torch.Tensor | None,
    scale: float,
    part: Part,
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return (cross, self) of samples, the mean over their heads; one after the other where they are large."""
    import torch

    samples, heads, queries = query.shape[:3]
    keys = key.shape[2]
    if samples > 1 and samples * heads * queries * keys > CHUNK:
        alone = [
            _samples(
                *(
                    None if t is None else t[i : i + 1] if len(t) > 1 else t
                    for t in (query, key, mask, log_sum_exp)
                ),
                scale,
                part,
            )
            for i in range(samples)
        ]
        return tuple(None if found[0] is None else torch.cat(found) for found in zip(*alone, strict=True))
    shares = _Shares.of(query, key, mask, log_sum_exp, scale)
    maps = _Maps.of(query, samples, heads, part)
    columns, cell = part.grid[1], 1 if part.image is None else part.cell
    band = cell * max(1, CHUNK // (samples * heads * cell * columns * keys))
    group = heads if samples > 1 else max(1, CHUNK // (band * columns * keys))
    # Sums over the heads are kept until they are a chunk too, and then put into cells.
    block = cell * max(1, CHUNK // (samples * cell * columns * keys))
    for top in range(0, part.grid[0], block):
        last = min(top + block, part.grid[0])
        total = query.new_empty((samples, (last - top) * columns, keys), dtype=torch.float32)
        for row in range(top, last, band):
            places = slice(row * columns, min(row + band, last) * columns)
            summed = total[:, places.start - top * columns : places.stop - top * columns]
            torch.sum(shares(slice(group), places), 1, dtype=torch.float32, out=summed)
            for h in range(group, heads, group):
                summed.add_(shares(slice(h, h + group), places).sum(1, dtype=torch.float32))
        maps.keep(total, top)
    return maps.cross, maps.own


@dataclass(frozen=True)
class _Shares:
    """The probabilities of (N, heads, S) queries and (N, heads, M) keys.

    query: (N * heads, S, D). keys_t: (N * heads, D, M). mask: as it is given.
    shift: what is taken from the logits, (N * heads, S, 1); None where it is in the product, or not known.
    shifted: whether the logits less the shift are logarithms of probabilities.
    """

    query: torch.Tensor
    keys_t: torch.Tensor
    samples: int
    mask: torch.Tensor | None
    shift: torch.Tensor | None
    shifted: bool
    scale: float

    @classmethod
    def of(
        cls,
        query: torch.Tensor,
        key: torch.Tensor,
        mask: torch.Tensor | None,
        log_sum_exp: torch.Tensor | None,
        scale: float,
    ) -> _Shares:
        shift = None
        if log_sum_exp is not None:
            if str(query.dtype) in _UNITS:
                query, key = _with_columns(query, key, log_sum_exp, scale)
            else:
                shift = log_sum_exp.reshape(-1, log_sum_exp.shape[2], 1)
        keys_t = key.flatten(0, 1).transpose(1, 2)
        return cls(query.flatten(0, 1), keys_t, len(query), mask, shift, log_sum_exp is not None, scale)

    def __call__(self, heads: slice, queries: slice) -> torch.Tensor:
        """Return those of some queries and heads (of all heads, where there are several samples)."""
        import torch

        some = heads if self.samples == 1 else slice(None)
        logits = _product(self.query[some, queries], self.keys_t[some], self.scale)
        if self.shift is not None:
            logits.sub_(self.shift[some, queries])
        logits = logits.unflatten(0, (self.samples, -1))
        if self.mask is not None:
            few = self.mask if self.mask.shape[1] == 1 else self.mask[:, heads]
            few = few if few.shape[2] == 1 else few[:, :, queries]
            logits = logits.masked_fill_(~few, -torch.inf) if few.dtype == torch.bool else logits.add_(few)
        if self.shifted:
            # float16 has as many digits as the maps, and halves what is read and written.
            return torch.exp(logits, out=torch.empty_like(logits, dtype=torch.float16))
        shares = logits.softmax(-1)
        return shares if self.mask is None else shares.nan_to_num_(0.0)


def _product(query: torch.Tensor, keys_t: torch.Tensor, scale: float) -> torch.Tensor:
    """Return the scaled product (n, queries, keys) in float32."""
    import torch

    room = torch.empty(
        (len(query), query.shape[1], keys_t.shape[2]), dtype=torch.float32, device=query.device
    )
    if query.dtype != torch.float32:
        if _widens(query.device, query.dtype):
            return torch.baddbmm(room, query, keys_t, torch.float32, beta=0, alpha=scale, out=room)
        query, keys_t = query.float(), keys_t.float()
    return torch.baddbmm(room, query, keys_t, beta=0, alpha=scale, out=room)


@functools.cache
def _widens(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a product of matrices of this type can give float32 there."""
    import torch

    try:
        few = torch.zeros(1, 8, 8, dtype=dtype, device=device)
        room = torch.zeros(1, 8, 8, dtype=torch.float32, device=device)
        torch.baddbmm(room, few, few, torch.float32, beta=0, alpha=1, out=room)
    except (TypeError, RuntimeError):
        return False
    return True


def _with_columns(
    query: torch.Tensor, key: torch.Tensor, log_sum_exp: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return Q and K with further columns, so that scale Q K^T is less by the log-sum-exp.

    What one number of half precision leaves of it is in the next column: three have the digits of float32.
    """
    unit, width = _UNITS[str(query.dtype)], query.shape[-1]
    wide_query = query.new_empty((*query.shape[:-1], width + COLUMNS))
    wide_query[..., :width] = query
    rest = log_sum_exp / (-scale * unit)
    for i in range(width, width + PIECES):
        wide_query[..., i] = rest
        rest = rest - wide_query[..., i]
    wide_query[..., width + PIECES :] = 0
    wide_key = key.new_empty((*key.shape[:-1], width + COLUMNS))
    wide_key[..., :width] = key
    wide_key[..., width : width + PIECES] = unit
    wide_key[..., width + PIECES :] = 0
    return wide_query, wide_key


class _Maps:
    """The maps of some samples, filled some rows of the image at a time."""

    def __init__(self, heads: int, part: Part, cross: torch.Tensor | None, own: torch.Tensor | None) -> None:
        self._heads, self._part = heads, part
        self._cross, self.own = cross, own

    @classmethod
    def of(cls, like: torch.Tensor, samples: int, heads: int, part: Part) -> _Maps:
        import torch

        cross = own = None
        if part.text is not None:
            tokens = part.text.stop - part.text.start
            cross = like.new_empty((samples, tokens, math.prod(part.grid)), dtype=torch.float16)
        if part.image is not None:
            own = like.new_empty((samples, *part.cells, *part.cells), dtype=torch.float16)
        return cls(heads, part, cross, own)

    @property
    def cross(self) -> torch.Tensor | None:
        return None if self._cross is None else self._cross.unflatten(-1, self._part.grid)

    def keep(self, total: torch.Tensor, top: int) -> None:
        """Keep some rows from row ``top`` on: (N, places, keys), sums over the heads."""
        import torch

        part = self._part
        if self._cross is not None:
            words = total[:, :, part.text].transpose(1, 2)
            first = top * part.grid[1]
            torch.mul(words, 1 / self._heads, out=self._cross[:, :, first : first + total.shape[1]])
        if self.own is not None:
            pooled = _pooled(total[:, :, part.image], part)
            first = top // part.cell
            torch.mul(pooled, 1 / self._heads, out=self.own[:, first : first + pooled.shape[1]])


def _pooled(shares: torch.Tensor, part: Part) -> torch.Tensor:
    """Return (N, cell rows, cell columns, cell rows, cell columns) of (N, places of whole rows of cells, places): the
    mean over the queries of a cell of the sum over its keys."""
    from torch.nn.functional import pad

    (rows, columns), size, (tall, wide) = part.grid, part.cell, part.cells
    band = shares.shape[1] // columns
    laid_out = shares.unflatten(2, part.grid).unflatten(1, (band, columns))
    if size == 1:
        return laid_out
    below, right, under = tall * size - rows, wide * size - columns, -band % size
    if below or right:
        laid_out = pad(laid_out, (0, right, 0, below, 0, right, 0, under))
    cells = laid_out.reshape(len(shares), -1, size, wide, size, tall, size, wide, size).sum((2, 4, 6, 8))
    if not (right or under):
        return cells.div_(size**2)
    return cells / _counts(band, columns, size, shares)


def _counts(rows: int, columns: int, size: int, like: torch.Tensor) -> torch.Tensor:
    """Return how many places each cell of so many rows and columns has, (cell rows, cell columns, 1, 1)."""
    import torch

    tall, wide = (
        (n - torch.arange(0, n, size, device=like.device)).clamp(max=size).to(like.dtype)
        for n in (rows, columns)
    )
    return (tall[:, None] * wide)[:, :, None, None]
