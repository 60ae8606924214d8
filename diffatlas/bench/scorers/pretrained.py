"""Checkpoints of transformers, from a folder or the Hub: their files found, and their models loaded.

Only safetensors are read, and no code that comes with a model is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diffatlas.backends import model_info
from diffatlas.backends.configs import check_config
from diffatlas.backends.dtypes import DTYPES
from diffatlas.backends.failures import is_out_of_memory
from diffatlas.backends.loading import first_line, has_words, not_fetched, pick_device
from diffatlas.backends.memory import HEADROOM, check_memory, free_memory
from diffatlas.backends.parts import check_plain, names_in, read_json
from diffatlas.bench.scorers.registry import ScorerModel, scorer_models
from diffatlas.described import Wrong
from diffatlas.errors import (
    BackendFailure,
    DiffAtlasError,
    InvalidParams,
    ModelLoadError,
    OutOfMemory,
    UnknownModel,
)
from diffatlas.importing import importing
from diffatlas.registry import models_folder
from diffatlas.settings import check_hub_token, is_shared, settings

#: Files of the top of a repository that are fetched.
WANTED = ("*.json", "*.txt", "*.model", "*.jinja", "model.safetensors", "model-*.safetensors")
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class Checkpoint:
    """A model's files on this machine."""

    #: The name by which it was asked for.
    model: str
    folder: Path
    #: What pins the files: the Hub's commit, or ``sha256:`` and that of a folder's files.
    revision: str
    config: Mapping[str, Any]
    entry: ScorerModel | None = None

    @property
    def name(self) -> str:
        """What it is called, as in the registry where it is listed."""
        return self.entry.name if self.entry else self.model

    @property
    def kind(self) -> str:
        """What transformers calls its kind of model, such as "clip"."""
        return str(self.config.get("model_type"))


@dataclass(frozen=True)
class Loaded:
    """A model in memory, and where it came from."""

    checkpoint: Checkpoint
    model: Any
    device: str
    #: fp32, fp16 or bf16.
    dtype: str

    @property
    def name(self) -> str:
        """What it is called."""
        return self.checkpoint.name

    def placed(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return tensors on the model's device, those of floats in its dtype."""
        import torch

        dtype = getattr(torch, DTYPES[self.dtype])
        return {
            name: each.to(self.device, dtype) if each.is_floating_point() else each.to(self.device)
            for name, each in inputs.items()
        }


def find_checkpoint(model: str, revision: str | None = None) -> Checkpoint:
    """Find a model by its id in the registry, its folder, or its id on the Hub, and fetch it where it is not here.

    revision: branch, tag or commit of the Hub; the registry's where it is None. Raises `UnknownModel` where nothing has
    such a name, `ModelLoadError` where files are missing, damaged or not to be had, and `InvalidParams` on a shared
    server for a model that is not listed: its visitors fetch and read nothing else.
    """
    entry = next((one for one in scorer_models() if one.id == model), None)
    if entry is None and is_shared():
        raise InvalidParams(
            f"On a shared server {model!r} cannot judge: choose a model that `diffatlas bench scorers` lists.",
            field="scorer",
        )
    folder = _on_disk(model, listed=entry is not None)
    if folder is not None:
        model_info.check_no_revision(model, revision)
    elif model_info.is_hub_id(model):
        folder = _fetched(model, revision or (entry.revision if entry else None))
    else:
        raise UnknownModel(
            f"There is no model {model!r}: give an id that `diffatlas bench scorers` lists, an id of the Hugging Face "
            "Hub (user/name), or the path of a folder of transformers.",
            field="model",
        )
    config = read_json(folder / "config.json")
    try:
        check_config("", config)
    except Wrong as wrong:
        raise ModelLoadError(f"The config of {model!r} cannot be used: {wrong}.", field="model") from wrong
    for file in names_in(folder):
        if file.endswith((".json", ".txt", ".model")):
            check_plain(folder / file)
    pinned = model_info.revision(folder)
    told = pinned.get("commit") or f"sha256:{pinned['sha256']}"
    checkpoint = Checkpoint(model, folder, told, config, entry)
    _weights(checkpoint)
    return checkpoint


def load_model(
    checkpoint: Checkpoint, cls: str, device: str | None = None, dtype: str | None = None
) -> Loaded:
    """Load a checkpoint as a class of transformers, to be asked and not to be trained.

    device: of torch; by default that of the settings. dtype: fp32, fp16 or bf16; by default the registry's, and fp32 on
    a CPU. Raises `ModelLoadError` where files are missing or damaged or do not fit the class, and `NotEnoughMemory`.
    """
    import torch

    device = pick_device(device or settings().device)
    dtype = dtype or _usual_dtype(checkpoint, device)
    if dtype not in DTYPES:
        raise InvalidParams(f"The dtype is {dtype!r}: it is {', '.join(DTYPES)}.", field="dtype")
    weights = _weights(checkpoint)
    for file in weights:
        model_info.header_of(file)
    if not settings().ignore_memory:
        needed = int(model_info.weight_bytes(weights, dtype) * HEADROOM)
        check_memory(checkpoint.name, needed, free_memory(device))
    with reading(checkpoint):
        model, told = class_of(cls).from_pretrained(
            checkpoint.folder,
            dtype=getattr(torch, DTYPES[dtype]),
            use_safetensors=True,
            local_files_only=True,
            # They are told of below.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        model = model.eval().to(device)
    # Without an error they would be drawn at random.
    lacking = sorted({*told["missing_keys"], *(name for name, *_ in told["mismatched_keys"])})
    if lacking:
        raise ModelLoadError(
            f"{checkpoint.name} has no fitting weights for {len(lacking)} of its parts, such as {lacking[0]}: it is no "
            f"whole {cls}; choose another model.",
            field="model",
        )
    return Loaded(checkpoint, model, device, dtype)


def load_image_processor(checkpoint: Checkpoint) -> Any:
    """Return what makes a checkpoint's inputs of pictures, by Pillow, so that all machines see the same pixels."""
    # Before there was a choice of backends, what is not fast was Pillow's.
    by_pillow = (
        {"backend": "pil"} if find_spec("transformers.image_processing_backends") else {"use_fast": False}
    )
    with reading(checkpoint):
        cls = class_of("AutoImageProcessor")
        return cls.from_pretrained(
            checkpoint.folder, local_files_only=True, trust_remote_code=False, **by_pillow
        )


def load_tokenizer(checkpoint: Checkpoint, cls: str) -> Any:
    """Return a checkpoint's tokenizer. Raises `ModelLoadError` where its files are missing or damaged."""
    if not has_words(checkpoint.folder):
        raise ModelLoadError(
            f"{checkpoint.name} lacks the files of its tokenizer: expected tokenizer.json or vocab.json; fetch the "
            "model again.",
            field="model",
        )
    with reading(checkpoint):
        return class_of(cls).from_pretrained(checkpoint.folder, local_files_only=True)


def class_of(name: str) -> Any:
    """Return a class of transformers. Raises `ModelLoadError` where this version has none of the name."""
    with importing():
        import transformers

        found = getattr(transformers, name, None)
    if found is None:
        raise ModelLoadError(
            f"transformers {transformers.__version__} has no {name}: update transformers, or choose another model.",
            field="model",
        )
    return found


@contextmanager
def reading(checkpoint: Checkpoint) -> Iterator[None]:
    """Say in a sentence what goes wrong while a checkpoint is loaded; what that imports, no other thread does."""
    try:
        with importing():
            yield
    except DiffAtlasError:
        raise
    except BaseException as error:
        if is_out_of_memory(error):
            raise OutOfMemory(f"The device ran out of memory when {checkpoint.name} was loaded.") from error
        # A reader that is written in Rust has panics, which are no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelLoadError(
            f"{checkpoint.name} could not be loaded: {first_line(error)}.", field="model"
        ) from error


@contextmanager
def judging(loaded: Loaded) -> Iterator[None]:
    """Compute without gradients, and say in a sentence what goes wrong."""
    import torch

    try:
        with torch.inference_mode():
            yield
    except DiffAtlasError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(
                f"The device ran out of memory while {loaded.name} judged: choose a smaller model, or close what else "
                "uses the device."
            ) from error
        raise BackendFailure(
            f"{loaded.name} failed with {type(error).__name__}: {first_line(error)}. Another model may work."
        ) from error


def check_finite(loaded: Loaded, *values: Any) -> None:
    """Raise `BackendFailure` where a model's numbers are not all finite, as fp16 can overflow."""
    if not all(bool(each.isfinite().all()) for each in values):
        cure = "fetch it again" if loaded.dtype == "fp32" else "run it in fp32"
        raise BackendFailure(f"{loaded.name} gave numbers that are not finite in {loaded.dtype}: {cure}.")


def _usual_dtype(checkpoint: Checkpoint, device: str) -> str:
    hint = checkpoint.entry.dtype if checkpoint.entry else None
    return "fp32" if device.startswith("cpu") else hint or "fp32"


def _on_disk(model: str, listed: bool) -> Path | None:
    """The folder of this name, of a listed one also beside the registry; None where there is none."""
    try:
        path = Path(model).expanduser()
        places = [models_folder() / path, path] if listed else [path]
        return next((place for place in places if place.is_dir()), None)
    except (OSError, RuntimeError, ValueError):
        return None


def _fetched(model: str, revision: str | None) -> Path:
    """The folder of a model of the Hub, in its cache."""
    try:
        folder = _download(model, revision, local_files_only=True)
    except Exception:
        # Not in the cache: one of several exceptions, by the version of huggingface_hub.
        folder = None
    if folder is not None and (folder / "config.json").is_file() and _weights_in(folder):
        return folder
    check_hub_token()
    try:
        return _download(model, revision)
    except Exception as error:
        raise not_fetched(model, {"revision": revision}, error) from error


def _download(model: str, revision: str | None, **options: Any) -> Path:
    from huggingface_hub import snapshot_download

    return Path(
        snapshot_download(
            model, revision=revision, allow_patterns=list(WANTED), ignore_patterns=["*/*"], **options
        )
    )


def _weights(checkpoint: Checkpoint) -> list[Path]:
    """The files of a checkpoint's weights. Raises `ModelLoadError` where there are none, or some are missing."""
    files = _weights_in(checkpoint.folder)
    if not files:
        raise ModelLoadError(
            f"{checkpoint.name} has no weights as safetensors (expected {_WEIGHTS}, or all files that {_INDEX} names): "
            "other formats are never read; name another revision or another model.",
            field="model",
        )
    return files


def _weights_in(folder: Path) -> Sequence[Path]:
    """The files of weights in a folder; none where one of them is missing."""
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    if not (folder / _INDEX).is_file():
        return []
    parts = read_json(folder / _INDEX).get("weight_map")
    named = {name for name in parts.values() if isinstance(name, str)} if isinstance(parts, dict) else set()
    files = [folder / Path(name).name for name in sorted(named)]
    return files if all(file.is_file() for file in files) else []
