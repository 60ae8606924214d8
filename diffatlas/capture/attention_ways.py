"""Which way the maps of an attention call are computed: on a CPU sample by sample, on a GPU all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffatlas.capture import attention_maps, attention_maps_gpu
from diffatlas.capture.attention_maps import Part

if TYPE_CHECKING:
    import torch

#: Devices whose maps are computed a sample, and a chunk that a core's cache holds, at a time.
ONE_BY_ONE = ("cpu", "mps")


@dataclass(frozen=True)
class Attended:
    """What one attention call was given, for all its samples.

    query: (rows, heads, S, D). key: (rows, heads or fewer that are shared, M, D). mask: broadcastable to
    (rows, heads, S, M), added to the logits or False where a query may not look; None where there is none.
    scale: of the logits; None for 1 / sqrt(D).
    log_sum_exp: (rows, heads, S), of the masked logits over all keys; None where it is not known.
    """

    query: torch.Tensor
    key: torch.Tensor
    scale: float | None
    mask: torch.Tensor | None
    log_sum_exp: torch.Tensor | None = None


@dataclass(frozen=True)
class Read:
    """Maps of some samples, float16, as `attention_maps_gpu.maps_of` returns them."""

    rows: Sequence[int]
    cross: torch.Tensor | None
    own: torch.Tensor | None


def one_by_one(tensor: torch.Tensor) -> bool:
    """Whether the maps of a tensor's device are computed a sample at a time."""
    return tensor.device.type in ONE_BY_ONE


def wants_log_sum_exp(part: Part, query: torch.Tensor, key: torch.Tensor) -> bool:
    """Whether the log-sum-exp of an attention call, (rows, heads, S, D) and (rows, heads, M, D), saves work."""
    if not one_by_one(query):
        return attention_maps_gpu.saves(part, query.shape[1], query.shape[2], key.shape[2])
    # Words that are all keys have few of them; what the kernel's call is looked at for costs more.
    return part.image is not None or part.span != slice(0, key.shape[2])


def maps_of_samples(attended: Attended, part: Part, rows: Sequence[int], each_head: bool) -> Iterator[Read]:
    """Yield the maps of these samples, in ascending order."""
    if not one_by_one(attended.query):
        for some in _runs(rows):
            taken = slice(some[0], some[-1] + 1)
            mask, shared = attended.mask, attended.log_sum_exp
            mask = mask[taken] if mask is not None and len(mask) > 1 else mask
            found = attention_maps_gpu.maps_of(
                attended.query[taken],
                attended.key[taken],
                part,
                attended.scale,
                mask,
                None if shared is None else shared[taken],
                each_head,
            )
            yield Read(some, *found)
        return
    for row in rows:
        mask = None if attended.mask is None else attended.mask[row if len(attended.mask) > 1 else 0]
        shared = None if attended.log_sum_exp is None else attended.log_sum_exp[row]
        found = _of_sample(attended, row, part, mask, shared, each_head)
        yield Read((row,), *(None if maps is None else maps[None] for maps in found))


def _of_sample(
    attended: Attended,
    row: int,
    part: Part,
    mask: torch.Tensor | None,
    shared: torch.Tensor | None,
    each_head: bool,
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return (cross, self) of one sample."""
    import torch

    query, key, scale = attended.query[row], attended.key[row], attended.scale
    if not each_head:
        return attention_maps.maps_of(query, key, part, scale, mask, shared)
    per_key = len(query) // len(key)
    heads = []
    for h in range(len(query)):
        heads.append(
            attention_maps.maps_of(
                query[h : h + 1],
                key[h // per_key : h // per_key + 1],
                part,
                scale,
                mask if mask is None or len(mask) == 1 else mask[h : h + 1],
                None if shared is None else shared[h : h + 1],
            )
        )
    cross, own = zip(*heads, strict=True)
    return (
        None if cross[0] is None else torch.stack(cross),
        None if own[0] is None else torch.stack(own),
    )


def _runs(rows: Sequence[int]) -> list[list[int]]:
    """Return the rows in runs that follow on each other."""
    runs: list[list[int]] = []
    for row in sorted(rows):
        if runs and row == runs[-1][-1] + 1:
            runs[-1].append(row)
        else:
            runs.append([row])
    return runs
