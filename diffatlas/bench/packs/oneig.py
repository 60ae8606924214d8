"""OneIG-Bench, read from one's own copy, in English and in Chinese.

``OneIG-Bench.csv`` has columns category, id and prompt_en; ``OneIG-Bench-ZH.csv`` prompt_cn in place of the last. The
questions lie in ``scripts/alignment/Q_D``, in a file of each category that has some: by the prompt's id an object of
``question`` and ``dependency``, each an object by the question's number, or the text of one. A parent 0 is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffatlas.bench.packs.rows import MOST_BYTES, checked_pack, checked_task, csv_rows
from diffatlas.bench.tasks import Pack
from diffatlas.errors import InvalidParams, Unreadable
from diffatlas.files import read_object

#: What OneIG calls the files of a category.
FILES = {
    "Anime_Stylization": "anime",
    "Portrait": "human",
    "General_Object": "object",
    "Text_Rendering": "text",
    "Knowledge_Reasoning": "reasoning",
    "Multilingualism": "multilingualism",
}
PROMPTS = ("prompt_en", "prompt_cn")
PLACES = ("scripts/alignment/Q_D", "Q_D", "")


def is_questions(value: Any) -> bool:
    """Whether a JSON value is one of OneIG's files of questions."""
    first = next(iter(value.values()), None) if isinstance(value, dict) else None
    return isinstance(first, dict) and {"question", "dependency"} <= first.keys()


def read_oneig(path: Path | str) -> Pack:
    """Return the pack of ``OneIG-Bench.csv`` or ``OneIG-Bench-ZH.csv`` (Chang et al. 2025, arXiv 2506.07977).

    The questions are looked for in the repository's own place, in ``Q_D`` beside the table, and beside it; what has
    none (rendered text, reasoning) is judged by hand or by the whole prompt. A question counts nothing where one of its
    own parents was answered wrongly, whatever came of that one's parents.

    Raises `Unreadable` where no questions are found, `InvalidParams` with the line or the prompt of what is wrong,
    FileNotFoundError.
    """
    path = Path(path)
    rows = csv_rows(path, ("category", "id"))
    column = next((name for name in PROMPTS if name in rows[0][1]), None)
    if column is None:
        raise Unreadable(f"{path.name} has no column prompt_en or prompt_cn.")
    ending = "_zh" if column == "prompt_cn" else ""
    found: dict[str, dict[str, Any]] = {}
    for category in dict.fromkeys(row["category"] for _, row in rows):
        file = _file(path, FILES.get(category, category), ending)
        found[category] = _asked(file) if file else {}
    if not any(found.values()):
        name = f"{FILES['Anime_Stylization']}{ending}.json"
        raise Unreadable(
            f"{path.name} has no questions beside it: expected {name} and the like in {PLACES[0]}, in {PLACES[1]} or "
            "beside it."
        )
    tasks = []
    for line, row in rows:
        asked = found[row["category"]].get(row["id"])
        said = {"kind": "questions", "questions": asked} if asked else {"kind": "free"}
        names = {"id": f"{row['category']}-{row['id']}", "prompt": row[column], "tag": row["category"]}
        tasks.append(checked_task({**names, **said}, "OneIG-Bench", path, line))
    return checked_pack(
        path,
        name="oneig-zh" if ending else "oneig",
        title="OneIG-Bench-ZH" if ending else "OneIG-Bench",
        description="Prompts by category, with questions on what they say of subjects and elements.",
        source="Chang et al. 2025, arXiv 2506.07977",
        dependencies="direct",
        tasks=tuple(tasks),
    )


def _file(table: Path, name: str, ending: str) -> Path | None:
    places = (table.parent / place / f"{name}{ending}.json" for place in PLACES)
    return next((place for place in places if place.is_file()), None)


def _asked(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The questions on each prompt of a file, by the prompt's id."""
    return {name: _questions(path, name, one) for name, one in read_object(path, MOST_BYTES).items()}


def _questions(path: Path, name: str, one: Any) -> list[dict[str, Any]]:
    texts = _by_number(path, name, one, "question")
    parents = _by_number(path, name, one, "dependency")
    found = []
    for number, text in texts.items():
        above = parents.get(number, [])
        if not isinstance(text, str) or not text.strip():
            raise _refused(path, name, f"question {number}", "is no text")
        if not isinstance(above, list) or not all(str(k) in texts or str(k) == "0" for k in above):
            raise _refused(path, name, f"dependency {number}", "is no list of questions of this prompt")
        depends = [str(k) for k in above if str(k) != "0"]
        found.append({"id": number, "text": text, "expected": "yes", "parents": depends})
    return found


def _by_number(path: Path, name: str, one: Any, field: str) -> Mapping[str, Any]:
    value = one.get(field) if isinstance(one, dict) else None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict) or not value:
        raise _refused(path, name, field, "is no object with a question of each number")
    return value


def _refused(path: Path, name: str, field: str, what: str) -> InvalidParams:
    return InvalidParams(f"{path.name}, prompt {name}: {field} {what}.", field=field)
