"""Which models are expected to fit the memory of this machine, without loading one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffatlas.backends import dtypes, loading, memory, model_info, placement
from diffatlas.backends.memory import Needs
from diffatlas.backends.model_info import ITEM_SIZE
from diffatlas.backends.placement import Placement
from diffatlas.registry import ModelEntry

if TYPE_CHECKING:
    from diffatlas.backends.loading import Loaded


@dataclass(frozen=True)
class Memory:
    """Bytes of a device: ``free`` for a model, with those of the one that would make room for it, and all of them."""

    free: int
    total: int


def memory_of(device: str, resident: Loaded | None = None) -> Memory:
    """Return what a device has for a model. resident: the model that is on it, which goes when another comes."""
    held = held_bytes(resident.pipe, device) if resident is not None and resident.device == device else 0
    if device.startswith("cuda"):
        import torch

        total = torch.cuda.mem_get_info(device)[1]
    else:
        import psutil

        total = psutil.virtual_memory().total
    return Memory(min(total, memory.free_memory(device) + held), total)


def held_bytes(pipe: Any, device: str) -> int:
    """Return the bytes of a pipeline's weights that are on a device: of one that is offloaded most are not."""
    kind = device.partition(":")[0]
    parts = [part for part in getattr(pipe, "components", {}).values() if hasattr(part, "parameters")]
    held = {
        id(tensor): tensor for part in parts for tensor in part.parameters() if tensor.device.type == kind
    }
    return sum(tensor.numel() * tensor.element_size() for tensor in held.values())


def needed_bytes(entry: ModelEntry, device: str, dtype: str = "auto", here: bool = True) -> int | None:
    """Return the bytes that must be free on a device for a listed model to be loaded; None where that is not known.

    Of files on this machine it is what loading asks for; else it goes by the registry's ``mem``, in the dtype that the
    model runs in on this device.

    dtype: what was asked. here: whether the files are on this machine. Raises `DiffAtlasError` for a damaged model.
    """
    source = model_info.find_source(entry.id)
    folder = loading.cached(source) if here else None
    if folder is not None:
        runs_in = dtypes.pick_dtype(dtype, device, source, folder)
        info = model_info.describe(source.model, folder, source.entry)
        put = loading.plan(source, folder, device, runs_in)
        return memory.needs_of(source, folder, info, device, runs_in, put).device
    needs = listed_needs(entry, device, dtype)
    return None if needs is None else needs.device


def check_listed(entry: ModelEntry | None, device: str, dtype: str) -> None:
    """Raise `NotEnoughMemory` where the weights of a model alone do not fit, by what its line says."""
    needs = listed_needs(entry, device, dtype, headroom=1.0) if entry else None
    if entry and needs:
        memory.check_fits(entry.name, needs, device)


def listed_needs(
    entry: ModelEntry, device: str, dtype: str = "auto", headroom: float = memory.HEADROOM
) -> Needs | None:
    """Return what must be free for a model by what its line says alone; None where it does not say ``mem``.

    Which of its parts is the largest is not known then: of one that is offloaded by parts it is taken to be two thirds,
    by layers a tenth.
    """
    if entry.mem is None:
        return None
    told = entry.dtype or "fp32"
    runs_in = dtype if dtype != "auto" else ("fp32" if device.startswith("cpu") else told)
    whole = int(entry.mem * 1e9 * ITEM_SIZE[runs_in] / ITEM_SIZE[told])
    put: Placement = placement.plan(entry, None, device, runs_in)
    share = {"model": 2 / 3, "group": 0.1}.get(put.offload or "", 1.0)
    return Needs(int(whole * share * headroom), 0 if put.offload is None else whole)
