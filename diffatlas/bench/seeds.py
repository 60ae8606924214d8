"""Whether some seeds are better than others whatever is asked: the rate of each, and where the variance lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffatlas.bench.judgements import Judged
from diffatlas.bench.statistics import Rate, rate, seed_effect, variance_shares
from diffatlas.errors import InvalidParams


@dataclass(frozen=True)
class Numbered:
    """The images of one number: their rate, None where nothing could be judged, and those that could not be."""

    number: int
    rate: Rate | None
    unjudged: int


@dataclass(frozen=True)
class Seeds:
    """The rates by number, and what is known of all numbers together."""

    numbers: tuple[Numbered, ...]
    #: Of "prompt", "seed" and "rest" (`variance_shares`); None where they are not known.
    shares: Mapping[str, float] | None
    #: Of rates that lie so far apart, if the seeds' names were exchanged within each prompt (`seed_effect`).
    p: float | None
    #: Prompts whose images of all numbers that most prompts have were judged: shares and p are of them. And the others.
    prompts: int
    left_out: int
    #: Why shares and p are not known; empty where they are.
    why: str = ""


def by_number(judged: Sequence[Judged], level: float = 0.95) -> Seeds:
    """Return the rate of the first images of all prompts, of the second, and so on.

    A number stands for a seed where the images of one number were all made with the same one. Raises `InvalidParams`
    where there are none.
    """
    if not judged:
        raise InvalidParams("There is nothing to count: no image was judged.")
    numbers = sorted({one.number for one in judged})
    lines = []
    for number in numbers:
        own = [one for one in judged if one.number == number]
        told = [(one.judgement.value, one.task.prompt) for one in own if one.judgement.value is not None]
        known = rate([value for value, _ in told], [prompt for _, prompt in told], level) if told else None
        lines.append(Numbered(number, known, len(own) - len(told)))
    held: dict[str, dict[int, float]] = {}
    for one in judged:
        values = held.setdefault(one.task.id, {})
        if one.judgement.value is not None:
            values[one.number] = one.judgement.value
    # A number that only few prompts have would leave nothing to compare.
    usual = [number for number in numbers if 2 * sum(number in own for own in held.values()) >= len(held)]
    whole = {name: values for name, values in held.items() if {*usual} <= {*values}}
    cells = [(own[number], name, number) for name, own in whole.items() for number in usual]
    shares, p, why = None, None, ""
    try:
        columns = [list(column) for column in zip(*cells, strict=True)] or [[], [], []]
        shares, p = variance_shares(*columns), seed_effect(*columns)
    except InvalidParams as error:
        why = str(error)
    return Seeds(tuple(lines), shares, p, len(whole), len(held) - len(whole), why)
