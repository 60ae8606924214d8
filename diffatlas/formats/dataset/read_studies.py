"""The studies of a dataset, checked as those of a library are, and put into a library."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class StudyParts:
    """A study, the pictures (PNG) of its cells that left no run by the cell's key, and whether its runs are to stay."""

    study: Study
    images: Mapping[str, bytes]
    locked: bool


def build_studies(
    rows: Iterable[Mapping[str, Any]], spend: Callable[[str, int, int], None]
) -> list[StudyParts]:
    """Return the studies that rows hold. Raises `RefusedDataset` for what is none, and for an id that is there twice.

    spend: called with the id, the width and the height of each picture before it is decoded; refuses too many pixels.
    """
    found: dict[str, StudyParts] = {}
    for row in rows:
        study = _study(row["study_id"], row["study"])
        if study.id in found:
            raise checks.refused(study.id, "the id is that of two studies")
        found[study.id] = StudyParts(study, _images(study, row, spend), row["locked"] is True)
    return list(found.values())


def _study(study_id: object, text: object) -> Study:
    """Read a study's file as a library does."""
    if not is_run_id(study_id):
        raise checks.refused(
            study_id, "the id of a study is none: letters, digits, hyphens and underscores are"
        )
    checks.parsed(study_id, text, kept.MAX_BYTES, "study")
    with tempfile.TemporaryDirectory() as folder:
        studies = kept.Studies(folder)
        (studies.folder / study_id).mkdir(parents=True)
        (studies.folder / study_id / kept.FILE).write_text(text, encoding="utf-8")
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
    library: Library, built: Iterable[StudyParts], names: Mapping[str, str], room: Path
) -> list[str]:
    """Put studies into a library; return the ids of those that are new there.

    names: what the runs that came with them are called there. A study that is there already is left as it is. Each
    is built in ``room`` and moved in whole; where one cannot be, those that were are taken out again.
    """
    building, added = kept.Studies(room), []
    try:
        for parts in built:
            study = _renamed(parts.study, names)
            study_id = _place_for(library, study)
            if study_id is not None:
                _write(building, replace(study, id=study_id), parts)
                library.studies.folder.mkdir(parents=True, exist_ok=True)
                (building.folder / study_id).rename(library.studies.folder / study_id)
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


def _write(studies: kept.Studies, study: Study, parts: StudyParts) -> None:
    studies.save(study)
    pictures = studies.folder / study.id / "images"
    for cell, data in parts.images.items():
        pictures.mkdir(exist_ok=True)
        # A cell's key has been checked: it is made of its lane and its place.
        (pictures / f"{cell}.png").write_bytes(data)
    if parts.locked:
        study_lock.lock(studies, study.id, True)
