"""The attention layers of a denoiser, found by what they are made of, and which of them are asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffatlas.attention.info import PARTS, matches

_BLOCK = re.compile(r"(?P<stack>(?:.*\.)?\w*(?:blocks|layers))\.(?P<index>\d+)\.")


@dataclass(frozen=True)
class Layer:
    """One attention layer.

    block: "down", "mid" or "up" of a UNet; of a transformer, the place of its block in the whole depth, from 0; None
        where neither can be told.
    """

    name: str
    module: Any
    block: str | int | None


def attention_layers(denoisers: Sequence[Any]) -> list[Layer]:
    """Return the attention layers in the order in which they run.

    An attention layer has ``heads`` and a ``processor``, as those of diffusers have. Names are those of
    ``named_modules``, without what ``torch.compile`` puts into them; of a second denoiser, with its number before them
    ("2.blocks.0.attn").
    """
    layers = []
    for number, denoiser in enumerate(denoisers, start=1):
        before = "" if number == 1 else f"{number}."
        named = [(plain_name(name), m) for name, m in denoiser.named_modules() if _is_attention(m)]
        if hasattr(denoiser, "mid_block"):
            found = [Layer(before + name, m, _part(name)) for name, m in named]
            layers += sorted(found, key=lambda layer: PARTS.index(layer.block) if layer.block else len(PARTS))
        else:
            depths = _depths([name for name, _ in named])
            layers += [Layer(before + name, m, depths.get(_block(name))) for name, m in named]
    return layers


def plain_name(name: str) -> str:
    """Return the name that a module has in the model before ``torch.compile`` wraps a part of it."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def compiled_layers(denoisers: Sequence[Any]) -> set[str]:
    """Return the names of the attention layers that are compiled, by themselves or as part of what is around them.

    What runs there is other code than the modules' own: a hook would have it compiled anew, or not be called.
    """
    found = set()
    for number, denoiser in enumerate(denoisers, start=1):
        before = "" if number == 1 else f"{number}."
        compiled = [name for name, module in denoiser.named_modules() if _is_compiled(module)]
        for name, module in denoiser.named_modules():
            if _is_attention(module) and any(
                name == c or not c or name.startswith(f"{c}.") for c in compiled
            ):
                found.add(before + plain_name(name))
    return found


def has_compiled(denoiser: Any) -> bool:
    """Whether a denoiser or any part of it is compiled."""
    return any(_is_compiled(module) for module in denoiser.modules())


def _is_compiled(module: Any) -> bool:
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


def chosen_layers(layers: Sequence[Layer], patterns: Sequence[str] | None, most: int | None) -> list[Layer]:
    """Return the layers that `Capture.attention_layers` and `Capture.attention_max_layers` ask for.

    most: of each kind, that is of the layers that have the same name in their block ("attn1").
    """
    found = [layer for layer in layers if matches(layer.name, layer.block, patterns)]
    if most is None:
        return found
    kinds: dict[str, list[Layer]] = {}
    for layer in found:
        kinds.setdefault(layer.name.rpartition(".")[2], []).append(layer)
    kept = {layer.name for kind in kinds.values() for layer in spread(kind, most)}
    return [layer for layer in found if layer.name in kept]


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """Return at most so many of the items, evenly over their whole length; the first and last where there are two."""
    if len(items) <= most:
        return list(items)
    if most == 1:
        return [items[len(items) // 2]]
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _is_attention(module: Any) -> bool:
    return isinstance(getattr(module, "heads", None), int) and hasattr(module, "processor")


def _part(name: str) -> str | None:
    return next((part for part in PARTS if name.startswith(f"{part}_block")), None)


def _block(name: str) -> str | None:
    """Return what a layer's name says of its block: "transformer_blocks.3"."""
    found = _BLOCK.match(name)
    return found and f"{found['stack']}.{found['index']}"


def _depths(names: Sequence[str]) -> dict[str | None, int]:
    """Return the place of each block that has a layer, one stack after the other."""
    blocks = list(dict.fromkeys(block for name in names if (block := _block(name)) is not None))
    return {block: i for i, block in enumerate(blocks)}
