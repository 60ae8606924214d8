"""The numbers that a scheduler (or a VAE) holds in tensors, read without waiting for a GPU at each step.

Some schedulers keep their timesteps and sigmas on the GPU, where reading one number waits for all that was launched
before. Their lists hardly ever change, so each is copied once, and once more after somebody wrote into it.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _Copy:
    """A tensor's numbers, and how often it had been written to by then."""

    of: weakref.ref[torch.Tensor]
    writes: int
    array: np.ndarray


#: By the id of their tensor, as long as that lives.
_COPIES: dict[int, _Copy] = {}


def writes_of(tensor: torch.Tensor) -> int | None:
    """Return how often a tensor was written to; None for one of inference mode, which does not count."""
    return None if tensor.is_inference() else tensor._version


def is_in_memory(tensor: torch.Tensor) -> bool:
    """Whether a tensor's numbers lie one by one where its ``data_ptr`` says: no sparse one, nor one of another kind."""
    import torch

    plain = type(tensor) is torch.Tensor and tensor.layout == torch.strided
    return plain and tensor.device.type != "meta"


def numbers(values: Any) -> np.ndarray:
    """Return a tensor (or a list, or a number) as an array that is not to be written to."""
    if not hasattr(values, "detach"):
        return np.asarray(values)
    writes, held = writes_of(values), _COPIES.get(id(values))
    if held is not None and held.of() is values and held.writes == writes:
        return held.array
    array = _copied(values)
    if writes is not None:
        key = id(values)
        gone = weakref.ref(values, lambda _: _COPIES.pop(key, None))
        _COPIES[key] = _Copy(gone, writes, array)
    return array


def number(value: Any, table: Any = None) -> float:
    """Return a number, or a tensor of one, as a float.

    table: a tensor that ``value`` may be an element of, as the timesteps are that a pipeline goes through; its numbers
    are then looked at in the copy.
    """
    if not hasattr(value, "detach"):
        return float(value)
    place = _place(value, table)
    return float(_copied(value).item() if place is None else numbers(table).flat[place])


def _place(value: torch.Tensor, table: Any) -> int | None:
    """Return the place in ``table`` of the one number of ``value``; None where it does not lie there in memory."""
    if not hasattr(table, "detach") or value.device != table.device or value.dtype != table.dtype:
        return None
    if not is_in_memory(value) or not is_in_memory(table) or value.numel() != 1 or not table.is_contiguous():
        return None
    place, rest = divmod(value.data_ptr() - table.data_ptr(), table.element_size())
    return place if not rest and 0 <= place < table.numel() else None


def _copied(tensor: torch.Tensor) -> np.ndarray:
    """Return a copy of the numbers; wait for a GPU."""
    from diffatlas.capture.arrays import to_numpy

    return to_numpy(tensor)
