"""Which words of a prompt name the objects that its task demands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from diffatlas.attention.tokens import Token, find_words
from diffatlas.bench.packs.coco import plural
from diffatlas.bench.tasks import Include, Task
from diffatlas.errors import InvalidParams


@dataclass(frozen=True)
class Named:
    """An object as a prompt names it: its words ("red circle"), and their tokens along the keys of attention."""

    words: str
    tokens: tuple[int, ...]


def objects_named(task: Task, table: Sequence[Token]) -> tuple[Named, ...]:
    """Return the words of each object that a task demands, in the order in which the prompt names them.

    An object is its noun, or the plural of that, with its colour where that stands before it. One that the prompt does
    not name is left out. table: the tokens of the prompt.
    """
    place = {token.index: token.word for token in table}
    taken: set[int | None] = set()
    found: list[tuple[int, Named]] = []
    # A noun alone may be that of another object with a colour, so those with one come first.
    for demand in sorted(task.include, key=lambda one: one.color is None):
        for words, tokens in _spoken(demand, table):
            at = {place[token] for token in tokens}
            if not at & taken:
                taken |= at
                found.append((min(tokens), Named(words, tuple(tokens))))
                break
    return tuple(named for _, named in sorted(found, key=lambda one: one[0]))


def _spoken(demand: Include, table: Sequence[Token]) -> Iterator[tuple[str, list[int]]]:
    """Yield (words, tokens) wherever the prompt may name an object, the surest first."""
    nouns = (demand.noun, plural(demand.noun))
    for words in (*(f"{demand.color} {noun}" for noun in nouns if demand.color), *nouns):
        try:
            places = find_words(table, words)
        except InvalidParams:
            continue
        yield from ((words, tokens) for tokens in places)
