"""The words of a token table: a word's tokens are one word, whichever text encoders read it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from diffatlas.attention.tokens import Token


@dataclass(frozen=True)
class Word:
    """A word of a prompt, or what stands between words.

    ``tokens``: indices along the keys, of all text encoders. ``kind``: "word", "mark" (punctuation), or "special" (the
    beginning, the end, padding, and positions whose text is not known).
    """

    text: str
    tokens: tuple[int, ...]
    kind: str


def words_of(table: Sequence[Token]) -> list[Word]:
    """Return the words of a token table in order; equal specials in a row are one."""
    found: dict[object, tuple[str, str, list[int]]] = {}
    before: tuple[object, tuple[str, str]] | None = None
    for token in table:
        if token.word is not None and not token.special:
            key: object = ("word", token.word)
            found.setdefault(key, (token.word_text or token.text, "word", []))[2].append(token.index)
            before = None
            continue
        if token.special and before is not None and before[1] == (token.encoder, token.text):
            found[before[0]][2].append(token.index)
            continue
        key = ("token", token.index)
        found[key] = (token.text, "special" if token.special else "mark", [token.index])
        before = (key, (token.encoder, token.text)) if token.special else None
    return [
        Word(_special(text, len(tokens)) if kind == "special" else text, tuple(tokens), kind)
        for text, kind, tokens in found.values()
    ]


def prompt_words(table: Sequence[Token]) -> list[Word]:
    """Return the words and marks of a prompt; all that `words_of` has where its words are not known."""
    every = words_of(table)
    return [word for word in every if word.kind != "special"] or every


def _special(text: str, count: int) -> str:
    name = re.sub(r"[<>|[\]]", "", text).strip() or "no text"
    return f"{name} × {count}" if count > 1 else name
