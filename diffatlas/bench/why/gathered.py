"""Why did it fail: over the images of a bench, failure against what the geometry of their runs says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from diffatlas.bench.statistics import OverAll, Within, holm, over_all, within_prompts
from diffatlas.bench.why.basins import Grouped
from diffatlas.bench.why.measured import MeasuredPrompt
from diffatlas.bench.why.measures import MEASURES, Measure
from diffatlas.bench.why.sentences import of_groups, of_measure, of_method, undetermined, unknown
from diffatlas.errors import InvalidParams
from diffatlas.studies.measure_cells import plain


@dataclass(frozen=True)
class Line:
    """One measure: how failing images differ from passing ones of the same prompt, and from all.

    within, overall: None where that cannot be told. adjusted: the p-value with Holm's adjustment for the measures.
    missing: how many images have no number, by the reason. sentence: what was found, or why nothing was.
    """

    measure: Measure
    within: Within | None
    overall: OverAll | None
    adjusted: float | None
    missing: Mapping[str, int]
    sentence: str


@dataclass(frozen=True)
class Why:
    """What fails, by measure, and what was measured of each prompt.

    prompts: all; mixed: those with both verdicts. groups: a sentence on the groups of images. method: on what is
    compared.
    """

    lines: tuple[Line, ...]
    measured: tuple[MeasuredPrompt, ...]
    level: float
    prompts: int
    mixed: int
    failing: int
    passing: int
    groups: str
    method: str

    def line(self, key: str) -> Line:
        """Return the line of a measure. Raises `InvalidParams` for one that there is not."""
        for line in self.lines:
            if line.measure.key == key:
                return line
        known = ", ".join(line.measure.key for line in self.lines)
        raise InvalidParams(f"There is no measure {key!r}: there are {known}.", field="measure")

    def to_dict(self) -> dict[str, Any]:
        """Return the lines and the numbers of every image as plain JSON types; None for what is not known."""
        return plain(
            {
                "level": self.level,
                "prompts": self.prompts,
                "mixed": self.mixed,
                "failing": self.failing,
                "passing": self.passing,
                "groups": self.groups,
                "method": self.method,
                "measures": [_line(line) for line in self.lines],
                "images": [row for one in self.measured for row in _images(one)],
            }
        )


def why(measured: Sequence[MeasuredPrompt], level: float = 0.95, draws: int = 10_000, seed: int = 0) -> Why:
    """Gather what was measured (`diffatlas.bench.why.measure`) over prompts, a line a measure.

    level, draws, seed: as for `diffatlas.bench.statistics.within_prompts`. Raises `InvalidParams` where there is no
    image.
    """
    if not measured:
        raise InvalidParams("There is nothing to explain: no image was measured.")
    found = [_compared(one, measured, level, draws, seed) for one in MEASURES]
    adjusted = holm({line.measure.key: line.within.p for line in found if line.within is not None})
    lines = []
    for line in found:
        line = replace(line, adjusted=adjusted.get(line.measure.key))
        if line.within is not None:
            line = replace(line, sentence=of_measure(line.measure, line.within, line.adjusted, len(adjusted)))
        lines.append(line)
    verdicts = [[case.failed for case in one.cases] for one in measured]
    several = [one for one in measured if isinstance(one.groups, Grouped)]
    mixed = sum(True in own and False in own for own in verdicts)
    seeds = max((line.within.seeds for line in lines if line.within), default=0)
    return Why(
        tuple(lines),
        tuple(measured),
        level,
        len(measured),
        mixed,
        sum(own.count(True) for own in verdicts),
        sum(own.count(False) for own in verdicts),
        of_groups(several, len(measured)),
        of_method(seeds, mixed, len(measured)),
    )


def _compared(
    measure: Measure, measured: Sequence[MeasuredPrompt], level: float, draws: int, seed: int
) -> Line:
    """The line of a measure, whose p-value is not adjusted yet."""
    groups = [one.verdicts(measure.key) for one in measured]
    missing: Counter[str] = Counter()
    for one in measured:
        missing.update(found for found in one.numbers(measure.key) if isinstance(found, str))
    known = [value for one in groups for value in one.known.numbers.tolist() if math.isfinite(value)]
    if len({*known}) < 2:
        return Line(measure, None, None, None, dict(missing), unknown(measure, known, missing))
    within = overall = None
    sentence = ""
    with suppress(InvalidParams):
        overall = over_all(groups, level)
    try:
        within = within_prompts(groups, level, draws, seed)
    except InvalidParams as error:
        sentence = undetermined(measure, error.message)
    return Line(measure, within, overall, None, dict(missing), sentence)


def _line(line: Line) -> dict[str, Any]:
    own = line.measure
    within = None
    if line.within is not None:
        within = plain(line.within) | {"standardised": line.within.standardised}
    return {
        "key": own.key,
        "name": own.name,
        "unit": own.unit,
        "about": own.about,
        "tells": own.tells,
        "within": within,
        "overall": line.overall,
        "adjusted": line.adjusted,
        "missing": line.missing,
        "sentence": line.sentence,
    }


def _images(one: MeasuredPrompt) -> list[dict[str, Any]]:
    found = {measure.key: one.numbers(measure.key) for measure in MEASURES}
    return [
        {
            "task": case.task.id,
            "number": case.number,
            "run": case.run.id,
            "failed": case.failed,
            **{key: None if isinstance(own[k], str) else own[k] for key, own in found.items()},
        }
        for k, case in enumerate(one.cases)
    ]
