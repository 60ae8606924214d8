"""Where a denoiser's arguments have its text, and how it lays several of them out along its keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffatlas.attention.tokens import Token, unknown_token
from diffatlas.capture.signatures import argument_names

if TYPE_CHECKING:
    import torch

#: Parts of the names of arguments that hold texts, and of those that do not although they sound like it.
_TEXT = ("encoder_hidden_states", "text", "cap_feats", "prompt", "txt", "context")
_NO_TEXT = ("image", "img", "mask", "ids", "lens", "indexes", "indices", "latents", "pooled", "layers", "emb")


@dataclass(frozen=True)
class TextInput:
    """One argument's tokens of one sample: None at the positions whose source is not known."""

    name: str
    tokens: list[Token | None]

    @property
    def known(self) -> bool:
        """Whether any position is known."""
        return any(token is not None for token in self.tokens)


def text_inputs(module: Any, args: tuple, kwargs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return (name, value) of the arguments that may hold a text, in the order in which the denoiser has them."""
    first, given = _arguments(module, args, kwargs)
    found = []
    for name, value in given.items():
        named = _sounds_like_text(name)
        is_tensor = getattr(value, "ndim", 0) == 3 and value.is_floating_point()
        several = isinstance(value, (list, tuple)) and len(value) > 0
        if name != first and (is_tensor or (named and (several or getattr(value, "ndim", 0) == 4))):
            found.append((name, value))
    return found


def masks_of(module: Any, args: tuple, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the masks (B, L) among a denoiser's arguments."""
    _, given = _arguments(module, args, kwargs)
    return {name: v for name, v in given.items() if "mask" in name and getattr(v, "ndim", 0) == 2}


def samples(value: Any, row: int) -> Iterator[torch.Tensor]:
    """Give what may be the text (L, D) of one sample in an argument, in each of the ways in which they are laid out."""
    if isinstance(value, (list, tuple)):
        part = value[row] if row < len(value) else None
        if getattr(part, "ndim", 0) == 2:
            yield part
        elif isinstance(part, (list, tuple)) and part and getattr(part[0], "ndim", 0) == 2:
            import torch

            yield torch.cat(list(part))
        elif getattr(value[0], "ndim", 0) == 3:  # one for each layer
            yield from samples(value[0], row)
        return
    if value.ndim == 3:
        if len(value) == 1 or row < len(value):
            yield value[row if len(value) > 1 else 0]
        return
    # By layers and then samples; by samples and then layers; by samples, places and layers.
    if row < value.shape[1]:
        yield value[0, row]
    if row < value.shape[0]:
        yield value[row, 0]
        yield value[row].flatten(1)


def given_texts(
    module: Any, args: tuple, kwargs: Mapping[str, Any], rows: Sequence[int]
) -> list[torch.Tensor]:
    """Return whatever a call of a denoiser was given that may be a text, of these samples, to compare two calls by."""
    return [
        text for _, value in text_inputs(module, args, kwargs) for row in rows for text in samples(value, row)
    ]


def laid_out(
    parts: Sequence[TextInput], length: int, masks: Mapping[str, Any], row: int, module: Any = None
) -> list[Token]:
    """Return the ``length`` tokens along the keys; unknown ones where it cannot be told which text stands there.

    Several texts stand one behind the other in the order of the arguments. A text that is shorter is followed by what
    is none; of one that is longer, those that its mask keeps.
    """
    texts = [p for p in parts if p.known or _sounds_like_text(p.name)]
    known = [p for p in texts if p.known]
    if not known:
        return _filled([], length)
    sizes = [len(p.tokens) for p in texts]
    joined = [token for p in texts for token in p.tokens]
    fitting = [p for p in known if len(p.tokens) == length]
    if len(texts) > 1 and sum(sizes) == length:
        return _filled(_reordered(texts, masks, row, module) or joined, length)
    if len(texts) > 1 and sum(sizes) + sizes[-1] == length:  # HiDream gives the last one twice
        return _filled(joined + texts[-1].tokens, length)
    if fitting:
        return _filled(fitting[0].tokens, length)
    if len(known) == 1:
        (only,) = known
        if len(only.tokens) < length:
            return _filled(only.tokens, length)
        for mask in masks.values():
            kept = _kept(mask, row, len(only.tokens))
            if kept is not None and 0 < sum(kept) <= length:
                return _filled([t for t, keep in zip(only.tokens, kept, strict=True) if keep], length)
    return _filled([], length)


def _filled(tokens: Sequence[Token | None], length: int) -> list[Token]:
    shown = [unknown_token(i) if token is None else token for i, token in enumerate(tokens)]
    return shown + [unknown_token(i) for i in range(len(tokens), length)]


def _reordered(
    texts: Sequence[TextInput], masks: Mapping[str, Any], row: int, module: Any
) -> list[Token | None] | None:
    """HunyuanImage's order: what the masks keep of the second text and of the first, then the rest of them."""
    if not type(module).__name__.startswith("HunyuanImage"):
        return None
    order: list[Token | None] = []
    halves = []
    for text in reversed(texts):
        mask = masks.get(text.name.replace("hidden_states", "attention_mask"))
        kept = None if mask is None else _kept(mask, row, len(text.tokens))
        if kept is None:
            return [None] * sum(len(t.tokens) for t in texts)
        halves.append(list(zip(text.tokens, kept, strict=True)))
    for wanted in (True, False):
        for half in halves:
            order += [token for token, keep in half if keep == wanted]
    return order


def _kept(mask: Any, row: int, length: int) -> list[bool] | None:
    if mask.shape[-1] != length or row >= len(mask):
        return None
    return [bool(value) for value in mask[row].tolist()]


def _sounds_like_text(name: str) -> bool:
    return any(part in name for part in _TEXT) and not any(part in name for part in _NO_TEXT)


def _arguments(module: Any, args: tuple, kwargs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name of the denoiser's first argument, which is its latents, and all that it was given by name."""
    parameters = argument_names(module.forward)
    first = next(iter(parameters), "")
    given = dict(zip(parameters, args, strict=False)) | dict(kwargs)
    order = {name: i for i, name in enumerate(parameters)}
    return first, dict(sorted(given.items(), key=lambda item: order.get(item[0], len(order))))
