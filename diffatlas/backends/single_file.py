"""Checkpoints in one file: what their configuration is, and a pipeline folder that stands for them.

A single `.safetensors` file, as trainers write it, has the weights of a whole pipeline under names of its own and
says nothing of schedulers, tokenizers and sizes. Those are taken from another pipeline's configs. `view` puts copies
of these into a folder of this process that names the file, so that what is read of a pipeline folder can be read of it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from diffatlas import files
from diffatlas.errors import ModelLoadError, Unreadable
from diffatlas.importing import importing

ENDING = ".safetensors"
#: Never read: loading one runs what it says.
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
#: In the folder of a view: the path of the file.
POINTER = "checkpoint.path"
#: Endings of what configures a pipeline.
CONFIGS = (".json", ".txt", ".model")

_lock = threading.Lock()
_views: dict[tuple[Any, ...], Path] = {}
_rooms: list[tempfile.TemporaryDirectory] = []


def usual_config(file: Path) -> str:
    """Return the id of the Hub's repository that has the configs for a file, by the names and shapes of its tensors.

    Raises `ModelLoadError` where the file is no whole safetensors file.
    """
    return _usual_config(file, file.stat().st_size, file.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _usual_config(file: Path, size: int, changed: int) -> str:
    import torch

    with importing():
        from diffusers.loaders.single_file_utils import fetch_diffusers_config

    told = header(file)
    try:
        tensors = {name: torch.empty(one["shape"], device="meta") for name, one in told.items()}
        return str(fetch_diffusers_config(tensors)["pretrained_model_name_or_path"])
    except Exception as error:
        # Shapes beyond any tensor, or of another number of axes than the names promise.
        raise ModelLoadError(
            f"{file.name} has weights of no model that diffusers knows: add it with the configs of one (--config).",
            field="model",
        ) from error


def header(file: Path) -> dict[str, dict[str, Any]]:
    """Return dtype, shape and place of each tensor. Raises `ModelLoadError` where they cannot be read."""
    try:
        return files.tensors_header(file)
    except (OSError, Unreadable) as error:
        reason = error.reason if isinstance(error, Unreadable) else files.reason_of(error)
        raise ModelLoadError(
            f"{file.name} is not a whole safetensors file ({reason}): fetch it again.", field="model"
        ) from error


def stored_dtype(file: Path) -> str | None:
    """Return the safetensors dtype of the denoiser's first tensor, or of the first where none is named so."""
    tensors = header(file)
    named = [name for name in tensors if "diffusion_model" in name] or list(tensors)
    return tensors[named[0]]["dtype"] if named else None


def cached_config(repository: str) -> Path | None:
    """Return the folder of the Hub's cache that has the configs of a repository; None where it has not."""
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(repository, "model_index.json")
    return Path(index).parent if isinstance(index, str) else None


def needs_config(file: Path, repository: str) -> ModelLoadError:
    """Return the error that says which configs a file needs, and how to give them."""
    return ModelLoadError(
        f"{file.name} needs the configs of {repository}, which are not on this machine: add it with those of a "
        f"pipeline folder or listed model (diffatlas models add {file.name} --config FOLDER), or fetch them (hf "
        f"download {repository} --include '*.json' '*.txt').",
        field="model",
    )


def view(file: Path, config: Path) -> Path:
    """Return a folder with the configs of the pipeline folder ``config`` and the path of ``file``, but no weights.

    It goes when this process ends.
    """
    parts = sorted(
        path
        for path in config.rglob("*")
        if path.suffix in CONFIGS
        and path.is_file()
        and not path.name.endswith(".index.json")
        and len(path.relative_to(config).parts) < 3
    )
    stats = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in parts)
    key = (str(file), str(config), stats)
    with _lock:
        if key not in _views:
            if not _rooms:
                _rooms.append(tempfile.TemporaryDirectory(prefix="diffatlas-"))
            folder = Path(_rooms[0].name) / hashlib.sha256(repr(key).encode()).hexdigest()[:16] / file.stem
            for path in parts:
                copy = folder / path.relative_to(config)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
            (folder / POINTER).write_text(str(file), encoding="utf-8")
            _views[key] = folder
        return _views[key]


def checkpoint_of(folder: Path) -> Path | None:
    """Return the file that a view stands for; None for a folder that is none, whatever it holds."""
    with _lock:
        if folder not in _views.values():
            return None
    return Path((folder / POINTER).read_text(encoding="utf-8"))
