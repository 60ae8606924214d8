"""The studies of a dataset, checked as those of a library are, and put into a library."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffatlas.errors import BackendFailure, DiffAtlasError
from diffatlas.formats.dataset import checks
from diffatlas.library import studies as kept
from diffatlas.library import study_lock
from diffatlas.library.format import is_run_id
from diffatlas.library.study import Study

if TYPE_CHECKING:
    from diffatlas.library.store import Library


def build_studies(
    rows: Iterable[Mapping[str, Any]], room: Path, spend: Callable[[str, int, int], None]
) -> list[str]:
    """Build the studies that rows hold in ``room``, laid out as a library; return their ids.

    spend: called with the id, the width and the height of each picture before it is decoded; refuses too many pixels.

    Raises `RefusedDataset` for what is no study, and for an id that is there twice.
    """
    studies, found = kept.Studies(room), []
    for row in rows:
        study = _build(studies, row["study_id"], row["study"])
        images = _images(study, row, spend)
        folder = studies.folder / study.id
        for cell, data in images.items():
            (folder / "images").mkdir(exist_ok=True)
            # A cell's key has been checked: it is made of its lane and its place.
            (folder / "images" / f"{cell}.png").write_bytes(data)
        if row["locked"] is True:
            study_lock.lock(studies, study.id, True)
        found.append(study.id)
    return found


def _build(studies: kept.Studies, study_id: object, text: object) -> Study:
    """Write a study's file and read it as a library does."""
    if not is_run_id(study_id):
        raise checks.refused(
            study_id, "the id of a study is none: letters, digits, hyphens and underscores are"
        )
    if study_lock.has(studies, study_id):
        raise checks.refused(study_id, "the id is that of two studies")
    checks.parsed(study_id, text, kept.MAX_BYTES, "study")
    folder = studies.folder / study_id
    folder.mkdir(parents=True)
    (folder / kept.FILE).write_text(text, encoding="utf-8")
    try:
        return studies.open(study_id)
    except DiffAtlasError as error:
        raise checks.refused(
            study_id, f"a study cannot be read: {error.message[:300].rstrip('.')}"
        ) from error


def _images(study: Study, row: Mapping[str, Any], spend: Callable[[str, int, int], None]) -> dict[str, bytes]:
    cells = {cell.key for cell in study.cells if cell.image}
    names, pictures = row["image_cells"], row["images"]
    if len(names) != len(pictures) or len(set(names)) != len(names) or not cells.issuperset(names):
        raise checks.refused(study.id, "the pictures of a study are not those of its cells")
    for data in pictures:
        spend(study.id, *checks.declared_size(study.id, data))
        checks.check_picture(study.id, data)
    return dict(zip(names, pictures, strict=True))


def install_studies(
    library: Library, study_ids: Iterable[str], names: Mapping[str, str], room: Path
) -> list[str]:
    """Move the studies that were built in ``room`` into a library; return the ids of those that are new there.

    names: what the runs that came with them are called there. A study that is there already is left as it is. Where
    one cannot be moved, those that were are taken out again.
    """
    building, added = kept.Studies(room), []
    try:
        for built in study_ids:
            study = _renamed(building.open(built), names)
            study_id = _place_for(library, study)
            if study_id is not None:
                folder = (building.folder / built).rename(building.folder / study_id)
                building.save(replace(study, id=study_id))
                library.studies.folder.mkdir(parents=True, exist_ok=True)
                folder.rename(library.studies.folder / study_id)
                added.append(study_id)
    except BaseException:
        for study_id in added:
            shutil.rmtree(library.studies.folder / study_id, ignore_errors=True)
        raise
    return added


def _renamed(study: Study, names: Mapping[str, str]) -> Study:
    cells = (replace(cell, run_id=names.get(cell.run_id, cell.run_id)) for cell in study.cells)
    return replace(study, cells=tuple(cells))


def _place_for(library: Library, study: Study) -> str | None:
    """Return the id that a study is to have in a library; None where the library has it."""
    digest = _digest(study)
    # The second is made of its content: the same the next time.
    for study_id in (study.id, f"{study.id[:119]}-{digest[:8]}"):
        if not study_lock.has(library.studies, study_id):
            return study_id
        try:
            if _digest(library.studies.open(study_id)) == digest:
                return None
        except DiffAtlasError:
            continue
    raise BackendFailure(
        f"The study {study_id} is in the library and is damaged: delete it, then import again."
    )


def _digest(study: Study) -> str:
    """A hash of what a study is, wherever it lies and whatever it is called."""
    cells = [{**vars(cell), "params": cell.params.to_dict()} for cell in study.cells]
    lanes = [{**vars(lane), "changes": dict(lane.changes)} for lane in study.lanes]
    about = [study.operation, study.created, study.status, dict(study.spec), lanes, cells]
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
