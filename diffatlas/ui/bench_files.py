"""The files that the Bench page offers of a bench."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffatlas.bench.bench import Bench, check_lane
from diffatlas.bench.packs.geneval import write_folder
from diffatlas.bench.pictures import pictures
from diffatlas.errors import InvalidParams
from diffatlas.formats.named import slug
from diffatlas.library import Library


@dataclass(frozen=True)
class BenchFile:
    """A kind of file: what its button says, and what it holds. of_lane: whether it is of one lane."""

    label: str
    about: str
    suffix: str
    make: Callable[[Bench, Library, str], bytes]
    of_lane: bool = False


def bench_file(kind: str, bench: Bench, library: Library, lane: str | None = None) -> tuple[bytes, str]:
    """Return a file of a bench and its name. Raises `InvalidParams` for another kind, or a lane that there is not."""
    if kind not in BENCH_FILES:
        raise InvalidParams(
            f"There is no export of the kind {kind!r:.40}: choose one of {', '.join(BENCH_FILES)}."
        )
    lane = lane or bench.study.lanes[0].key
    check_lane(bench, lane)
    found = BENCH_FILES[kind]
    named = slug(bench.title) + (f"-{lane}" if found.of_lane and len(bench.study.lanes) > 1 else "")
    return found.make(bench, library, lane), f"diffatlas-bench-{named}{found.suffix}"


def geneval_zip(bench: Bench, library: Library, lane: str) -> bytes:
    """Return the images of a lane as a zip of GenEval's folders. Raises `InvalidParams` as `write_folder`."""
    images: dict[str, list[bytes]] = {}
    for cell in bench.study.in_lane(lane):
        if cell.status != "complete":
            continue
        for pixels in pictures(bench.id, [cell], library).values():
            images.setdefault(bench.task(cell).id, []).append(_png(pixels))
    if not images:
        raise InvalidParams("This lane has no images yet: run it first.")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        write_folder(folder, bench.pack, images)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as target:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    target.write(path, path.relative_to(folder).as_posix())
    return packed.getvalue()


#: The kinds by name, in the order of their buttons.
BENCH_FILES: dict[str, BenchFile] = {
    "geneval": BenchFile(
        "GenEval folder",
        "the images of a lane in GenEval's layout, as a zip, for its own program to score.",
        "-geneval.zip",
        geneval_zip,
        of_lane=True,
    ),
}


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
