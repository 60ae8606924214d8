"""TIIF-Bench, read from one's own copy: short and long prompts, and questions of which some are right with "no".

Its files hold a kind of prompt each: ``data/testmini_prompts/negation_prompts.jsonl`` has lines of ``type``,
``short_description`` and ``long_description``, and ``data/testmini_eval_prompts/negation_eval_prompts.jsonl`` in the
same order lines of ``type``, ``yn_question_list`` and ``yn_answer_list``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffatlas.bench.packs.rows import checked_pack, checked_task, full_lines, json_object
from diffatlas.bench.tasks import Pack, Task
from diffatlas.errors import InvalidParams, Unreadable

_PROMPTS, _QUESTIONS = "_prompts", "_eval_prompts"
_LENGTHS = ("short", "long")


def is_tiif(row: dict[str, Any]) -> bool:
    """Whether the first line of a file of JSON lines is one of TIIF-Bench."""
    return "yn_question_list" in row or "short_description" in row


def read_tiif(path: Path | str) -> Pack:
    """Return the pack of a file of TIIF-Bench (Wei et al. 2025, arXiv 2506.02161), or of all files of a folder.

    Each line is two tasks, of its short and its long prompt; the category is the kind of prompt with the length. A file
    of questions wants that of its prompts, beside it or in the folder of that name; prompts without a file of questions
    are judged by hand or by the whole prompt.

    Raises `InvalidParams` with the line and the field of what is wrong, `Unreadable`, FileNotFoundError.
    """
    path = Path(path)
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise Unreadable(
            f"{path} has no files of TIIF-Bench: they are called negation{_PROMPTS}.jsonl and the like."
        )
    pairs = dict.fromkeys(_pair(file) for file in files)
    return checked_pack(
        path,
        name="tiif",
        title="TIIF-Bench",
        description="Short and long prompts by kind, with questions that are answered by yes or no.",
        source="Wei et al. 2025, arXiv 2506.02161",
        tasks=tuple(task for prompts, questions in pairs for task in _tasks(prompts, questions)),
    )


def _pair(file: Path) -> tuple[Path, Path | None]:
    """The file of prompts and that of the questions on them; one file may be both."""
    (number, line), *_ = full_lines(file)
    row = json_object(line, file, number)
    if "yn_question_list" not in row:
        return file, _partner(file, _PROMPTS, _QUESTIONS)
    if "short_description" in row:
        return file, file
    prompts = _partner(file, _QUESTIONS, _PROMPTS)
    if prompts is None:
        name, folder = (one.replace(_QUESTIONS, _PROMPTS) for one in (file.name, file.parent.name))
        raise Unreadable(
            f"{file.name} has questions without their prompts: put {name} beside it, or into a folder {folder} beside "
            "its own."
        )
    return prompts, file


def _partner(file: Path, own: str, other: str) -> Path | None:
    name, folder = file.name.replace(own, other), file.absolute().parent
    places = (folder / name, folder.parent / folder.name.replace(own, other) / name)
    return next((place for place in places if place.name != file.name and place.is_file()), None)


def _tasks(prompts: Path, questions: Path | None) -> Iterator[Task]:
    lines = full_lines(prompts)
    asked = lines if questions == prompts else full_lines(questions) if questions else [None] * len(lines)
    if questions and len(asked) != len(lines):
        raise InvalidParams(
            f"{questions.name} has {len(asked)} lines and {prompts.name} has {len(lines)}: they belong together line by"
            " line."
        )
    for place, ((number, line), told) in enumerate(zip(lines, asked, strict=True)):
        row = json_object(line, prompts, number)
        kind = row.get("type")
        if not isinstance(kind, str) or not kind.strip():
            raise _refused(prompts, number, "type", "is missing or no text")
        said: dict[str, Any] = {"kind": "free"}
        if questions and told:
            said = {"kind": "questions", "questions": _questions(questions, *told, kind)}
        for length in _LENGTHS:
            prompt = row.get(f"{length}_description")
            if not isinstance(prompt, str) or not prompt.strip():
                raise _refused(prompts, number, f"{length}_description", "is missing or no text")
            names = {"id": f"{kind}-{place:04d}-{length}", "prompt": prompt, "tag": f"{kind}, {length}"}
            yield checked_task({**names, **said}, "TIIF-Bench", prompts, number)


def _questions(path: Path, number: int, line: str, kind: str) -> list[dict[str, Any]]:
    row = json_object(line, path, number)
    if row.get("type") != kind:
        raise _refused(path, number, "type", f"is not {kind!r}, as that of the prompt on the same line")
    texts, answers = row.get("yn_question_list"), row.get("yn_answer_list")
    if not isinstance(texts, list) or not texts:
        raise _refused(path, number, "yn_question_list", "is missing: give a list of questions")
    if not isinstance(answers, list) or len(answers) != len(texts):
        raise _refused(
            path, number, "yn_answer_list", f"does not have one for each of the {len(texts)} questions"
        )
    found = []
    for k, (text, answer) in enumerate(zip(texts, answers, strict=True)):
        if not isinstance(text, str) or not text.strip():
            raise _refused(path, number, f"yn_question_list[{k}]", "is no text")
        if not isinstance(answer, str) or answer.strip().lower() not in ("yes", "no"):
            raise _refused(path, number, f"yn_answer_list[{k}]", "is neither yes nor no")
        found.append({"id": f"q{k}", "text": text, "expected": answer.strip().lower()})
    return found


def _refused(path: Path, line: int, field: str, what: str) -> InvalidParams:
    return InvalidParams(f"{path.name}, line {line}: {field} {what}.", field=field)
