"""Attention probabilities of one image, as maps, a chunk of queries at a time, on the CPU.

softmax(Q K^T scale + mask), Vaswani et al. 2017 (arXiv 1706.03762), eq. 1, in float32 whatever the model computes in.
The N x N matrix of a layer is never whole in memory, not even of one head.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: Numbers of one chunk of logits: what stays in a core's cache.
CHUNK = 2**19
#: Queries of a chunk: with fewer, a product of matrices is slow.
FEWEST_ROWS = 32
#: Sums of exponentials below this have lost digits to underflow, whose limit in float32 is about 1e-38.
TINY = 1e-28
#: What stands for the log-sum-exp of a query that may look nowhere: every exponential is 0.
NOWHERE = 1e4
#: A log-sum-exp beyond this has fewer digits behind the point in float32 than the maps' float16 has in all.
FAR = 1024.0
#: Logits are taken to base 2 here: torch computes exp2 of float32 on a CPU in half of the time of exp.
LOG2_E = math.log2(math.e)


@dataclass(frozen=True)
class Part:
    """Where the image and the text are in the queries and keys of one attention call, and what to keep.

    queries: those of the places of the image, row by row.
    grid: (rows, columns) of these places.
    text: the keys that are tokens of the text, for cross-attention; None to leave it out.
    image: the keys that are places of the image, for self-attention; None to leave it out.
    cell: places of one cell, a side, that self-attention is averaged over; 1 keeps every place.
    """

    queries: slice
    grid: tuple[int, int]
    text: slice | None
    image: slice | None
    cell: int = 1

    @property
    def cells(self) -> tuple[int, int]:
        """(rows, columns) of the cells; those at the lower and right edge may hold fewer places."""
        return -(-self.grid[0] // self.cell), -(-self.grid[1] // self.cell)

    @property
    def span(self) -> slice:
        """The keys from the first to the last that is kept."""
        kept = [keys for keys in (self.text, self.image) if keys is not None]
        return slice(min(keys.start for keys in kept), max(keys.stop for keys in kept))

    def within(self, keys: slice) -> Part:
        """Return the same part where only these keys are there."""
        text, image = (
            s and slice(s.start - keys.start, s.stop - keys.start) for s in (self.text, self.image)
        )
        return replace(self, text=text, image=image)


def maps_of(
    query: torch.Tensor,
    key: torch.Tensor,
    part: Part,
    scale: float | None = None,
    mask: torch.Tensor | None = None,
    log_sum_exp: torch.Tensor | None = None,
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return (cross, self) of one image, the mean over its heads.

    query: (heads, S, D); key: (heads or fewer that are shared, M, D): as scaled_dot_product_attention receives them.
    scale: of the logits; 1 / sqrt(D) where None.
    mask: broadcastable to (heads, S, M): added to the logits, or False where a query may not look.
    log_sum_exp: (heads, S), of the masked logits over all keys; then only the keys of ``part`` are looked at. It is not
        used where it is too large to be exact (`FAR`).

    cross: (tokens, rows, columns) float16. self: (cell rows, cell columns, cell rows, cell columns) float16, queries
    first: the mean over the queries in a cell of the sum over the keys in a cell. Both are shares of a query's
    attention to *all* keys, so that of a joint sequence cross and self add up to 1 only together. Queries that may
    look nowhere give 0.
    """
    import torch

    heads, _, width = query.shape
    if log_sum_exp is not None and float(log_sum_exp.nan_to_num(0.0, 0.0, 0.0).abs().max()) > FAR:
        # Logits that are alike in a large part: without it, the part that they have in common can be taken away first.
        log_sum_exp = None
    if log_sum_exp is not None:
        span = part.span
        key, part = key[:, span], part.within(span)
        mask = mask[..., span] if mask is not None and mask.shape[-1] > 1 else mask
        log_sum_exp = log_sum_exp[:, part.queries].nan_to_num(NOWHERE, NOWHERE, NOWHERE) * LOG2_E
    keys = key.shape[1]
    cell = 1 if part.image is None else part.cell
    sizes, order = _sizes(part.grid, cell), _order(part.grid, cell, query.device)
    query = query[:, part.queries]
    places = query.shape[1]
    if mask is not None:
        mask = mask.expand(heads, mask.shape[-2], keys)
        mask = mask[:, part.queries] if mask.shape[1] > 1 else mask
    # The keys of the image by their place in a cell, then by cell: summing over cells is then adding whole rows.
    regrouped = mask is None and cell > 1 and _is_even(part)
    if regrouped:
        key = key[:, _by_place(part, keys, key.device)]
    query = query.float() * ((1 / math.sqrt(width) if scale is None else scale) * LOG2_E)
    if order is not None:
        query = query[:, order]
        log_sum_exp = None if log_sum_exp is None else log_sum_exp[:, order]
    room = _Room(query)
    key = key.float() if len(key) == heads else key.float().repeat_interleave(heads // len(key), 0)
    exponentials = _Exponentials.of(query, key, mask, order, room, log_sum_exp)
    cross = own = None
    if part.text is not None:
        tokens = len(range(keys)[part.text])
        cross = query.new_empty((tokens, places), dtype=torch.float16)
    if part.image is not None:
        own = query.new_empty((len(sizes), len(sizes)), dtype=torch.float16)
    most = max(FEWEST_ROWS, CHUNK // (heads * keys))
    for first, last, start, stop in _chunks(part.grid, cell, most):
        total = None
        for some in _head_groups(heads, (stop - start) * keys):
            weights, sums = exponentials(some, slice(start, stop))
            if sums is None:
                summed = torch.sum(
                    weights, 0, out=room("summed" if total is None else "more", weights.shape[1:])
                )
                total = summed if total is None else total.add_(summed)
                continue
            if regrouped:
                weights = _add_places(weights, part, room)
            # Shares of each query's whole attention, weights / sum, summed over the heads: a small product a query.
            factors, weights = sums.reciprocal_().permute(1, 2, 0), weights.transpose(0, 1)
            if total is None:
                total = torch.bmm(factors, weights, out=room("total", (stop - start, 1, weights.shape[2])))
            else:
                total.baddbmm_(factors, weights)
        if log_sum_exp is None:
            total = total[:, 0]
        elif regrouped:
            total = _add_places(total, part, room)
        total.div_(heads)
        if regrouped:
            by_cell, of_text = total.split([len(sizes), total.shape[1] - len(sizes)], dim=1)
        else:
            by_cell = None if part.image is None else _pool_keys(total[:, part.image], part)
            of_text = None if part.text is None else total[:, part.text]
        if cross is not None:
            rows = slice(start, stop) if order is None else order[start:stop]
            cross[:, rows] = of_text.t().to(torch.float16)
        if own is not None:
            pooled = _pool_queries(by_cell, sizes[first:last], part)
            own[first:last] = pooled.to(torch.float16)
    rows_of_cells, columns_of_cells = part.cells
    return (
        None if cross is None else cross.reshape(-1, *part.grid),
        None
        if own is None
        else own.reshape(rows_of_cells, columns_of_cells, rows_of_cells, columns_of_cells),
    )


class _Room:
    """What every chunk is computed in: memory that is asked for once, since fresh pages cost as much as a pass."""

    def __init__(self, like: torch.Tensor) -> None:
        self._like = like
        self._rooms: dict[str, torch.Tensor] = {}

    def __call__(self, name: str, shape: Sequence[int]) -> torch.Tensor:
        """Return a tensor of this shape; what an earlier one of this name held is overwritten."""
        size = math.prod(shape)
        if name not in self._rooms or self._rooms[name].numel() < size:
            self._rooms[name] = self._like.new_empty(size)
        return self._rooms[name][:size].view(shape)


@dataclass(frozen=True)
class _Exponentials:
    """2^(Q K^T - shift) of some heads and queries, and its sums over the keys.

    A softmax does not change where all logits of a query are shifted alike. Mostly the shift is the largest logit; on
    a CPU, where each pass over the numbers costs, it is a bound of it that needs no pass: |q| times the largest |k|
    (Cauchy-Schwarz), keys taken from their mean. It is one more column of Q and one more row of K^T, so that the
    product is shifted already. Where the bound is so far off that everything vanishes the largest logit is taken.
    With the log-sum-exp as the shift they are probabilities, and need no sums.

    exact: whether the shift in the product is the log-sum-exp; bounded: whether it is the bound.
    """

    query: torch.Tensor
    keys_t: torch.Tensor
    mask: torch.Tensor | None
    order: torch.Tensor | None
    bounded: bool
    room: _Room
    exact: bool = False

    @classmethod
    def of(
        cls,
        query: torch.Tensor,
        key: torch.Tensor,
        mask: torch.Tensor | None,
        order: torch.Tensor | None,
        room: _Room,
        log_sum_exp: torch.Tensor | None,
    ) -> _Exponentials:
        """query: (heads, S, D), scaled; key: (heads, M, D); mask: (heads, S or 1, M), in the order before ``order``.

        log_sum_exp: (heads, S), to base 2 like the logits.
        """
        import torch

        exact = log_sum_exp is not None
        if mask is not None and not exact:
            return cls(query, key.transpose(1, 2), mask, order, False, room)
        if exact:
            shift = log_sum_exp
        else:
            key = key - key.mean(1, keepdim=True)
            shift = query.norm(dim=-1) * key.norm(dim=-1).amax(-1, keepdim=True)
        query = torch.cat([query, -shift[..., None]], -1)
        ones = key.new_ones((len(key), 1, key.shape[1]))
        keys_t = torch.cat([key.transpose(1, 2), ones], 1)
        return cls(query, keys_t, mask, order, not exact, room, exact)

    def __call__(self, heads: slice, rows: slice) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return (heads, queries, keys) and their sums (heads, queries, 1), None where each is 1 over all keys.

        The first is overwritten by the next call.
        """
        import torch

        query, keys_t = self.query[heads, rows], self.keys_t[heads]
        logits = torch.bmm(query, keys_t, out=self.room("logits", (*query.shape[:2], keys_t.shape[2])))
        if self.exact:
            logits = logits if self.mask is None else self._masked(logits, heads, rows)
            return logits.exp2_(), None
        if self.bounded:
            sums = logits.exp2_().sum(-1, keepdim=True)
            # Not true of NaN either.
            if float(sums.min()) > TINY:
                return logits, sums
            logits = torch.bmm(query[..., :-1], keys_t[:, :-1], out=logits)
        if self.mask is not None:
            logits = self._masked(logits, heads, rows)
        largest = logits.amax(-1, keepdim=True)
        # A query that may look nowhere has no largest logit; its weights are 0, and so are its shares.
        largest.nan_to_num_(neginf=0.0)
        sums = logits.sub_(largest).exp2_().sum(-1, keepdim=True)
        return logits, sums.masked_fill_(sums == 0, 1.0)

    def _masked(self, logits: torch.Tensor, heads: slice, rows: slice) -> torch.Tensor:
        import torch

        few = self.mask[heads]
        if few.shape[1] > 1:
            few = few[:, rows] if self.order is None else few[:, self.order[rows]]
        if few.dtype == torch.bool:
            return logits.masked_fill_(~few, -torch.inf)
        return logits.add_(few.float(), alpha=LOG2_E)


@functools.lru_cache(maxsize=64)
def _sizes(grid: tuple[int, int], cell: int) -> tuple[int, ...]:
    """Return how many places each cell has, row by row."""
    tall, wide = ([min(cell, n - i) for i in range(0, n, cell)] for n in grid)
    return tuple(a * b for a in tall for b in wide)


def _order(grid: tuple[int, int], cell: int, device: torch.device) -> torch.Tensor | None:
    """Return the order that puts the places of a cell side by side; None where they are so."""
    import torch

    if cell == 1:
        return None
    rows, columns = (torch.arange(n, device=device).div(cell, rounding_mode="floor") for n in grid)
    return torch.argsort((rows[:, None] * -(-grid[1] // cell) + columns).flatten(), stable=True)


@functools.lru_cache(maxsize=256)
def _chunks(grid: tuple[int, int], cell: int, most: int) -> tuple[tuple[int, int, int, int], ...]:
    """Return (first cell, end of cells, first query, end of queries) of each chunk of about ``most`` queries; no cell
    is cut."""
    chunks, first, start, stop = [], 0, 0, 0
    sizes = _sizes(grid, cell)
    for i, size in enumerate(sizes):
        if stop + size - start > most and stop > start:
            chunks.append((first, i, start, stop))
            first, start = i, stop
        stop += size
    return (*chunks, (first, len(sizes), start, stop))


def _is_even(part: Part) -> bool:
    """Whether every cell has as many places."""
    return part.image is not None and not (part.grid[0] % part.cell or part.grid[1] % part.cell)


def _by_place(part: Part, keys: int, device: torch.device) -> torch.Tensor:
    """Return the order of keys that has those of the image first, by place in a cell and then by cell."""
    import torch

    index = torch.arange(keys, device=device)
    (tall, wide), size = part.cells, part.cell
    image = index[part.image].reshape(tall, size, wide, size).permute(1, 3, 0, 2).flatten()
    return torch.cat([image, index[: part.image.start], index[part.image.stop :]])


def _head_groups(heads: int, numbers: int) -> list[slice]:
    """Return slices of heads that together fit one chunk; ``numbers``: what one head takes."""
    several = max(1, CHUNK // numbers)
    return [slice(h, min(h + several, heads)) for h in range(0, heads, several)]


def _add_places(weights: torch.Tensor, part: Part, room: _Room) -> torch.Tensor:
    """Return (..., queries, cells + rest): the sum over the places of each cell, of keys in the order of `_by_place`;
    the keys that are not of the image follow as they are."""
    import torch

    cells, count = part.cells[0] * part.cells[1], part.cell**2
    rest = weights.shape[-1] - cells * count
    out = room("cells", (*weights.shape[:-1], cells + rest))
    sums = torch.add(weights[..., :cells], weights[..., cells : 2 * cells], out=out[..., :cells])
    for i in range(2, count):
        sums += weights[..., i * cells : (i + 1) * cells]
    if rest:
        out[..., cells:] = weights[..., cells * count :]
    return out


def _pool_keys(shares: torch.Tensor, part: Part) -> torch.Tensor:
    """Return (queries, cells): the sum over the places in each cell of (queries, places)."""
    from torch.nn.functional import pad

    if part.cell == 1:
        return shares
    (rows, columns), size, (tall, wide) = part.grid, part.cell, part.cells
    laid_out = shares.reshape(-1, rows, columns)
    if (tall * size, wide * size) != (rows, columns):
        laid_out = pad(laid_out, (0, wide * size - columns, 0, tall * size - rows))
    return laid_out.reshape(-1, tall, size, wide, size).sum((2, 4)).flatten(1)


def _pool_queries(shares: torch.Tensor, sizes: tuple[int, ...], part: Part) -> torch.Tensor:
    """Return (cells, ...): the mean over the queries of each cell, which lie side by side."""
    import torch

    if part.cell == 1:
        return shares
    if len(set(sizes)) == 1:
        return shares.reshape(len(sizes), sizes[0], -1).mean(1)
    counts = torch.tensor(sizes, device=shares.device)
    cell = torch.repeat_interleave(torch.arange(len(sizes), device=shares.device), counts)
    sums = shares.new_zeros((len(sizes), shares.shape[1])).index_add_(0, cell, shares)
    return sums / counts[:, None]
