"""Other people's prompt sets, read from one's own copy: GenEval 2 and T2I-CompBench++.

Neither comes with the program: GenEval 2 may not be passed on (CC BY-NC 4.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffatlas.bench.packs.geneval import MOST_BYTES, json_object
from diffatlas.bench.tasks import MOST_PROMPT, MOST_TASKS, Pack, Question, Task
from diffatlas.errors import InvalidParams, Unreadable
from diffatlas.files import read_text


def read_geneval2(path: Path | str) -> Pack:
    """Return the pack of a file of GenEval 2 (``geneval2_data.jsonl``; Kamath et al. 2025, arXiv 2512.16853).

    A task a line, whose category is its number of atoms and whose questions have their skills. The answers that are
    right are kept as they stand there ("Yes", "four").

    Raises `InvalidParams` with the line and the field of what is wrong, `Unreadable`, FileNotFoundError.
    """
    path = Path(path)
    tasks = [
        _atoms(json_object(line, path, number), path, number, place)
        for place, (number, line) in enumerate(_lines(path))
    ]
    return Pack(
        name="geneval2",
        title="GenEval 2",
        description="Questions on each atom of a prompt, for Soft-TIFA.",
        licence="CC BY-NC 4.0",
        source="Kamath et al. 2025, arXiv 2512.16853",
        tasks=tuple(tasks),
    )


def read_compbench(paths: Sequence[Path | str]) -> Pack:
    """Return the pack of files of T2I-CompBench++ (``color_val.txt``; Huang et al. 2025, arXiv 2307.06350).

    A prompt a line; the category is the name of the file, without ``_val``. The set says nothing of what must be seen
    but the prompts themselves, so its tasks are free.

    Raises `Unreadable` for a file without prompts, FileNotFoundError, and `InvalidParams` for more prompts, or longer
    ones, than a pack may have.
    """
    tasks: list[Task] = []
    for path in map(Path, paths):
        tag = path.stem.removesuffix("_val")
        lines = _lines(path)
        long = next((number for number, line in lines if len(line) > MOST_PROMPT), None)
        if long is not None:
            raise InvalidParams(f"{path.name}, line {long}: a prompt has {MOST_PROMPT} characters at most.")
        prompts = dict.fromkeys(" ".join(line.split()) for _, line in lines)
        tasks += [
            Task(id=f"{tag}-{number:04d}", prompt=prompt, tag=tag, kind="free")
            for number, prompt in enumerate(prompts)
        ]
    if len(tasks) > MOST_TASKS:
        raise InvalidParams(f"These are {len(tasks)} prompts: a pack has {MOST_TASKS} at most.")
    return Pack(
        name="t2i-compbench",
        title="T2I-CompBench++",
        description="Read from files of prompts, one a line.",
        licence="MIT",
        source="Huang et al., arXiv 2307.06350",
        tasks=tuple(tasks),
    )


def is_geneval2(path: Path | str) -> bool:
    """Whether a file of JSON lines has GenEval 2's questions, by its first line. Raises as `read_geneval2`."""
    path = Path(path)
    number, line = next(iter(_lines(path)))
    return "vqa_list" in json_object(line, path, number)


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not empty, with their numbers from 1."""
    text = read_text(path, MOST_BYTES)
    found = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not found:
        raise Unreadable(f"{path.name} is empty: give a file with one task a line.")
    return found


def _atoms(row: dict[str, Any], path: Path, line: int, place: int) -> Task:
    prompt, pairs, skills = row.get("prompt"), row.get("vqa_list"), row.get("skills")

    def refused(field: str, what: str) -> InvalidParams:
        return InvalidParams(f"{path.name}, line {line}: {field} {what}.", field=field)

    if not isinstance(prompt, str) or not 0 < len(prompt.strip()) <= MOST_PROMPT:
        raise refused("prompt", "is missing or no text")
    if not isinstance(row.get("atom_count"), int) or isinstance(row["atom_count"], bool):
        raise refused("atom_count", "is missing or no whole number")
    if not isinstance(pairs, list) or not pairs:
        raise refused("vqa_list", "is missing: give a list of questions with their answers")
    if not isinstance(skills, list) or len(skills) != len(pairs):
        raise refused("skills", f"does not have one for each of the {len(pairs)} questions")
    questions = []
    for number, (pair, skill) in enumerate(zip(pairs, skills, strict=True)):
        texts = [*pair, skill] if isinstance(pair, list) else []
        if len(texts) != 3 or not all(isinstance(one, str) and one.strip() for one in texts):
            raise refused(f"vqa_list[{number}]", "is not a question, its answer and its skill")
        text, answer, kind = (one.strip() for one in texts)
        questions.append(Question(id=f"q{number}", text=text, expected=answer, skill=kind))
    return Task(
        id=f"{place:05d}",
        prompt=prompt.strip(),
        tag=f"{row['atom_count']} atoms",
        kind="questions",
        questions=tuple(questions),
    )
