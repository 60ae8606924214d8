"""GenEval's own files: its metadata, its folders of images and its results, read and written.

So that images made elsewhere are scored here, and images made here by its program (djghosh13/geneval).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffatlas.bench.packs.files import path_words
from diffatlas.bench.packs.rows import MOST_BYTES, checked_task, full_lines, json_object
from diffatlas.bench.tasks import Pack, Task
from diffatlas.errors import InvalidParams, Unreadable
from diffatlas.files import read_text
from diffatlas.library.format import write_atomically

_FOLDER = re.compile(r"[0-9]{1,9}")
_IMAGE = re.compile(r"[0-9]{1,9}\.png")


@dataclass(frozen=True)
class Sample:
    """One image of a folder in GenEval's layout: the task it was made for, its number, and its file."""

    task: Task
    number: int
    path: Path


def read_metadata(path: Path | str, name: str = "geneval") -> Pack:
    """Return the pack of a file of GenEval's metadata, one task a line (``evaluation_metadata.jsonl``).

    Raises `InvalidParams` with the line and the field of what is wrong, `Unreadable`, FileNotFoundError.
    """
    path = Path(path)
    tasks = tuple(
        _task(json_object(line, path, number), f"{at:05d}", path, number)
        for at, (number, line) in enumerate(full_lines(path))
    )
    return Pack(
        name=name,
        title="GenEval",
        description="Read from a file of GenEval's metadata.",
        licence="MIT",
        source="Ghosh, Hajishirzi and Schmidt 2023, arXiv 2310.11513",
        tasks=tasks,
    )


def read_folder(folder: Path | str) -> list[Sample]:
    """Return the images of a folder in GenEval's layout: ``00000/metadata.jsonl`` and ``00000/samples/0000.png``.

    In the order of the folders' and images' numbers. Raises `Unreadable` where there is none, and as `read_metadata`
    for metadata that are wrong.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise Unreadable(
            f"{folder} is no folder: give one in GenEval's layout, 00000/metadata.jsonl and 00000/samples."
        )
    found = list(_samples(folder))
    if not found:
        raise Unreadable(
            f"{folder} has no images in GenEval's layout: they lie in 00000/samples, beside 00000/metadata.jsonl."
        )
    return found


def write_folder(folder: Path | str, pack: Pack, images: Mapping[str, Iterable[bytes]]) -> None:
    """Write a folder in GenEval's layout: each task with its images, in the order of the pack.

    images: by the id of the task, files of PNG. Raises `InvalidParams` for a task that GenEval has no words for
    (questions, a background, an excluded colour), and where the folder is there and not empty.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise InvalidParams(f"{folder} is there and not empty: name a new folder.")
    told = [as_metadata(task) for task in pack.tasks]
    for number, (task, metadata) in enumerate(zip(pack.tasks, told, strict=True)):
        samples = folder / f"{number:05d}" / "samples"
        samples.mkdir(parents=True)
        write_atomically(samples.parent / "metadata.jsonl", (json.dumps(metadata) + "\n").encode())
        for k, image in enumerate(images.get(task.id, ())):
            write_atomically(samples / f"{k:05d}.png", image)


def as_metadata(task: Task) -> dict[str, Any]:
    """Return a task as GenEval says it. Raises `InvalidParams` for what it cannot say."""
    unsaid = {
        "questions": task.kind != "objects",
        "a background": task.background is not None,
        "a colour that must not be there": any(one.color for one in task.exclude),
    }
    if any(unsaid.values()):
        what = next(name for name, held in unsaid.items() if held)
        raise InvalidParams(
            f"Task {task.id} asks for {what}, which GenEval's files cannot say: leave it out."
        )
    include = []
    for one in task.include:
        demand: dict[str, Any] = {"class": one.noun, "count": one.count}
        if one.color:
            demand["color"] = one.color
        if one.position:
            demand["position"] = [*one.position]
        include.append(demand)
    said: dict[str, Any] = {"tag": task.tag, "include": include}
    if task.exclude:
        said["exclude"] = [{"class": one.noun, "count": one.count} for one in task.exclude]
    return {**said, "prompt": task.prompt}


def result_line(
    sample: Sample, correct: bool, reason: str, boxes: Mapping[str, Any], score: float | None = None
) -> str:
    """Return one line of GenEval's ``results.jsonl``.

    boxes: [left, top, right, bottom, score] of each object, by class. score: what is counted, where that is more than
    the verdict; GenEval's own program passes over it.
    """
    more = {} if score is None else {"score": score}
    return json.dumps(
        {
            "filename": str(sample.path),
            "tag": sample.task.tag,
            "prompt": sample.task.prompt,
            "correct": correct,
            "reason": reason,
            "metadata": json.dumps(_said(sample.task)),
            "details": json.dumps(
                {name: [list(map(float, box)) for box in rows] for name, rows in boxes.items()}
            ),
            **more,
        }
    )


def read_results(path: Path | str) -> list[dict[str, Any]]:
    """Return the rows of a ``results.jsonl`` of GenEval's program.

    Each has filename, tag, prompt, correct, reason, metadata, details and score. ``metadata`` and ``details`` are read
    from the JSON that they are written as; the latter may be missing, and so may the score, which is None then.

    Raises `Unreadable` with the line of what is wrong.
    """
    path, rows = Path(path), []
    for number, line in enumerate(read_text(path, MOST_BYTES).splitlines(), 1):
        if not line.strip():
            continue
        row = json_object(line, path, number)
        wanted = {"filename": str, "tag": str, "prompt": str, "correct": bool, "reason": str}
        for name, kind in wanted.items():
            if not isinstance(row.get(name), kind):
                raise Unreadable(f"{path.name}, line {number}: {name} is missing or no {_KINDS[kind]}.")
        score = row.setdefault("score", None)
        if score is not None and not (type(score) in (int, float) and 0 <= score <= 1):
            raise Unreadable(f"{path.name}, line {number}: score is no number from 0 to 1.")
        for name in ("metadata", "details"):
            row[name] = json_object(row.get(name) or "{}", path, number)
        rows.append(row)
    return rows


def _said(task: Task) -> dict[str, Any]:
    """What of a task goes into the results: a prompt whose image is judged by something else has no objects."""
    return as_metadata(task) if task.kind == "objects" else {"tag": task.tag, "prompt": task.prompt}


_KINDS = {str: "text", bool: "true or false"}


def task_of(row: Mapping[str, Any], name: str) -> Task:
    """Return the task of a row of metadata. Raises `InvalidParams` where that is none."""
    return _task(row, name, Path("metadata"), 1)


def _samples(folder: Path) -> Iterator[Sample]:
    for each in sorted(
        (one for one in folder.iterdir() if _FOLDER.fullmatch(one.name)), key=lambda one: int(one.name)
    ):
        metadata, samples = each / "metadata.jsonl", each / "samples"
        if not metadata.is_file() or not samples.is_dir():
            continue
        # It may be spread over several lines: it is one object.
        task = _task(json_object(read_text(metadata, MOST_BYTES), metadata, 1), each.name, metadata, 1)
        images = [one for one in samples.iterdir() if _IMAGE.fullmatch(one.name) and one.is_file()]
        for image in sorted(images, key=lambda one: int(one.stem)):
            yield Sample(task, int(image.stem), image)


def _task(row: Mapping[str, Any], name: str, path: Path, line: int) -> Task:
    """A task of a line of metadata; fields of others (ours have none) are left out."""
    known = {key: row[key] for key in ("tag", "prompt", "include", "exclude") if key in row}
    return checked_task({"id": name, **known}, "GenEval", path, line)


def _refused(path: Path, line: int, where: Sequence[str | int], what: str) -> InvalidParams:
    return InvalidParams(f"{path.name}, line {line}: {path_words(where)} {what}.", field=path_words(where))
