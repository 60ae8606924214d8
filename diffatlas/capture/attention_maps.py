"""Attention probabilities of one image, as maps, a chunk of queries at a time.

softmax(Q K^T scale + mask), Vaswani et al. 2017 (arXiv 1706.03762), eq. 1, in float32 whatever the model computes in.
The N x N matrix of a layer is never whole in memory, not even of one head.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: Numbers of one chunk of logits: what stays in a core's cache, and what keeps a GPU busy.
CPU_CHUNK, GPU_CHUNK = 2**18, 2**24


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


def maps_of(
    query: torch.Tensor,
    key: torch.Tensor,
    part: Part,
    scale: float | None = None,
    mask: torch.Tensor | None = None,
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return (cross, self) of one image, the mean over its heads.

    query: (heads, S, D); key: (heads or fewer that are shared, M, D): as scaled_dot_product_attention receives them.
    scale: of the logits; 1 / sqrt(D) where None.
    mask: broadcastable to (heads, S, M): added to the logits, or False where a query may not look.

    cross: (tokens, rows, columns) float16. self: (cell rows, cell columns, cell rows, cell columns) float16, queries
    first: the mean over the queries in a cell of the sum over the keys in a cell. Both are shares of a query's
    attention to *all* keys, so that of a joint sequence cross and self add up to 1 only together. Queries that may
    look nowhere give 0.
    """
    import torch

    heads, _, width = query.shape
    query = query[:, part.queries]
    places, keys = query.shape[1], key.shape[1]
    per_key = heads // key.shape[0]
    scale = 1 / math.sqrt(width) if scale is None else scale
    cell = 1 if part.image is None else part.cell
    sizes, order = _sizes(part.grid, cell), _order(part.grid, cell, query.device)
    if mask is not None:
        mask = mask.expand(heads, mask.shape[-2], keys)
        mask = mask[:, part.queries] if mask.shape[1] > 1 else mask
    # The keys of the image by their place in a cell, then by cell: summing over cells is then adding whole rows.
    regrouped = mask is None and cell > 1 and _is_even(part)
    text = part.text
    if regrouped:
        key = key[:, _by_place(part, keys, key.device)]
    cross = own = None
    if part.text is not None:
        tokens = len(range(keys)[part.text])
        cross = query.new_empty((tokens, places), dtype=torch.float16)
    if part.image is not None:
        own = query.new_empty((len(sizes), len(sizes)), dtype=torch.float16)
    keys_t = [k.float().t() for k in key]
    for first, last, start, stop in _chunks(part.grid, cell, keys, query.is_cuda):
        rows = slice(start, stop) if order is None else order[start:stop]
        total = None
        for h in range(heads):
            logits = (query[h, rows].float() * scale) @ keys_t[h // per_key]
            if mask is not None:
                few = mask[h, rows] if mask.shape[1] > 1 else mask[h]
                logits = (
                    logits.masked_fill_(~few, -torch.inf) if few.dtype == torch.bool else logits + few.float()
                )
            shares = torch.softmax(logits, -1)
            if mask is not None:
                shares.nan_to_num_(0.0)
            if regrouped:
                shares = _add_places(shares, part, keep_rest=text is not None)
            total = shares if total is None else total.add_(shares)
        total = total.div_(heads)
        if regrouped:
            by_cell, of_text = total.split([len(sizes), total.shape[1] - len(sizes)], dim=1)
        else:
            by_cell = None if part.image is None else _pool_keys(total[:, part.image], part)
            of_text = None if text is None else total[:, text]
        if cross is not None:
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
def _chunks(grid: tuple[int, int], cell: int, keys: int, gpu: bool) -> tuple[tuple[int, int, int, int], ...]:
    """Return (first cell, end of cells, first query, end of queries) of each chunk; no cell is cut."""
    most = max(1, (GPU_CHUNK if gpu else CPU_CHUNK) // keys)
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


def _add_places(shares: torch.Tensor, part: Part, keep_rest: bool) -> torch.Tensor:
    """Return (queries, cells): the sum over the places of each cell, of keys in the order of `_by_place`.

    keep_rest: whether the keys that are not of the image follow as they are.
    """
    import torch

    cells, count = part.cells[0] * part.cells[1], part.cell**2
    rest = shares.shape[1] - cells * count if keep_rest else 0
    out = shares.new_empty((len(shares), cells + rest))
    sums = torch.add(shares[:, :cells], shares[:, cells : 2 * cells], out=out[:, :cells])
    for i in range(2, count):
        sums += shares[:, i * cells : (i + 1) * cells]
    if rest:
        out[:, cells:] = shares[:, cells * count :]
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
