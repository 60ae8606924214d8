"""Images of a folder judged, and the results of GenEval's program as judgements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas.bench.judgements import Judged, Judgement, Scorer, judge_all
from diffatlas.bench.packs.geneval import Sample, read_folder, read_results, result_line, task_of
from diffatlas.bench.packs.geneval2 import read_image_map, score_lists_text
from diffatlas.bench.scorers.registry import SCORERS, open_scorer
from diffatlas.bench.tasks import Pack, Task
from diffatlas.errors import InvalidParams, Unreadable
from diffatlas.files import MOST_PIXELS, MOST_SIDE

__all__ = [
    "SCORERS",
    "judged_results",
    "open_scorer",
    "read_image",
    "results_text",
    "samples_of",
    "score",
    "written",
]

#: Images that are read and judged together.
AT_ONCE = 16


def score(
    scorer: Scorer, samples: Sequence[Sample], told: Callable[[float], None] = lambda share: None
) -> list[Judged]:
    """Return what a scorer says of the images of a folder.

    told: is given the share that is done. Raises `Unreadable` for an image that cannot be read.
    """
    judged: list[Judged] = []
    for start in range(0, len(samples), AT_ONCE):
        part = samples[start : start + AT_ONCE]
        images = [read_image(sample.path) for sample in part]
        judged += judge_all(scorer, images, [one.task for one in part], [one.number for one in part])
        told(len(judged) / len(samples))
    return judged


def samples_of(images: Path, asked: Pack | None = None) -> list[Sample]:
    """Return the images of a folder in GenEval's layout, or of a map of prompts and paths (``.json``).

    asked: the pack of a map's prompts. Raises `InvalidParams` where it is missing, or given for a folder, and as
    `read_folder` and `read_image_map` do.
    """
    if images.suffix != ".json":
        if asked is not None:
            raise InvalidParams(
                "--pack belongs to a map of images (.json): a folder says itself what was asked.",
                field="pack",
            )
        return read_folder(images)
    if asked is None:
        raise InvalidParams(
            f"{images.name} is a map of images: name the pack of its prompts by --pack.", field="pack"
        )
    try:
        return read_image_map(images, asked)
    except FileNotFoundError:
        raise Unreadable(f"There is no file {images}.") from None


def written(to: Path, samples: Sequence[Sample], judged: Sequence[Judged], asked: Pack | None = None) -> str:
    """Return judgements as a file of the name is written: GenEval's results, or lists of scores where it ends in .json.

    asked: the pack of the latter. Raises `InvalidParams` where it is missing, and as `score_lists_text` does.
    """
    if to.suffix != ".json":
        return results_text(samples, judged)
    if asked is None:
        raise InvalidParams(
            f"{to.name}: lists of scores are written of a pack, name it by --pack.", field="to"
        )
    return score_lists_text(asked, judged)


def read_image(path: Path) -> np.ndarray:
    """Return a picture (H, W, 3) uint8, turned as its camera held it. Raises `Unreadable`."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as opened:
            if max(opened.size) > MOST_SIDE or opened.width * opened.height > MOST_PIXELS:
                raise Unreadable(
                    f"{path.name} is {opened.width} x {opened.height} pixels: too large to judge."
                )
            return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"{path} cannot be read as a picture: give PNG, JPEG or WebP files.") from None


def results_text(samples: Sequence[Sample], judged: Sequence[Judged]) -> str:
    """Return judgements in the form of GenEval's ``results.jsonl``; what could not be judged is left out."""
    lines = []
    for sample, one in zip(samples, judged, strict=True):
        if one.judgement.verdict == "cannot judge":
            continue
        boxes: dict[str, list[list[float]]] = {}
        for seen in one.judgement.evidence.get("objects", ()):
            boxes.setdefault(seen["class"], []).append([*seen["box"], seen["score"]])
        lines.append(
            result_line(
                sample,
                one.judgement.verdict == "pass",
                "\n".join(one.judgement.reasons),
                boxes,
                one.judgement.score,
            )
        )
    return "".join(f"{line}\n" for line in lines)


def judged_results(path: Path | str) -> list[Judged]:
    """Return the verdicts of a ``results.jsonl`` of GenEval's program.

    An image's number is that of its file (``samples/0003.png``), where all have one; else its place among its prompt's.
    A task demands what the row's metadata say, and is free where they say nothing that can be read. Raises `Unreadable`
    for a file that is none.
    """
    rows = read_results(path)
    if not rows:
        raise Unreadable(f"{Path(path).name} has no results.")
    judged = []
    for row, number in zip(rows, _numbers(rows), strict=True):
        reasons = tuple(line for line in row["reason"].split("\n") if line)
        judgement = Judgement("pass" if row["correct"] else "fail", reasons, row["score"])
        judged.append(Judged(_task_of(row), number, judgement))
    return judged


def _numbers(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    stems = [Path(row["filename"]).stem for row in rows]
    if all(stem.isascii() and stem.isdigit() and len(stem) < 10 for stem in stems):
        named = [int(stem) for stem in stems]
        if len({(row["prompt"], number) for row, number in zip(rows, named, strict=True)}) == len(rows):
            return named
    seen: dict[str, int] = {}
    places = []
    for row in rows:
        places.append(seen.get(row["prompt"], 0))
        seen[row["prompt"]] = places[-1] + 1
    return places


def _task_of(row: Mapping[str, Any]) -> Task:
    name = row["prompt"][:200]
    try:
        return task_of({**row["metadata"], "tag": row["tag"], "prompt": row["prompt"]}, name)
    except (InvalidParams, Unreadable):
        return Task(id=name, prompt=row["prompt"], tag=row["tag"], kind="free")
