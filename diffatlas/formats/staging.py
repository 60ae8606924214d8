"""A folder to build in, beside the place where its content goes: renamed there when whole, swept when left."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffatlas.library import leftovers


@contextmanager
def staged(parent: Path, stem: str, library: Path | None = None) -> Iterator[Path]:
    """Yield a new folder of a temporary name in ``parent`` (`leftovers.temporary`), and remove it at the end.

    What a killed process left behind there is removed first. library: where it is noted what is being built, so that
    opening that library removes it too. A name that begins with a dot is no run.
    """
    parent.mkdir(parents=True, exist_ok=True)
    leftovers.sweep(parent)
    folder = leftovers.temporary(parent / stem)
    # The note first: what is built is never without one.
    noted = leftovers.note(library, folder) if library is not None else None
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if noted is not None:
            noted.unlink(missing_ok=True)
