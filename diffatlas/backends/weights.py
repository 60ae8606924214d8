"""Which weight files of a pipeline folder are read: one variant for each component, found from the files' names.

A variant is a name between that of the weights and their ending, as ``save_pretrained(variant="fp16")`` writes it:
``model.fp16.safetensors``, or in parts ``model.fp16-00001-of-00002.safetensors`` with an index. Files without one are
plain.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffatlas import files
from diffatlas.backends.configs import is_part
from diffatlas.backends.parts import names_in
from diffatlas.described import Wrong, by_name
from diffatlas.errors import ModelLoadError, Unreadable

#: Names of the weights of diffusers' and of transformers' models.
_NAME = r"(?:diffusion_pytorch_model|model|pytorch_model)"
_WEIGHTS = re.compile(rf"{_NAME}(?:\.(?P<variant>[^.]+))?\.safetensors")
_PART = re.compile(rf"{_NAME}(?:\.[^.]+?)?-\d{{5}}-of-\d{{5}}(?:\.[^.]+)?\.safetensors")
_INDEX = re.compile(rf"{_NAME}\.safetensors(?:\.(?P<legacy>[^.]+))?\.index(?:\.(?P<variant>[^.]+))?\.json")
#: What a component without weights is called, at the end of its class.
_WEIGHTLESS = ("Tokenizer", "Fast", "Backend", "Processor", "Extractor", "Scheduler")
#: Left out where a pipeline is loaded: a safety checker replaces images by black ones.
LEFT_OUT = ("safety_checker", "feature_extractor")
#: Of several variants without plain files: the most exact first.
_PREFERRED = ("fp32", "fp16", "bf16")


@dataclass(frozen=True)
class Weights:
    """The files of one component that are read."""

    component: str
    #: Library and class, as the pipeline's index names them.
    library: str
    cls: str
    #: None for plain files.
    variant: str | None
    files: tuple[Path, ...]
    #: All variants that the component has, plain files as None.
    there: frozenset[str | None]


def find_weights(
    folder: Path,
    index: Mapping[str, Any],
    name: str,
    asked: str | None = None,
    hint: str | None = None,
) -> tuple[Weights, ...]:
    """Return the weights of each component of a pipeline folder.

    index: the content of its model_index.json. name: of the model, for messages.
    asked: a variant that must be there; components without it take their plain files.
    hint: a variant that is taken where there is one. Without either, plain files come first, then the variant that
        most components have.

    Raises `ModelLoadError` naming the files that are missing, or the variants that there are instead of ``asked``.
    """
    parts = {part: _parts(folder, part, entry) for part, entry in _with_weights(folder, index)}
    sets = {part: found for part, (_, found) in parts.items()}
    if asked is not None and not any(asked in found for found in sets.values()):
        raise ModelLoadError(
            f"{name} has no weights of the variant {asked!r}: it has {_told(sets.values())}.", field="variant"
        )
    common = Counter(variant for found in sets.values() for variant in found if variant is not None)
    chosen = []
    for part, ((library, cls), found) in parts.items():
        variant = _choose(found, asked, hint, common)
        if variant is None and None not in found:
            raise ModelLoadError(_missing(folder, part, name, library, asked, found), field="model")
        files = found[variant]
        lost = sorted(file.name for file in files if not file.is_file())
        if lost:
            raise ModelLoadError(
                f"{name} lacks {' and '.join(lost)} in its folder {part}: fetch it again.", field="model"
            )
        chosen.append(Weights(part, library, cls, variant, tuple(files), frozenset(found)))
    return tuple(chosen)


def variant_of(weights: Sequence[Weights]) -> str | dict[str, str] | None:
    """Return what pins the choice among variants: None for plain files, one name, or a name for each component.

    One name stands for "this variant wherever a component has it".
    """
    named = {part.component: part.variant for part in weights if part.variant is not None}
    if not named:
        return None
    first = next(iter(named.values()))
    if all(part.variant == first or first not in part.there for part in weights) and set(named.values()) == {
        first
    }:
        return first
    return named


def _with_weights(folder: Path, index: Mapping[str, Any]) -> Iterable[tuple[str, tuple[str, str]]]:
    """Yield the components that have weights, and the library and class of each."""
    for part, entry in index.items():
        if not is_part(entry) or None in entry or part in LEFT_OUT:
            continue
        library, cls = entry
        room = folder / part
        # Configs of schedulers, tokenizers and their like have other names. Without a folder, a component of a
        # library of its own is for diffusers to judge.
        model = library in ("diffusers", "transformers")
        if room.is_dir():
            names = names_in(room)
            model = "config.json" in names or any(_WEIGHTS.fullmatch(n) or _INDEX.fullmatch(n) for n in names)
        if model and not cls.endswith(_WEIGHTLESS):
            yield part, (library, cls)


def _parts(
    folder: Path, part: str, entry: tuple[str, str]
) -> tuple[tuple[str, str], dict[str | None, list[Path]]]:
    """Return the entry, and the files of each variant that the component has."""
    room = folder / part
    names = names_in(room)
    whole = {
        m["variant"]: [room / n] for n in names if (m := _WEIGHTS.fullmatch(n)) and not _PART.fullmatch(n)
    }
    split = {}
    for name in names:
        if match := _INDEX.fullmatch(name):
            split[match["variant"] or match["legacy"]] = _listed(room / name)
    # Where both are there, transformers reads the one file and diffusers the parts.
    return entry, split | whole if entry[0] == "transformers" else whole | split


def _listed(index: Path) -> list[Path]:
    """Return the files that an index of parts names."""
    try:
        told = files.read_object(index).get("weight_map")
        by_name(_file, 1_000_000)(told)
        if not told:
            raise Wrong("names no files", "weight_map")
    except (OSError, Unreadable, Wrong) as error:
        reason = error.reason if isinstance(error, Unreadable) else error
        raise ModelLoadError(
            f"{index.parent.name}/{index.name} cannot be read: {reason}; fetch the model again.",
            field="model",
        ) from error
    names = sorted(set(told.values()))
    return [index.parent / name for name in names]


def _file(name: Any) -> None:
    # Never one of another folder, and never a pickle.
    if type(name) is not str or len(name) > 255 or not re.fullmatch(r"[^/\\\0]+\.safetensors", name):
        raise Wrong("is no safetensors file of this folder")


def _choose(
    found: Mapping[str | None, Any], asked: str | None, hint: str | None, common: Counter[str | None]
) -> str | None:
    for wanted in (asked, hint):
        if wanted is not None and wanted in found:
            return wanted
    if None in found or asked is not None:
        return None

    def rank(variant: str) -> tuple[int, int, str]:
        place = _PREFERRED.index(variant) if variant in _PREFERRED else len(_PREFERRED)
        return -common[variant], place, variant

    return min((v for v in found if v is not None), key=rank, default=None)


def _missing(
    folder: Path, part: str, name: str, library: str, asked: str | None, found: Mapping[str | None, Any]
) -> str:
    """Say what a component lacks, and what it has instead."""
    expected = "model.safetensors" if library == "transformers" else "diffusion_pytorch_model.safetensors"
    room = folder / part
    words = f"{name} has no weights for its {part}: expected {part}/{expected}"
    if asked is not None and found:
        return f"{words}, or its variant {asked!r}, and there is only {_told([found])}."
    if not room.is_dir():
        return f"{words}, and there is no such folder."
    names = names_in(room)
    if any(_PART.fullmatch(n) for n in names):
        return f"{words}, or the index of the parts that are there."
    if any(n.endswith((".bin", ".pt", ".pth", ".ckpt")) for n in names):
        return f"{words}, and there are only pickles, which are never read."
    return f"{words} or a variant of it."


def _told(sets: Iterable[Iterable[str | None]]) -> str:
    """Return variants in words: "plain files and 'fp16'"."""
    there = {variant for found in sets for variant in found}
    words = ["plain files"] if None in there else []
    words += [repr(variant) for variant in sorted(v for v in there if v is not None)]
    return " and ".join(words) if words else "none"
