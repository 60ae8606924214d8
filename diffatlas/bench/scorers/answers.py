"""How an answer can be written, what a tokenizer makes of that, and how probable the answer is.

A word that a tokenizer splits counts as a whole: the probability of its tokens, each after those before it. So does a
spelling that begins with a space: some tokenizers write " 2" as a space and a digit, and the space alone is no answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NUMBERS = (
    *(
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
#: Answers of which one is what the other is not.
OPPOSITES = {"yes": "no", "no": "yes"}


@dataclass(frozen=True)
class Spelling:
    """One way of writing an answer, as a tokenizer has it."""

    text: str
    tokens: tuple[int, ...]
    #: Whether more digits after it would make it another number.
    number: bool = False

    @property
    def read(self) -> tuple[int, ...]:
        """The tokens that a model reads before it has said all that this spelling's probability needs."""
        return self.tokens if self.number else self.tokens[:-1]


def spellings(answer: str) -> tuple[str, ...]:
    """Return how an answer can be written: as it stands, small and with a capital, after a space or not.

    Numbers up to twenty both as a word and in digits.
    """
    words = [" ".join(answer.split())]
    if words[0].lower() in NUMBERS:
        words.append(str(NUMBERS.index(words[0].lower())))
    elif words[0].isdecimal() and int(words[0]) < len(NUMBERS):
        words.append(NUMBERS[int(words[0])])
    forms = [form for word in words for form in (word, word.lower(), word[:1].upper() + word[1:])]
    return tuple(dict.fromkeys(text for form in forms for text in (form, f" {form}")))


def tokenized(tokenizer: Any, texts: Iterable[str]) -> tuple[Spelling, ...]:
    """Return the spellings among ``texts`` that a tokenizer can tell from others; none of them is counted twice.

    What it does not give back as it was (for a letter that it lacks) is left out, and so is what begins as another
    spelling does from its first to its last token: the other's probability has it already.
    """
    found: dict[tuple[int, ...], Spelling] = {}
    for text in texts:
        tokens = tuple(tokenizer.encode(text, add_special_tokens=False))
        back = tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if tokens and back.strip().lower() == text.strip().lower():
            found.setdefault(tokens, Spelling(text, tokens, text[-1:].isdecimal()))
    return tuple(
        one
        for one in found.values()
        if not any(other != one.tokens and one.tokens[: len(other)] == other for other in found)
    )


def digit_tokens(tokenizer: Any) -> np.ndarray:
    """Return the numbers of the tokens that begin with a digit."""
    tokens = tokenizer.get_vocab().items()
    return np.array(sorted(k for token, k in tokens if token.removeprefix("##")[:1].isdecimal()), np.int64)


def to_read(found: Iterable[Spelling]) -> list[tuple[int, ...]]:
    """Return the tokens that a model has to read on after a prompt, so that each spelling's probability is known.

    One sequence does for all that it begins with.
    """
    reads = {one.read for one in found}
    return sorted(
        read for read in reads if not any(other != read and other[: len(read)] == read for other in reads)
    )


def probability(
    found: Sequence[Spelling], told: Mapping[tuple[int, ...], np.ndarray], digits: np.ndarray
) -> float:
    """Return the probability that a model answers in one of several spellings.

    told: by what was read after the prompt (`to_read`), the logarithms of the probabilities of each next token
    (tokens read + 1, vocabulary). digits: see `digit_tokens`; what goes on with one is another number.
    """
    total = math.fsum(math.exp(_log_probability(one, told, digits)) for one in found)
    return min(1.0, total)


def per_token(one: Spelling, told: Mapping[tuple[int, ...], np.ndarray]) -> float:
    """Return the geometric mean of the probabilities of a spelling's tokens; told: see `probability`."""
    return math.exp(math.fsum(_steps(one, told)) / len(one.tokens))


def _log_probability(one: Spelling, told: Mapping[tuple[int, ...], np.ndarray], digits: np.ndarray) -> float:
    value = math.fsum(_steps(one, told))
    if one.number and len(digits):
        after = _told_of(one.read, told)[len(one.tokens)]
        goes_on = min(1.0, float(np.exp(after[digits].astype(np.float64)).sum()))
        value += math.log1p(-goes_on) if goes_on < 1 else -math.inf
    return value


def _steps(one: Spelling, told: Mapping[tuple[int, ...], np.ndarray]) -> list[float]:
    table = _told_of(one.read, told)
    return [float(table[k, token]) for k, token in enumerate(one.tokens)]


def _told_of(read: tuple[int, ...], told: Mapping[tuple[int, ...], np.ndarray]) -> np.ndarray:
    return next(table for whole, table in told.items() if whole[: len(read)] == read)
