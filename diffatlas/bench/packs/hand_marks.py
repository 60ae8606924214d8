"""Marks that people gave images: a table of them, results of a program, or GenEval's own annotations."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from diffatlas.bench.judgements import Judged, Judgement, Verdict
from diffatlas.bench.packs.geneval import read_metadata
from diffatlas.bench.packs.geneval_marks import Marked, read_marks
from diffatlas.bench.scored import judged_results
from diffatlas.bench.tasks import MOST_PROMPT, Task
from diffatlas.errors import InvalidParams, Unreadable
from diffatlas.files import read_text

MOST_BYTES = 64_000_000
METADATA = "evaluation_metadata.jsonl"
_VERDICTS: dict[str, Verdict] = {
    "pass": "pass",
    "1": "pass",
    "true": "pass",
    "fail": "fail",
    "0": "fail",
    "false": "fail",
    "cannot judge": "cannot judge",
}


def read_hand_marks(
    path: Path | str, metadata: Path | str | None = None
) -> tuple[list[Judged], list[Marked]]:
    """Return marks by hand as judgements, and what each person saw, where the file says so.

    path: a CSV with the columns ``prompt`` and ``verdict`` (pass, fail or "cannot judge"; 1, 0, true, false; an empty
    one is no mark), and perhaps ``number`` (that of the image among its prompt's, from 0; without it their order) and
    ``category``; such a table as a bench is exported to, whose marks are in the column ``override``; a
    ``results.jsonl``; or a CSV of GenEval's annotations, of whose people the majority counts.
    metadata: GenEval's tasks for the last; without it the file of that name beside it.

    Raises `Unreadable` with the line of what is wrong, FileNotFoundError.
    """
    path = Path(path)
    if path.suffix.lower() == ".jsonl":
        return judged_results(path), []
    rows = csv.DictReader(io.StringIO(read_text(path, MOST_BYTES), newline=""))
    names = rows.fieldnames or ()
    if "Input.prompt_id" in names:
        return _of_geneval(path, Path(metadata or path.with_name(METADATA)))
    column = "override" if "override" in names else "verdict"
    missing = [name for name in ("prompt", column) if name not in names]
    if missing:
        raise Unreadable(
            f"{path.name} has no column {missing[0]!r}: marks are a CSV with the columns prompt and verdict, a"
            " results.jsonl, or GenEval's annotations."
        )
    lanes: set[str] = set()
    found = []
    for row in rows:
        mark = _mark(row, column, path, rows.line_num)
        if mark is not None:
            found.append(mark)
            lanes.add(row.get("lane") or "")
    if not found:
        raise Unreadable(f"{path.name} has no marks: its column {column!r} is empty.")
    if len(lanes) > 1:
        raise Unreadable(f"{path.name} has marks of {len(lanes)} lanes: leave those of one.")
    return _numbered(found), []


def _of_geneval(path: Path, metadata: Path) -> tuple[list[Judged], list[Marked]]:
    try:
        pack = read_metadata(metadata)
    except FileNotFoundError:
        raise Unreadable(
            f"{path.name} holds GenEval's annotations, whose prompts {metadata.name} says: it is not at {metadata}."
            " Name it by --metadata."
        ) from None
    marked, _ = read_marks(path, pack)
    said = [Judged(one.task, one.number, Judgement("pass" if one.majority else "fail")) for one in marked]
    return said, marked


def _mark(
    row: dict[str, str | None], column: str, path: Path, line: int
) -> tuple[Task, int | None, Judgement] | None:
    verdict = (row.get(column) or "").strip().lower()
    if not verdict:
        return None
    if verdict not in _VERDICTS:
        raise Unreadable(
            f"{path.name}, line {line}: the {column} is {verdict[:40]!r}: give pass, fail or cannot judge."
        )
    prompt = _read_cell(row.get("prompt"))
    if not 0 < len(prompt) <= MOST_PROMPT:
        raise Unreadable(f"{path.name}, line {line}: the prompt is missing or too long.")
    number = (row.get("number") or "").strip()
    if number and not (number.isascii() and number.isdigit() and len(number) < 10):
        raise Unreadable(f"{path.name}, line {line}: the number is {number[:40]!r}: give 0, 1, and so on.")
    tag = _read_cell(row.get("category")) or "marked"
    if len(tag) > 200:
        raise Unreadable(f"{path.name}, line {line}: the category is too long.")
    task = Task(id=prompt[:200], prompt=prompt, tag=tag, kind="free")
    return task, int(number) if number else None, Judgement(_VERDICTS[verdict])


def _read_cell(text: str | None) -> str:
    """Return the text of a cell, without the apostrophe that keeps a spreadsheet from taking it for a formula."""
    text = " ".join((text or "").split())
    return text[1:] if len(text) > 1 and text[0] == "'" and text[1] in "=+-@＝＋－＠" else text


def _numbered(found: list[tuple[Task, int | None, Judgement]]) -> list[Judged]:
    """Give images without a number that of their place among their prompt's."""
    if len({number is None for _, number, _ in found}) > 1:
        raise InvalidParams("Some marks have a number and some have none: number all images, or none.")
    seen: dict[str, int] = {}
    judged = []
    for task, number, judgement in found:
        place = seen.get(task.prompt, 0)
        seen[task.prompt] = place + 1
        judged.append(Judged(task, place if number is None else number, judgement))
    return judged
