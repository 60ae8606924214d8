"""The model registries: one Markdown file per provider, a line per model.

A line reads ``model-id | Display Name | notes``. In the notes, ``key=value`` pairs of `HINTS` are hints;
the rest is shown as it is. An id or value with spaces stands in double quotes. Headings, lists and prose without
a ``|`` are ignored; so is code in backticks.

The models that run on this machine are, in this order, those that are in this process's memory (`offer`), those
that ship with the project, and the user's own, which have a file of their own (`add_model`). On a shared server the
user's own are left out: its visitors did not choose them.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from diffatlas import files
from diffatlas.errors import DiffAtlasError, InvalidParams, UnknownModel, Unreadable
from diffatlas.hints import HINTS, HOSTED_HINTS, Unlisted
from diffatlas.request import name_problem

#: The `ModelEntry.provider` of the user's own models, and of pipelines in memory.
USER = "user"
MEMORY = "memory"
#: Of a line: an id in quotes, and a word or hint whose value may be in quotes.
_QUOTED = re.compile(r'"([^"|]+)"')
_WORD = re.compile(r'\w+="[^"]*"|\S+')
_HEADING = """# Your own models

`diffatlas models add` and `diffatlas models remove` write this file; a line per model, as in the registry that ships
with the project.

"""

#: The providers of hosted models; the first is the one that a page offers first.
HOSTED = ("replicate", "fal", "together", "stability", "huggingface")
#: The backends that see inside, as this machine's does, and run elsewhere. What they offer they say themselves.
ELSEWHERE = ("remote", "modal", "ray")
#: What they are called in the middle of a sentence.
ELSEWHERE_NAMES = {"remote": "another Atlas", "modal": "Modal", "ray": "Ray"}
#: The registry of what judges pictures, which is of no provider (`diffatlas.bench.scorers.registry`).
SCORERS = "scorers"

_lock = threading.Lock()
_offered: dict[str, ModelEntry] = {}
_elsewhere: dict[str, list[ModelEntry]] = {}
_narrowed: list[ModelEntry] | None = None


#: Bytes of a registry.
MOST_BYTES = 1_000_000


class RegistryError(DiffAtlasError):
    """A registry file has a line that cannot be read."""

    code = "registry"


@dataclass(frozen=True)
class ModelEntry:
    """One line of a registry. A hint that the line does not give is None."""

    id: str
    name: str
    notes: str = ""
    provider: str = "local"
    #: Native side in pixels.
    size: int | None = None
    #: Good first values.
    steps: int | None = None
    guidance: float | None = None
    #: GB (10^9 bytes) that the weights need in the dtype they run in.
    mem: float | None = None
    #: GB of the files that are fetched from the Hub before it runs for the first time.
    download: float | None = None
    dtype: str | None = None
    #: Which of several sets of weight files is read, where there is one of this name.
    variant: str | None = None
    #: Branch, tag or commit of the Hub.
    revision: str | None = None
    #: Where in the repository or folder the pipeline is.
    subfolder: str | None = None
    #: Of a checkpoint in one file: the folder or the model that its configs are taken from.
    config: str | None = None
    #: What of it waits in main memory while it is not used: one of `hints.OFFLOADS`.
    offload: str | None = None
    #: How its VAE works: of `hints.VAE_WAYS`, in their order, with commas between.
    vae: str | None = None
    #: Whether its denoiser is compiled, and how: one of `hints.COMPILES`.
    compile: str | None = None


@dataclass(frozen=True)
class HostedModel(ModelEntry):
    """One line of the registry of a provider of hosted models: a model, and which inputs it takes."""

    #: Of `diffatlas.hints.INPUTS`, those that it takes; None where that is not known, and all are sent.
    takes: tuple[str, ...] | None = None
    #: Least and most, both included; None where no bound is known.
    steps_range: tuple[float, float] | None = None
    guidance_range: tuple[float, float] | None = None
    #: Least and most of width and height in pixels, and what they are multiples of.
    sides: tuple[int, int, int] | None = None
    #: The provider's own names of inputs, where they are not those of its other models: (ours, its).
    names: tuple[tuple[str, str], ...] = ()
    #: Inputs that are always sent, such as the kind of file: (name, value).
    send: tuple[tuple[str, Any], ...] = ()
    #: US dollars of an image, of 10^6 pixels, and of each 1024 x 1024 that are begun, as the registry's heading says.
    price: float | None = None
    price_mp: float | None = None
    price_begun_mp: float | None = None

    def has(self, name: str) -> bool:
        """Whether the model has an input, one of `diffatlas.hints.INPUTS`, as far as is known."""
        return self.takes is None or name in self.takes

    def dollars(self, width: int | None = None, height: int | None = None) -> float | None:
        """Return about what an image costs in US dollars, of its native size where no sides are given."""
        side = self.size or 1024
        pixels = (width or side) * (height or side)
        # Of those that are begun, 1024 x 1024 is one.
        begun = math.ceil(pixels / 2**20)
        parts = (self.price, _times(self.price_mp, pixels / 1e6), _times(self.price_begun_mp, begun))
        known = [part for part in parts if part is not None]
        return sum(known) if known else None


class _Line(Protocol):
    @property
    def id(self) -> str: ...


Entry = TypeVar("Entry", bound=_Line)


def models_folder() -> Path:
    """Return the folder of registries: ``DIFFATLAS_MODELS``, the wheel's copy, or the checkout's."""
    from diffatlas.settings import settings

    chosen = settings().models
    if chosen is not None:
        if not chosen.is_dir():
            raise RegistryError(f"DIFFATLAS_MODELS names {chosen}, which is not a folder.")
        return chosen
    return shipped_folder()


def shipped_folder() -> Path:
    """Return the folder of the registries that ship with the project. Raises `RegistryError` where it is missing."""
    package = Path(__file__).resolve().parent
    for folder in (package / "_models", package.parent / "models"):
        if folder.is_dir():
            return folder
    raise RegistryError("The folder of model registries is missing: reinstall diffatlas.")


def parse_line(line: str) -> ModelEntry | None:
    """Read one line; None where it is prose. Raises ValueError saying what is wrong with it."""
    told = line_parts(line, HINTS)
    return None if told is None else ModelEntry(**told)


def parse_hosted_line(line: str) -> HostedModel | None:
    """Read one line of the registry of a provider; None where it is prose. Raises ValueError as `parse_line`."""
    told = line_parts(line, HINTS | HOSTED_HINTS)
    return None if told is None else HostedModel(**told)


def hosted_model(model: str, provider: str) -> HostedModel:
    """Return the entry of a provider's model; one that is not listed has no known inputs.

    Raises `RegistryError` where the provider has no registry.
    """
    for entry in list_models(provider):
        if entry.id == model and isinstance(entry, HostedModel):
            return entry
    return HostedModel(model, model, provider=provider)


def line_parts(line: str, hints: Mapping[str, Callable[[str], Any]]) -> dict[str, Any] | None:
    """Return the id, name, notes and hints that a line gives; None where it is prose.

    hints: how each hint's value is read. Raises ValueError saying what is wrong with the line.
    """
    text = line.strip()
    if "|" not in text or text.startswith(("#", "<!--", ">")) or "`" in text:
        return None
    cells = [cell.strip() for cell in text.split("|", 2)]
    if len(cells) < 2 or not cells[0] or not cells[1]:
        raise ValueError("expected 'model-id | Display Name | notes'")
    if quoted := _QUOTED.fullmatch(cells[0]):
        cells[0] = quoted[1]
    elif any(c.isspace() for c in cells[0]):
        raise ValueError(f"the model id {cells[0]!r} holds a space and is not in double quotes")
    given: dict[str, Any] = {}
    words = []
    for word in _WORD.findall(cells[2] if len(cells) == 3 else ""):
        key, equals, value = word.partition("=")
        if not equals or key not in hints:
            words.append(word)
            continue
        value = value.strip('"')
        try:
            given[key] = hints[key](value)
        except Unlisted as error:
            raise ValueError(f"the hint {word!r} {error}") from None
        except ValueError:
            kind = "cannot be read" if key in HOSTED_HINTS else "is not a number"
            raise ValueError(f"the hint {word!r} {kind}") from None
        if key in ("variant", "revision", "subfolder") and (problem := name_problem(key, value)):
            raise ValueError(f"the hint {word!r} {problem}")
    return {"id": cells[0], "name": cells[1], "notes": " ".join(words), **given}


def read_registry(path: Path) -> list[ModelEntry]:
    """Read one registry file. Raises `RegistryError` with the file, the line number and the reason."""
    parse = parse_hosted_line if path.stem in HOSTED else parse_line
    return [replace(entry, provider=path.stem) for entry in read_lines(path, parse)]


def read_lines(path: Path, parse: Callable[[str], Entry | None]) -> list[Entry]:
    """Return what ``parse`` reads of each line of a registry file, without its prose.

    parse: as `parse_line`. Raises `RegistryError` with the file, the line number and the reason.
    """
    entries: dict[str, Entry] = {}
    try:
        lines = files.read_text(path, MOST_BYTES).splitlines()
    except (FileNotFoundError, Unreadable) as error:
        reason = error.reason if isinstance(error, Unreadable) else "it is not there"
        raise RegistryError(f"The registry {path.name} cannot be read: {reason}.") from error
    for number, line in enumerate(lines, start=1):
        try:
            entry = parse(line)
            if entry and entry.id in entries:
                raise ValueError(f"the model {entry.id!r} is listed twice")
        except ValueError as error:
            raise RegistryError(f"{path.name}, line {number}: {error}.") from error
        if entry:
            entries[entry.id] = entry
    return list(entries.values())


def list_models(provider: str = "local") -> list[ModelEntry]:
    """Return a provider's models in the order of its file, the default first.

    Of a backend of `ELSEWHERE`: what `note_models` was told last, nothing before. Of "local": the pipelines
    that are in memory, the models that ship with the project, and the user's own, where the server is not shared. Where
    one of the user's has the id of one that ships, it stands in its place.
    """
    if provider in ELSEWHERE:
        with _lock:
            return list(_elsewhere.get(provider, ()))
    path = models_folder() / f"{provider}.md"
    if provider == SCORERS or not path.is_file():
        known = ", ".join(sorted({p.stem for p in models_folder().glob("*.md")} - {SCORERS})) or "none"
        raise RegistryError(f"There is no registry for {provider!r}: known are {known}.")
    shipped = read_registry(path)
    if provider != "local":
        return shipped
    with _lock:
        offered, narrowed = dict(_offered), _narrowed
    if narrowed is not None:
        return list(narrowed)
    own = {entry.id: entry for entry in own_models()}
    listed = {entry.id: own.get(entry.id, entry) for entry in shipped} | own
    return [*reversed(offered.values()), *(entry for entry in listed.values() if entry.id not in offered)]


def narrow(entries: Sequence[ModelEntry] | None) -> None:
    """Let these be all models of this machine that are listed, in this order; None for all that there are, again."""
    global _narrowed
    with _lock:
        _narrowed = None if entries is None else list(entries)


def own_models() -> list[ModelEntry]:
    """Return the models of the user's own registry; none on a shared server.

    Raises `RegistryError` where the file cannot be read.
    """
    from diffatlas.settings import is_shared, settings

    path = settings().user_models
    if is_shared() or not path.exists():
        return []
    try:
        return [replace(entry, provider=USER) for entry in read_registry(path)]
    except RegistryError as error:
        raise RegistryError(
            f"Your own registry {path} cannot be used: {error.message.rstrip('.')}; correct or delete that file."
        ) from error


def add_model(entry: ModelEntry) -> ModelEntry:
    """Keep a model in the user's own registry, and return it as it is kept.

    Raises `RegistryError` where its id is listed already, it cannot be written as one line, or the server is shared.
    """
    tidy = {"name": " ".join(entry.name.split()), "notes": " ".join(entry.notes.split())}
    if entry.vae:
        with suppress(Unlisted):
            # In the order that a line is read in; `line_of` says what is wrong with it.
            tidy["vae"] = HINTS["vae"](entry.vae)
    entry = replace(entry, provider=USER, **tidy)
    line = line_of(entry)
    with _lock:
        _check_new(entry.id)
        _write_own([*_own_lines(), line])
    return entry


def check_new(model: str) -> None:
    """Raise `RegistryError` where `add_model` would not take a model of this id."""
    with _lock:
        _check_new(model)


def remove_model(model: str) -> ModelEntry:
    """Take a model out of the user's own registry, and return its entry; its files stay where they are.

    A folder may be named by any path that leads to it. Raises `RegistryError` where it is not there.
    """
    with _lock:
        own = {entry.id: entry for entry in _own_to_change()}
        gone = own.get(model) or own.get(_full_path(model))
        if gone is None:
            shipped = any(entry.id == model for entry in _shipped())
            why = (
                "ships with diffatlas and cannot be removed"
                if shipped
                else "is not in your own list of models"
            )
            raise RegistryError(f"The model {model!r} {why}.", field="model")
        _write_own([line for line in _own_lines() if (one := parse_line(line)) is None or one.id != gone.id])
    return gone


def note_models(backend: str, entries: Iterable[ModelEntry]) -> list[ModelEntry]:
    """Keep what a backend of `ELSEWHERE` says that it offers, in place of what it said before; return it."""
    noted = [replace(entry, provider=backend) for entry in entries]
    with _lock:
        _elsewhere[backend] = noted
    return list(noted)


def offer(entry: ModelEntry) -> None:
    """List a pipeline that is in this process's memory, before all other models, until it is withdrawn.

    It is never written to disk; to offer it again changes nothing. Raises `InvalidParams` where another model has its
    id.
    """
    entry = replace(entry, provider=MEMORY)
    listed = {other.id for other in list_models()}
    with _lock:
        if _offered.get(entry.id) == entry:
            return
        if entry.id in listed or entry.id in _offered:
            raise InvalidParams(
                f"{entry.id!r} is a model of the list already: give this one another name.", field="name"
            )
        _offered[entry.id] = entry


def withdraw(model: str) -> None:
    """List a pipeline no longer that was in memory; nothing happens where it was not."""
    with _lock:
        _offered.pop(model, None)


def line_of(entry: ModelEntry) -> str:
    """Return the line that `parse_line` reads an entry from. Raises `RegistryError` where no line says it."""
    given = {name: getattr(entry, name) for name in HINTS if getattr(entry, name) is not None}
    hints = [f"{name}={_in_quotes(_number(value))}" for name, value in given.items()]
    told = " ".join(filter(None, [entry.notes, *hints]))
    line = f"{_in_quotes(entry.id)} | {entry.name} | {told}".rstrip()
    try:
        read = None if "\n" in line else parse_line(line)
    except ValueError as error:
        raise RegistryError(f"The model {entry.id!r} cannot be kept: {error}.", field="model") from error
    if read is None or replace(read, provider=entry.provider) != entry:
        raise RegistryError(
            f"The model {entry.id!r} cannot be kept: its id, name or notes hold a character that a registry "
            "cannot (|, a backtick, a quote, # at the beginning, or a line break).",
            field="model",
        )
    return line


def find_model(model: str, provider: str = "local") -> ModelEntry:
    """Return the entry of a model id, or of a listed folder or file by any path that leads to it.

    Raises `UnknownModel` with the nearest names.
    """
    entries = {entry.id: entry for entry in list_models(provider)}
    if entry := entries.get(model) or entries.get(_full_path(model)):
        return entry
    raise UnknownModel(
        f"There is no model {model!r}{did_you_mean(model, provider)}: give an id that `diffatlas models` lists, "
        "an id of the Hugging Face Hub (user/name), or the path of a diffusers pipeline folder.",
        field="model",
    )


def did_you_mean(model: str, provider: str = "local", likeness: float = 0.5) -> str:
    """Return " (did you mean ...?)" with the listed id that is most like ``model``, or "" where none is.

    likeness: 0 to 1, how like it must be (`difflib.get_close_matches`).
    """
    from difflib import get_close_matches

    near = get_close_matches(model, [entry.id for entry in list_models(provider)], n=1, cutoff=likeness)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _check_new(model: str) -> None:
    if any(other.id == model for other in (*_shipped(), *_own_to_change(), *_offered.values())):
        raise RegistryError(f"The model {model!r} is listed already.", field="model")


def _shipped() -> list[ModelEntry]:
    return read_registry(models_folder() / "local.md")


def _own_to_change() -> list[ModelEntry]:
    """Return the user's own models, to be written again. Raises `RegistryError` on a shared server."""
    from diffatlas.settings import is_shared

    if is_shared():
        raise RegistryError("On a shared server the list of models cannot be changed.", field="model")
    return own_models()


def _own_lines() -> list[str]:
    from diffatlas.settings import settings

    path = settings().user_models
    return (files.read_text(path, MOST_BYTES) if path.exists() else _HEADING).splitlines()


def _write_own(lines: list[str]) -> None:
    """Replace the user's registry at once: a reader finds the old file or the new one."""
    from diffatlas.settings import settings

    path = settings().user_models
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".models-", suffix=".md")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise RegistryError(f"Your own registry {path} cannot be written: {error.strerror}.") from error


def _full_path(text: str) -> str:
    try:
        return str(Path(text).expanduser().resolve())
    except (OSError, RuntimeError, ValueError):
        return text  # no path


def _in_quotes(text: str) -> str:
    return f'"{text}"' if any(c.isspace() for c in text) else text


def _times(price: float | None, count: float) -> float | None:
    return None if price is None else price * count


def _number(value: int | float | str) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
