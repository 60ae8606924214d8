"""Whether what was found in an image is what a task demands: GenEval's rules.

Ghosh, Hajishirzi and Schmidt 2023 (arXiv 2310.11513), section 3 and their program. On the same boxes, colours and
demands the verdicts and reasons are theirs; other detectors find other boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from diffatlas.bench.tasks import COLORS, Include, Task
from diffatlas.geometry.places import DIRECTION, offset


@dataclass(frozen=True)
class Found:
    """One object in an image: its box (left, top, right, bottom) in pixels, and how sure its detector is, 0 to 1."""

    box: tuple[float, float, float, float]
    score: float = 1.0
    #: Its colour, where that is known already.
    color: str | None = None


@dataclass(frozen=True)
class Ruling:
    """Whether a task is fulfilled, and what is wrong, in the order in which it was found."""

    correct: bool
    reasons: tuple[str, ...]


#: What is asked for the colours of some objects of a class: it may be slow, and is asked only where a demand names one.
Colors = Callable[[Sequence[Found], str], Sequence[str]]


def rule(
    task: Task,
    found: Mapping[str, Sequence[Found]],
    colors: Colors | None = None,
    cut: bool = True,
) -> Ruling:
    """Judge a task of objects by what was found.

    found: by class, the surest first. colors: returns the colour of each object; by default their own. cut: GenEval's
    order, in which only the ``count`` surest of a class are looked at, before colour and place are; a detector that is
    never wrong looks at all of them, and takes those of the right colour first.
    """
    colors = colors or (lambda objects, noun: [one.color or "" for one in objects])
    reasons: list[str] = []
    matched: list[Sequence[Found] | None] = []
    for demand in task.include:
        objects, reason = _matching(demand, found.get(demand.noun, ()), colors, cut)
        if reason is None and demand.position is not None:
            reason = _misplaced(demand, objects, matched[demand.position[1]])
        if reason is not None:
            reasons.append(reason)
        matched.append(objects if reason is None else None)
    for refused in task.exclude:
        objects = found.get(refused.noun, ())
        if refused.color is not None:
            told = colors(objects, refused.noun) if objects else ()
            objects = [one for one, color in zip(objects, told, strict=True) if color == refused.color]
        if len(objects) >= refused.count:
            named = f"{refused.color} {refused.noun}" if refused.color else refused.noun
            reasons.append(f"expected {named}<{refused.count}, found {len(objects)}")
    return Ruling(not reasons, tuple(reasons))


def _matching(
    demand: Include, objects: Sequence[Found], colors: Colors, cut: bool
) -> tuple[Sequence[Found], str | None]:
    """The objects that fulfil a demand but for its place, and what is wrong with them."""
    if cut:
        objects = objects[: demand.count]
    if len(objects) < demand.count:
        return objects, f"expected {demand.noun}>={demand.count}, found {len(objects)}"
    if demand.color is None:
        return objects[: demand.count], None
    told = list(colors(objects, demand.noun))
    right = [one for one, color in zip(objects, told, strict=True) if color == demand.color]
    if len(right) >= demand.count:
        # As GenEval's, which places all that were looked at, whatever their colour.
        return (objects if cut else right[: demand.count]), None
    named = dict.fromkeys([*(color for color in COLORS if color in told), *told])
    counts = ", ".join(f"{told.count(color)} {color}" for color in named)
    wanted = f"expected {demand.color} {demand.noun}>={demand.count}"
    return objects, f"{wanted}, found {len(right)} {demand.color}; and {counts}"


def _misplaced(
    demand: Include,
    objects: Sequence[Found],
    targets: Sequence[Found] | None,
) -> str | None:
    relation = demand.position[0] if demand.position else ""
    if targets is None:
        return f"no target for {demand.noun} to be {relation}"
    for one in objects:
        for other in targets:
            holding = relations(one.box, other.box)
            if relation not in holding:
                return (
                    f"expected {demand.noun} {relation} target, found {' and '.join(sorted(holding))} target"
                )
    return None


def relations(a: Sequence[float], b: Sequence[float]) -> set[str]:
    """Return the relations of a box to another, two at most (`diffatlas.geometry.places.offset`).

    a, b: (left, top, right, bottom) in pixels, y downwards.
    """
    x, y = offset(a, b)
    named = (
        ("left of", x < -DIRECTION),
        ("right of", x > DIRECTION),
        ("above", y < -DIRECTION),
        ("below", y > DIRECTION),
    )
    return {name for name, holds in named if holds}
