"""Names by which runs in view are told from each other: what differs between two things is in their names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from diffatlas.guidance import label_of
from diffatlas.params import GenerationParams, Noise
from diffatlas.request import (
    ARGUMENTS,
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
from diffatlas.spelled import spelled

#: Letters of a name; longer ones are cut in the middle, because what differs is at the end.
MOST = 80
#: Of them, those of what runs share: the rest is for what differs.
MOST_SHARED = 48
#: What is named first; the rest as in a request.
_ORDER = (
    "prompt", "negative_prompt", "model", "variant", "revision", "subfolder", "loras", "guidance_scale",
    "guidance_method", "num_inference_steps", "scheduler", "size", "seed", "noise", "num_images_per_prompt", "inputs",
    "extra",
)  # fmt: skip


def facts_of(params: GenerationParams, model: str = "", ended: str = "", place: str = "") -> dict[str, str]:
    """Return what may tell a run from others, in words, in the order in which it is named: "guidance 7.5".

    model: what the model is called; its id where empty. ended: what became of the run, where it did not go through.
    place: what the place is called that made it, where that was not this machine: a provider, another Atlas.
    """
    found = {}
    for field in in_order(*_ORDER):
        value = model if field.name == "model" and model else _told(field, params)
        if value is not None:
            found[field.name] = field.phrase.format(value) if value else field.phrase_unset
        if field.name == "model" and place:
            found["backend"] = f"at {place}"
    return {**found, "ended": ended or "complete"}


def _told(field: Field, params: GenerationParams) -> str | None:
    """Return the value of a field in words, "" where it has none; None of a field that another one tells of."""
    if field.kind == SIZE:
        return f"{params.width} × {params.height}" if params.width and params.height else ""
    if field.kind == METHOD:
        return _method(params)
    if field.kind == OPTIONS:
        return None
    value = getattr(params, field.name)
    if field.kind == NOISE:
        return _noise(value)
    if field.kind == LORAS:
        return " and ".join(f"{lora.name} at {_number(lora.weight)}" for lora in value)
    if field.kind == PICTURES:
        return ", ".join(f"{one.name} {one.sha256[:6]}" for one in value)
    if field.kind == ARGUMENTS:
        return ", ".join(f"{name} {_value(one)}" for name, one in (value or {}).items())
    return "" if value is None else _number(value) if field.kind == NUMBER else str(value)


def told_apart(names: Sequence[str], facts: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a name for each of several things in view, no two the same: its own, and what differs.

    Where several have one name, those of their facts are added in which they differ: "a red circle, guidance 7.5".
    Those that differ in none are numbered in their order. One that lacks a fact of the others is named without it.
    """
    alike = defaultdict(list)
    for index, name in enumerate(names):
        alike[_spaced(name)].append(index)
    found = [cut(_spaced(name)) for name in names]
    for name, members in alike.items():
        if len(members) > 1:
            keys = dict.fromkeys(key for member in members for key in facts[member])
            differing = [key for key in keys if len({facts[member].get(key) for member in members}) > 1]
            for member in members:
                parts = ", ".join(facts[member][key] for key in differing if key in facts[member])
                found[member] = _joined(name, parts)
    # A cut, or a fact that nobody knows, can leave two names the same.
    times = Counter(found)
    taken = set(found)
    nth: Counter[str] = Counter()
    for index, name in enumerate(found):
        while times[name] > 1 and found[index] in taken:
            nth[name] += 1
            found[index] = f"{cut(name, MOST - 7)} ({nth[name]})"
        taken.add(found[index])
    return found


def cut(text: str, most: int = MOST) -> str:
    """Return text of at most so many letters: what is too much is taken out of its middle."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail].rstrip()}…{text[len(text) - tail :].lstrip()}"


def _joined(name: str, parts: str) -> str:
    if not parts:
        return cut(name)
    shared = cut(name, max(MOST_SHARED, MOST - 2 - len(parts)))
    return f"{shared}, {cut(parts, MOST - 2 - len(shared))}"


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _method(params: GenerationParams) -> str:
    if params.guidance_method is None:
        return ""
    label = label_of(params.guidance_method)
    options = (params.guidance_options or {}).items()
    return " ".join([f"{label} guidance", *(f"{name} {_number(value)}" for name, value in options)])


def _noise(noise: Noise | None) -> str:
    if noise is None:
        return ""
    if noise.kind == "slerp":
        return f"{_number(noise.amount)} of the way to seed {noise.seed}"
    after = f" after step {noise.step}" if noise.step else ""
    return f"radius {_number(noise.amount)} with seed {noise.seed}{after}"


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, (int, float)) else str(value)


def _value(value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(value)
    return f"({spelled(value)})" if isinstance(value, Mapping) and value else spelled(value)
