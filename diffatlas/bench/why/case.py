"""An image of a bench with its run."""

from __future__ import annotations

from dataclasses import dataclass

from diffatlas.bench.tasks import Task
from diffatlas.library import StoredRun
from diffatlas.run import Run

#: A number, or why there is none, as a sentence.
Found = float | str


@dataclass(frozen=True)
class Case:
    """An image of a bench.

    number: that among the images of its task. run: the first image of which it is. failed: None where it could not be
    judged. value: what is counted of it, 0 to 1; None where it could not be judged.
    """

    task: Task
    number: int
    run: Run | StoredRun
    failed: bool | None
    value: float | None = None
