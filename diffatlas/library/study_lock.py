"""Locked studies: an empty file in a study's folder says that its runs are to stay."""

from __future__ import annotations

from contextlib import suppress

from diffatlas.errors import BackendFailure, DiffAtlasError, RunNotFound
from diffatlas.library.format import is_run_id
from diffatlas.library.studies import Studies

FILE = "locked"


def lock(studies: Studies, study_id: str, locked: bool) -> None:
    """Lock a study, or let go of it: the runs of a locked one are not evicted (`Library.evict`).

    Raises `RunNotFound`, or `BackendFailure` where the disk refuses.
    """
    if not has(studies, study_id):
        raise RunNotFound(f"The library has no study {study_id!r:.80}.")
    file = studies.folder / study_id / FILE
    try:
        if locked:
            file.touch()
        else:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise BackendFailure(f"The study cannot be locked ({error.strerror or error}).") from error


def has(studies: Studies, study_id: str) -> bool:
    """Return whether the library itself has a study; one that comes with the project is none of its own."""
    folder = studies.folder / study_id if is_run_id(study_id) else None
    return folder is not None and folder.is_dir() and not folder.is_symlink()


def is_locked(studies: Studies, study_id: str) -> bool:
    """Return whether a study of the library is locked."""
    return has(studies, study_id) and (studies.folder / study_id / FILE).is_file()


def locked_runs(studies: Studies) -> set[str]:
    """Return the runs of the locked studies; those of a study that cannot be read are not known."""
    found: set[str] = set()
    for file in studies.folder.glob(f"*/{FILE}"):
        with suppress(DiffAtlasError):
            found |= {cell.run_id for cell in studies.open(file.parent.name).cells if cell.run_id}
    return found
