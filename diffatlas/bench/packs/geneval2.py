"""GenEval 2: its questions, the map of images that its program reads, and the lists of scores that it writes.

The set does not come with the program: it may not be passed on (CC BY-NC 4.0).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffatlas.bench.answered import Mean, judge_answers
from diffatlas.bench.judgements import Judged
from diffatlas.bench.packs.geneval import Sample
from diffatlas.bench.packs.rows import MOST_BYTES, checked_pack, checked_task, full_lines, json_object
from diffatlas.bench.tasks import Pack, Task
from diffatlas.errors import InvalidParams, Unreadable
from diffatlas.files import parse_json, read_bytes, read_object


def read_geneval2(path: Path | str) -> Pack:
    """Return the pack of a file of GenEval 2 (``geneval2_data.jsonl``; Kamath et al. 2025, arXiv 2512.16853).

    A task a line, whose category is its number of atoms and whose questions have their skills. The answers that are
    right are kept as they stand there ("Yes", "four").

    Raises `InvalidParams` with the line and the field of what is wrong, `Unreadable`, FileNotFoundError.
    """
    path = Path(path)
    tasks = [
        _atoms(json_object(line, path, number), path, number, place)
        for place, (number, line) in enumerate(full_lines(path))
    ]
    return checked_pack(
        path,
        name="geneval2",
        title="GenEval 2",
        description="Questions on each atom of a prompt, for Soft-TIFA.",
        licence="CC BY-NC 4.0",
        source="Kamath et al. 2025, arXiv 2512.16853",
        tasks=tuple(tasks),
    )


def is_geneval2(row: Mapping[str, Any]) -> bool:
    """Whether the first line of a file of JSON lines is one of GenEval 2."""
    return "vqa_list" in row


def read_image_map(path: Path | str, pack: Pack) -> list[Sample]:
    """Return the images that a map of GenEval 2 names for a pack's prompts, in the order of the pack.

    The map is a JSON object of prompts and the paths of their images, one each as GenEval 2 has it, or a list. Paths
    are taken from the map's folder, else from that in which the program runs, as GenEval 2's takes them.

    Raises `InvalidParams` for a prompt that the pack has not, for what is no path and for an image that is not there,
    `Unreadable` for what is no such object, FileNotFoundError.
    """
    path = Path(path)
    told: dict[str, list[Path]] = {}
    for prompt, value in read_object(path, MOST_BYTES).items():
        paths = value if isinstance(value, list) else [value]
        if not paths or not all(isinstance(one, str) and one for one in paths):
            raise InvalidParams(
                f"{path.name}: {_short(prompt)} has neither a path of an image nor a list of them."
            )
        told[prompt.strip()] = [_image(path, prompt, one) for one in paths]
    unknown = next((prompt for prompt in told if prompt not in {task.prompt for task in pack.tasks}), None)
    if unknown is not None:
        raise InvalidParams(f"{path.name}: {_short(unknown)} is no prompt of the pack {pack.name}.")
    samples = [
        Sample(task, number, image)
        for task in pack.tasks
        for number, image in enumerate(told.get(task.prompt, ()))
    ]
    if not samples:
        raise Unreadable(f"{path.name} names no images.")
    return samples


def image_map_text(samples: Sequence[Sample]) -> str:
    """Return images as the map that GenEval 2's program reads: the path of the first image of each prompt."""
    first: dict[str, str] = {}
    for sample in samples:
        first.setdefault(sample.task.prompt, str(sample.path.absolute()))
    return json.dumps(first, ensure_ascii=False, indent=1) + "\n"


def score_lists_text(pack: Pack, judged: Sequence[Judged]) -> str:
    """Return judgements as the lists of scores that GenEval 2's program writes and its analysis reads.

    A list for each task of the pack in its order: how probable the right answer to each question is, of the first
    image.

    Raises `InvalidParams` where a task was not judged by its questions.
    """
    first: dict[str, Judged] = {}
    for one in judged:
        if "answers" in one.judgement.evidence:
            first.setdefault(one.task.id, one)
    lists = []
    for task in pack.tasks:
        if task.id not in first:
            raise InvalidParams(
                f"Lists of scores want answers to each task, and {task.id} ({_short(task.prompt)}) has none: judge an "
                "image of each by a scorer that asks questions."
            )
        lists.append([answer["probability"] for answer in first[task.id].judgement.evidence["answers"]])
    return json.dumps(lists) + "\n"


def read_score_lists(path: Path | str, pack: Pack, mean: Mean = "arithmetic") -> list[Judged]:
    """Return the judgements that lists of scores of GenEval 2's program amount to; pack: what was asked.

    Raises `InvalidParams` where they do not fit the pack, `Unreadable` for what are no lists, FileNotFoundError.
    """
    path = Path(path)
    lists = parse_json(read_bytes(path, MOST_BYTES), path)
    if not isinstance(lists, list) or not all(isinstance(one, list) for one in lists):
        raise Unreadable(f"{path.name} is no list of lists of scores.")
    if len(lists) != len(pack.tasks):
        raise InvalidParams(f"{path.name} has {len(lists)} lists, and {pack.name} {len(pack.tasks)} tasks.")
    judged = []
    for place, (task, scores) in enumerate(zip(pack.tasks, lists, strict=True)):
        if len(scores) != len(task.questions):
            raise InvalidParams(
                f"{path.name}, list {place}: {len(scores)} scores for the {len(task.questions)} questions of {task.id}."
            )
        right = {
            question.id: _probability(path, place, one)
            for question, one in zip(task.questions, scores, strict=True)
        }
        judged.append(Judged(task, 0, judge_answers(task, right, mean, pack.dependencies)))
    return judged


def _probability(path: Path, place: int, value: Any) -> float:
    """A score; GenEval 2 adds probabilities in 32 bits, which may come to a little more than 1."""
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    if not 0 <= number <= 1 + 1e-3:
        raise InvalidParams(f"{path.name}, list {place}: {value!r} is no probability.")
    return min(number, 1.0)


def _image(path: Path, prompt: str, name: str) -> Path:
    for place in (path.parent / name, Path(name)):
        if place.is_file():
            return place
    raise InvalidParams(f"{path.name}: the image {name!r} of {_short(prompt)} is not there.")


def _short(prompt: str) -> str:
    return repr(prompt if len(prompt) <= 60 else f"{prompt[:57]}…")


def _atoms(row: dict[str, Any], path: Path, line: int, place: int) -> Task:
    prompt, pairs, skills = row.get("prompt"), row.get("vqa_list"), row.get("skills")

    def refused(field: str, what: str) -> InvalidParams:
        return InvalidParams(f"{path.name}, line {line}: {field} {what}.", field=field)

    if not isinstance(prompt, str) or not prompt.strip():
        raise refused("prompt", "is missing or no text")
    if not isinstance(row.get("atom_count"), int) or isinstance(row["atom_count"], bool):
        raise refused("atom_count", "is missing or no whole number")
    if not isinstance(pairs, list) or not pairs:
        raise refused("vqa_list", "is missing: give a list of questions with their answers")
    if not isinstance(skills, list) or len(skills) != len(pairs):
        raise refused("skills", f"does not have one for each of the {len(pairs)} questions")
    questions: list[dict[str, Any]] = []
    for number, (pair, skill) in enumerate(zip(pairs, skills, strict=True)):
        texts = [*pair, skill] if isinstance(pair, list) else []
        if len(texts) != 3 or not all(isinstance(one, str) and one.strip() for one in texts):
            raise refused(f"vqa_list[{number}]", "is not a question, its answer and its skill")
        text, answer, kind = (one.strip() for one in texts)
        questions.append({"id": f"q{number}", "text": text, "expected": answer, "skill": kind})
    names = {"id": f"{place:05d}", "prompt": prompt, "tag": f"{row['atom_count']} atoms"}
    return checked_task({**names, "kind": "questions", "questions": questions}, "GenEval 2", path, line)
