"""Prompts of the grammar with what each demands, and the verdict on an image, by GenEval's rules.

The categories, the order of the checks and the geometry of relations follow Ghosh, Hajishirzi and Schmidt 2023
(arXiv 2310.11513); the detector is exact (`detect`) where theirs is learned.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import numpy as np

from diffatlas.geometry.places import DIRECTION, offset
from diffatlas.shapes.detect import Detection, background, detect
from diffatlas.shapes.scenes import BACKGROUNDS, COLORS, NUMBERS, RELATIONS, SHAPES, article, denial, noun


@dataclass(frozen=True)
class Demand:
    """So many objects of one look; ``exactly`` also forbids more of them. ``but`` is a colour that they must not
    have."""

    shape: str
    color: str | None = None
    count: int = 1
    exactly: bool = False
    but: str | None = None


@dataclass(frozen=True)
class Task:
    """A prompt and what a picture must show to fulfil it. ``relation`` is of the first demand to the second,
    ``without`` a shape that must not be there."""

    category: str
    prompt: str
    demands: tuple[Demand, ...]
    relation: str | None = None
    background: str | None = None
    without: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether the image fulfils the task, why not, and whether it holds nothing beyond what was asked."""

    correct: bool
    reason: str
    nothing_else: bool
    found: tuple[Detection, ...]


def all_tasks(category: str) -> list[Task]:
    """Every task of a category, one of `CATEGORIES`."""
    return _BUILDERS[category]()


def sample_tasks(category: str, n: int, seed: int = 0) -> list[Task]:
    """``n`` tasks of a category, each prompt used before any is used again."""
    tasks = all_tasks(category)
    random.Random(f"{category} {seed}").shuffle(tasks)
    return list(itertools.islice(itertools.cycle(tasks), n))


def _single() -> list[Task]:
    return [Task("single", article(s), (Demand(s),)) for s in SHAPES]


def _colour() -> list[Task]:
    looks = itertools.product(SHAPES, COLORS)
    return [Task("colour", article(noun(s, c)), (Demand(s, c),)) for s, c in looks]


def _background() -> list[Task]:
    looks = itertools.product(SHAPES, COLORS, BACKGROUNDS)
    return [
        Task("background", f"{article(noun(s, c))} on a {b} background", (Demand(s, c),), background=b)
        for s, c, b in looks
    ]


def _two() -> list[Task]:
    pairs = itertools.permutations(SHAPES, 2)
    return [Task("two", f"{article(a)} and {article(b)}", (Demand(a), Demand(b))) for a, b in pairs]


def _binding() -> list[Task]:
    pairs = itertools.product(itertools.permutations(SHAPES, 2), itertools.permutations(COLORS, 2))
    return [
        Task("binding", f"{article(noun(a, c))} and {article(noun(b, d))}", (Demand(a, c), Demand(b, d)))
        for (a, b), (c, d) in pairs
    ]


def _count() -> list[Task]:
    looks = itertools.product(SHAPES, (None, *COLORS), NUMBERS)
    return [
        Task("count", f"{NUMBERS[n]} {noun(s, c)}s", (Demand(s, c, n, exactly=True),)) for s, c, n in looks
    ]


def _position() -> list[Task]:
    plain = [((a, None), (b, None)) for a, b in itertools.permutations(SHAPES, 2)]
    # As many coloured prompts as plain ones, colours taken in turn.
    colors = itertools.cycle(itertools.permutations(COLORS, 2))
    colored = [((a, c), (b, d)) for (a, b), (c, d) in zip(itertools.permutations(SHAPES, 2), colors)]  # noqa: B905
    return [
        Task("position", f"{article(noun(*a))} {r} {article(noun(*b))}", (Demand(*a), Demand(*b)), relation=r)
        for (a, b), r in itertools.product(plain + colored, RELATIONS)
    ]


def _negation() -> list[Task]:
    missing = [
        Task("negation", f"{article(a)} {denial(b, short)}", (Demand(a),), without=b)
        for (a, b), short in itertools.product(itertools.permutations(SHAPES, 2), (False, True))
    ]
    looks = itertools.product(SHAPES, COLORS)
    return missing + [Task("negation", f"{article(a)} {denial(c)}", (Demand(a, but=c),)) for a, c in looks]


_BUILDERS = {
    "single": _single,
    "colour": _colour,
    "background": _background,
    "two": _two,
    "binding": _binding,
    "count": _count,
    "position": _position,
    "negation": _negation,
}
CATEGORIES = tuple(_BUILDERS)


def judge(image: np.ndarray, task: Task) -> Verdict:
    """The verdict on an image (H, W, 3) uint8."""
    found = detect(image)
    groups = [[d for d in found if _matches(d, demand)] for demand in task.demands]
    asked = sum(demand.count for demand in task.demands)
    reason = _fault(task, found, groups) or _background_fault(task, image)
    return Verdict(not reason, reason, len(found) == asked, tuple(found))


def fault(task: Task, verdict: Verdict) -> str:
    """What kind of fault an image has, "" where it is correct: the first that holds of those below."""
    if verdict.correct:
        return ""
    shapes = [d.shape for d in verdict.found]
    asked = [demand.shape for demand in task.demands]
    first = task.demands[0]
    if task.without in shapes or any(d.shape == first.shape and d.color == first.but for d in verdict.found):
        return "what is denied is there"
    if first.exactly and shapes.count(first.shape) != first.count:
        return "too few" if shapes.count(first.shape) < first.count else "too many"
    if not shapes:
        return "nothing is there"
    if len(set(asked)) == len(shapes) == 2 and shapes[0] == shapes[1] and shapes[0] in asked:
        return "one noun twice"
    if not set(asked) <= set(shapes):
        return "a shape is missing"
    return "a colour, place or ground is wrong"


def _matches(detection: Detection, demand: Demand) -> bool:
    alike = detection.shape == demand.shape and demand.color in (None, detection.color)
    return alike and detection.color != demand.but


def _fault(task: Task, found: list[Detection], groups: list[list[Detection]]) -> str:
    for demand, group in zip(task.demands, groups, strict=True):
        named = noun(demand.shape, demand.color) + (f" that is not {demand.but}" if demand.but else "")
        same_shape = sum(d.shape == demand.shape for d in found)
        if same_shape < demand.count:
            return f"expected {demand.count} {demand.shape}, found {same_shape}"
        if len(group) < demand.count:
            return f"expected {demand.count} {named}, found {len(group)}"
        if demand.exactly and same_shape > demand.count:
            return f"expected {demand.count} {demand.shape}, found {same_shape}"
    if task.without in {d.shape for d in found}:
        return f"expected no {task.without}, found one"
    if task.relation and task.relation not in relations(groups[0][0], groups[1][0]):
        return f"{task.demands[0].shape} is not {task.relation} {task.demands[1].shape}"
    return ""


def _background_fault(task: Task, image: np.ndarray) -> str:
    if task.background and background(image) != task.background:
        return f"the background is {background(image)}"
    return ""


def relations(a: Detection, b: Detection) -> set[str]:
    """The relations in which ``a`` stands to ``b`` by GenEval's rule (`diffatlas.geometry.places.offset`)."""
    x, y = offset(a.box, b.box)
    return {name for name, (ux, uy) in RELATIONS.items() if x * ux + y * uy > DIRECTION}
