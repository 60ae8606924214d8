"""Scorers held against each other and against marks by hand, as the shell prints it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffatlas.cli.output import print_table
from diffatlas.errors import InvalidParams, Unreadable

if TYPE_CHECKING:
    from diffatlas.bench.against_marks import CorrectedLine
    from diffatlas.bench.agreeing import AgreedLine, Pair
    from diffatlas.bench.judgements import Judged
    from diffatlas.bench.packs.geneval_marks import Marked

MARKS = "Marks by hand: a CSV with prompt, number and verdict, a results.jsonl, or GenEval's annotations."
METADATA = "GenEval's metadata, for its annotations; else evaluation_metadata.jsonl beside them."
_MEASURES = ("raw", "kappa", "ac1")


def agree(
    results: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULTS...",
            help="Verdicts of several scorers on the same images: files, or a bench with all that judged it.",
        ),
    ],
    hand: Annotated[Path | None, typer.Option(help=MARKS)] = None,
    metadata: Annotated[Path | None, typer.Option(help=METADATA)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Say how far scorers agree with each other, and with people: raw, kappa and AC1, by category."""
    from diffatlas.bench.agreeing import among

    marks, people = ([], []) if hand is None else read_marks(hand, metadata)
    pairs = _pairs(results, marks)
    if people:
        pairs.append(among("people", people))
    if as_json:
        typer.echo(json.dumps([asdict(pair) | {"name": pair.name} for pair in pairs]))
        return
    rows = [(pair.name, line.tag, *_agreed(line)) for pair in pairs for line in (*pair.lines, pair.overall)]
    heads = [part for name in ("Raw", "Kappa", "AC1") for part in (name, "95% interval")]
    print_table(("Who", "Category", *heads, "Images", "Not judged"), rows)


def audit_by_marks(
    results: str,
    scorer: str | None,
    marks: Path | None,
    metadata: Path | None,
    level: float,
    as_json: bool,
) -> None:
    """Print how often a scorer is right on images that were marked by hand, and its rates without its errors."""
    from diffatlas.bench import against_marks
    from diffatlas.bench.session import judged_from

    judged = judged_from(results, scorer, by_hand=False)
    by_hand = _own_marks(results) if marks is None else read_marks(marks, metadata)[0]
    audit = against_marks.audit_by_marks(judged, by_hand, level)
    lines = against_marks.corrected_lines(judged, by_hand, level)
    if as_json:
        typer.echo(json.dumps({**asdict(audit), "corrected": [asdict(line) for line in lines]}))
        return
    rows = []
    for kind in audit.kinds:
        one = kind.right
        told = ("", "", "0") if one is None else (f"{one.value:.3f}", _interval(one), str(one.images))
        rows.append((kind.fault, *told, str(kind.unjudged)))
    print_table(("Images", "Judged rightly", f"{level:.0%} interval", "Of", "Not judged"), rows)
    typer.echo("")
    print_corrected(lines, level)


def print_corrected(lines: Sequence[CorrectedLine], level: float) -> None:
    """Print the rates of categories by a scorer, and freed of its errors."""
    told_lines = []
    for line in lines:
        by_scorer = ("", "") if line.rate is None else (f"{line.rate.value:.3f}", _interval(line.rate))
        freed = line.corrected
        without = (line.why, "") if freed is None else (f"{freed.value:.3f}", _interval(freed))
        told_lines.append((line.tag, *by_scorer, *without, str(line.marked)))
    interval = f"{level:.0%} interval"
    print_table(("Category", "By the scorer", interval, "Without its errors", interval, "Marked"), told_lines)


def read_marks(path: Path, metadata: Path | None) -> tuple[list[Judged], list[Marked]]:
    """Return marks by hand, and what each person saw. Raises `Unreadable`."""
    from diffatlas.bench.packs.hand_marks import read_hand_marks

    try:
        return read_hand_marks(path, metadata)
    except FileNotFoundError:
        raise Unreadable(f"There is no file {path}.") from None


def _pairs(results: list[str], marks: list[Judged]) -> list[Pair]:
    """The agreement of the files of verdicts and the marks; of a single bench that of all that judged it."""
    from diffatlas.bench.agreeing import agree as compared
    from diffatlas.bench.agreeing import pairs_of
    from diffatlas.bench.bench import check_lane
    from diffatlas.bench.session import judged_from, open_bench

    if len(results) == 1 and not marks and not is_file(results[0]):
        bench_id, _, lane = results[0].partition("@")
        bench = open_bench(bench_id)
        if lane:
            check_lane(bench, lane)
        pairs = pairs_of(bench, [lane] if lane else ())
        if not pairs:
            raise InvalidParams(
                "Only one has judged this bench: judge it by another scorer (`diffatlas bench judge`), or by hand.",
                field="results",
            )
        return [*pairs]
    judged = {_name(one, results): judged_from(one, by_hand=False) for one in results}
    if marks:
        judged["hand" if "hand" not in judged else "marks by hand"] = marks
    return [*compared(judged)]


def _own_marks(source: str) -> list[Judged]:
    """The marks by hand of a bench."""
    from diffatlas.bench.bench import HAND
    from diffatlas.bench.session import judged_from

    if is_file(source):
        raise InvalidParams(
            "A test by hand of a file takes --marks: the verdicts of people on the same images.",
            field="marks",
        )
    return [one for one in judged_from(source, HAND) if one.judgement.verdict != "cannot judge"]


def is_file(source: str) -> bool:
    """Whether verdicts are those of a file, rather than of a bench."""
    return source.endswith(".jsonl") or Path(source).is_file()


def _name(source: str, sources: list[str]) -> str:
    """Return the name of a file without its ending, with its folder where two are called alike; the id of a bench."""
    if sources.count(source) > 1:
        raise InvalidParams(f"{source} is named twice: name each once.", field="results")
    path = Path(source)
    return source if sum(Path(one).stem == path.stem for one in sources) > 1 else path.stem


def _interval(one) -> str:
    return f"{one.low:.3f} to {one.high:.3f}"


def _agreed(line: AgreedLine) -> tuple[str, ...]:
    one = line.agreement
    if one is None:
        return *[""] * 6, "0", str(line.unjudged)
    cells: list[str] = []
    for name in _MEASURES:
        value, ends = getattr(one, name), (one.intervals or {}).get(name)
        cells.append("undefined" if value is None else f"{value:.3f}")
        cells.append("" if value is None or ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}")
    return *cells, str(one.images), str(line.unjudged)
