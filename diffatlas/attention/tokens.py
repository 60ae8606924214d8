"""The text tokens that cross-attention looks at, and the words of the prompt that they belong to.

A token's index is its position along the keys of cross-attention, which is not always its position in one
tokenizer: the two encoders of SDXL share their positions, and SD3 puts its T5 tokens behind those of CLIP.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from diffatlas.errors import InvalidParams

#: What separates words besides white space.
_BREAKS = re.compile(r"[^\s,;:/\\|()\[\]{}<>\"!?…，。、；：！？（）]+")


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


def unknown_token(index: int, encoder: str = "") -> Token:
    """Return a position whose text is not known."""
    return Token(index=index, encoder=encoder, text="", word=None, special=True)


def _is_mark(character: str) -> bool:
    """Whether a character at a word's end is punctuation or a symbol around it, not part of it."""
    return unicodedata.category(character)[0] in "PS" and character not in "#@$€£%+&_"
