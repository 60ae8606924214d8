"""What a pipeline in memory runs on, as plain JSON types: a part of a run's provenance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from diffatlas.capture.calls import denoisers
from diffatlas.capture.digest import digest_of
from diffatlas.errors import CapabilityError
from diffatlas.run import timestamp

#: What a run's provenance says of where its model came from.
IN_MEMORY = "memory"


def environment(scheduler: Any, device: str, dtype: str) -> dict[str, Any]:
    """Return what any run ran on: scheduler, dtype, device, versions, and when it started."""
    import platform

    import diffusers
    import torch
    import transformers

    from diffatlas import __version__

    if device.startswith("cuda"):
        device_name = torch.cuda.get_device_name(device)
    else:
        device_name = platform.processor() or platform.machine()
    return {
        "scheduler": {"class": type(scheduler).__name__, "config": plain(getattr(scheduler, "config", {}))},
        "dtype": dtype,
        "device": device,
        "device_name": device_name,
        "threads": torch.get_num_threads(),
        "versions": {
            "diffatlas": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
        },
        "started": timestamp(),
    }


def in_memory(
    pipe: Any, name: str, scheduler: Any = None, pinned: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return what a run on a pipeline in memory ran on.

    scheduler: the one that it runs with; None for the pipeline's. pinned: what `revision_of` has returned.
    """
    device, dtype = place_of(pipe)
    scheduler = getattr(pipe, "scheduler", None) if scheduler is None else scheduler
    told = {
        "model": name,
        "source": IN_MEMORY,
        "revision": dict(revision_of(pipe) if pinned is None else pinned),
        "pipeline": type(pipe).__name__,
        "components": components_of(pipe),
        **environment(scheduler, device, dtype),
    }
    adapters = adapters_of(pipe)
    return told | ({"adapters": adapters} if adapters else {})


def revision_of(pipe: Any) -> dict[str, str]:
    """Return what pins a pipeline in memory: {"digest": ...} (`diffatlas.capture.digest`).

    Where there is no digest, {"no_digest": ...} says why.
    """
    try:
        return {"digest": digest_of(pipe)}
    except CapabilityError as error:
        return {"no_digest": error.message}
    except Exception as error:
        return {"no_digest": f"It could not be derived ({type(error).__name__})."}


def place_of(pipe: Any) -> tuple[str, str]:
    """Return device ("cpu", "cuda:0") and dtype ("fp32", "fp16", "bf16", or torch's name) of the denoiser."""
    import torch

    names = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
    for part in denoisers(pipe):
        if isinstance(part, torch.nn.Module):
            floats = (p for p in part.parameters() if p.is_floating_point())
            if (first := next(floats, None)) is not None:
                return _where(pipe, part, first), names.get(
                    first.dtype, str(first.dtype).removeprefix("torch.")
                )
    return str(getattr(pipe, "device", "cpu")), "fp32"


def _where(pipe: Any, denoiser: Any, weights: Any) -> str:
    """Return the device that a denoiser computes on: of one that is offloaded its weights rest on another."""
    offloaded = hasattr(denoiser, "_hf_hook") or hasattr(denoiser, "_diffusers_hook")
    return str((getattr(pipe, "_execution_device", None) if offloaded else None) or weights.device)


def components_of(pipe: Any) -> dict[str, str]:
    """Return the class of each component that is there, by its name."""
    components = getattr(pipe, "components", None)
    if not isinstance(components, Mapping):
        return {}
    return {name: type(part).__name__ for name, part in sorted(components.items()) if part is not None}


def adapters_of(pipe: Any) -> dict[str, dict[str, float | None]]:
    """Return the adapters that are active by component, each with its scale: {"unet": {"style": 0.8}}."""
    import torch

    found: dict[str, dict[str, float | None]] = {}
    components = getattr(pipe, "components", None)
    for name, part in sorted(components.items()) if isinstance(components, Mapping) else ():
        if not isinstance(part, torch.nn.Module) or not getattr(part, "peft_config", None):
            continue
        for layer in part.modules():
            scaling = getattr(layer, "scaling", None)
            if isinstance(scaling, Mapping) and not getattr(layer, "disable_adapters", False):
                active = [a for a in getattr(layer, "active_adapters", ()) if a in scaling]
                rank = getattr(layer, "r", {})
                alpha = getattr(layer, "lora_alpha", {})
                for adapter in active:
                    own = alpha.get(adapter, 0) / rank[adapter] if rank.get(adapter) else 0
                    found.setdefault(name, {}).setdefault(
                        adapter, round(scaling[adapter] / own, 6) if own else None
                    )
    return found


def name_of(pipe: Any) -> str:
    """Return what a pipeline is called where nobody has named it: its folder or id on the Hub, else its class."""
    path = str(getattr(pipe, "name_or_path", None) or "").rstrip("/\\")
    at_hub = path.count("/") == 1 and not path.startswith((".", "/", "~"))
    return (path if at_hub else path.replace("\\", "/").rpartition("/")[2]) or type(pipe).__name__


def plain(value: Any) -> Any:
    """Return a config as JSON types; non-finite numbers and other objects as text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return str(value)
