"""Opening a run's folder wherever it lies, in a library or not."""

from __future__ import annotations

import os
from pathlib import Path

from diffatlas.errors import RunNotFound
from diffatlas.library.format import MANIFEST
from diffatlas.library.reader import read_run
from diffatlas.run import Run


def open_run(path: str | os.PathLike[str]) -> Run:
    """Return the whole run that a folder holds, arrays bit-exact.

    A run that is still being written has the steps so far, and the status "running"; one whose process died has
    "partial".

    Raises:
        RunNotFound: there is no such folder, or it holds no run.
        DamagedRun: it holds one that cannot be read.
    """
    folder = Path(path).expanduser()
    if folder.name == MANIFEST and folder.is_file():
        folder = folder.parent
    if not folder.exists():
        raise RunNotFound(f"There is no folder {str(path)!r}.")
    if not (folder / MANIFEST).is_file():
        raise RunNotFound(f"{str(path)!r} is not the folder of a run: it has no {MANIFEST}.")
    # A run is called by the name of its folder, which "." is not.
    return read_run(folder.resolve())
