"""Tables of a bench: its verdicts and its rates as CSV for a spreadsheet, all of it as JSON for a program."""

from __future__ import annotations

import csv as csv_writer
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from diffatlas.bench.counted import Line, count, differences
from diffatlas.bench.difficulty import atoms, by_atoms
from diffatlas.bench.judgements import Judged
from diffatlas.bench.seeds import by_number
from diffatlas.errors import InvalidParams
from diffatlas.formats.bench_report import BenchReport, ReportedLane
from diffatlas.formats.tables import units
from diffatlas.formats.tables.runs import asked_of, written
from diffatlas.library import format as layout

FORMAT = "diffusion-atlas/bench"
VERSION = 1
#: One row an image. ``verdict``, ``score`` and ``reasons`` are the scorer's; ``override`` is a person's, and counts.
VERDICTS = (
    "lane",
    "task",
    "prompt",
    "category",
    "atoms",
    "number",
    "seed",
    "scorer",
    "verdict",
    "score",
    "reasons",
    "override",
    "override_note",
    "counted",
)
#: One row a category, and one for the mean of them.
RATES = (
    "lane",
    "category",
    "correct",
    "low",
    "high",
    "level",
    "images",
    "prompts",
    "any_correct",
    "correlation",
    "design_effect",
    "effective",
    "unjudged",
)
MEAN = "mean of categories"


def verdicts_csv(report: BenchReport) -> bytes:
    """Return a UTF-8 CSV (RFC 4180): a row for each image, in the order of lanes, tasks and numbers.

    Numbers are written in full; what is unknown is an empty cell. A text that a spreadsheet would read as a formula
    gets an apostrophe before it. ``counted`` is what the image counts; the last column says the numbers' units.
    """
    rows = ({**_of_an_image(lane, one), "scorer": report.scorer.name} for lane, one in _images(report))
    return _csv(VERDICTS, rows)


def rates_csv(report: BenchReport) -> bytes:
    """Return the rates as CSV: a row for each category of each lane, and the mean of the categories."""
    rows = []
    for lane in report.lanes:
        counted = count(lane.counted, report.level)
        lacking = sum(line.unjudged for line in counted.lines)
        for line in (*counted.lines, Line(MEAN, counted.overall, lacking)):
            found = {} if line.rate is None else asdict(line.rate)
            known = {"lane": lane.name, "category": line.tag, "correct": found.pop("value", None)}
            rows.append({"level": report.level, **found, **known, "unjudged": line.unjudged})
    return _csv(RATES, rows)


def json(report: BenchReport) -> bytes:
    """Return strict JSON: what judged, each lane with what was asked, its counts and its images, and comparisons.

    Numbers are numbers; null where one is unknown or not finite. ``units`` has the unit of each by its name.
    """
    document = {
        "format": FORMAT,
        "version": VERSION,
        "units": units.units_of((*VERDICTS, *RATES)),
        **{
            name: getattr(report, name)
            for name in ("id", "title", "created", "pack", "source", "licence", "level")
        },
        "scorer": asdict(report.scorer),
        "lanes": [_lane(lane, report.level) for lane in report.lanes],
        "compared": [_compared(report.lanes[0], lane, report.level) for lane in report.lanes[1:]],
        "agreement": [asdict(pair) for pair in report.pairs],
        "audits": {name: asdict(audit) for name, audit in report.audits.items()},
    }
    # A lone surrogate becomes the escape by which JSON spells it.
    return (layout.dumps(_finite(document), indent=1) + "\n").encode("utf-8", "backslashreplace")


def _images(report: BenchReport) -> Iterable[tuple[ReportedLane, Judged]]:
    return ((lane, one) for lane in report.lanes for one in lane.judged)


def _of_an_image(lane: ReportedLane, one: Judged) -> dict[str, Any]:
    mark = lane.marks.get((one.task.id, one.number))
    said = one.judgement if mark is None else mark.judgement
    return {
        "lane": lane.name,
        "task": one.task.id,
        "prompt": one.task.prompt,
        "category": one.task.tag,
        "atoms": atoms(one.task),
        "number": one.number,
        "seed": lane.seeds.get(one.number),
        "verdict": one.judgement.verdict,
        "score": one.judgement.score,
        "reasons": "; ".join(one.judgement.reasons),
        "override": mark and mark.verdict,
        "override_note": mark and mark.note,
        "counted": said.value,
    }


def _lane(lane: ReportedLane, level: float) -> dict[str, Any]:
    counted = lane.counted
    images = [
        {
            **_of_an_image(lane, one),
            "reasons": list(one.judgement.reasons),
            "evidence": dict(one.judgement.evidence),
        }
        for one in lane.judged
    ]
    return {
        "name": lane.name,
        "params": None if lane.params is None else _asked(lane),
        "missing": lane.missing,
        "counted": asdict(count(counted, level)) if counted else None,
        "by_atoms": [asdict(one) for one in by_atoms(counted, level)],
        "by_number": asdict(by_number(counted, level)) if counted else None,
        "images": images,
    }


def _asked(lane: ReportedLane) -> dict[str, Any]:
    """What was asked of all images: prompt and seed are those of each."""
    assert lane.params is not None
    return {name: value for name, value in asked_of(lane.params).items() if name not in ("prompt", "seed")}


def _compared(first: ReportedLane, second: ReportedLane, level: float) -> dict[str, Any]:
    names = {"first": first.name, "second": second.name}
    try:
        whole, found = differences(first.counted, second.counted, level)
    except InvalidParams as error:
        return {**names, "all": None, "categories": [], "why": error.message}
    rows = [{"category": one.tag, **asdict(one.compared), "adjusted": one.adjusted} for one in found]
    return {**names, "all": asdict(whole), "categories": rows}


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv_writer.writer(text)
    writer.writerow((*columns, units.COLUMN))
    of_all = units.units_cell(columns)
    for row in rows:
        writer.writerow([*(written(row.get(name)) for name in columns), of_all])
    return text.getvalue().encode("utf-8", "replace")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
