"""How far those who judged the same images agree, two by two and category by category."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from diffatlas.bench.bench import HAND, Bench, judged
from diffatlas.bench.judgements import Judged
from diffatlas.bench.packs.geneval_marks import Marked
from diffatlas.bench.statistics import Agreement, agreement
from diffatlas.errors import InvalidParams


@dataclass(frozen=True)
class AgreedLine:
    """One category: its agreement, None where no image has two verdicts, and the images that one could not judge."""

    tag: str
    agreement: Agreement | None
    unjudged: int


@dataclass(frozen=True)
class Pair:
    """Two who judged the same images, or several people under one name (``second`` is empty then)."""

    first: str
    second: str
    lines: tuple[AgreedLine, ...]
    overall: AgreedLine

    @property
    def name(self) -> str:
        """What it is called: "shapes and hand", "people among themselves"."""
        return f"{self.first} and {self.second}" if self.second else f"{self.first} among themselves"


def agree(verdicts: Mapping[str, Sequence[Judged]]) -> tuple[Pair, ...]:
    """Return the agreement of each two on the images that both have: those of one prompt and number.

    verdicts: by the name of who judged; what counts is the verdict, whatever the score. Categories are those of the
    first of two. Raises `InvalidParams` where there are fewer than two, and where two have no image in common.
    """
    if len(verdicts) < 2:
        raise InvalidParams("Agreement is between two: give the verdicts of two at least on the same images.")
    by_image = {name: by_images(own) for name, own in verdicts.items()}
    pairs = []
    for first, second in itertools.combinations(verdicts, 2):
        shared = [image for image in by_image[first] if image in by_image[second]]
        if not shared:
            raise InvalidParams(
                f"{first} and {second} have no image in common: give verdicts on the same prompts' images."
            )
        rows = [
            (by_image[first][image].task, [verdict_of(by_image[name][image]) for name in (first, second)])
            for image in shared
        ]
        pairs.append(_pair(first, second, [(task.tag, task.prompt, marks) for task, marks in rows]))
    return tuple(pairs)


def among(name: str, marked: Sequence[Marked]) -> Pair:
    """Return the agreement of people who each marked the same images."""
    return _pair(name, "", [(one.task.tag, one.task.prompt, list(one.passed)) for one in marked])


def pairs_of(bench: Bench, lanes: Sequence[str] = ()) -> tuple[Pair, ...]:
    """Return the agreement of all that judged a bench, of whom a person may be one; none where fewer than two did.

    lanes: the keys of those that are looked at; all without them. Each counts as it judged, whatever the others said.
    """
    names = [
        name for name in dict.fromkeys([*bench.scorers, *bench.said]) if name != HAND and bench.said.get(name)
    ]
    names += [HAND] if bench.marks else []
    keys = lanes or [lane.key for lane in bench.study.lanes]
    if len(names) < 2:
        return ()
    return agree({name: [one for key in keys for one in judged(bench, name, key, False)] for name in names})


def by_images(judged: Iterable[Judged]) -> dict[Hashable, Judged]:
    """Return judgements by their image: its prompt, its number, and which of the tasks with that prompt it is of."""
    seen: dict[Hashable, int] = {}
    found = {}
    for one in judged:
        image = (one.task.prompt, one.number)
        seen[image] = seen.get(image, 0) + 1
        found[(*image, seen[image])] = one
    return found


def verdict_of(one: Judged) -> bool | None:
    """Return whether an image was passed; None where it could not be judged."""
    verdict = one.judgement.verdict
    return None if verdict == "cannot judge" else verdict == "pass"


def _pair(first: str, second: str, rows: Sequence[tuple[str, str, list[bool | None]]]) -> Pair:
    tags = dict.fromkeys(tag for tag, _, _ in rows)
    return Pair(
        first,
        second,
        tuple(_line(tag, [row for row in rows if row[0] == tag]) for tag in tags),
        _line("all images", rows),
    )


def _line(tag: str, rows: Sequence[tuple[str, str, list[bool | None]]]) -> AgreedLine:
    marks = [given for _, _, given in rows]
    both = sum(sum(mark is not None for mark in given) > 1 for given in marks)
    found = agreement(marks, [prompt for _, prompt, _ in rows]) if both else None
    return AgreedLine(tag, found, len(rows) - both)
