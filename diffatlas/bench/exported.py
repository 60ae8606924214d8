"""The images of a bench in GenEval's layout, for its own program to score."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from diffatlas.bench.bench import Bench, check_lane
from diffatlas.bench.packs.geneval import write_folder
from diffatlas.bench.pictures import picture
from diffatlas.library.study import Cell

if TYPE_CHECKING:
    from diffatlas.library import Library


def write_geneval(bench: Bench, lane: str, library: Library, folder: Path | str) -> None:
    """Write the images of a lane that are there, as ``00000/metadata.jsonl`` beside ``00000/samples/00000.png``.

    Raises `InvalidParams` for a lane that there is not, a task that GenEval has no words for, and a folder that is not
    empty; `RunNotFound` or `DamagedRun` for an image that cannot be read.
    """
    check_lane(bench, lane)
    by_task: dict[str, list[Cell]] = {}
    for cell in bench.study.in_lane(lane):
        if cell.status == "complete":
            by_task.setdefault(bench.task(cell).id, []).append(cell)
    images = {task: _pngs(bench.id, cells, library) for task, cells in by_task.items()}
    write_folder(folder, bench.pack, images)


def _pngs(bench_id: str, cells: list[Cell], library: Library) -> Iterator[bytes]:
    from PIL import Image

    for cell in cells:
        buffer = io.BytesIO()
        Image.fromarray(picture(bench_id, cell, library)).save(buffer, "PNG")
        yield buffer.getvalue()
