"""Rows of other people's files with the lines on which they stand, and tasks of them, checked like a pack's own."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffatlas.bench.packs.files import adapter, path_words
from diffatlas.bench.tasks import MOST_TASKS, Pack, Task, faults
from diffatlas.errors import InvalidParams, Unreadable
from diffatlas.files import read_text

MOST_BYTES = 64_000_000


def full_lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a file that are not empty, numbered from 1. Raises `Unreadable` for an empty file."""
    # Texts may hold what `splitlines` takes for the end of a line.
    lines = enumerate(read_text(path, MOST_BYTES).removeprefix("\ufeff").split("\n"), 1)
    found = [(number, line) for number, line in lines if line.strip()]
    if not found:
        raise Unreadable(f"{path.name} is empty: give a file with one task a line.")
    return found


def json_object(text: str, path: Path, line: int) -> dict[str, Any]:
    """Return the JSON object on a line. Raises `Unreadable` with the line where it is none."""
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unreadable(f"{path.name}, line {line}: this is no JSON object.")
    return found


def csv_rows(path: Path, columns: Sequence[str] = ()) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a table of comma-separated values by its first line, with the line on which each ends.

    Texts without space around them. Raises `Unreadable` where there is no row, for a row with more or fewer values than
    the first line, and where one of ``columns`` is missing.
    """
    text = read_text(path, MOST_BYTES).removeprefix("\ufeff")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[tuple[int, dict[str, str]]] = []
    head: list[str] = []
    try:
        for values in reader:
            if not head:
                head = [value.strip() for value in values]
            elif len(values) == len(head):
                found.append(
                    (reader.line_num, dict(zip(head, (value.strip() for value in values), strict=True)))
                )
            elif values:
                raise Unreadable(
                    f"{path.name}, line {reader.line_num}: {len(values)} values, where the first line has {len(head)}."
                )
    except csv.Error as error:
        raise Unreadable(
            f"{path.name}, line {reader.line_num}: this is no row of a table ({error})."
        ) from None
    missing = [column for column in columns if column not in head]
    if missing:
        raise Unreadable(f"{path.name} has no column {missing[0]!r}: it has {', '.join(head) or 'none'}.")
    if not found:
        raise Unreadable(f"{path.name} has no rows.")
    return found


def checked_task(said: Mapping[str, Any], whose: str, path: Path, line: int) -> Task:
    """Return the task that a row says, in the words of a pack's file.

    whose: the set that the file is of. Raises `InvalidParams` with the line and the field of what no pack may have.
    """
    from pydantic import ValidationError

    def refused(where: Sequence[str | int], what: str) -> InvalidParams:
        return InvalidParams(
            f"{path.name}, line {line}: {path_words(where)} {what}.", field=path_words(where)
        )

    try:
        pack = adapter().validate_python({"name": "-", "title": "-", "tasks": [said]})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = [step for step in first["loc"][2:] if not (isinstance(step, str) and "[" in step)]
        what = "is missing" if first["type"] == "missing" else f"is not what {whose} has there"
        if first["type"] == "string_too_long":
            what = f"has more than {first['ctx']['max_length']} characters"
        raise refused(where, what) from None
    for where, what in faults(pack):
        raise refused(where[2:], what)
    return pack.tasks[0]


def checked_pack(path: Path, **said: Any) -> Pack:
    """Return a pack of tasks that are each right. Raises `InvalidParams` for too many, and for two of one name."""
    pack = Pack(**said)
    if not 0 < len(pack.tasks) <= MOST_TASKS:
        raise InvalidParams(f"{path.name} has {len(pack.tasks)} prompts: a pack has from 1 to {MOST_TASKS}.")
    for where, what in faults(pack):
        raise InvalidParams(f"{path.name}: {path_words(where)} {what}.", field=path_words(where))
    return pack
