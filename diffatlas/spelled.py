"""Plain values of a run's records in words: no ``None``, no braces, and names without dots and underscores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

#: What a value that is missing is called.
NOTHING = "none"
#: So many entries of a list are told before the rest is counted.
MOST = 12
#: Names of records that read badly with their underscores taken out, by dotted name.
_NAMES = {
    "revision.sha256": "model files (SHA-256)",
    "revision.commit": "commit of the model",
    "revision.digest": "digest of the model",
    "revision.no_digest": "why the model has no digest",
    "versions.diffatlas": "Diffusion Atlas",
    "versions.python": "Python",
    "versions.torch": "torch",
    "versions.diffusers": "diffusers",
    "versions.transformers": "transformers",
    "device_name": "name of the device",
    "source": "where the model came from",
    "latent_rgb": "map of latents to colours",
    "attention.layers": "layers with attention",
    "attention.text": "tokens of the prompt",
    "attention.negative_text": "tokens of the negative prompt",
    "capture.x0": "estimates x0 kept",
    "capture.latents": "latents kept",
    "capture.predictions": "predictions kept",
    "capture.metrics": "measures kept",
    "capture.previews": "previews",
    "capture.preview_decoder": "previews made by",
    "capture.preview_size": "size of the previews",
    "capture.attention": "attention",
}
_PREFIXES = {
    "scheduler.config": "scheduler",
    "scheduler": "scheduler",
    "versions": "version of",
    "identity": "",
    "identity.versions": "version of",
    "revision": "model",
    "capture": "capture",
}


def spelled(value: Any, nothing: str = NOTHING) -> str:
    """Return a plain value (JSON types) in words: yes or no, a number, text, or what a list or an object holds."""
    if value is None or (isinstance(value, (str, Sequence, Mapping)) and not value):
        return nothing
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, Mapping):
        parts = [f"{words(str(name))} {_within(part)}" for name, part in value.items()]
        return _counted(parts, ", ")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _list(value)
    return str(value)


def number(value: float) -> str:
    """Return a number in full, a whole one without a point; what is not finite by its name."""
    if isinstance(value, float) and not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite" if value > 0 else "minus infinity"
    if isinstance(value, int):
        return str(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def name_of(dotted: str) -> str:
    """Return the dotted name of a record in words: "scheduler.config.beta_start" is "scheduler: beta start"."""
    if dotted in _NAMES:
        return _NAMES[dotted]
    for end in range(dotted.count("."), 0, -1):
        prefix, rest = ".".join(dotted.split(".")[:end]), ".".join(dotted.split(".")[end:])
        if prefix in _PREFIXES:
            begin = _PREFIXES[prefix]
            return (
                f"{begin} {words(rest)}"
                if begin.endswith(" of")
                else ": ".join(filter(None, (begin, words(rest))))
            )
    return words(dotted)


def words(name: str) -> str:
    """Return an identifier in words: "guidance_rescale" is "guidance rescale", "a.b" is "a: b"."""
    return ": ".join(part.strip("_").replace("_", " ") for part in name.split("."))


def leaves(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return the records of an object that may hold others, as (name, words), without those that are empty."""
    found = []
    for name, part in value.items():
        dotted = f"{prefix}{name}"
        if isinstance(part, Mapping):
            found += leaves(part, f"{dotted}.")
        elif part is not None and part not in ("", [], ()):
            found.append((name_of(dotted), spelled(part)))
    return found


def _list(values: Sequence[Any]) -> str:
    if all(isinstance(one, Mapping) for one in values):
        named = [str(one["name"]) for one in values if one.get("name")]
        return _counted(named, ", ") if len(named) == len(values) else _entries(len(values))
    if all(isinstance(one, Sequence) and not isinstance(one, str) for one in values):
        widths = {len(one) for one in values}
        return f"{len(values)} × {widths.pop()} numbers" if len(widths) == 1 else _entries(len(values))
    return _counted([_within(one) for one in values], ", ")


def _within(value: Any) -> str:
    nested = isinstance(value, (Mapping, list, tuple)) and value
    return f"({spelled(value)})" if nested else spelled(value)


def _entries(count: int) -> str:
    return f"{count} entr{'y' if count == 1 else 'ies'}"


def _counted(parts: Sequence[str], between: str) -> str:
    if len(parts) > MOST:
        parts = [*parts[:MOST], f"and {len(parts) - MOST} more"]
    return between.join(parts)
