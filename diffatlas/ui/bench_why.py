"""Why images of a bench fail, for its page: what is measured is kept until the bench has changed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

from diffatlas.bench.bench import Bench, check_lane, check_scorer
from diffatlas.bench.why import Explained, Why, cases_of, explained, measure, measure_prompt, why
from diffatlas.errors import InvalidParams
from diffatlas.library import Library
from diffatlas.library.study import Cell
from diffatlas.stopping import look

#: Answers that are kept: the chart is asked for after the sentences, and in another theme.
KEPT = 8


class WhyFailed:
    """Measures why the images of benches fail."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[tuple[Path, str, str, str], tuple[Bench, Why]] = OrderedDict()

    def of(self, bench: Bench, library: Library, scorer: str, lane: str) -> Why:
        """Return what was measured of a lane, as a scorer and marks by hand judge it.

        Raises `InvalidParams` for a lane or a scorer that there is not, and where no image has a run.
        """
        check_lane(bench, lane)
        check_scorer(bench, scorer)
        key = (library.folder, bench.id, scorer, lane)
        with self._lock:
            before, found = self._found.get(key, (None, None))
        if found is not None and before == bench:
            return found
        measured = []
        for one in measure(cases_of(bench, library, scorer, lane)):
            look()
            measured.append(one)
        if not measured:
            raise InvalidParams(
                "No image of this lane has a run in the library: there is no path to look at."
            )
        found = why(measured)
        with self._lock:
            self._found[key] = bench, found
            while len(self._found) > KEPT:
                self._found.popitem(last=False)
        return found


def explain_card(bench: Bench, library: Library, cell: Cell, scorer: str) -> tuple[Explained, str | None]:
    """Return what is known of an image beside the others of its prompt, and the key of one that passed, if any did.

    scorer: whose verdicts count, and marks by hand in their place. Raises `InvalidParams` for an image without a run.
    """
    own = [one for one in bench.study.in_lane(cell.lane) if one.row == cell.row]
    only = replace(bench, study=replace(bench.study, cells=tuple(own)))
    cases = cases_of(only, library, scorer, cell.lane)
    if cell.column not in [case.number for case in cases]:
        raise InvalidParams("This image has no run in the library: there is no path to look at.")
    passed = [case.number for case in cases if case.failed is False and case.number != cell.column]
    beside = next((one.key for one in own if one.column in passed[:1]), None)
    return explained(measure_prompt(cases), cell.column), beside
