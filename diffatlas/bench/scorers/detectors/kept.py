"""Which of a detector's boxes count: GenEval's choice (Ghosh, Hajishirzi and Schmidt 2023, arXiv 2310.11513)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffatlas.bench.scorers.detectors.box import Box
from diffatlas.bench.tasks import MOST_OBJECTS


def kept(
    boxes: Sequence[Box], threshold: float, overlap: float = 1.0, most: int = MOST_OBJECTS
) -> dict[str, list[Box]]:
    """Return the boxes that count by class, the surest first: at most ``most`` that are surer than ``threshold``.

    overlap: of two of a class that overlap by this share (`shared`) or more the surer is kept; 1 keeps all. As in
    GenEval's program, of equally sure ones the last comes first.
    """
    by_class: dict[str, list[Box]] = {}
    for box in boxes:
        if box.score > threshold:
            by_class.setdefault(box.noun, []).append(box)
    return {noun: _apart(_surest(found)[:most], overlap) for noun, found in by_class.items()}


def _surest(boxes: Sequence[Box]) -> list[Box]:
    order = np.argsort([box.score for box in boxes], kind="stable")[::-1]
    return [boxes[k] for k in order]


def _apart(boxes: Sequence[Box], overlap: float) -> list[Box]:
    found: list[Box] = []
    for box in boxes:
        if overlap == 1 or all(shared(box.box, other.box) < overlap for other in found):
            found.append(box)
    return found


def shared(a: Sequence[float], b: Sequence[float]) -> float:
    """Return what two boxes share of what both cover, 0 to 1.

    Their last pixels belong to them, as in GenEval's program: a box from 3 to 3 is one pixel wide. a, b: (left, top,
    right, bottom) in pixels.
    """
    common = [max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])]
    inside = _area(common)
    return inside / (_area(a) + _area(b) - inside)


def _area(box: Sequence[float]) -> float:
    return max(box[2] - box[0] + 1, 0) * max(box[3] - box[1] + 1, 0)
