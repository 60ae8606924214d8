"""Loading a pipeline: device, dtype, memory, files."""

from __future__ import annotations

import gc
import inspect
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diffatlas.backends import dtypes, memory, model_info, placement
from diffatlas.backends.configs import LIBRARIES, is_part
from diffatlas.backends.model_info import ModelInfo, ModelSource
from diffatlas.backends.parts import (
    FolderParts,
    Parts,
    PipeParts,
    check_plain,
    class_of_diffusers,
    import_classes,
    names_in,
    read_config,
    read_index,
    whole_diffusers,
)
from diffatlas.backends.placement import Placement
from diffatlas.backends.weights import LEFT_OUT, Weights, variant_of
from diffatlas.capture.calls import call_parameters
from diffatlas.capture.ran_on import environment, in_memory
from diffatlas.errors import CapabilityError, InvalidParams, ModelLoadError
from diffatlas.importing import importing
from diffatlas.registry import did_you_mean
from diffatlas.settings import check_hub_token

#: Of a subfolder of the Hub, what is not fetched: other formats, and code.
NEVER = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.msgpack", "*.h5", "*.onnx*", "*.gguf", "*.py")


@dataclass(frozen=True)
class Loaded:
    """A pipeline in memory, and where it came from."""

    pipe: Any
    source: ModelSource
    #: None for a pipeline that was handed in.
    folder: Path | None
    info: ModelInfo
    device: str
    dtype: str
    #: What pins the weights, as they were when they were read.
    revision: Mapping[str, str]
    #: The variant of the weights that were read, by component where they differ; None for plain files.
    variant: str | dict[str, str] | None = None
    #: Of a pipeline that was handed in: its scheduler then, whatever a run has put in its place.
    own_scheduler: Any = None
    #: The LoRAs that are on it for a run: file name, SHA-256, weight, layers.
    loras: tuple[Mapping[str, Any], ...] = ()
    #: How it was put on its device; of one that was handed in nothing is known.
    placement: Placement = field(default_factory=Placement)

    @property
    def parts(self) -> Parts:
        """The configs of its components."""
        return PipeParts(self.pipe) if self.folder is None else FolderParts(self.folder)

    @property
    def call_parameters(self) -> Mapping[str, inspect.Parameter]:
        """The parameters of the pipeline's call."""
        return call_parameters(type(self.pipe))


def pick_device(wanted: str = "auto") -> str:
    """Return a torch device: the one asked for, or CUDA, MPS, the CPU in this order."""
    import torch

    if wanted != "auto":
        try:
            torch.empty(1, device=wanted)
        except Exception as error:
            raise InvalidParams(
                f"The device {wanted!r} cannot be used here: {first_line(error)}.", field="device"
            ) from error
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def cached(source: ModelSource) -> Path | None:
    """Return the folder of a model's files where they are on this machine, else None. The Hub is not asked."""
    if source.folder is not None:
        return source.folder
    try:
        folder = _download(source, local_files_only=True)
    except Exception:
        # Not in the cache: one of several exceptions, by the version of huggingface_hub.
        return None
    try:
        model_info.weights_of(source, folder)
    except ModelLoadError:
        # What is here may be another variant, or a part.
        return None
    return folder


def fetch(source: ModelSource) -> Path:
    """Return the folder of a model's files, from the Hub's cache or the Hub where it is not local."""
    folder = cached(source)
    if folder is not None:
        return folder
    check_hub_token()
    try:
        return _download(source)
    except Exception as error:
        asked = {"variant": source.variant, "revision": source.revision, "subfolder": source.subfolder}
        meant = "" if source.entry else did_you_mean(source.model, likeness=0.85)
        raise not_fetched(source.model, asked, error, meant) from error


def not_fetched(
    model: str, asked: Mapping[str, str | None], error: BaseException, meant: str = ""
) -> ModelLoadError:
    """Return the error that says why a model did not come from the Hub.

    asked: what else was named of it, such as its revision; None where it was not. meant: words on another of its name.
    """
    named = ", ".join(f"{name} {value!r}" for name, value in asked.items() if value is not None)
    return ModelLoadError(
        f"{model!r}{f' ({named})' if named else ''}{meant} is not on this machine and could not be "
        f"fetched from the Hugging Face Hub ({first_line(error)}): check the network, and that its licence "
        "is accepted and a token is set if it is gated.",
        field="model",
    )


def _download(source: ModelSource, **options: Any) -> Path:
    """Return the folder of a pipeline of the Hub, fetched where it is not in the cache."""
    if not source.subfolder:
        download = whole_diffusers().DiffusionPipeline.download
        return Path(download(source.model, **_what_to_fetch(source), **options))
    # diffusers fetches only pipelines that are at the top of their repository.
    from huggingface_hub import snapshot_download

    inside = [f"{source.subfolder}/**"]
    folder = Path(
        snapshot_download(
            source.model,
            revision=source.revision,
            allow_patterns=inside,
            ignore_patterns=list(NEVER),
            **options,
        )
    )
    if not (folder / source.subfolder / "model_index.json").is_file():
        raise FileNotFoundError(f"it has no pipeline in its subfolder {source.subfolder}")
    return folder / source.subfolder


def load(
    source: ModelSource, folder: Path, device: str, dtype: str, *, ignore_memory: bool = False
) -> Loaded:
    """Load a pipeline folder onto a device.

    Only safetensors are read, never pickles. Safety checkers are left out: they replace images by black ones.

    Raises:
        NotEnoughMemory: it is not expected to fit.
        ModelLoadError: files are missing, damaged or of an unknown class.
        CapabilityError: it is a pipeline, but not from text to image.
    """
    import torch

    info = replace(
        model_info.describe(source.model, folder, source.entry), name=model_info.name_of(source, folder)
    )
    weights = model_info.weights_of(source, folder)
    _check_parts(info.name, folder)
    if not source.file:
        _check_tokenizers(info.name, folder)
    for part in weights:
        for file in part.files:
            model_info.header_of(file)
    put = plan(source, folder, device, dtype)
    if not ignore_memory:
        memory.check_fits(info.name, memory.needs_of(source, folder, info, device, dtype, put), device)
    cls = pipeline_class(info)
    accepted = inspect.signature(cls.__init__).parameters
    without = {
        key: value
        for key, value in {"safety_checker": None, "requires_safety_checker": False}.items()
        if key in accepted
    }
    if source.file and not hasattr(cls, "from_single_file"):
        raise ModelLoadError(
            f"{info.name} is a {info.pipeline}, which diffusers cannot read from one file.", field="model"
        )
    import_classes(read_index(folder))
    try:
        options = {"dtype": getattr(torch, dtypes.DTYPES[dtype]), "local_files_only": True, **without}
        if source.file:
            # Only a safetensors file gets here (`find_source`), and a folder of configs: nothing is fetched.
            pipe = cls.from_single_file(str(source.file), config=str(folder), **options)
        else:
            # diffusers takes one variant for all components.
            parts = {part.component: _load_part(part, folder, dtype) for part in weights if part.variant}
            pipe = cls.from_pretrained(folder, use_safetensors=True, **options, **parts)
        pipe.set_progress_bar_config(disable=True)
        placement.put(pipe, put, device)
    except (torch.OutOfMemoryError, MemoryError, ModelLoadError):
        raise
    except BaseException as error:
        # A reader that is written in Rust has panics, which are no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        part = _part_of(error)
        where = f", because of its folder {part}" if part else ""
        raise ModelLoadError(
            f"{info.name} could not be loaded{where}: {first_line(error)}.", field="model"
        ) from error
    pinned = model_info.revision(folder)
    return Loaded(pipe, source, folder, info, device, dtype, pinned, variant_of(weights), placement=put)


def plan(source: ModelSource, folder: Path | None, device: str, dtype: str) -> Placement:
    """Return how a model is put on a device; see `diffatlas.backends.placement.plan`."""
    return placement.plan(source.entry, folder, device, dtype, placement.total_memory(device))


def _part_of(error: BaseException) -> str | None:
    """Return the component that was being loaded when something went wrong; None where that is not known."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        told = frame.f_locals
        if frame.f_code.co_name == "load_sub_model" and isinstance(told.get("name"), str):
            return told["name"]
        if frame.f_code is _load_part.__code__:
            return told["part"].component
    return None


def _check_parts(name: str, folder: Path) -> None:
    """Raise `ModelLoadError` where a part is of a library that no pipeline is made of and that would be imported, where
    it is code of its own, or where its config asks for more than any model has."""
    pipelines = whole_diffusers().pipelines
    for part, entry in read_index(folder).items():
        if not is_part(entry) or None in entry or part == LEFT_OUT[0]:
            continue
        library = entry[0]
        with importing():
            known = library in LIBRARIES or (library.isidentifier() and hasattr(pipelines, library))
        if not known or (folder / part / f"{library}.py").exists():
            raise ModelLoadError(
                f"{name} has a {part} of {library[:60]!r}, which is no part of diffusers or transformers: code that "
                "comes with a model is never run.",
                field="model",
            )
        read_config(folder, part)
        for file in names_in(folder / part):
            # transformers passes over what is no file, and goes on with a tokenizer that knows no word.
            if file.endswith((".json", ".txt", ".model")):
                check_plain(folder / part / file)


def _check_tokenizers(name: str, folder: Path) -> None:
    """Raise `ModelLoadError` where a tokenizer that the pipeline names has no files: the Hub would be asked for it."""
    for part, entry in read_index(folder).items():
        if not is_part(entry) or "Tokenizer" not in (entry[1] or ""):
            continue
        if not has_words(folder / part):
            raise ModelLoadError(
                f"{name} lacks the files of its {part}: expected {part}/tokenizer.json or {part}/vocab.json; fetch the "
                "model again.",
                field="model",
            )


def has_words(folder: Path) -> bool:
    """Whether a folder has a file with the words of a tokenizer."""
    there = names_in(folder)
    known = {"tokenizer.json", "vocab.json", "vocab.txt"}.intersection(there)
    return bool(known) or any(file.endswith(".model") for file in there)


def pipeline_class(info: ModelInfo) -> type:
    """Return the class of a model's pipeline.

    Raises `ModelLoadError` where this version of diffusers has none of the name, `CapabilityError` where it does not
    go from text to image.
    """
    diffusers = whole_diffusers()
    cls = class_of_diffusers(info.pipeline)
    if not (inspect.isclass(cls) and issubclass(cls, diffusers.DiffusionPipeline)):
        raise ModelLoadError(
            f"{info.name} is a {info.pipeline}, which is no pipeline of diffusers "
            f"{diffusers.__version__}: update diffusers, or choose another model.",
            field="model",
        )
    call = inspect.signature(cls.__call__).parameters
    if "prompt" not in call or "num_frames" in call:
        raise CapabilityError(
            f"{info.name} is a {info.pipeline}, which makes no image of a text: choose another model.",
            field="model",
        )
    return cls


def _load_part(part: Weights, folder: Path, dtype: str) -> Any:
    """Load one component from the files of its variant."""
    import importlib

    import torch

    diffusers = whole_diffusers()
    library = part.library
    if library not in ("diffusers", "transformers") and hasattr(diffusers.pipelines, library):
        library = f"diffusers.pipelines.{library}"
    with importing():
        cls = getattr(importlib.import_module(library), part.cls)
    return cls.from_pretrained(
        folder / part.component,
        dtype=getattr(torch, dtypes.DTYPES[dtype]),
        variant=part.variant,
        use_safetensors=True,
        local_files_only=True,
    )


def release(device: str | None) -> None:
    """Return the memory of a pipeline that nothing refers to any more."""
    gc.collect()
    if device and device.startswith(("cuda", "mps")):
        import torch

        (torch.cuda if device.startswith("cuda") else torch.mps).empty_cache()


def provenance(loaded: Loaded, scheduler: Any) -> dict[str, Any]:
    """Return what a run ran on, as plain JSON types."""
    if loaded.folder is None:
        return in_memory(loaded.pipe, loaded.source.model, scheduler, loaded.revision) | _named(loaded)
    return {
        "model": loaded.source.model,
        "source": _place(loaded.source),
        "revision": dict(loaded.revision),
        **_named(loaded),
        "pipeline": type(loaded.pipe).__name__,
        **environment(scheduler, loaded.device, loaded.dtype),
    }


def _place(source: ModelSource) -> str:
    if source.folder is None:
        return "hub"
    if source.file:
        return "file"
    return "embedded" if source.entry and source.entry.provider == "local" else "folder"


def _named(loaded: Loaded) -> dict[str, Any]:
    """Return what else tells this run's model from others of its name, where there is something."""
    also = {
        "variant": loaded.variant,
        "subfolder": loaded.source.subfolder,
        "loras": [dict(lora) for lora in loaded.loras],
        "placement": loaded.placement.told,
    }
    return {name: value for name, value in also.items() if value}


def _what_to_fetch(source: ModelSource) -> dict[str, Any]:
    return {
        "variant": source.variant or source.hint,
        "revision": source.revision,
        "use_safetensors": True,
        "safety_checker": None,
    }


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, short enough for a sentence."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:300]
