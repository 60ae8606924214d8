"""The hints of a registry's lines: what each is called, and how its value is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

#: What a line may say of how a model is run here (docs/loading.md): what waits in main memory while it is not used, how
#: its VAE works, and what is compiled.
OFFLOADS = ("model", "group")
VAE_WAYS = ("tiling", "slicing", "fp32")
COMPILES = ("blocks", "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")

#: What a hosted model may have an input for, besides the prompt.
INPUTS = ("negative_prompt", "seed", "steps", "guidance", "size", "aspect")


class Unlisted(ValueError):
    """A hint has a value that is none of those that there are; the message says which there are."""


def _one_of(names: Sequence[str]) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in names:
            raise Unlisted(f"is not one of {', '.join(names)}")
        return value

    return read


def _vae_ways(value: str) -> str:
    asked = value.split(",")
    if not set(asked) <= set(VAE_WAYS):
        raise Unlisted(f"is not made of {', '.join(VAE_WAYS)}, with commas between")
    # In one order, whatever order they were written in.
    return ",".join(way for way in VAE_WAYS if way in asked)


def _inputs(value: str) -> tuple[str, ...]:
    found = tuple(filter(None, value.split(",")))
    if unknown := [name for name in found if name not in INPUTS]:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(INPUTS)}")
    return found


def _range(value: str) -> tuple[float, float]:
    least, mark, most = value.partition("-")
    if not mark or float(least) > float(most):
        raise ValueError("a range is written 1-50")
    return float(least), float(most)


def _sides(value: str) -> tuple[int, int, int]:
    ends, _, multiple = value.partition("/")
    least, most = _range(ends)
    return int(least), int(most), int(multiple or 1)


def _names(value: str) -> tuple[tuple[str, str], ...]:
    pairs = [tuple(pair.split(":")) for pair in value.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("names are written guidance:cfg,steps:num_inference_steps")
    return tuple((ours, theirs) for ours, theirs in pairs)


def _values(value: str) -> tuple[tuple[str, Any], ...]:
    words = {"true": True, "false": False}
    found = []
    for name, text in _names(value):
        number = text.removeprefix("-").replace(".", "", 1).isdigit()
        found.append((name, words.get(text, (float(text) if "." in text else int(text)) if number else text)))
    return tuple(found)


DTYPES = ("fp32", "fp16", "bf16")
#: Hint name -> how its value is read.
HINTS: dict[str, Callable[[str], Any]] = {
    "size": int,
    "steps": int,
    "guidance": float,
    "mem": float,
    "download": float,
    "dtype": _one_of(DTYPES),
    "variant": str,
    "revision": str,
    "subfolder": str,
    "config": str,
    "offload": _one_of(OFFLOADS),
    "vae": _vae_ways,
    "compile": _one_of(COMPILES),
}
#: The hints of a hosted model besides.
HOSTED_HINTS: dict[str, Callable[[str], Any]] = {
    "takes": _inputs,
    "steps_range": _range,
    "guidance_range": _range,
    "sides": _sides,
    "names": _names,
    "send": _values,
    "price": float,
    "price_mp": float,
    "price_begun_mp": float,
}
