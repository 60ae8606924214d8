"""What a model needs of a device's memory, and what the device has free, without loading it.

A run holds the weights, and what one pass or one decoding has alive at once. The latter is counted by the rule of
`activation_bytes`, whose factors were counted in real calls (tests/backends/test_memory.py): nothing grows with the
number of steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffatlas.backends import model_info
from diffatlas.backends.model_info import ITEM_SIZE, ModelInfo, ModelSource
from diffatlas.backends.parts import FolderParts, Parts
from diffatlas.backends.placement import Placement
from diffatlas.capture.latent_grid import vae_factor
from diffatlas.errors import NotEnoughMemory

#: Values alive at once: of a VAE's decoder for each pixel and channel of its last block, of a UNet for each place of
#: the latents and channel of its first, of a transformer for each token and its width.
OF_VAE, OF_UNET, OF_TRANSFORMER = 6.0, 26.0, 15.5
#: Of a model whose configs do not tell: activations against weights.
HEADROOM = 1.2
#: What is held for each byte that is alive: on a CPU kernels work in memory of their own (benchmarks/estimates.py), on
#: a GPU the allocator rounds up and keeps.
HELD = {"cpu": 2.0}
HELD_ON_A_GPU = 1.25
#: What the libraries of a GPU take for themselves.
WORKSPACE = 300_000_000


@dataclass(frozen=True)
class Needs:
    """Bytes that must be free: on the device, and of main memory beside it."""

    device: int
    main: int = 0


def free_memory(device: str) -> int:
    """Return the bytes that can be allocated on ``device``: those of its driver, and what torch keeps unused."""
    import psutil

    available = psutil.virtual_memory().available
    if device.startswith("cuda"):
        import torch

        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    if device.startswith("mps"):
        import torch

        # Main memory, of which the system lends the GPU a part.
        lent = torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
        return max(0, min(available, lent))
    return available


def check_memory(name: str, needed: int, free: int, where: str = "") -> None:
    """Raise `NotEnoughMemory` where ``needed`` bytes do not fit ``free``.

    where: what they are bytes of, after "free", where that is not plain: " of main memory".
    """
    if needed > free:
        raise NotEnoughMemory(
            f"{name} needs about {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB{where} are free: choose a smaller "
            "model, free some memory, or set ignore_memory (--ignore-memory) to try all the same.",
            needed=needed,
            free=free,
        )


def check_fits(name: str, needs: Needs, device: str) -> None:
    """Raise `NotEnoughMemory` where a model is not expected to fit, on its device or beside it."""
    check_memory(name, needs.device, free_memory(device))
    if needs.main:
        check_memory(name, needs.main, free_memory("cpu"), " of main memory")


def needs_of(
    source: ModelSource, folder: Path, info: ModelInfo, device: str, dtype: str, put: Placement
) -> Needs:
    """Return what must be free for a model on this machine to be loaded, and to make one picture of its own size.

    Raises `ModelLoadError` for files that cannot be read.
    """
    weights, largest = {}, 0
    for part in model_info.weights_of(source, folder):
        runs_in = "fp32" if part.component == "vae" and "fp32" in put.vae else dtype
        files = list(part.files)
        weights[part.component] = model_info.weight_bytes(files, runs_in)
        largest = max(largest, *(model_info.largest_tensor(file, runs_in) for file in files))
    working = activation_bytes(FolderParts(folder), info, dtype, put)
    return placed(weights, largest, working, put, device)


def placed(
    weights: Mapping[str, int], largest: int, working: int | None, put: Placement, device: str
) -> Needs:
    """Return what must be free for parts of these ``weights`` (bytes by name) under a placement.

    largest: bytes of the largest tensor. working: bytes alive at once in a pass, None where that is not known.
    """
    whole = sum(weights.values())
    if working is None:
        working = int(HEADROOM * whole) - whole
    else:
        on_gpu = not device.startswith("cpu")
        working = int(working * HELD.get(device.partition(":")[0], HELD_ON_A_GPU)) + on_gpu * WORKSPACE
    # Decodes previews beside the denoiser.
    vae = weights.get("vae", 0)
    if put.offload == "model":
        others = [size for name, size in weights.items() if name != "vae"]
        return Needs(max(others, default=0) + vae + working, whole)
    if put.offload == "group":
        # The layer that is computed, and the next one on its way.
        return Needs(vae + 2 * largest + working, whole)
    return Needs(whole + working)


def activation_bytes(parts: Parts, info: ModelInfo, dtype: str, put: Placement, rows: int = 2) -> int | None:
    """Return the bytes of tensors that are alive at once in a pass or in the decoding, besides the weights.

    rows: of the denoiser's batch, two under guidance. None where the configs do not tell.
    """
    unet, transformer = parts.config("unet"), parts.config("transformer")
    vae = parts.config("vae")
    factor, item = vae_factor(vae) if vae else 1, ITEM_SIZE[dtype]
    places = info.width * info.height / factor**2
    passing = None
    if channels := _first(unet.get("block_out_channels")):
        passing = OF_UNET * places * channels * item
    elif width := _width(transformer):
        patch = info.size_multiple / factor
        passing = OF_TRANSFORMER * places / patch**2 * width * item
    if passing is None:
        return None
    decoding = 0.0
    if channels := _first(vae.get("block_out_channels")):
        wide = "fp32" in put.vae or (dtype == "fp16" and vae.get("force_upcast") is True)
        pixels = info.width * info.height
        if "tiling" in put.vae and (tile := _first(vae.get("sample_size"))):
            pixels = min(pixels, tile**2)
        decoding = OF_VAE * pixels * channels * (4 if wide else item)
    return int(max(rows * passing, decoding))


def _first(value: Any) -> int | None:
    """Return the first of a list of numbers, or the number."""
    one = value[0] if isinstance(value, list) and value else value
    return one if isinstance(one, int) and not isinstance(one, bool) else None


def _width(transformer: Mapping[str, Any]) -> int | None:
    """Return the numbers of each token in a transformer."""
    heads, each = transformer.get("num_attention_heads"), transformer.get("attention_head_dim")
    if isinstance(heads, int) and isinstance(each, int):
        return heads * each
    return _first(transformer.get("hidden_size") or transformer.get("dim"))
