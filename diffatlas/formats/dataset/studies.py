"""The studies of a library as rows of a dataset: which go along with which runs, and what a row says of them."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from diffatlas import files
from diffatlas.errors import CapabilityError, DiffAtlasError, RunNotFound
from diffatlas.library import studies as kept
from diffatlas.library import study_lock
from diffatlas.library.study import Cell, Study

if TYPE_CHECKING:
    from diffatlas.library.store import Library


def whole_studies(library: Library, run_ids: Iterable[str]) -> list[Study]:
    """Return the studies of a library whose runs, as far as the library has them, are all among these; newest first.

    Those without a run, those that are running and those that cannot be read are left out.
    """
    chosen, found = set(run_ids), []
    for info in library.studies.list():
        if info.status in ("damaged", "running"):
            continue
        with suppress(DiffAtlasError):
            study = library.studies.open(info.id)
            runs = runs_of(library, study)
            if runs and chosen.issuperset(runs):
                found.append(study)
    return found


def asked_studies(library: Library, study_ids: Sequence[str]) -> list[Study]:
    """Return these studies.

    Raises `RunNotFound`, `DamagedRun`, and `CapabilityError` for one that is still running.
    """
    found = []
    for study_id in dict.fromkeys(study_ids):
        study = library.studies.open(study_id)
        if library.studies.is_running(study_id):
            raise CapabilityError(f"The study {study_id} is still running: wait until it has ended.")
        found.append(study)
    return found


def with_runs_of(library: Library, run_ids: Sequence[str], study_ids: Sequence[str]) -> list[str]:
    """Return these runs and those of these studies, each once. Raises what `asked_studies` raises."""
    theirs = (run for study in asked_studies(library, study_ids) for run in runs_of(library, study))
    return list(dict.fromkeys([*run_ids, *theirs]))


def runs_of(library: Library, study: Study) -> list[str]:
    """Return the runs of a study that the library still has, each once, in the order of the cells."""
    named = dict.fromkeys(cell.run_id for cell in study.cells if cell.run_id)
    return [run_id for run_id in named if _is_there(library, run_id)]


def _is_there(library: Library, run_id: str) -> bool:
    try:
        return library.path(run_id).is_dir()
    except DiffAtlasError:
        return False


def rows_of_studies(library: Library, studies: Sequence[Study]) -> Iterator[dict[str, Any]]:
    """Yield a row of `study_features` for each study."""
    for study in studies:
        pictures = {}
        for key in (cell.key for cell in study.cells if cell.image):
            # One that is gone by now is missing in the study, too.
            with suppress(RunNotFound):
                pictures[key] = _png(library, study.id, key)
        yield {
            "study_id": study.id,
            "operation": study.operation,
            "title": study.title,
            "created": study.created,
            "status": study.status,
            "runs": runs_of(library, study),
            "cells": [_cell(cell) for cell in study.cells],
            "image_cells": list(pictures),
            "images": [{"bytes": data, "path": None} for data in pictures.values()],
            "locked": study_lock.is_locked(library.studies, study.id),
            "study": _file(study),
        }


def _cell(cell: Cell) -> dict[str, Any]:
    told = {name: getattr(cell, name) for name in ("lane", "row", "column", "label", "caption", "status")}
    return {"cell": cell.key, **told, "run_id": cell.run_id}


def _file(study: Study) -> str:
    """The study as the library writes it, which is how it is read again."""
    with tempfile.TemporaryDirectory() as folder:
        studies = kept.Studies(folder)
        studies.save(study)
        return files.read_text(studies.folder / study.id / kept.FILE, kept.MAX_BYTES)


def _png(library: Library, study_id: str, cell: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(library.studies.image(study_id, cell)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
