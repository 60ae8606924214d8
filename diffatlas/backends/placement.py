"""How a pipeline is put on a device: what waits in main memory, how its VAE works, what is compiled.

`plan` decides it from a model's line in a registry, its files and the device, before anything is loaded; `put` does it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffatlas.backends.parts import FolderParts, Parts, class_of_diffusers, read_json
from diffatlas.capture.calls import DENOISERS, denoisers
from diffatlas.errors import ModelLoadError
from diffatlas.registry import ModelEntry

#: What compiles: torch's usual one, which needs a C compiler on a CPU and Triton on a GPU.
COMPILER = "inductor"
#: Bytes of memory from which a Mac computes attention at once: below, slices of it keep the system from swapping.
ATTENTION_AT_ONCE = 64 * 2**30
_VAES = ("vae", "movq", "vqvae")


@dataclass(frozen=True)
class Placement:
    """What is done with a pipeline when it is loaded. Without anything it is put on its device as a whole."""

    #: "model": each part is on the device while it is used; "group": each layer is.
    offload: str | None = None
    #: Of "tiling", "slicing", "fp32".
    vae: tuple[str, ...] = ()
    #: One of `diffatlas.hints.COMPILES`.
    compile: str | None = None
    #: Whether attention is computed in slices.
    sliced_attention: bool = False
    #: Why something that was asked for is not done, by its name.
    without: Mapping[str, str] = field(default_factory=dict)

    @property
    def deciding(self) -> dict[str, Any]:
        """What may decide the bits of an image, as plain JSON types; offloading moves numbers and changes none."""
        told = {"vae": list(self.vae), "compile": self.compile, "sliced_attention": self.sliced_attention}
        return {name: value for name, value in told.items() if value}

    @property
    def told(self) -> dict[str, Any]:
        """All of it, for a run's provenance; {} where there is nothing."""
        told = {"offload": self.offload, **self.deciding, "without": dict(self.without)}
        return {name: value for name, value in told.items() if value}

    def sentences(self) -> tuple[str, ...]:
        """Return what there is to say of it, a sentence each."""
        said = []
        if self.offload == "model":
            said.append("Its parts wait in main memory, and one at a time is on the GPU.")
        if self.offload == "group":
            said.append("Its layers wait in main memory, and come to the GPU when they are computed.")
        ways = {
            "tiling": "works on large pictures in tiles",
            "slicing": "works on one picture at a time",
            "fp32": "computes in float32",
        }
        if self.vae:
            said.append(f"Its VAE {' and '.join(ways[way] for way in self.vae)}.")
        if self.compile:
            said.append(
                "Its denoiser is compiled: the first run takes a minute or more longer, and attention cannot be read."
            )
        if self.sliced_attention:
            said.append("Attention is computed in slices, which take less memory.")
        return (*said, *self.without.values())


def plan(
    entry: ModelEntry | None, folder: Path | None, device: str, dtype: str, total: int | None = None
) -> Placement:
    """Return how a model is put on a device.

    entry: its line in a registry. folder: its pipeline; None where it is not on this machine, and only what its line
    and the device say is known. dtype: what its denoiser runs in. total: bytes of memory of a Mac (`total_memory`).
    """
    asked = entry or ModelEntry("", "")
    parts = FolderParts(folder) if folder is not None else None
    kind, without = device.partition(":")[0], {}
    offload = asked.offload
    if offload and kind in ("cpu", "mps"):
        where = "On a CPU" if kind == "cpu" else "On a Mac, whose GPU uses main memory,"
        without["offload"] = f"{where} there is nothing to offload to: offload={offload} has no effect."
        offload = None
    ways = {way for way in (asked.vae or "").split(",") if way}
    if kind == "mps":
        # Below the size of a tile it changes nothing, above it memory is short first.
        ways.add("tiling")
    if parts is not None:
        for way in ("tiling", "slicing"):
            if way in ways and not _can(parts, f"use_{way}"):
                ways.discard(way)
                if way in (asked.vae or ""):
                    without[f"vae={way}"] = f"Its VAE has no {way}: vae={way} has no effect."
        if dtype == "fp16" and _overflows(folder, parts):
            ways.add("fp32")
    if dtype == "fp32":
        ways.discard("fp32")
    compiled = asked.compile
    if compiled and kind == "mps":
        without["compile"] = f"On a Mac nothing is compiled: compile={compiled} has no effect."
        compiled = None
    if compiled and offload == "group":
        without["compile"] = (
            f"Layers that come and go are not compiled: compile={compiled} has no effect beside offload=group."
        )
        compiled = None
    sliced = kind == "mps" and total is not None and total < ATTENTION_AT_ONCE
    return Placement(
        offload,
        tuple(way for way in ("tiling", "slicing", "fp32") if way in ways),
        compiled,
        sliced and (parts is None or _slices(parts)),
        without,
    )


def total_memory(device: str) -> int | None:
    """Return the bytes of memory of a Mac, whose GPU uses it too; None for other devices, where `plan` needs none."""
    if not device.startswith("mps"):
        return None
    import psutil

    return psutil.virtual_memory().total


def put(pipe: Any, placement: Placement, device: str) -> None:
    """Put a pipeline that was just loaded on the CPU where it runs.

    Raises `ModelLoadError` where its parts cannot be offloaded so.
    """
    vae = vae_of(pipe)
    for way in ("tiling", "slicing"):
        if vae is not None and way in placement.vae:
            getattr(vae, f"enable_{way}")()
    if vae is not None and "fp32" in placement.vae:
        keep_in_float32(vae)
    if placement.sliced_attention:
        pipe.enable_attention_slicing()
    if placement.offload is None:
        pipe.to(device)
    elif placement.offload == "model":
        if pipe.model_cpu_offload_seq is None:
            raise ModelLoadError(
                f"{type(pipe).__name__} cannot be offloaded part by part: take offload=model out of its line, or try "
                "offload=group.",
                field="model",
            )
        pipe.enable_model_cpu_offload(device=device)
    else:
        _offload_layers(pipe, device)
    if placement.compile is not None:
        for denoiser in denoisers(pipe):
            _compile(denoiser, placement.compile)


def vae_of(pipe: Any) -> Any:
    """Return what makes pictures of latents; None where a pipeline has none."""
    return next((vae for name in _VAES if (vae := getattr(pipe, name, None)) is not None), None)


def keep_in_float32(vae: Any) -> None:
    """Let a VAE compute in float32 whatever it is given: some pipelines hand it their latents as they are."""
    import torch

    vae.to(torch.float32)

    def widen(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(x.float() if torch.is_tensor(x) and x.is_floating_point() else x for x in args)

    for name in ("encoder", "decoder", "post_quant_conv"):
        if isinstance(part := getattr(vae, name, None), torch.nn.Module):
            part.register_forward_pre_hook(widen)


@contextmanager
def given_back(pipe: Any) -> Iterator[None]:
    """Have a pipeline's parts wait in main memory again at the end, also where its call did not come to its end."""
    try:
        yield
    finally:
        if getattr(pipe, "_all_hooks", None) and not _is_whole(pipe):
            pipe.maybe_free_model_hooks()


def _is_whole(pipe: Any) -> bool:
    """Whether all parts of a pipeline that is offloaded by parts wait in main memory."""
    held = (part for hook in pipe._all_hooks for part in hook.model.parameters())
    return all(tensor.device.type == "cpu" for tensor in held)


def _offload_layers(pipe: Any, device: str) -> None:
    """Have layers come to the device when they are computed.

    The VAE is there all along: it is small, and is called for previews between the layers of a step. On a GPU with
    streams the next layer comes while one is computed.
    """
    import torch

    streams = device.startswith("cuda")
    try:
        pipe.enable_group_offload(
            onload_device=torch.device(device),
            offload_type="leaf_level",
            use_stream=streams,
            exclude_modules=[name for name in _VAES if getattr(pipe, name, None) is not None],
        )
    except ValueError as error:
        raise ModelLoadError(
            f"{type(pipe).__name__} cannot be offloaded layer by layer ({str(error).splitlines()[0].rstrip('.')}): "
            "take offload=group out of its line, or try offload=model.",
            field="model",
        ) from error


def _compile(denoiser: Any, how: str) -> None:
    """Have a denoiser compiled when it is first called: its repeated blocks alone, or all of it in a mode of torch."""
    if how == "blocks" and has_blocks(denoiser):
        denoiser.compile_repeated_blocks(backend=COMPILER)
        return
    mode = {} if how in ("blocks", "default") else {"mode": how}
    denoiser.compile(backend=COMPILER, **mode)


def has_blocks(denoiser: Any) -> bool:
    """Whether a denoiser has blocks that repeat, which its class names."""
    named = getattr(denoiser, "_repeated_blocks", None) or ()
    return any(type(module).__name__ in named for module in denoiser.modules())


def _class_of(parts: Parts, names: tuple[str, ...]) -> type | None:
    entries = (parts.index.get(name) for name in names)
    named = next(
        (entry[1] for entry in entries if isinstance(entry, list) and len(entry) == 2 and entry[1]), None
    )
    return None if named is None else class_of_diffusers(named)


def _can(parts: Parts, switch: str) -> bool:
    """Whether a VAE has a switch. All have the method that sets it; those that know it make it when they are made."""
    cls = _class_of(parts, _VAES)
    return cls is not None and switch in inspect.unwrap(cls.__init__).__code__.co_names


def _slices(parts: Parts) -> bool:
    return hasattr(_class_of(parts, DENOISERS[0]), "set_attention_slice")


def _overflows(folder: Path, parts: Parts) -> bool:
    """Whether a VAE's own file says that it overflows in float16, of a pipeline that does not see to it itself.

    Those of the SDXL family do: they convert it to float32 before they decode, and back.
    """
    path = folder / "vae" / "config.json"
    told = read_json(path) if path.is_file() else {}
    return told.get("force_upcast") is True and not hasattr(parts.pipeline, "upcast_vae")
