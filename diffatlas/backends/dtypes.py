"""What a model computes in: by the device, what its files hold, and what its line in a registry says."""

from __future__ import annotations

from pathlib import Path

from diffatlas.backends import model_info, single_file
from diffatlas.backends.model_info import ModelSource
from diffatlas.backends.weights import find_weights
from diffatlas.registry import USER

#: What they are called here and in torch.
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_STORED = {"F16": "fp16", "BF16": "bf16"}


def pick_dtype(wanted: str, device: str, source: ModelSource, folder: Path) -> str:
    """Return fp32, fp16 or bf16: what was asked, else what suits the model on this device (`usual`)."""
    if wanted != "auto":
        return wanted
    kind = device.partition(":")[0]
    if kind == "cpu":
        return "fp32"
    entry = source.entry
    hint = entry.dtype if entry else None
    if entry and hint and entry.provider == USER:
        # Whoever wrote the line knows the machine.
        return hint
    stored = None if hint else _STORED.get(_stored_dtype(source, folder) or "")
    return usual(family_of(folder), kind, hint or stored, has_bf16(device))


def usual(family: str, kind: str, told: str | None, bf16: bool) -> str:
    """Return what a model computes in where nothing was asked.

    family: of `family_of`. kind: of the device, "cuda" or "mps". told: what its line says, else what its files hold;
    None for neither, or for files in float32. bf16: whether the device computes in it.

    On a Mac float16 overflows: in the attention of Stable Diffusion 1 and 2, which run in float32 there, and in larger
    models, which run in bfloat16.
    """
    if told == "fp32" or kind == "cpu":
        return "fp32"
    if kind == "mps":
        return "fp32" if family == "sd" or not bf16 else "bf16"
    half = told or ("bf16" if family == "transformer" else "fp16")
    return "fp16" if half == "bf16" and not bf16 else half


def family_of(folder: Path) -> str:
    """Return "transformer", "sd" for a UNet with one text encoder (Stable Diffusion 1 and 2), or "unet"."""
    if (folder / "transformer").is_dir():
        return "transformer"
    return "unet" if (folder / "text_encoder_2").is_dir() else "sd"


def has_bf16(device: str) -> bool:
    """Whether a GPU computes in bfloat16 itself: CUDA from compute capability 8.0 on, a Mac from macOS 14 on.

    True for one that is not here: it is asked about to tell what would be.
    """
    import torch

    if device.startswith("mps"):
        return not torch.backends.mps.is_available() or torch.backends.mps.is_macos_or_newer(14, 0)
    if device.startswith("cuda") and torch.cuda.is_available():
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    return True


def _stored_dtype(source: ModelSource, folder: Path) -> str | None:
    """Return the safetensors dtype of the denoiser's first tensor, in the file that would be read."""
    if source.file:
        return single_file.stored_dtype(source.file)
    if (folder / "model_index.json").is_file():
        weights = model_info.weights_of(source, folder)
    else:
        denoisers = [name for name in ("transformer", "unet") if (folder / name).is_dir()]
        index = {name: ["diffusers", "Model"] for name in denoisers}
        weights = find_weights(folder, index, folder.name, source.variant, source.hint)
    files = {part.component: part.files for part in weights}
    for name in ("transformer", "unet"):
        for path in files.get(name, ()):
            return next((told["dtype"] for told in model_info.header_of(path).values()), None)
    return None
