"""The tokens that a pipeline's cross-attention would have for a prompt, told from its tokenizers.

`diffatlas.attention.tokens` says what a token is.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffatlas.attention.tokens import (
    Token,
    find_word,
    find_words,
    read_table,
    unknown_token,
    word_spans,
    words,
)

#: Beside the tables that are made here, what reads them.
__all__ = [
    "Token",
    "find_word",
    "find_words",
    "read_table",
    "token_table",
    "unknown_token",
    "word_spans",
    "words",
]

#: Longest sequence that a tokenizer is believed to have; those without a limit say 1e30.
LONGEST = 100_000
#: What tokenizers write for the beginning or the end of a word.
_MARKS = ("</w>", "▁", "Ġ", "##")
#: Encoders (the start of ``config.model_type``) that read the prompt itself, not a chat around it.
_PLAIN = ("clip", "t5", "umt5", "mt5", "bert", "roberta", "xlm")


def token_table(pipe: Any, prompt: str, length: int | None = None) -> list[Token]:
    """Return the tokens that the pipeline's cross-attention would have for a prompt, in the order of its keys.

    What it says without a run is told from the pipeline's parts and their defaults. Of a run, whose texts may be
    several, `diffatlas.capture.texts.TextRecorder` traces them.

    pipe: a diffusers pipeline. length: the number of text keys that attention was seen to have; None for what the
    pipeline pads to by default.

    Encoders of the CLIP family share their positions (SDXL). Other encoders follow, one behind the other. Whether
    CLIP's tokens are among the keys at all is told from ``length``; where that leaves it open, two or more CLIPs
    beside another encoder are (SD3), a single one is not, because it serves for the pooled vector only (FLUX).

    Positions whose text is not known (an encoder that is left out, a prompt inside a chat template) have the text
    "" and count as special. Where nothing is known and no length is given the table is empty.
    """
    clip, others = _encoders(pipe)
    parts = _layout(pipe, clip, others, length)
    table: list[Token] = []
    for encoder, size in parts:
        table += _tokens(pipe, encoder, prompt, size, len(table))
    if length is None:
        return table
    return table[:length] + [unknown_token(i) for i in range(len(table), length)]


def family_of(encoder: Any, tokenizer: Any) -> str:
    """Return the family of a text encoder ("clip", "t5", ...): what its config says, else its tokenizer's name."""
    family = str(getattr(getattr(encoder, "config", None), "model_type", "") or "")
    # An encoder may be left out or freed; its tokenizer still says what it was.
    name = type(tokenizer).__name__.lower().removesuffix("fast").removesuffix("tokenizer")
    return (family or name).split("_")[0]


@dataclass(frozen=True)
class _Encoder:
    """A tokenizer of a pipeline, the family of its text encoder, and whether it is given the prompt itself."""

    tokenizer: Any
    family: str
    readable: bool


def _encoders(pipe: Any) -> tuple[list[_Encoder], list[_Encoder]]:
    """Return (those of the CLIP family, the others), in the pipeline's order."""
    clip: list[_Encoder] = []
    others: list[_Encoder] = []
    for suffix in ("", "_2", "_3", "_4"):
        tokenizer = getattr(pipe, f"tokenizer{suffix}", None)
        if tokenizer is None:
            continue
        model = getattr(pipe, f"text_encoder{suffix}", None)
        family = family_of(model, tokenizer)
        plain = family.startswith(_PLAIN) and model is not None
        templated = hasattr(pipe, "prompt_template_encode") and hasattr(
            pipe, "prompt_template_encode_start_idx"
        )
        encoder = _Encoder(tokenizer, family, plain or (templated and suffix == ""))
        (clip if family.startswith("clip") else others).append(encoder)
    return clip, others


def _layout(
    pipe: Any, clip: list[_Encoder], others: list[_Encoder], length: int | None
) -> list[tuple[_Encoder, int]]:
    """Return the encoders along the keys, each with its number of positions."""
    clip_part = [(clip[0], _limit(clip[0].tokenizer))] if clip else []
    other_part = [(e, _default_length(pipe, e.tokenizer)) for e in others]
    both = clip_part + other_part
    if not clip_part or not other_part:
        return _fitted(both, length)
    for parts in (both, other_part, clip_part):
        if length is not None and sum(size for _, size in parts) == length:
            return parts
    pooled_only = len(clip) == 1
    return _fitted(other_part if pooled_only else both, length)


def _fitted(parts: list[tuple[_Encoder, int]], length: int | None) -> list[tuple[_Encoder, int]]:
    """Give the last part what the length leaves: how far it is padded is the caller's choice in most pipelines."""
    if length is None or not parts:
        return parts
    *before, (last, _) = parts
    return [*before, (last, max(length - sum(size for _, size in before), 0))]


def _limit(tokenizer: Any) -> int:
    limit = getattr(tokenizer, "model_max_length", 0) or 0
    return int(limit) if limit < LONGEST else 0


def _default_length(pipe: Any, tokenizer: Any) -> int:
    """To how many tokens the pipeline pads by default: its call says so, or its tokenizer."""
    parameter = inspect.signature(type(pipe).__call__).parameters.get("max_sequence_length")
    default = parameter.default if parameter is not None else None
    return default if isinstance(default, int) else _limit(tokenizer)


def _tokens(pipe: Any, encoder: _Encoder, prompt: str, size: int, first: int) -> list[Token]:
    if not encoder.readable or size <= 0:
        return [unknown_token(first + i, encoder.family) for i in range(size)]
    text, begin, dropped = _as_tokenised(pipe, encoder, prompt)
    ids, spans, special = _tokenise(encoder.tokenizer, text, size + dropped)
    names = encoder.tokenizer.convert_ids_to_tokens(ids)
    own = word_spans(prompt)
    table = []
    for position in range(dropped, len(ids)):
        start, end = (s - begin for s in spans[position])
        inside = not special[position] and 0 <= start < end <= len(prompt)
        word = word_at(own, start, end) if inside else None
        shown = prompt[start:end].strip() if inside else cleaned(str(names[position]))
        table.append(
            Token(
                index=first + position - dropped,
                encoder=encoder.family,
                text=shown,
                word=word,
                special=not inside,
                word_text=None if word is None else prompt[slice(*own[word])],
                id=int(ids[position]),
                raw=str(names[position]),
            )
        )
    return table + [unknown_token(first + i, encoder.family) for i in range(len(table), size)]


def _as_tokenised(pipe: Any, encoder: _Encoder, prompt: str) -> tuple[str, int, int]:
    """Return the text that the tokenizer is given, where the prompt begins in it, and the tokens dropped after.

    Some pipelines write the prompt in lower case without the blanks around it (PixArt), some put it into a template
    whose beginning they cut off again (Qwen-Image).
    """
    if not encoder.family.startswith(_PLAIN):
        template = pipe.prompt_template_encode
        return template.format(prompt), template.index("{}"), int(pipe.prompt_template_encode_start_idx)
    if hasattr(pipe, "_text_preprocessing") and len(prompt.lower()) == len(prompt):
        return prompt.lower().strip(), -(len(prompt) - len(prompt.lstrip())), 0
    return prompt, 0, 0


def _tokenise(tokenizer: Any, text: str, size: int) -> tuple[list[int], list[tuple[int, int]], list[bool]]:
    """Return ids, spans in the text and whether each is special, padded and cut to ``size``."""
    asked = {"padding": "max_length", "max_length": size, "truncation": True}
    if getattr(tokenizer, "is_fast", False):
        out = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, **asked)
        spans = [tuple(span) for span in out["offset_mapping"]]
        special = [bool(s) for s in out["special_tokens_mask"]]
        return list(out["input_ids"]), spans, special
    out = tokenizer(text, **asked)
    ids = list(out["input_ids"])
    marked = set(getattr(tokenizer, "all_special_ids", ()))
    special = [i in marked for i in ids]
    names = [cleaned(str(n)) for n in tokenizer.convert_ids_to_tokens(ids)]
    return ids, spelled(text, names, special), special


def spelled(text: str, names: Sequence[str], special: Sequence[bool]) -> list[tuple[int, int]]:
    """Spans of tokens in a text by their spelling, for tokenizers that do not tell: (0, 0) where not found."""
    folded, cursor, spans = text.casefold(), 0, []
    for name, is_special in zip(names, special, strict=True):
        at = folded.find(name.casefold(), cursor) if name and not is_special else -1
        # A token stands right behind the one before it, but for white space: one found further on is another's.
        if at < 0 or folded[cursor:at].strip():
            spans.append((0, 0))
            continue
        cursor = at + len(name)
        spans.append((at, cursor))
    return spans


def word_at(spans: Sequence[tuple[int, int]], start: int, end: int) -> int | None:
    """Return which of the spans the one from start to end has a part in; None for none."""
    for index, (low, high) in enumerate(spans):
        if start < high and end > low:
            return index
    return None


def cleaned(name: str) -> str:
    """Return a vocabulary's spelling without its marks for the beginning or the end of a word."""
    for mark in _MARKS:
        name = name.replace(mark, "")
    return name
