"""The tokens of one text as an encoder was given them: what each stands for, and the word that it belongs to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diffatlas.attention.tokens import Token, word_spans
from diffatlas.capture.tokens import cleaned, spelled, word_at

#: Texts that were asked for, by call: of the outermost call first.
Asked = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Tokenised:
    """One text and what a tokenizer made of it.

    ``ids``: as it gave them, with specials and padding. ``text``: as it was given; None where it was given none.
    ``asked``: the prompts of the pipeline calls that were running then. ``encoding``: the fast tokenizer's own record
    of the text, which has the places of the tokens in it.
    """

    tokenizer: Any = field(repr=False)
    ids: tuple[int, ...]
    text: str | None
    asked: Asked = ()
    encoding: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class _Around:
    """What a pipeline puts before and behind a prompt."""

    before: str
    behind: str


def tokenised(
    tokenizer: Any, args: tuple, kwargs: Mapping[str, Any], out: Any, asked: Asked
) -> list[Tokenised]:
    """Return the rows that a call of a tokenizer made, one by text; [] of what is no such call."""
    given = args[0] if args else kwargs.get("text")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        return []
    # Of two texts in one row, or of words that were split before, places are not those in one text.
    whole = not kwargs.get("text_pair") and len(args) < 2 and not kwargs.get("is_split_into_words")
    rows = _rows(out["input_ids"] if isinstance(out, Mapping) or hasattr(out, "input_ids") else out)
    encodings = getattr(out, "encodings", None) or [None] * len(rows)
    sources = range(len(rows))
    if isinstance(out, Mapping) and "overflow_to_sample_mapping" in out:
        sources = [int(i) for i in out["overflow_to_sample_mapping"]]
    elif len(rows) != len(texts):
        return []
    return [
        Tokenised(tokenizer, tuple(ids), texts[source] if whole else None, asked, encoding)
        for ids, source, encoding in zip(rows, sources, encodings, strict=True)
    ]


@dataclass(frozen=True)
class Row:
    """The tokens of one row of ids, their indices from 0, and the words of its prompt, which they number."""

    tokens: list[Token]
    words: tuple[str, ...] = ()


def tokens_of(
    ids: Sequence[int],
    seen: Sequence[Tokenised],
    tokenizer: Any,
    family: str,
    others: Iterable[Tokenised] = (),
) -> Row:
    """Return the tokens of one row of ids that an encoder was given.

    seen: what tokenizers had made of texts before. The row is that of the last of them that has the same ids, or a
    part of them, or that is all of it but specials. Where it is none, its text is what ``tokenizer`` spells of it.
    others: more texts of the same run, by which a template is told from the prompt in it.
    """
    found, places = _origin(ids, seen)
    if found is None and tokenizer is None:
        return Row([Token(i, family, "", None, True, id=int(n)) for i, n in enumerate(ids)])
    tokenizer = tokenizer if found is None else found.tokenizer
    names = [str(name) for name in tokenizer.convert_ids_to_tokens([int(i) for i in ids])]
    marked = _specials(tokenizer)
    if found is None:
        text = tokenizer.decode([i for i in ids if i not in marked])
        found = Tokenised(tokenizer, tuple(ids), text, seen[-1].asked if seen else ())
        places = list(range(len(ids)))
    spans, special = _spans(found, marked)
    text = found.text or ""
    read = _read(text, found, _prompt_around(found, others))
    table = []
    for i, place in enumerate(places):
        start, end = spans[place] if place is not None else (0, 0)
        start, end = read.place(start, end)
        inside = place is not None and not special[place] and 0 <= start < end <= len(read.prompt)
        word = word_at(read.words, start, end) if inside else None
        table.append(
            Token(
                index=i,
                encoder=family,
                text=read.prompt[start:end].strip() if inside else cleaned(names[i]),
                word=word,
                special=not inside,
                word_text=None if word is None else read.prompt[slice(*read.words[word])],
                id=int(ids[i]),
                raw=names[i],
            )
        )
    return Row(table, tuple(read.prompt[slice(*span)] for span in read.words))


#: Where a token is in a text: (start, end), and which of those with these places it is. T5 writes the beginning of a
#: word as a token of its own that has the place of the letter behind it.
Place = tuple[int, int, int]


@dataclass(frozen=True)
class Extent:
    """What of a prompt is in a row of ids.

    ``prompt``: as it was asked for, or all that the tokenizer was given where nobody asked for it. ``read``: the places
    in it of the row's tokens. ``whole``: those of all the tokens that it has uncut.
    """

    prompt: str
    read: frozenset[Place]
    whole: frozenset[Place]


def extent_of(
    ids: Sequence[int], seen: Sequence[Tokenised], others: Iterable[Tokenised] = ()
) -> Extent | None:
    """Return how much of its prompt a row of ids has, with the arguments of `tokens_of`; None where no text has it."""
    found, places = _origin(ids, seen)
    if found is None or not found.text:
        return None
    spans, special = _spans(found, _specials(found.tokenizer))
    read = _read(found.text, found, _prompt_around(found, others))
    in_row = frozenset(places)
    times: Counter[tuple[int, int]] = Counter()
    kept, whole = set(), set()

    def take(span: tuple[int, int], is_read: bool) -> None:
        start, end = read.place(*span)
        if 0 <= start < end <= len(read.prompt):
            place = (start, end, times[start, end])
            times[start, end] += 1
            whole.add(place)
            if is_read:
                kept.add(place)

    for i, (span, is_special) in enumerate(zip(spans, special, strict=True)):
        if not is_special:
            take(span, i in in_row)
    if found.encoding is None:
        # Its tokens are found anew, uncut: the first of them are those that it has.
        times.clear()
    for span in _cut_off(found):
        take(span, False)
    return Extent(read.prompt, frozenset(kept), frozenset(whole))


def _cut_off(found: Tokenised) -> list[tuple[int, int]]:
    """Return the places in its text of the tokens that the tokenizer itself has cut off."""
    encoding = found.encoding
    if encoding is not None:
        pieces = encoding.overflowing
        told = [pair for p in pieces for pair in zip(p.offsets, p.special_tokens_mask, strict=True)]
        return [tuple(span) for span, added in told if not added]
    # A tokenizer that keeps no record of what it cut: it is asked again, by a method that adds and cuts nothing.
    names = [cleaned(str(name)) for name in found.tokenizer.tokenize(found.text)]
    return [span for span in spelled(found.text, names, [False] * len(names)) if span != (0, 0)]


@dataclass(frozen=True)
class _Reading:
    """A prompt, its words, and where the places of a tokenizer's text are in it.

    ``several``: (start, end, length as the prompt has it) of each concept of several vectors, which the tokenizer's
    text spells out one by one. ``begin``: where the prompt begins in that text.
    """

    prompt: str
    words: list[tuple[int, int]]
    begin: int
    several: list[tuple[int, int, int]]

    def place(self, start: int, end: int) -> tuple[int, int]:
        longer = 0
        for low, high, length in self.several:
            if start >= high:
                longer += high - low - length
            elif end > low:
                return low - longer - self.begin, low - longer + length - self.begin
        return start - longer - self.begin, end - longer - self.begin


def _read(text: str, found: Tokenised, around: _Around | None) -> _Reading:
    short, several = _concepts_joined(text, found.tokenizer)
    begin, prompt = 0, short
    asked = _asked_in(short, found.asked)
    if asked is not None:
        begin, prompt = asked
    elif around is not None and _fits(short, around):
        begin = len(around.before)
        prompt = short[begin : len(short) - len(around.behind)]
    names = [name for name in _concepts(found.tokenizer) if name in prompt]
    return _Reading(prompt, word_spans(prompt, names), begin, several)


def _asked_in(text: str, asked: Asked) -> tuple[int, str] | None:
    """Return where the prompt that was asked for is in a tokenizer's text, and that prompt as it was written.

    Pipelines write it in lower case, take the blanks around it away, or put it into a template. Of several the
    longest; of one that is there several times the last, since templates tell first what is to be done.
    """
    for prompts in asked:
        places = []
        for prompt in prompts:
            for own in dict.fromkeys((prompt, prompt.strip())):
                if own.strip() and (place := _last_place(text, own)) is not None:
                    places.append((len(own), place, own))
                    break
        if places:
            _, place, own = max(places)
            return place, own
    return None


def _last_place(text: str, prompt: str) -> int | None:
    for one, other in ((text, prompt), (text.lower(), prompt.lower())):
        if len(one) != len(text) or len(other) != len(prompt):
            continue
        before = r"(?<!\w)" if other[0].isalnum() else ""
        behind = r"(?!\w)" if other[-1].isalnum() else ""
        found = [m.start() for m in re.finditer(before + re.escape(other) + behind, one)]
        if found:
            return found[-1]
    return None


def _prompt_around(found: Tokenised, others: Iterable[Tokenised]) -> _Around | None:
    """Return the template of another text of the same tokenizer that this one has as well; None where none has one."""
    for other in others:
        if other.tokenizer is not found.tokenizer or not other.text or found.text is None:
            continue
        short, _ = _concepts_joined(other.text, other.tokenizer)
        asked = _asked_in(short, other.asked)
        if asked is None:
            continue
        place, prompt = asked
        around = _Around(short[:place], short[place + len(prompt) :])
        if (around.before or around.behind).strip() and _fits(found.text, around):
            return around
    return None


def _fits(text: str, around: _Around) -> bool:
    long_enough = len(text) >= len(around.before) + len(around.behind)
    return long_enough and text.startswith(around.before) and text.endswith(around.behind)


def _concepts(tokenizer: Any) -> list[str]:
    """Names of what was added to a vocabulary as words of their own, such as the tokens of a textual inversion."""
    added = getattr(tokenizer, "added_tokens_decoder", None) or {}
    names = [str(token) for token in added.values() if not getattr(token, "special", False)]
    return [name for name in names if name.strip()]


def _concepts_joined(text: str, tokenizer: Any) -> tuple[str, list[tuple[int, int, int]]]:
    """Return a text with each concept of several vectors as it was asked for, once, and where those were.

    diffusers writes "<toy>" of three vectors as "<toy> <toy>_1 <toy>_2".
    """
    names = set(_concepts(tokenizer))
    first = sorted((n for n in names if n in text and f"{n}_1" in names), key=len, reverse=True)
    if not first:
        return text, []
    chain = "|".join(rf"{re.escape(n)}(?: {re.escape(n)}_\d+)+" for n in first)
    short, several, last = "", [], 0
    for match in re.finditer(chain, text):
        name = next(n for n in first if match[0].startswith(f"{n} {n}_1"))
        short += text[last : match.start()] + name
        several.append((*match.span(), len(name)))
        last = match.end()
    return short + text[last:], several


def _origin(ids: Sequence[int], seen: Sequence[Tokenised]) -> tuple[Tokenised | None, list[int | None]]:
    """Return whose ids a row has, and where each of its own is among them (None where it is not)."""
    row = tuple(int(i) for i in ids)
    newest = list(reversed(seen))
    for one in newest:
        if one.ids == row:
            return one, list(range(len(row)))
    best: tuple[int, Tokenised, list[int | None]] | None = None
    for one in newest:
        # Cut behind, filled up, or cut into pieces with a beginning and an end each.
        marked = _specials(one.tokenizer)
        for own, whole, is_part in ((row, one.ids, True), (one.ids, row, False)):
            low, high = _core(own, marked)
            place = _find(whole, own[low:high])
            if place is None or (best is not None and high - low <= best[0]):
                continue
            if not is_part and high - low < sum(i not in marked for i in row):
                continue  # a text of which the row has more than this one
            places: list[int | None] = [None] * len(row)
            for k in range(high - low):
                here, there = (low + k, place + k) if is_part else (place + k, low + k)
                places[here] = there
            best = (high - low, one, places)
    return (None, []) if best is None else best[1:]


def _core(ids: Sequence[int], marked: frozenset[int]) -> tuple[int, int]:
    """Return (start, end) of ids without the specials at both ends."""
    low, high = 0, len(ids)
    while low < high and ids[low] in marked:
        low += 1
    while high > low and ids[high - 1] in marked:
        high -= 1
    return low, high


def _find(whole: Sequence[int], part: Sequence[int]) -> int | None:
    if not 0 < len(part) <= len(whole):
        return None
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(whole), len(part))
    found = np.flatnonzero((windows == np.asarray(part)).all(1))
    return int(found[0]) if len(found) else None


def _specials(tokenizer: Any) -> frozenset[int]:
    return frozenset(int(i) for i in getattr(tokenizer, "all_special_ids", None) or ())


def _spans(found: Tokenised, marked: frozenset[int]) -> tuple[list[tuple[int, int]], list[bool]]:
    """Return the place of each of its tokens in the text, and which are special."""
    encoding = found.encoding
    unknown = getattr(found.tokenizer, "unk_token_id", None)
    if encoding is not None and found.text is not None and len(encoding.ids) == len(found.ids):
        # What stands for a word that the vocabulary lacks is special in name only.
        special = [
            bool(added) or (i in marked and i != unknown)
            for i, added in zip(found.ids, encoding.special_tokens_mask, strict=True)
        ]
        return [tuple(span) for span in encoding.offsets], special
    special = [i in marked for i in found.ids]
    names = [cleaned(str(name)) for name in found.tokenizer.convert_ids_to_tokens(list(found.ids))]
    return spelled(found.text or "", names, special), special


def _rows(ids: Any) -> list[list[int]]:
    ids = ids.tolist() if hasattr(ids, "tolist") else [i.tolist() if hasattr(i, "tolist") else i for i in ids]
    return [ids] if not ids or isinstance(ids[0], int) else [list(row) for row in ids]
