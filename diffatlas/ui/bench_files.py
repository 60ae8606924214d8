"""The files that the Bench page offers of a bench: those of `diffatlas.formats.bench_kinds`, and GenEval's folder."""

from __future__ import annotations

import io
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from diffatlas.bench.bench import Bench, first_scorer
from diffatlas.bench.exported import write_geneval
from diffatlas.bench.pictures import picture
from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.formats.bench_kinds import BENCH_KINDS, bench_file_name, export_bench
from diffatlas.formats.bench_report import report_of
from diffatlas.formats.named import slug
from diffatlas.library import Library
from diffatlas.library.study import Cell
from diffatlas.stopping import look

#: The images of a lane in GenEval's layout, as a zip.
GENEVAL = "geneval"
#: By kind, what its button says, what it holds, and whether it is of one lane, or by one judge.
OFFERED: tuple[tuple[str, str, str, bool], ...] = (
    *((kind.key, kind.label, kind.about, False) for kind in BENCH_KINDS.values()),
    (
        GENEVAL,
        "GenEval",
        "The images of a lane in GenEval's folders, as a zip, for its own program to score.",
        True,
    ),
)


def bench_file(
    kind: str, bench: Bench, library: Library, lane: str | None = None, scorer: str | None = None
) -> tuple[bytes, str]:
    """Return a file of a bench and its name. lane: of `GENEVAL`, by default the first; scorer: of the others, likewise.

    Raises `InvalidParams` for another kind, and for a lane or a scorer that there is not.
    """
    if kind == GENEVAL:
        lane = lane or bench.study.lanes[0].key
        named = f"{slug(bench.title)}-{lane}" if len(bench.study.lanes) > 1 else slug(bench.title)
        return _geneval_zip(bench, library, lane), f"diffatlas-bench-{named}-geneval.zip"
    if kind not in BENCH_KINDS:
        known = ", ".join([*BENCH_KINDS, GENEVAL])
        raise InvalidParams(f"There is no export of the kind {kind!r:.40}: choose one of {known}.")

    def image(cell: Cell) -> np.ndarray | None:
        look()
        with suppress(DiffAtlasError):
            return picture(bench.id, cell, library)
        return None

    report = report_of(bench, scorer or first_scorer(bench), image)
    return export_bench(kind, report), bench_file_name(kind, report)


def _geneval_zip(bench: Bench, library: Library, lane: str) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        write_geneval(bench, lane, library, folder)
        packed = io.BytesIO()
        # PNG files are packed already.
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as target:
            for path in sorted(folder.rglob("*")):
                look()
                if path.is_file():
                    target.write(path, path.relative_to(folder).as_posix())
    return packed.getvalue()
