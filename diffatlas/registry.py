"""The model registries: one Markdown file per provider, a line per model.

A line reads ``model-id | Display Name | notes``. In the notes, ``key=value`` pairs of `HINTS` are hints;
the rest is shown as it is. Headings, lists and prose without a ``|`` are ignored; so is code in backticks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from diffatlas.errors import DiffAtlasError, UnknownModel
from diffatlas.params import name_problem

#: Hint name -> how its value is read.
HINTS = {
    "size": int,
    "steps": int,
    "guidance": float,
    "mem": float,
    "dtype": str,
    "variant": str,
    "revision": str,
    "subfolder": str,
}
DTYPES = ("fp32", "fp16", "bf16")


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
    dtype: str | None = None
    #: Which of several sets of weight files is read, where there is one of this name.
    variant: str | None = None
    #: Branch, tag or commit of the Hub.
    revision: str | None = None
    #: Where in the repository or folder the pipeline is.
    subfolder: str | None = None


def models_folder() -> Path:
    """Return the folder of registries: ``DIFFATLAS_MODELS``, the wheel's copy, or the checkout's."""
    from diffatlas.settings import settings

    chosen = settings().models
    if chosen is not None:
        if not chosen.is_dir():
            raise RegistryError(f"DIFFATLAS_MODELS names {chosen}, which is not a folder.")
        return chosen
    package = Path(__file__).resolve().parent
    for folder in (package / "_models", package.parent / "models"):
        if folder.is_dir():
            return folder
    raise RegistryError("The folder of model registries is missing: reinstall diffatlas.")


def parse_line(line: str) -> ModelEntry | None:
    """Read one line; None where it is prose. Raises ValueError saying what is wrong with it."""
    text = line.strip()
    if "|" not in text or text.startswith(("#", "<!--", ">")) or "`" in text:
        return None
    cells = [cell.strip() for cell in text.split("|", 2)]
    if len(cells) < 2 or not cells[0] or not cells[1]:
        raise ValueError("expected 'model-id | Display Name | notes'")
    if any(c.isspace() for c in cells[0]):
        raise ValueError(f"the model id {cells[0]!r} holds a space")
    hints: dict[str, int | float | str] = {}
    words = []
    for word in (cells[2] if len(cells) == 3 else "").split():
        key, equals, value = word.partition("=")
        if not equals or key not in HINTS:
            words.append(word)
            continue
        try:
            hints[key] = HINTS[key](value)
        except ValueError:
            raise ValueError(f"the hint {word!r} is not a number") from None
        if key in ("variant", "revision", "subfolder") and (problem := name_problem(key, value)):
            raise ValueError(f"the hint {word!r} {problem}")
        if key == "dtype" and value not in DTYPES:
            raise ValueError(f"the hint {word!r} is not one of {', '.join(DTYPES)}")
    return ModelEntry(id=cells[0], name=cells[1], notes=" ".join(words), **hints)


def read_registry(path: Path) -> list[ModelEntry]:
    """Read one registry file. Raises `RegistryError` with the file, the line number and the reason."""
    entries: dict[str, ModelEntry] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError(f"The registry {path.name} cannot be read: {error}.") from error
    for number, line in enumerate(lines, start=1):
        try:
            entry = parse_line(line)
            if entry and entry.id in entries:
                raise ValueError(f"the model {entry.id!r} is listed twice")
        except ValueError as error:
            raise RegistryError(f"{path.name}, line {number}: {error}.") from error
        if entry:
            entries[entry.id] = ModelEntry(**{**vars(entry), "provider": path.stem})
    return list(entries.values())


def list_models(provider: str = "local") -> list[ModelEntry]:
    """Return a provider's models in the order of its file, the default first."""
    path = models_folder() / f"{provider}.md"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in models_folder().glob("*.md"))) or "none"
        raise RegistryError(f"There is no registry for {provider!r}: known are {known}.")
    return read_registry(path)


def find_model(model: str, provider: str = "local") -> ModelEntry:
    """Return the entry of a model id. Raises `UnknownModel` with the nearest names."""
    from difflib import get_close_matches

    entries = {entry.id: entry for entry in list_models(provider)}
    if model in entries:
        return entries[model]
    near = get_close_matches(model, entries, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise UnknownModel(
        f"There is no model {model!r}{hint}: give an id that `diffatlas models` lists, "
        "or the path of a diffusers pipeline folder.",
        field="model",
    )
