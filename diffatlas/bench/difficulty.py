"""How much a prompt demands, and what share of images is correct as it demands more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffatlas.bench.judgements import Judged
from diffatlas.bench.statistics import Rate, rate
from diffatlas.bench.tasks import Task


@dataclass(frozen=True)
class Demanding:
    """Prompts that demand so many things: their rate, None where nothing could be judged, and the images not judged."""

    atoms: int
    rate: Rate | None
    unjudged: int


def atoms(task: Task) -> int | None:
    """Return the number of things that a task demands; None for a free task, which says of none.

    Of questions it is their number. Of objects one for each class that must be there, one for its number where that is
    more than one or may not be exceeded, one for its colour, one for its relation; one for each thing that must not be
    there, and one for a background. As the atoms of GenEval 2 (Kamath et al. 2025, arXiv 2512.16853) and the concepts
    of ConceptMix (Wu et al. 2024, arXiv 2408.14339), "four white bicycles" are three.
    """
    if task.kind == "free":
        return None
    if task.kind == "questions":
        return len(task.questions)
    included = {one.noun for one in task.include}
    capped = {one.noun for one in task.exclude if one.color is None and one.noun in included}
    numbered = capped | {one.noun for one in task.include if one.count > 1}
    refused = [one for one in task.exclude if one.color is not None or one.noun not in included]
    described = sum((one.color is not None) + (one.position is not None) for one in task.include)
    return len(task.include) + len(numbered) + described + len(refused) + (task.background is not None)


def by_atoms(judged: Sequence[Judged], level: float = 0.95) -> tuple[Demanding, ...]:
    """Return the rate of the prompts that demand one thing, two, and so on; free tasks are left out."""
    found: dict[int, list[Judged]] = {}
    for one in judged:
        count = atoms(one.task)
        if count is not None:
            found.setdefault(count, []).append(one)
    lines = []
    for count, own in sorted(found.items()):
        told = [(one.judgement.value, one.task.prompt) for one in own if one.judgement.value is not None]
        known = rate([value for value, _ in told], [prompt for _, prompt in told], level) if told else None
        lines.append(Demanding(count, known, len(own) - len(told)))
    return tuple(lines)
