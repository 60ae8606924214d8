"""What a model is, said before anything of it is loaded: from its folder, or from what the Hub lists of it."""

from __future__ import annotations

import inspect
import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diffatlas import files
from diffatlas.backends import dtypes, loading, model_info
from diffatlas.backends.model_info import ModelInfo, ModelSource
from diffatlas.backends.parts import read_index
from diffatlas.backends.weights import LEFT_OUT
from diffatlas.errors import CapabilityError, DiffAtlasError, ModelLoadError, UnknownModel, Unreadable
from diffatlas.registry import ModelEntry, did_you_mean

#: Seconds that the Hub has for each answer.
PATIENCE = 10
#: Of a pipeline's folder, what says what it is.
_CONFIGS = ("model_index.json", "config.json", "scheduler_config.json", "tokenizer_config.json")


@dataclass(frozen=True)
class ModelCard:
    """What a model is. Sizes of files and memory in bytes."""

    #: Its id on the Hub or in the registry, or the absolute path of its folder.
    id: str
    name: str
    #: Class of the pipeline, native size in pixels, schedulers that fit.
    info: ModelInfo
    #: fp32, fp16 or bf16: what it would run in here.
    dtype: str
    #: Memory that its weights take in ``dtype``.
    weight_bytes: int
    #: What has to be downloaded before it runs; 0 where its files are on this machine.
    download_bytes: int
    #: As its README names it; None where that does not.
    licence: str | None
    #: Whether its licence has to be accepted on the Hub.
    gated: bool
    on_disk: bool
    #: Whether the installed version of diffusers has the class.
    known_class: bool
    #: Why it cannot run, where that is known: no such class, or not from text to image.
    problem: str | None = None
    #: What its pipeline takes where nothing is asked; None where the class is unknown or does not say.
    steps: int | None = None
    guidance: float | None = None
    variant: str | None = None
    revision: str | None = None
    subfolder: str | None = None
    #: Of a checkpoint in one file: what its configs are taken from, where that was said.
    config: str | None = None
    #: How it would be put on the device, a sentence each.
    placed: tuple[str, ...] = ()

    @property
    def pipeline(self) -> str:
        """The name of the pipeline's class."""
        return self.info.pipeline

    @property
    def size(self) -> tuple[int, int]:
        """Native width and height in pixels."""
        return self.info.width, self.info.height

    def sentences(self) -> tuple[str, ...]:
        """Return what there is to say, a sentence each."""
        width, height = self.size
        said = [
            f"{self.name} is a {self.pipeline} with a native size of {width} × {height} pixels.",
            f"Its weights take {size_words(self.weight_bytes)} of memory in {self.dtype}.",
            "Its files are on this machine."
            if self.on_disk
            else f"{size_words(self.download_bytes)} have to be downloaded from the Hub first.",
        ]
        if self.gated:
            licence = f" ({self.licence})" if self.licence else ""
            said.append(f"Its licence{licence} has to be accepted at https://huggingface.co/{self.id}.")
        elif self.licence:
            said.append(f"Its licence is {self.licence}.")
        said += self.placed
        return (*said, self.problem) if self.problem else tuple(said)

    @property
    def sentence(self) -> str:
        """All `sentences` in a row."""
        return " ".join(self.sentences())

    @property
    def line(self) -> str:
        """The same in a line, for a form."""
        width, height = self.size
        here = "on this machine" if self.on_disk else f"{size_words(self.download_bytes)} to download"
        memory = f"{size_words(self.weight_bytes)} in {self.dtype}"
        said = f"{self.pipeline}, {width} × {height} pixels, {memory}, {here}."
        if self.gated:
            said += " Licence to accept on the Hub."
        elif self.licence and not self.on_disk:
            said += f" Licence: {self.licence}."
        said = " ".join((said, *self.placed))
        return f"{said} {self.problem}" if self.problem else said

    def entry(self, **given: Any) -> ModelEntry:
        """Return a line for a registry; what is ``given`` and not None stands in place of what was found."""
        width, height = self.size
        found = {
            "name": self.name,
            "size": width if width == height else None,
            "steps": self.steps,
            "guidance": self.guidance,
            "mem": max(0.01, round(self.weight_bytes / 1e9, 2)),
            "download": None if self.on_disk else max(0.01, round(self.download_bytes / 1e9, 2)),
            "variant": self.variant,
            "revision": self.revision,
            "subfolder": self.subfolder,
            "config": self.config,
        }
        return ModelEntry(
            id=self.id, **found | {name: value for name, value in given.items() if value is not None}
        )


def look_up(
    model: str,
    revision: str | None = None,
    subfolder: str | None = None,
    variant: str | None = None,
    *,
    config: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    token: str | None = None,
) -> ModelCard:
    """Say what a model is without loading it: of one that is not here, the Hub is asked for its list of files, its
    configs and the headers of its weights, and none of it is kept.

    model: an id of the registry or of the Hub, a folder, or a safetensors file. revision, subfolder, variant: as of
        `GenerationParams`. config: of a file, the folder or model that its configs are taken from.
    device, dtype: where and in what it would run, as `LocalBackend` takes them; None for the settings'.
    token: of the Hub; None for the one that is set up on this machine.

    Raises:
        UnknownModel: there is no such model here or on the Hub, or it is no diffusers pipeline.
        ModelLoadError: the Hub cannot be reached, does not let this token in, or files are not what they should be.
        InvalidParams: the device cannot be used.
    """
    from diffatlas.settings import settings

    source = model_info.find_source(model, variant, revision, subfolder, config)
    chosen = settings()
    device = loading.pick_device(chosen.device if device is None else device)
    dtype = chosen.dtype if dtype is None else dtype
    folder = loading.cached(source)
    if folder is not None:
        licence = _licence(folder) or _licence(folder.parent) if source.subfolder else _licence(folder)
        return _card(source, folder, device, dtype, licence=licence, on_disk=True, config=_absolute(config))
    with tempfile.TemporaryDirectory(prefix="diffatlas-") as room:
        try:
            listed = _Listed.of(source, token)
            folder = listed.skeleton(Path(room))
        except DiffAtlasError:
            raise
        except Exception as error:
            raise _typed(error, source) from error
        said = {
            "licence": listed.licence,
            "gated": listed.gated,
            "download_bytes": listed.to_download(folder),
        }
        return _card(source, folder, device, dtype, on_disk=False, **said)


def size_words(size: int) -> str:
    """Return bytes in words: "6.9 GB", "52 MB"."""
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{max(1, round(size / 1e6))} MB"


def _card(source: ModelSource, folder: Path, device: str, dtype: str, **said: Any) -> ModelCard:
    """Read a pipeline's folder, which may have no more of its weights than their headers."""
    name = model_info.name_of(source, folder)
    info = replace(model_info.describe(source.model, folder, source.entry), name=name)
    files = [file for part in model_info.weights_of(source, folder) for file in part.files]
    runs_in = dtypes.pick_dtype(dtype, device, source, folder)
    problem, known, first = None, True, {}
    try:
        first = _first_values(loading.pipeline_class(info))
    except (ModelLoadError, CapabilityError) as error:
        problem, known = error.message, isinstance(error, CapabilityError)
    entry = source.entry
    return ModelCard(
        id=_id_of(source),
        name=name,
        info=info,
        dtype=runs_in,
        weight_bytes=model_info.weight_bytes(files, runs_in),
        known_class=known,
        problem=problem,
        steps=(entry and entry.steps) or first.get("num_inference_steps"),
        guidance=first.get("guidance_scale") if entry is None or entry.guidance is None else entry.guidance,
        variant=source.variant or source.hint,
        revision=source.revision,
        subfolder=source.subfolder,
        placed=loading.plan(source, folder, device, runs_in).sentences(),
        **{"download_bytes": 0, "gated": False} | said,
    )


def _id_of(source: ModelSource) -> str:
    folder = Path(source.model).expanduser()
    if source.entry or source.folder is None:
        return source.model
    return str(folder.resolve())


def _absolute(config: str | None) -> str | None:
    """Return the path of a config folder in full; an id as it is."""
    folder = Path(config).expanduser() if config else None
    return str(folder.resolve()) if folder and folder.is_dir() else config


def _first_values(cls: type) -> dict[str, Any]:
    """Return the steps and the guidance that a pipeline's call takes where none are asked."""
    call = inspect.signature(cls.__call__).parameters
    values = {name: call[name].default for name in ("num_inference_steps", "guidance_scale") if name in call}
    return {name: value for name, value in values.items() if isinstance(value, (int, float))}


def _licence(folder: Path) -> str | None:
    """Return the licence that a folder's README names in its header."""
    try:
        text = files.read_bytes(folder / "README.md", 10_000_000).decode("utf-8", "replace")
    except (OSError, Unreadable):
        return None
    header = re.match(r"---\s*\n(.*?)\n---", text, flags=re.DOTALL)
    found = re.search(r"^license:\s*['\"]?([^'\"\n]+)", header[1], flags=re.MULTILINE) if header else None
    return _plain(found[1]) if found else None


def _plain(licence: Any) -> str | None:
    """Return the name of a licence; None for what is none: it comes from strangers."""
    name = licence.strip() if isinstance(licence, str) else ""
    return name if re.fullmatch(r"[\w.+ -]{1,60}", name) else None


@dataclass(frozen=True)
class _Listed:
    """What the Hub lists of a model."""

    source: ModelSource
    #: The commit that is listed.
    commit: str
    #: Name -> bytes, of the whole repository.
    files: Mapping[str, int]
    licence: str | None
    gated: bool
    token: str | None

    @classmethod
    def of(cls, source: ModelSource, token: str | None) -> _Listed:
        """Ask the Hub. Raises `UnknownModel` where it has no pipeline there."""
        from huggingface_hub import HfApi

        told = HfApi(token=token).model_info(
            source.model, revision=source.revision, files_metadata=True, timeout=PATIENCE
        )
        # A name that leads out of the repository would be written outside of the room that is made for it.
        listed = {file.rfilename: file.size or 0 for file in told.siblings or ()}
        files = {n: size for n, size in listed.items() if not n.startswith("/") and ".." not in n.split("/")}
        if f"{_prefix(source)}model_index.json" not in files:
            raise UnknownModel(_no_pipeline(source, files), field="model")
        said = told.card_data or {}
        licence = said.get("license_name") if said.get("license") == "other" else said.get("license")
        return cls(source, told.sha, files, _plain(licence), bool(told.gated), token)

    def skeleton(self, room: Path) -> Path:
        """Write the pipeline's configs and the headers of its weights into ``room``; return the pipeline's folder."""
        prefix = _prefix(self.source)
        inside = [n for n in self.files if n.startswith(prefix) and n.removeprefix(prefix).count("/") < 2]
        told = {n for n in inside if n.rpartition("/")[2] in _CONFIGS or n.endswith(".index.json")}
        for name in inside:
            # Which weights are read is known from their names.
            (room / name).parent.mkdir(parents=True, exist_ok=True)
            if name not in told:
                (room / name).touch()
        folder = room / prefix
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: self._fetch(name, room), told))
            parts = model_info.weights_of(self.source, folder)
            files = [file.relative_to(room).as_posix() for part in parts for file in part.files]
            list(pool.map(lambda name: self._fetch_header(name, room), files))
        return folder

    def to_download(self, folder: Path) -> int:
        """Return the bytes that loading will fetch: what the Hub's cache has of them is not counted."""
        from huggingface_hub import try_to_load_from_cache

        prefix = _prefix(self.source)
        if prefix:
            wanted = {name for name in self.files if _fetched_below(name, prefix)}
        else:
            parts = model_info.weights_of(self.source, folder)
            weights = {file.relative_to(folder).as_posix() for part in parts for file in part.files}
            index = read_index(folder)
            rooms = {name for name in index if name not in LEFT_OUT[:1]}
            told = {
                n for n in self.files if n.partition("/")[0] in rooms and n.endswith(model_info.CONTENT[1:])
            }
            wanted = weights | told | {"model_index.json"}
        return sum(
            self.files.get(name, 0)
            for name in wanted
            if not isinstance(try_to_load_from_cache(self.source.model, name, revision=self.commit), str)
        )

    def _fetch(self, name: str, room: Path) -> None:
        from huggingface_hub import hf_hub_download

        where = {"revision": self.commit, "token": self.token, "etag_timeout": PATIENCE}
        hf_hub_download(self.source.model, name, local_dir=room, **where)

    def _fetch_header(self, name: str, room: Path) -> None:
        from huggingface_hub import HfApi

        told = HfApi(token=self.token).parse_safetensors_file_metadata(
            self.source.model, name, revision=self.commit, timeout=PATIENCE
        )
        tensors = {
            key: {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": tensor.data_offsets}
            for key, tensor in told.tensors.items()
        }
        header = json.dumps(tensors).encode()
        (room / name).write_bytes(len(header).to_bytes(8, "little") + header)


def _prefix(source: ModelSource) -> str:
    return f"{source.subfolder}/" if source.subfolder else ""


def _fetched_below(name: str, prefix: str) -> bool:
    """Whether a file is fetched with the subfolder of a repository; see `loading.NEVER`."""
    from fnmatch import fnmatch

    return name.startswith(prefix) and not any(fnmatch(name, pattern) for pattern in loading.NEVER)


def _no_pipeline(source: ModelSource, files: Iterable[str]) -> str:
    others = sorted({n.rpartition("/")[0] for n in files if n.endswith("/model_index.json")})
    where = f"in its subfolder {source.subfolder} " if source.subfolder else ""
    hint = f"; name one of its subfolders ({', '.join(others)}) as subfolder" if others else ""
    return f"{source.model!r} {where}is not a diffusers pipeline: it has no model_index.json{hint}."


def _typed(error: BaseException, source: ModelSource) -> DiffAtlasError:
    """Return what kept the Hub from answering, in one sentence."""
    from huggingface_hub.errors import (
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    model = source.model
    # The client wraps what the Hub answered where it would have taken a file from its cache instead.
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    kinds = (GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError, OfflineModeIsEnabled)
    error = next((cause for cause in causes if isinstance(cause, kinds)), error)
    if isinstance(error, GatedRepoError):
        return ModelLoadError(
            f"The licence of {model!r} has to be accepted at https://huggingface.co/{model}, and a token set "
            "(`hf auth login`, or HF_TOKEN), before it can be looked at or fetched.",
            field="model",
        )
    if isinstance(error, RepositoryNotFoundError):
        return UnknownModel(
            f"The Hugging Face Hub has no model {model!r}{did_you_mean(model, likeness=0.85)}, or it is private "
            "and the token on this machine does not reach it.",
            field="model",
        )
    if isinstance(error, RevisionNotFoundError):
        return ModelLoadError(f"{model!r} has no revision {source.revision!r} on the Hub.", field="revision")
    if isinstance(error, OfflineModeIsEnabled):
        why = "HF_HUB_OFFLINE is set"
    else:
        why = loading.first_line(error)
    return ModelLoadError(
        f"{model!r} is not on this machine, and the Hugging Face Hub could not be asked about it ({why}): check "
        "the network.",
        field="model",
    )
