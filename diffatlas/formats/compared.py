"""What differs between two runs, in words: rows of a table, and a sentence for what would fill many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffatlas.formats.told import loras_text, noise_words
from diffatlas.guidance import label_of
from diffatlas.params import GenerationParams
from diffatlas.registry import ELSEWHERE_NAMES
from diffatlas.request import (
    ARGUMENTS,
    FIELDS,
    LORAS,
    METHOD,
    NOISE,
    NUMBER,
    OPTIONS,
    PICTURES,
    SIZE,
    Field,
    in_order,
)
from diffatlas.spelled import name_of, number, spelled, words

#: So many settings that two schedulers share are told of; the rest are counted.
MOST = 3
#: More records than these that only one run has are told in one sentence.
MOST_ONE_SIDED = 2
UNKNOWN, ABSENT = "not recorded", "not given"
#: The settings that come first; the rest as in a request.
_ORDER = (
    "prompt", "negative_prompt", "model", "seed", "num_inference_steps", "guidance_scale", "guidance_method",
    "guidance_options", "noise", "size", "scheduler", "num_images_per_prompt", "loras",
)  # fmt: skip
#: The settings that are somebody's words, and what stands where there is no value.
_QUOTED = ("prompt", "negative prompt")
_UNSET = frozenset((UNKNOWN, ABSENT, *(field.unset for field in FIELDS)))
_MODEL = ("model", "pipeline", "source", "variant", "subfolder", "digest")


@dataclass(frozen=True)
class Row:
    """One thing in which two runs differ, and what it is in each."""

    name: str
    a: str
    b: str


@dataclass(frozen=True)
class Told:
    """What differs: in rows, and in sentences for what belongs together."""

    rows: list[Row] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)


def settings(
    a: GenerationParams, b: GenerationParams, models: Mapping[str, str], in_full: bool = False
) -> list[Row]:
    """Return the settings in which two requests differ.

    models: names of models by id. in_full: by the names that sentences have ("guidance scale", not "guidance").
    """
    first, second = _settings(a, models, in_full), _settings(b, models, in_full)
    names = [*first, *(name for name in second if name not in first)]
    pairs = ((name, first.get(name, ABSENT), second.get(name, ABSENT)) for name in names)
    return [Row(name, x, y) for name, x, y in pairs if x != y]


def machine(environment: Mapping[str, tuple[Any, Any]], a: str = "run A", b: str = "run B") -> Told:
    """Return what differs in what two runs ran on (`diffatlas.library.difference.environment_difference`).

    a, b: what the runs are called in a sentence.
    """
    left = dict(environment)
    known = [name for name in left if name in ("device", "dtype", "pipeline") or name.startswith("versions.")]
    for side, who in ((0, a), (1, b)):
        if len(known) > 1 and all(left[name][side] is None for name in known):
            return Told(sentences=[f"What {who} ran on is not recorded."])
    sentences = [*_models(left), *_schedulers(left), *_attention(left, a, b)]
    # A record of the key alone, which only runs of one kind have, follows from the settings.
    left = {name: pair for name, pair in left.items() if not (name.startswith("identity.") and None in pair)}
    for side, who in ((1, a), (0, b)):
        alone = [name for name, pair in left.items() if pair[side] is None]
        if len(alone) > MOST_ONE_SIDED:
            sentences.append(f"Recorded of {who} only: {', '.join(name_of(name) for name in alone)}.")
            left = {name: pair for name, pair in left.items() if name not in alone}
    rows = [*_places(left), *(Row(name_of(name), _value(x), _value(y)) for name, (x, y) in left.items())]
    return Told([row for row in rows if row.a != row.b], sentences)


def _places(left: dict[str, tuple[Any, Any]]) -> list[Row]:
    """Take out of ``left`` where two runs were made, as far as that is here or at a backend that runs elsewhere."""
    pair = left.get("backend")
    if pair is None or not all(place is None or place in ELSEWHERE_NAMES for place in pair):
        return []
    del left["backend"]
    a, b = ("this machine" if place is None else ELSEWHERE_NAMES[place] for place in pair)
    return [Row("made at", a, b)]


def said(row: Row) -> str:
    """Return a row as a line: "Guidance scale: 5 and 7.5". What could be taken for two values is in quotes."""
    values = [row.a, row.b]
    if row.name in _QUOTED or any(" and " in value for value in values):
        values = [value if value in _UNSET else f"“{value}”" for value in values]
    return f"{row.name[:1].upper()}{row.name[1:]}: {values[0]} and {values[1]}"


def _settings(params: GenerationParams, models: Mapping[str, str], in_full: bool) -> dict[str, str]:
    told = {}
    for asked in in_order(*_ORDER):
        if asked.kind == OPTIONS:
            options = params.guidance_options or {}
            told |= {f"guidance: {words(name)}": spelled(value) for name, value in options.items()}
        elif asked.kind == ARGUMENTS:
            told |= {words(name): spelled(value) for name, value in _flat(getattr(params, asked.name) or {})}
        elif asked.kind == PICTURES:
            for one in getattr(params, asked.name):
                told[f"picture {one.name}"] = f"{one.width} × {one.height}, {one.sha256[:8]}"
        else:
            name = asked.noun if in_full else asked.called
            told[name] = _told(asked, params, models) or asked.unset
    return told


def _told(field: Field, params: GenerationParams, models: Mapping[str, str]) -> str | None:
    """Return the value of a field in words; None or "" where it has none."""
    if field.kind == SIZE:
        return f"{params.width} × {params.height}" if params.width and params.height else None
    value = getattr(params, field.name)
    if field.kind == LORAS:
        return loras_text(value)
    if value is None:
        return None
    if field.kind == METHOD:
        return label_of(value)
    if field.kind == NOISE:
        return noise_words(value)
    if field.kind == NUMBER:
        return number(value)
    return models.get(value, value) if field.name == "model" else str(value)


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, part in value.items():
        dotted = f"{prefix}{name}"
        found += _flat(part, f"{dotted}.") if isinstance(part, Mapping) and part else [(dotted, part)]
    return found


def _models(left: dict[str, tuple[Any, Any]]) -> list[str]:
    """Take out what follows from another model, and return the sentence that stands for it."""
    if None in left.get("model", (None,)):
        return []
    taken = {
        name: left.pop(name)
        for name in [*left]
        if name in _MODEL or name.startswith(("revision.", "identity."))
    }
    told = "Each model has its own files"
    pipelines = taken.get("pipeline", (None, None))
    if None not in pipelines:
        told = f"{told} and its own pipeline, {pipelines[0]} and {pipelines[1]}"
    return [f"{told}."]


def _schedulers(left: dict[str, tuple[Any, Any]]) -> list[str]:
    """Take out what follows from another kind of scheduler, and return the sentence that stands for it."""
    if None in left.get("scheduler.class", (None,)):
        return []
    taken = {
        name: left.pop(name) for name in [*left] if name.startswith(("scheduler.", "identity.scheduler."))
    }
    one, other = taken["scheduler.class"]
    both = [
        f"{words(name.removeprefix('scheduler.config.'))} is {spelled(x)} and {spelled(y)}"
        for name, (x, y) in taken.items()
        if name.startswith("scheduler.config.")
        and not name.startswith("scheduler.config._")
        and None not in (x, y)
    ]
    if len(both) > MOST:
        both = [*both[:MOST], f"{len(both) - MOST} more differ"]
    shared = f"; of those that both have, {', '.join(both)}" if both else ""
    return [f"The schedulers, {one} and {other}, have settings of their own{shared}."]


def _attention(left: dict[str, tuple[Any, Any]], a: str, b: str) -> list[str]:
    """Take out the records of attention, and return the sentence that stands for them."""
    taken = {name: left.pop(name) for name in [*left] if name.startswith("attention.")}
    if not taken:
        return []
    layers = taken.get("attention.layers")
    if layers is None:
        return ["Attention was captured of other words in each."]
    if None in layers:
        return [f"Attention was captured of {a if layers[1] is None else b} only."]
    return [f"Attention was captured in other layers: {len(layers[0])} and {len(layers[1])}."]


def _value(value: Any) -> str:
    text = spelled(value, UNKNOWN)
    # Of a hash, what tells it from another.
    is_hash = isinstance(value, str) and len(value) in (40, 64) and not set(value) - set("0123456789abcdef")
    return text[:12] if is_hash else text
