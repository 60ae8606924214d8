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
    from diffatlas.bench.agreeing import AgreedLine, Pair
    from diffatlas.bench.judgements import Judged
    from diffatlas.bench.packs.geneval_marks import Marked

MARKS = "Marks by hand: a CSV with prompt, number and verdict, a results.jsonl, or GenEval's annotations."
METADATA = "GenEval's metadata, for its annotations; else evaluation_metadata.jsonl beside them."
_MEASURES = ("raw", "kappa", "ac1")


def agree(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS...",
            help="Results of the same images by several scorers; or a bench of the library, by its id.",
        ),
    ],
    hand: Annotated[Path | None, typer.Option(help=MARKS)] = None,
    metadata: Annotated[Path | None, typer.Option(help=METADATA)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Say how far scorers agree with each other, and with people: raw, kappa and AC1, by category."""
    from diffatlas.bench.agreeing import agree as compared
    from diffatlas.bench.agreeing import among
    from diffatlas.bench.scored import judged_results

    if len(results) == 1 and hand is None and not results[0].is_file() and results[0].suffix != ".jsonl":
        _show_agreed(_of_bench(str(results[0])), as_json)
        return
    judged: dict[str, list[Judged]] = {}
    for path in results:
        judged[_name(path, results)] = _found(judged_results, path)
    people: list[Marked] = []
    if hand is not None:
        marks, people = read_marks(hand, metadata)
        judged["hand" if "hand" not in judged else f"hand: {hand}"] = marks
    pairs = [*compared(judged)] if len(judged) > 1 or not people else []
    if people:
        pairs.append(among("people", people))
    _show_agreed(pairs, as_json)


def _of_bench(bench_id: str) -> Sequence[Pair]:
    from diffatlas.bench.session import open_bench
    from diffatlas.formats.bench_report import pairs_of

    pairs = pairs_of(open_bench(bench_id))
    if not pairs:
        raise InvalidParams(
            "Only one has judged this bench: judge it by another scorer (`diffatlas bench judge`), or by hand.",
            field="results",
        )
    return pairs


def _show_agreed(pairs: Sequence[Pair], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([asdict(pair) | {"name": pair.name} for pair in pairs]))
        return
    rows = [(pair.name, line.tag, *_agreed(line)) for pair in pairs for line in (*pair.lines, pair.overall)]
    heads = [part for name in ("Raw", "Kappa", "AC1") for part in (name, "95% interval")]
    print_table(("Who", "Category", *heads, "Images", "Not judged"), rows)


def audit_by_marks(results: Path, marks: Path, metadata: Path | None, level: float, as_json: bool) -> None:
    """Print how often a scorer is right on images that were marked by hand, and its rates without its errors."""
    from diffatlas.bench import against_marks
    from diffatlas.bench.scored import judged_results

    judged, (by_hand, _) = _found(judged_results, results), read_marks(marks, metadata)
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

    return _found(lambda one: read_hand_marks(one, metadata), path)


def _found(read, path: Path):
    try:
        return read(path)
    except FileNotFoundError:
        raise Unreadable(f"There is no file {path}.") from None


def _name(path: Path, paths: list[Path]) -> str:
    """Return the name of a file without its ending; with its folder where two are called alike."""
    if paths.count(path) > 1:
        raise InvalidParams(f"{path} is named twice: name each file once.", field="results")
    return str(path) if sum(one.stem == path.stem for one in paths) > 1 else path.stem


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
