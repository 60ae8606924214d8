"""DPG-Bench, and DSG-1k whose form it has, read from one's own copy: a table with a question in each row.

Its columns are item_id, text, keywords, proposition_id, dependency, category_broad, category_detailed, tuple and
question_natural_language. Dependencies are numbers of questions of the same item, with commas between them; 0 is none.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from diffatlas.bench.packs.rows import checked_pack, checked_task, csv_rows
from diffatlas.bench.tasks import Pack
from diffatlas.errors import InvalidParams

COLUMNS = ("item_id", "text", "proposition_id", "dependency", "question_natural_language")
_NUMBER = re.compile(r"[0-9]{1,6}(?:\.0)?")


def read_dpg(path: Path | str) -> Pack:
    """Return the pack of ``dpg_bench.csv`` (Hu et al. 2024, ELLA, arXiv 2403.05135), or of a table of its form.

    The category of a prompt is where it comes from: what its id begins with, before the number. A question's skill is
    its broad category. A question counts nothing where one of its parents counts nothing.

    Raises `InvalidParams` with the line and the field of what is wrong, `Unreadable`, FileNotFoundError.
    """
    path = Path(path)
    items: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for line, row in csv_rows(path, COLUMNS):
        items.setdefault(row["item_id"], []).append((line, row))
    tasks = []
    for name, rows in items.items():
        line, first = rows[0]
        for other, row in rows:
            if row["text"] != first["text"]:
                raise _refused(path, other, "text", f"is not that of {name} on line {line}")
        said = {
            "id": name,
            "prompt": first["text"],
            "tag": re.sub(r"[\W_]*[0-9]*$", "", name) or path.stem,
            "kind": "questions",
            "questions": [_question(path, number, row) for number, row in rows],
        }
        tasks.append(checked_task(said, "DPG-Bench", path, line))
    return checked_pack(
        path,
        name=re.sub(r"\W+", "-", path.stem.lower()).strip("-") or "dpg-bench",
        title="DPG-Bench" if "dpg" in path.stem.lower() else path.stem,
        description="Long prompts with questions that depend on each other.",
        source="Hu et al. 2024, arXiv 2403.05135",
        tasks=tuple(tasks),
    )


def _question(path: Path, line: int, row: dict[str, str]) -> dict[str, Any]:
    number = _number(path, line, "proposition_id", row["proposition_id"])
    parents = [
        _number(path, line, "dependency", one.strip()) for one in row["dependency"].split(",") if one.strip()
    ]
    said = {"id": number, "text": row["question_natural_language"], "expected": "yes"}
    skill = row.get("category_broad")
    return {**said, **({"skill": skill} if skill else {}), "parents": [one for one in parents if one != "0"]}


def _number(path: Path, line: int, field: str, text: str) -> str:
    if not _NUMBER.fullmatch(text):
        raise _refused(path, line, field, f"is {text!r}, which is no number of a question")
    return text.removesuffix(".0")


def _refused(path: Path, line: int, field: str, what: str) -> InvalidParams:
    return InvalidParams(f"{path.name}, line {line}: {field} {what}.", field=field)
