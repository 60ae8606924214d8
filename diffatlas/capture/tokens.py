"""The text tokens that cross-attention looks at, and the words of the prompt that they belong to.

A token's index is its position along the keys of cross-attention, which is not always its position in one
tokenizer: the two encoders of SDXL share their positions, and SD3 puts its T5 tokens behind those of CLIP.
"""

from __future__ import annotations

import inspect
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from diffatlas.errors import InvalidParams

#: Longest sequence that a tokenizer is believed to have; those without a limit say 1e30.
LONGEST = 100_000
#: What separates words besides white space.
_BREAKS = re.compile(r"[^\s,;:/\\|()\[\]{}<>\"!?…，。、；：！？（）]+")
#: What tokenizers write for the beginning or the end of a word.
_MARKS = ("</w>", "▁", "Ġ", "##")
#: Encoders (the start of ``config.model_type``) that read the prompt itself, not a chat around it.
_PLAIN = ("clip", "t5", "umt5", "mt5", "bert", "roberta", "xlm")


@dataclass(frozen=True)
class Token:
    """One text token.

    ``index``: its position among the keys. ``encoder``: the family of its text encoder ("clip", "t5", ...).
    ``text``: what it stands for, as written in the prompt where that is known. ``word``: the index of its word in
    `words` of the prompt, None where it belongs to none (punctuation, specials); ``word_text`` is that word.
    ``special``: the beginning, the end, padding, or a position whose text is not known.
    """

    index: int
    encoder: str
    text: str
    word: int | None
    special: bool
    word_text: str | None = None
    #: Its number in the tokenizer's vocabulary and how that spells it ("red</w>"); None where they are not known.
    id: int | None = field(default=None, compare=False)
    raw: str | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Token:
        """Build from what `to_dict` gave."""
        found = {name: data.get(name) for name in cls.__dataclass_fields__}
        return cls(**found | {"text": found["text"] or "", "encoder": found["encoder"] or ""})


def read_table(data: Iterable[Token | Mapping[str, Any]]) -> tuple[Token, ...]:
    """Return a token table from its stored form."""
    return tuple(t if isinstance(t, Token) else Token.from_dict(t) for t in data)


def words(prompt: str, whole: Iterable[str] = ()) -> list[str]:
    """Return the words of a prompt, in order and as written, without the punctuation around them.

    whole: as for `word_spans`.
    """
    return [prompt[start:end] for start, end in word_spans(prompt, whole)]


def word_spans(prompt: str, whole: Iterable[str] = ()) -> list[tuple[int, int]]:
    """Return (start, end) of every word of a prompt, in characters.

    A word is a run between white space, commas, brackets and the like, without the punctuation at its ends;
    hyphens and apostrophes inside belong to it.

    whole: names that are one word each as they are, such as "<toy>" of a textual inversion, where they stand alone.
    """
    names = "|".join(re.escape(name) for name in sorted(set(whole), key=len, reverse=True) if name.strip())
    if not names:
        return _plain_spans(prompt, 0, len(prompt))
    spans, last = [], 0
    for match in re.finditer(rf"(?<!\w)(?:{names})(?!\w)", prompt):
        spans += [*_plain_spans(prompt, last, match.start()), match.span()]
        last = match.end()
    return spans + _plain_spans(prompt, last, len(prompt))


def _plain_spans(prompt: str, first: int, last: int) -> list[tuple[int, int]]:
    spans = []
    for match in _BREAKS.finditer(prompt, first, last):
        start, end = match.span()
        while start < end and _is_mark(prompt[start]):
            start += 1
        while end > start and _is_mark(prompt[end - 1]):
            end -= 1
        if start < end:
            spans.append((start, end))
    return spans


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


def find_word(table: Sequence[Token], word: str, nth: int = 0) -> list[int]:
    """Return the token indices of a word, of all encoders, in order.

    word: as for `find_words`. nth: which of equal ones, from 0.

    Raises `InvalidParams`, naming the words that there are.
    """
    places = find_words(table, word)
    if not 0 <= nth < len(places):
        raise InvalidParams(
            f"The prompt has {word!r} {len(places)} times, so nth is from 0 to {len(places) - 1}, not {nth}.",
            field="nth",
        )
    return places[nth]


def find_words(table: Sequence[Token], word: str) -> list[list[int]]:
    """Return the token indices of a word at each place where the prompt has it, of all encoders, in order.

    word: one word of the prompt or several in a row ("red circle"); capitals do not matter.

    Raises `InvalidParams`, naming the words that there are, where it has none.
    """
    known = {t.word: t.word_text or "" for t in table if t.word is not None}
    order = sorted(known)
    wanted = [_bare(w) for w in words(word, (name for name in known.values() if words(name) != [name]))]
    folded = [_bare(known[i]) for i in order]
    starts = [k for k in range(len(order)) if wanted and folded[k : k + len(wanted)] == wanted]
    if not starts:
        raise InvalidParams(f"The prompt has no word {word!r}. {_known_words(table)}", field="word")
    chosen = [set(order[start : start + len(wanted)]) for start in starts]
    return [[t.index for t in table if t.word in each] for each in chosen]


def _bare(word: str) -> str:
    """What words are compared by: without capitals, and without what is around a concept's name."""
    return " ".join(words(word)).casefold() or word.casefold()


def _known_words(table: Sequence[Token]) -> str:
    """Say which words there are, or why there are none."""
    known = {t.word: t.word_text or "" for t in table if t.word is not None}
    if known:
        return f"Its words are: {', '.join(known[i] for i in sorted(known))}."
    if any(t.text for t in table):
        return "It has no words at all."
    return "Its words are not known: its text was not seen, as where embeddings were given in its place."


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


def unknown_token(index: int, encoder: str = "") -> Token:
    """Return a position whose text is not known."""
    return Token(index=index, encoder=encoder, text="", word=None, special=True)


def _is_mark(character: str) -> bool:
    """Whether a character at a word's end is punctuation or a symbol around it, not part of it."""
    return unicodedata.category(character)[0] in "PS" and character not in "#@$€£%+&_"
