"""The images of a bench in the library as cases."""

from __future__ import annotations

from diffatlas.bench.bench import Bench, check_lane, check_scorer, first_scorer
from diffatlas.bench.why.case import Case
from diffatlas.errors import DamagedRun, RunNotFound
from diffatlas.library import Library

_FAILED = {"pass": False, "fail": True, "cannot judge": None}


def cases_of(
    bench: Bench, library: Library, scorer: str | None = None, lane: str = "a", by_hand: bool = True
) -> list[Case]:
    """Return the images of a lane that have a run in the library, by task and seed.

    What has no run is left out: an image that a provider made, or whose run was deleted since. scorer: whose verdicts
    count; None for the first that is no person. by_hand: whether a person's marks count in the place of its verdicts.

    Raises `InvalidParams` for a lane or a scorer that the bench does not have.
    """
    scorer = scorer or first_scorer(bench)
    check_lane(bench, lane)
    check_scorer(bench, scorer)
    found = []
    for cell in bench.study.in_lane(lane):
        if cell.status != "complete" or not cell.run_id:
            continue
        try:
            run = library.open(cell.run_id)
        except (RunNotFound, DamagedRun):
            continue
        said = bench.judgement(cell, scorer, by_hand)
        found.append(Case(bench.task(cell), cell.column, run, _FAILED[said.verdict], said.value))
    return found
