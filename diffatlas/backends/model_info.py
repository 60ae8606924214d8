"""What can be known of a model without loading its weights: where it is, its sizes, its scheduler."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from diffatlas import files
from diffatlas.backends import schedulers, single_file
from diffatlas.backends.parts import FolderParts, Parts, read_index
from diffatlas.backends.weights import Weights, find_weights
from diffatlas.capture.calls import call_parameters
from diffatlas.capture.latent_grid import vae_factor
from diffatlas.errors import InvalidParams, ModelLoadError, UnknownModel, Unreadable
from diffatlas.params import GenerationParams
from diffatlas.registry import ModelEntry, find_model, models_folder

#: Bytes of one value, by the dtype names of safetensors and of the settings.
ITEM_SIZE = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "fp32": 4, "fp16": 2, "bf16": 2}
#: Endings of the files of a pipeline folder that decide its results: weights, configs, vocabularies.
CONTENT = (".safetensors", ".json", ".txt", ".model")


#: The names of the Hub's commits, which are those of the folders in its cache.
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True)
class ModelSource:
    """Where a model's files are: a folder, or a Hub id that may still have to be fetched."""

    model: str
    folder: Path | None
    entry: ModelEntry | None = None
    #: The variant that a request names, which must be there; that of ``entry`` is taken where there is one.
    variant: str | None = None
    #: Of the Hub: branch, tag or commit.
    revision: str | None = None
    #: Where in the Hub's repository the pipeline is. ``folder`` is that of the pipeline itself.
    subfolder: str | None = None
    #: Of a checkpoint in one file: that file. ``folder`` is then a view of it (`single_file.view`).
    file: Path | None = None

    @property
    def hint(self) -> str | None:
        """The registry's variant of the weights."""
        return self.entry.variant if self.entry else None


@dataclass(frozen=True)
class ModelInfo:
    """What a form needs to know of a model. Sizes in pixels."""

    model: str
    name: str
    pipeline: str
    #: Native size.
    width: int
    height: int
    #: Width and height must be multiples of this (VAE factor times patch or packing).
    size_multiple: int
    #: Tokens of the prompt that the first text encoder reads; None where the tokenizer does not say.
    token_limit: int | None
    #: Most steps that a run can take (the timesteps the model was trained on); None for flow matching.
    max_steps: int | None
    #: What the model predicts; None where its scheduler is of an unknown kind.
    prediction: str | None
    #: Names that fit, the model's own first.
    schedulers: tuple[str, ...]


def find_source(
    model: str,
    variant: str | None = None,
    revision: str | None = None,
    subfolder: str | None = None,
    config: str | None = None,
) -> ModelSource:
    """Find a model by its id in a registry, by the path of its folder or file, or by its id on the Hub (user/name).

    variant, revision, subfolder: as `GenerationParams` has them; the registry's where they are None.
    config: of a checkpoint in one file, the folder or the model that its configs are taken from; the registry's, or
        those that diffusers takes for such weights, where it is None.
    The Hub is not asked: whether it has such a model is known when it is looked up or fetched.

    Raises `UnknownModel`, or `ModelLoadError` for what is known to be missing.
    """
    try:
        entry = find_model(model)
    except UnknownModel:
        folder = _on_disk(model)
        if folder is not None and folder.is_dir():
            return _folder_source(model, folder, None, variant, revision, subfolder)
        if folder is not None:
            return _file_source(model, folder.resolve(), None, config, variant or revision or subfolder)
        if is_hub_id(model):
            return ModelSource(model, None, None, variant, revision, subfolder)
        raise
    revision, subfolder = revision or entry.revision, subfolder or entry.subfolder
    folder = models_folder() / Path(entry.id).expanduser()
    if folder.is_file():
        return _file_source(model, folder, entry, config or entry.config, variant or revision or subfolder)
    if folder.is_dir() and (subfolder or (folder / "model_index.json").is_file()):
        return _folder_source(model, folder, entry, variant, revision, subfolder)
    if not is_hub_id(entry.id):
        raise ModelLoadError(
            f"The files of the model {entry.id!r} are missing: expected a pipeline folder or file at {folder}.",
            field="model",
        )
    return ModelSource(model, None, entry, variant, revision, subfolder)


def _on_disk(model: str) -> Path | None:
    """Return the folder or the file of this name; None where there is none, or no disk could have such a name."""
    try:
        path = Path(model).expanduser()
        return path if path.is_dir() or path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None


def is_hub_id(model: str) -> bool:
    """Whether a text is formed like an id of the Hub, user/name; whether there is such a model is not asked."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(model)
    except HFValidationError:
        return False
    return model.count("/") == 1


def name_of(source: ModelSource, folder: Path) -> str:
    """Return what a model is called: as in the registry, else as on the Hub, else as its folder.

    folder: where its files are; of a model of the Hub that is a folder of the cache, named by a commit.
    """
    if source.entry:
        return source.entry.name
    if source.file:
        return source.file.stem
    return folder.name if source.folder else source.model.rpartition("/")[2]


def _folder_source(
    model: str,
    folder: Path,
    entry: ModelEntry | None,
    variant: str | None,
    revision: str | None,
    subfolder: str | None,
) -> ModelSource:
    """Return the source of a pipeline that is in a folder, or in a subfolder of it."""
    check_no_revision(model, revision)
    folder = _inside(folder, subfolder, model)
    if (folder / "model_index.json").is_file():
        # Of a listed model the path is as its registry has it.
        return ModelSource(model, folder if entry else folder.resolve(), entry, variant, None, subfolder)
    error = ModelLoadError if entry else UnknownModel
    raise error(_no_pipeline(model, folder), field="model")


def _file_source(
    model: str, file: Path, entry: ModelEntry | None, config: str | None, more: str | None
) -> ModelSource:
    """Return the source of a checkpoint in one file. ``more``: a variant, revision or subfolder, which it has not."""
    if file.suffix in single_file.PICKLES:
        raise ModelLoadError(
            f"{file.name} is a pickle, which is never read: convert it to safetensors.", field="model"
        )
    if file.suffix != single_file.ENDING:
        raise UnknownModel(
            f"{model!r} is no model: it is neither a pipeline folder nor a safetensors file.", field="model"
        )
    if more:
        raise ModelLoadError(
            f"{file.name} is one file, which has no variant, revision or subfolder {more!r}: leave it out.",
            field="model",
        )
    return ModelSource(model, single_file.view(file, _config_folder(file, config)), entry, file=file)


def _config_folder(file: Path, config: str | None) -> Path:
    """Return a pipeline folder with the configs for a file. Raises `ModelLoadError` where they are not here."""
    if config is None:
        repository = single_file.usual_config(file)
        folder = single_file.cached_config(repository)
        if folder is None:
            raise single_file.needs_config(file, repository)
        return folder
    try:
        source = find_source(config)
    except UnknownModel as error:
        raise ModelLoadError(
            f"The configs of {file.name} cannot be found: {error.message}", field="model"
        ) from error
    folder = source.folder or single_file.cached_config(source.model)
    if folder is None:
        raise single_file.needs_config(file, source.model)
    return folder


def source_of(params: GenerationParams) -> ModelSource:
    """Find the model of a request; see `find_source`."""
    return find_source(params.model, params.variant, params.revision, params.subfolder)


def check_no_revision(model: str, revision: str | None) -> None:
    """Raise `ModelLoadError` where a revision is asked for of a folder, which has none."""
    if revision:
        raise ModelLoadError(
            f"{model!r} is a folder on this machine, which has no revision {revision!r}: leave it out.",
            field="revision",
        )


def _inside(folder: Path, subfolder: str | None, model: str) -> Path:
    """Return a subfolder of ``folder``. Raises `ModelLoadError` naming the pipelines that there are instead."""
    if not subfolder:
        return folder
    inner = _on_disk(str(folder / subfolder))
    if inner and inner.is_dir() and inner.resolve().is_relative_to(folder.resolve()):
        return inner
    others = pipelines_in(folder)
    there = f"there are pipelines in {', '.join(others)}" if others else "no subfolder of it is a pipeline"
    raise ModelLoadError(f"{model!r} has no subfolder {subfolder!r}: {there}.", field="subfolder")


def pipelines_in(folder: Path) -> list[str]:
    """Return the names of the subfolders that are pipelines."""
    return sorted(index.parent.name for index in folder.glob("*/model_index.json"))


def _no_pipeline(model: str, folder: Path) -> str:
    others = pipelines_in(folder)
    hint = f"; name one of its subfolders ({', '.join(others)}) as subfolder" if others else ""
    return f"The folder {model!r} is not a diffusers pipeline: it has no model_index.json{hint}."


def describe(model: str, folder: Path, entry: ModelEntry | None = None) -> ModelInfo:
    """Read a pipeline folder's JSON files. Raises `ModelLoadError` where they are not what they should be."""
    return describe_parts(model, entry.name if entry else folder.name, FolderParts(folder), entry)


def describe_parts(model: str, name: str, parts: Parts, entry: ModelEntry | None = None) -> ModelInfo:
    """Return what the configs of a pipeline tell. Raises `ModelLoadError` where they are not what they should be."""
    index = parts.index
    denoiser = parts.config("transformer") or parts.config("unet")
    if not denoiser or not isinstance(index.get("scheduler"), list):
        raise ModelLoadError(
            f"{model!r} ({index.get('_class_name')}) has no unet or transformer with a scheduler, "
            "which a text-to-image diffusion pipeline must have.",
            field="model",
        )
    vae = parts.config("vae") or parts.config("movq") or parts.config("vqvae")
    # Without one, the latents are the picture.
    factor = vae_factor(vae) if vae else 1
    # A pipeline that packs latents takes 2 x 2 of them as the channels of one token (FLUX and its kin).
    channels = vae.get("latent_channels") or vae.get("z_dim")
    packed = bool(channels) and denoiser.get("in_channels") == 4 * channels
    patch = denoiser.get("patch_size") or denoiser.get("all_patch_size") or 1
    patch = max(patch) if isinstance(patch, list) else patch
    sample = denoiser.get("sample_size") or 128
    height, width = sample if isinstance(sample, list) else (sample, sample)
    native = (width * factor, height * factor)
    if entry and entry.size:
        native = (entry.size, entry.size)
    scheduler = parts.config("scheduler")
    tokenizer = parts.config("tokenizer")
    limit = tokenizer.get("model_max_length")
    return ModelInfo(
        model=model,
        name=name,
        pipeline=str(index.get("_class_name")),
        width=native[0],
        height=native[1],
        size_multiple=factor * max(patch, 2 if packed else 1),
        token_limit=int(limit) if limit and limit < 1e6 else None,
        max_steps=_max_steps(scheduler),
        prediction=schedulers.prediction_type(scheduler),
        schedulers=tuple(schedulers.fitting(scheduler)),
    )


def scheduler_config(folder: Path) -> dict[str, Any]:
    """Return the config of a pipeline folder's scheduler."""
    return FolderParts(folder).config("scheduler")


def fit(params: GenerationParams, parts: Parts, info: ModelInfo) -> GenerationParams:
    """Return ``params`` with size and scheduler filled in.

    Raises:
        InvalidParams: the size is not a multiple of the model's, or there are more steps than timesteps.
        SchedulerMismatch: the scheduler does not fit; the message lists those that do.
    """
    if info.max_steps and params.num_inference_steps > info.max_steps:
        raise InvalidParams(
            f"The number of steps is {params.num_inference_steps}: {info.name} was trained on timesteps for "
            f"at most {info.max_steps}.",
            field="num_inference_steps",
        )
    if not _takes_size(parts.pipeline):
        if not params.inputs and (params.width or info.width, params.height or info.height) != (
            info.width,
            info.height,
        ):
            raise InvalidParams(
                f"{info.name} makes pictures of {info.width} x {info.height} alone: leave the size out.",
                field="width",
            )
        # Else it is that of the picture that the run is given.
        return params.replace(scheduler=schedulers.resolve(parts.config("scheduler"), params.scheduler))
    m = info.size_multiple
    sizes = {"width": params.width or info.width, "height": params.height or info.height}
    for name, value in sizes.items():
        if value % m:
            below, above = value // m * m, (value // m + 1) * m
            choice = f"{below} or {above}" if below else str(above)
            raise InvalidParams(
                f"The {name} is {value}: {info.name} needs a multiple of {m}, such as {choice}.", field=name
            )
    return params.replace(**sizes, scheduler=schedulers.resolve(parts.config("scheduler"), params.scheduler))


def _takes_size(pipeline: type | None) -> bool:
    return pipeline is None or "width" in call_parameters(pipeline)


def weights_of(source: ModelSource, folder: Path) -> tuple[Weights, ...]:
    """Return the weights that loading a model's pipeline reads, by component; see `find_weights`.

    Of a checkpoint in one file that is this file.
    """
    if source.file:
        return (Weights("checkpoint", "diffusers", "", None, (source.file,), frozenset({None})),)
    index = read_index(folder)
    return find_weights(folder, index, name_of(source, folder), source.variant, source.hint)


def weight_files(folder: Path, variant: str | None) -> list[Path]:
    """Return the safetensors files that loading the pipeline reads; of ``variant`` where there are some.

    Raises `ModelLoadError` where a component has none.
    """
    found = find_weights(folder, read_index(folder), folder.name, hint=variant)
    return [file for part in found for file in part.files]


def weight_bytes(files: list[Path], dtype: str) -> int:
    """Return the bytes that the weights take once they are converted to ``dtype`` (fp32, fp16 or bf16)."""
    total = 0
    for path in files:
        total += sum(_converted(one, dtype) for one in header_of(path, bodiless=True).values())
    return total


def _converted(tensor: Mapping[str, Any], dtype: str) -> int:
    start, end = tensor["data_offsets"]
    item = ITEM_SIZE.get(tensor["dtype"])
    # A quantised or integer tensor keeps its own size.
    return (end - start) // item * ITEM_SIZE[dtype] if item else end - start


def largest_tensor(path: Path, dtype: str) -> int:
    """Return the bytes that the largest tensor of a file takes once it is converted to ``dtype``."""
    return max((_converted(one, dtype) for one in header_of(path, bodiless=True).values()), default=0)


def header_of(path: Path, bodiless: bool = False) -> dict[str, dict[str, Any]]:
    """Return what a file of weights says of its tensors.

    bodiless: whether it may be the header alone, as it is fetched of a model of the Hub before the weights are.

    Raises `ModelLoadError` saying what is wrong with the file and what to do.
    """
    try:
        return files.tensors_header(path, bodiless=bodiless)
    except (OSError, Unreadable) as error:
        reason = error.reason if isinstance(error, Unreadable) else files.reason_of(error)
        raise ModelLoadError(
            f"The weights in {path.parent.name}/{path.name} are incomplete or damaged ({reason}): fetch them again.",
            field="model",
        ) from error


def revision(folder: Path) -> dict[str, str]:
    """Return what pins the weights: the Hub's commit, or the SHA-256 of a folder's files.

    Of a checkpoint in one file that is the file's own SHA-256, beside that of the configs that it is read with.
    """
    for place in (folder, *folder.parents):
        # Above the folder itself only what can be nothing else.
        commit = _COMMIT.fullmatch(place.name) and (place == folder or len(place.name) == 40)
        if commit and place.parent.name == "snapshots":
            return {"commit": place.name}
    # A link that leads nowhere, a folder or a pipe of such a name is nothing that could be read.
    files = sorted(p for p in folder.rglob("*") if p.suffix in CONTENT and p.is_file())
    stats = tuple((p, p.stat().st_size, p.stat().st_mtime_ns) for p in files)
    digest = _content_hash(folder, stats)
    if file := single_file.checkpoint_of(folder):
        told = file.stat()
        return {"sha256": _file_hash(file, told.st_size, told.st_mtime_ns), "config_sha256": digest}
    return {"sha256": digest}


@lru_cache(maxsize=16)
def _file_hash(file: Path, size: int, changed: int) -> str:
    """Hash one file as ``sha256sum`` does; size and time of change make a changed one a new entry of the cache."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@lru_cache(maxsize=16)
def _content_hash(folder: Path, stats: tuple[tuple[Path, int, int], ...]) -> str:
    """Hash relative names and contents; ``stats`` makes a changed file a new entry of the cache."""
    digest = hashlib.sha256()
    for path, size, _ in stats:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _max_steps(scheduler: dict[str, Any]) -> int | None:
    """Return the number of trained timesteps; an offset of the leading spacing takes from it."""
    if schedulers.prediction_type(scheduler) == "flow_prediction":
        return None
    return (scheduler.get("num_train_timesteps") or 1000) - (scheduler.get("steps_offset") or 0)
