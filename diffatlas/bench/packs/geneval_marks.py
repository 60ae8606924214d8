"""The marks that people gave images for GenEval's paper, read as verdicts.

Its authors' files (djghosh13/geneval, ``annotations/``) say of 400 images of each of three models, a hundred prompts
with four images, what five people saw: how many of each object, in which colours, and where the second stands to the
first.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diffatlas.bench.tasks import Pack, Task
from diffatlas.errors import Unreadable
from diffatlas.files import read_text

MOST_BYTES = 64_000_000
_WANTED = ("Input.prompt_id", "Input.image_id", "Input.caption", "Answer.task-count-0", "Answer.task-color-0")
_PLACES = {
    "left of": ("x", "left"),
    "right of": ("x", "right"),
    "above": ("y", "above"),
    "below": ("y", "below"),
}


@dataclass(frozen=True)
class Marked:
    """An image of a task, and whether each who marked it saw what the task demands."""

    task: Task
    number: int
    passed: tuple[bool, ...]

    @property
    def majority(self) -> bool:
        """Whether more than half saw it."""
        return 2 * sum(self.passed) > len(self.passed)


def read_marks(path: Path | str, pack: Pack) -> tuple[list[Marked], int]:
    """Return the images that were marked, and how many rows could not be read.

    A row that is broken (one of the authors' files has four, each broken in two by a line break that is not quoted) is
    counted by its pieces and left out.
    pack: GenEval's tasks in their order (`read_metadata`), of which the rows name the number and the prompt.

    Raises `Unreadable` for a file without these columns, and for one whose prompts are not those of the pack.
    """
    path = Path(path)
    rows = csv.DictReader(io.StringIO(read_text(path, MOST_BYTES), newline=""))
    missing = [name for name in _WANTED if name not in (rows.fieldnames or ())]
    if missing:
        raise Unreadable(f"{path.name} has no column {missing[0]}: give a file of GenEval's annotations.")
    found: dict[tuple[int, int], list[bool]] = {}
    broken = 0
    for row in rows:
        number, image = row["Input.prompt_id"] or "", row["Input.image_id"] or ""
        if not (number.isdigit() and image.isdigit()) or None in row.values():
            broken += 1
            continue
        at = int(number)
        if at >= len(pack.tasks) or pack.tasks[at].prompt != row["Input.caption"]:
            raise Unreadable(
                f"{path.name}: prompt {at} is not that of the pack {pack.name}: give GenEval's metadata."
            )
        found.setdefault((at, int(image)), []).append(passed(pack.tasks[at], row))
    marked = [Marked(pack.tasks[at], image, tuple(marks)) for (at, image), marks in sorted(found.items())]
    return marked, broken


def passed(task: Task, row: Mapping[str, str]) -> bool:
    """Return whether what one person saw is what a task demands: so many of each, in its colour, in its place.

    Five stands for five or more. Where a number is excluded (counting), fewer than that must be there.
    """
    seen = [_number(row.get(f"Answer.task-count-{k}", "")) for k in range(len(task.include))]
    for k, demand in enumerate(task.include):
        if seen[k] < demand.count:
            return False
        if demand.color and demand.color not in (row.get(f"Answer.task-color-{k}") or "").split("|"):
            return False
        if demand.position:
            axis, place = _PLACES[demand.position[0]]
            if row.get(f"Answer.task-position-{axis}") != place:
                return False
    counts = {demand.noun: count for demand, count in zip(task.include, seen, strict=True)}
    return all(counts.get(refused.noun, 0) < refused.count for refused in task.exclude)


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
