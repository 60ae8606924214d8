"""Which models are expected to fit the memory of this machine, without loading one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffatlas.backends import loading, model_info
from diffatlas.registry import ModelEntry

if TYPE_CHECKING:
    from diffatlas.backends.loading import Loaded

#: Bytes of a number.
_ITEM = {"fp32": 4, "fp16": 2, "bf16": 2}


@dataclass(frozen=True)
class Memory:
    """Bytes of a device: ``free`` for a model, with those of the one that would make room for it, and all of them."""

    free: int
    total: int


def memory_of(device: str, resident: Loaded | None = None) -> Memory:
    """Return what a device has for a model. resident: the model that is on it, which goes when another comes."""
    held = held_bytes(resident.pipe) if resident is not None and resident.device == device else 0
    if device.startswith("cuda"):
        import torch

        total = torch.cuda.mem_get_info(device)[1]
    else:
        import psutil

        total = psutil.virtual_memory().total
    return Memory(min(total, loading.free_memory(device) + held), total)


def held_bytes(pipe: Any) -> int:
    """Return the bytes of the weights of a pipeline in memory."""
    parts = [part for part in getattr(pipe, "components", {}).values() if hasattr(part, "parameters")]
    return sum(tensor.numel() * tensor.element_size() for part in parts for tensor in part.parameters())


def needed_bytes(entry: ModelEntry, device: str, dtype: str = "auto", here: bool = True) -> int | None:
    """Return the bytes that must be free for a listed model to be loaded; None where that is not known.

    Of files on this machine it is what loading asks for; else it is the registry's ``mem``, in the dtype that the model
    runs in on this device.

    dtype: what was asked. here: whether the files are on this machine. Raises `DiffAtlasError` for a damaged model.
    """
    source = model_info.find_source(entry.id)
    folder = loading.cached(source) if here else None
    if folder is not None:
        runs_in = loading.pick_dtype(dtype, device, source, folder)
        files = [file for part in model_info.weights_of(source, folder) for file in part.files]
        return int(model_info.weight_bytes(files, runs_in) * loading.HEADROOM)
    if entry.mem is None:
        return None
    told = entry.dtype or "fp32"
    runs_in = dtype if dtype != "auto" else ("fp32" if device.startswith("cpu") else told)
    return int(entry.mem * 1e9 * _ITEM[runs_in] / _ITEM[told] * loading.HEADROOM)
