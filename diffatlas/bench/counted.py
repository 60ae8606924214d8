"""Judgements counted: the rate of each category and of all, with intervals over prompts, and two benches compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffatlas.bench.judgements import Judged
from diffatlas.bench.statistics import Compared, Rate, compare, holm, mean_rate, rate
from diffatlas.errors import InvalidParams


@dataclass(frozen=True)
class Line:
    """One category: its rate, None where nothing could be judged, and the images that could not be."""

    tag: str
    rate: Rate | None
    unjudged: int


@dataclass(frozen=True)
class Counted:
    """A bench in numbers: its categories, and the mean over them as GenEval's overall score is one."""

    lines: tuple[Line, ...]
    overall: Rate | None
    level: float


@dataclass(frozen=True)
class Difference:
    """Two benches on one category: the second's mean minus the first's, and the p-value adjusted for the categories."""

    tag: str
    compared: Compared
    adjusted: float


def count(judged: Sequence[Judged], level: float = 0.95) -> Counted:
    """Count judgements by category, in the order in which the categories come.

    Raises `InvalidParams` where there are none.
    """
    if not judged:
        raise InvalidParams("There is nothing to count: no image was judged.")
    lines = []
    for tag in dict.fromkeys(one.task.tag for one in judged):
        own = [one for one in judged if one.task.tag == tag]
        values, prompts, _ = _told(own)
        found = rate(values, prompts, level) if values else None
        lines.append(Line(tag, found, len(own) - len(values)))
    values, prompts, tags = _told(judged)
    overall = mean_rate(values, prompts, tags, level) if values else None
    return Counted(tuple(lines), overall, level)


def differences(
    first: Sequence[Judged], second: Sequence[Judged], level: float = 0.95
) -> tuple[Compared, tuple[Difference, ...]]:
    """Compare two benches on the prompts that both have, over all of them and by category with Holm's adjustment.

    A category with fewer than two prompts in common is left out. Raises `InvalidParams` where all have.
    """
    whole = compare(_told(first)[:2], _told(second)[:2], level)
    found = {}
    for tag in dict.fromkeys(one.task.tag for one in first):
        both = [_told([one for one in side if one.task.tag == tag])[:2] for side in (first, second)]
        if len({*both[0][1]} & {*both[1][1]}) > 1:
            found[tag] = compare(both[0], both[1], level)
    adjusted = holm({tag: one.p for tag, one in found.items()})
    return whole, tuple(Difference(tag, one, adjusted[tag]) for tag, one in found.items())


def _told(judged: Sequence[Judged]) -> tuple[list[float], list[str], list[str]]:
    """Value, prompt and category of each image that could be judged."""
    told = [(one.judgement.value, one.task.prompt, one.task.tag) for one in judged]
    kept = [(value, prompt, tag) for value, prompt, tag in told if value is not None]
    return [value for value, _, _ in kept], [prompt for _, prompt, _ in kept], [tag for _, _, tag in kept]
