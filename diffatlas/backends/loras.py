"""LoRAs: finding their files, and putting them on a loaded pipeline for one run.

They are put on with peft (the extra ``lora``). Afterwards the pipeline has the very modules and tensors that it had
before; where it has not, it is given up, so that the next run loads it anew.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diffatlas import files
from diffatlas.backends.loading import Loaded
from diffatlas.backends.parts import names_in
from diffatlas.errors import CapabilityError, InvalidParams, ModelLoadError, Unreadable
from diffatlas.importing import importing
from diffatlas.params import Lora

#: What diffusers calls the file of a LoRA.
USUAL = "pytorch_lora_weights.safetensors"
#: The names of the first of the two matrices of each layer, by the tool that wrote the file.
_FIRST = ("lora_A.weight", "lora_down.weight", "lora.down.weight")


def check(loras: Sequence[Lora]) -> None:
    """Raise what is known to be wrong with LoRAs before a run: `InvalidParams` for a file that is not there,
    `CapabilityError` where peft is missing."""
    if loras and find_spec("peft") is None:
        raise CapabilityError('LoRAs need peft: pip install "diffatlas[lora]".', field="loras")
    for lora in loras:
        find(lora)


def described(loras: Sequence[Lora], loaded: Loaded | None = None) -> list[dict[str, Any]] | None:
    """Return the SHA-256 of each LoRA's file and its weight; None where one is not on this machine yet.

    loaded: a pipeline that has them on, for what was read then.
    """
    if loaded is not None and loaded.loras:
        return [{name: lora[name] for name in ("sha256", "weight")} for lora in loaded.loras]
    found = [find(lora) for lora in loras]
    if None in found:
        return None
    return [
        {"sha256": _hash_of(path), "weight": float(lora.weight)}
        for path, lora in zip(found, loras, strict=True)
    ]


def find(lora: Lora, fetch: bool = False) -> Path | None:
    """Return the file of a LoRA; None for one of the Hub that is not on this machine, unless ``fetch``.

    Raises `InvalidParams` for a file that is not there, `ModelLoadError` for one that cannot be fetched.
    """
    if lora.on_hub:
        return _on_hub(lora, fetch)
    try:
        path = Path(lora.path).expanduser()
        if path.is_dir():
            path = path / _pick(names_in(path), lora)
        there = path.is_file()
    except InvalidParams:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        # No disk could have such a name.
        reason = (
            files.reason_of(error) if isinstance(error, (OSError, ValueError)) else "there is no such home"
        )
        raise InvalidParams(
            f"The LoRA {files.plain_name(lora.path)!r} cannot be read: {reason}.", field="loras"
        ) from error
    if path.suffix != ".safetensors":
        raise InvalidParams(
            f"The LoRA {lora.path!r} is no .safetensors file, no folder and no name on the Hub (user/name).",
            field="loras",
        )
    if not there:
        raise InvalidParams(f"There is no LoRA file {lora.path!r}.", field="loras")
    # Before all of it is read: its beginning says whether it can be one.
    _keys(path)
    return path


@contextmanager
def applied(loaded: Loaded, loras: Sequence[Lora], give_up: Callable[[], None]) -> Iterator[Loaded]:
    """Put LoRAs on a pipeline, and take them off again; yield what is loaded then.

    give_up: called where the pipeline is not as it was before.

    Raises:
        CapabilityError: the pipeline takes no LoRAs.
        ModelLoadError: a file is damaged, cannot be fetched, or fits nothing in the model.
    """
    if not loras:
        yield loaded
        return
    pipe, name = loaded.pipe, loaded.info.name
    if not hasattr(pipe, "load_lora_weights"):
        raise CapabilityError(f"{name} takes no LoRAs.", field="loras")
    found = [find(lora, fetch=True) for lora in loras]
    moves = loaded.placement.offload is not None
    before = _state(pipe, moves)
    trained = [tensor for tensor in _parameters(pipe) if tensor.requires_grad]
    try:
        told = []
        for number, (file, lora) in enumerate(zip(found, loras, strict=True)):
            layers, unused = _put_on(pipe, name, file, _adapter(number))
            one = {"name": lora.name if lora.on_hub else file.name, "sha256": _hash_of(file)}
            told.append(one | {"weight": float(lora.weight), "layers": layers})
            if unused:
                told[-1]["unused"] = unused
        weights = {_adapter(k): float(lora.weight) for k, lora in enumerate(loras) if lora.weight}
        if weights:
            # Those of weight 0 stay inactive: their layers compute nothing.
            pipe.set_adapters(list(weights), list(weights.values()))
        else:
            _take_off(pipe)
        yield replace(loaded, loras=tuple(told))
    finally:
        try:
            _take_off(pipe)
            for tensor in trained:
                tensor.requires_grad_(True)
            same = _state(pipe, moves) == before
        except Exception:
            same = False
        if not same:
            give_up()


def _adapter(number: int) -> str:
    return f"diffatlas_{number}"


def _put_on(pipe: Any, name: str, file: Path, adapter: str) -> tuple[int, int]:
    """Put a LoRA on; return how many layers it changes, and how many of the file's are not in the model."""
    pairs = sum(key.endswith(_FIRST) for key in _keys(file))
    with importing():
        import peft  # noqa: F401  What follows asks for it
    try:
        pipe.load_lora_weights(
            str(file.parent),
            weight_name=file.name,
            adapter_name=adapter,
            local_files_only=True,
            use_safetensors=True,
        )
    except Exception as error:
        lines = str(error).strip().splitlines()
        why = (lines[0] if lines else type(error).__name__).rstrip(".:")[:200]
        raise ModelLoadError(
            f"The LoRA {file.name} cannot be put on {name}, and may be of another model: {why}.",
            field="loras",
        ) from error
    layers = 0
    for part in _networks(pipe):
        # New layers are made in training mode, in which a dropout would draw at random.
        part.eval()
        layers += sum(_has(module, adapter) for module in part.modules())
    if not layers:
        raise ModelLoadError(
            f"The LoRA {file.name} fits nothing in {name}: none of its layers is in this model.",
            field="loras",
        )
    return layers, max(0, pairs - layers)


def _has(module: Any, adapter: str) -> bool:
    return any(adapter in getattr(module, kind, ()) for kind in ("lora_A", "lora_embedding_A"))


def _take_off(pipe: Any) -> None:
    unload = pipe.unload_lora_weights
    # FLUX widens layers for some LoRAs.
    reset = "reset_to_overwritten_params" in inspect.signature(unload).parameters
    unload(**({"reset_to_overwritten_params": True} if reset else {}))


def _networks(pipe: Any) -> list[Any]:
    import torch

    return [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]


def _parameters(pipe: Any) -> list[Any]:
    return [tensor for part in _networks(pipe) for tensor in part.parameters()]


def _state(pipe: Any, moves: bool = False) -> list[tuple[Any, ...]]:
    """Return what is the same where no module or tensor was exchanged or written to.

    moves: whether its weights come and go between devices, which writes into them: then it is their names and shapes.
    """
    state: list[tuple[Any, ...]] = []
    for part in _networks(pipe):
        state += [(name, id(module), module.training) for name, module in part.named_modules()]
        for name, tensor in (*part.named_parameters(), *part.named_buffers()):
            if moves:
                state.append((name, tuple(tensor.shape), tensor.dtype, tensor.requires_grad))
                continue
            version = None if tensor.is_inference() else tensor._version
            state.append((name, id(tensor), tensor.data_ptr(), version, tensor.requires_grad))
    return state


def _keys(file: Path) -> list[str]:
    """Return the names of a file's tensors. Raises `ModelLoadError` for one that is damaged."""
    try:
        return list(files.tensors_header(file))
    except (OSError, Unreadable) as error:
        reason = error.reason if isinstance(error, Unreadable) else files.reason_of(error)
        raise ModelLoadError(
            f"The LoRA file {file.name} is damaged ({reason}): fetch it again.", field="loras"
        ) from error


def _on_hub(lora: Lora, fetch: bool) -> Path | None:
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    repository, _, name = lora.path.partition(":")
    try:
        if name:
            return Path(hf_hub_download(repository, name, local_files_only=True))
        folder = Path(snapshot_download(repository, local_files_only=True))
        return folder / _pick([file.name for file in folder.iterdir()], lora)
    except Exception:
        # Not in the cache: one of several exceptions, by the version of huggingface_hub.
        if not fetch:
            return None
    try:
        return Path(hf_hub_download(repository, name or _pick(HfApi().list_repo_files(repository), lora)))
    except InvalidParams:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines()
        raise ModelLoadError(
            f"The LoRA {lora.path!r} is not on this machine and could not be fetched from the Hugging Face Hub "
            f"({(lines[0] if lines else type(error).__name__).rstrip('.')[:200]}).",
            field="loras",
        ) from error


def _pick(names: list[str], lora: Lora) -> str:
    """Return the file of a folder that is the LoRA: that of the usual name, or the only one."""
    fitting = sorted(name for name in names if name.endswith(".safetensors"))
    if USUAL in fitting:
        return USUAL
    if len(fitting) == 1:
        return fitting[0]
    there = ", ".join(fitting[:5]) if fitting else "no .safetensors file"
    raise InvalidParams(f"{lora.path!r} has {there}: name the file of the LoRA.", field="loras")


def _hash_of(path: Path) -> str:
    # The Hub's cache links to its files.
    stat = path.stat()
    return _content_hash(path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _content_hash(path: Path, size: int, changed: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
