"""A folder to build in, beside the place where its content goes: renamed there when whole, swept when left."""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STALE = 3600


@contextmanager
def staged(parent: Path, stem: str) -> Iterator[Path]:
    """Yield a new folder ``.<stem>-<process>-<random>.tmp`` in ``parent``, and remove it at the end.

    What a killed process left behind there is removed first, once it is `STALE` seconds old: the process may
    run on another machine that shares the disk. A name that begins with a dot is no run.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent, stem)
    folder = parent / f".{stem}-{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path, stem: str) -> None:
    import psutil

    left = re.compile(rf"\.{re.escape(stem)}-(\d+)-[0-9a-f]{{8}}\.tmp")
    for folder in parent.iterdir():
        found = left.fullmatch(folder.name)
        if not found or folder.is_symlink() or psutil.pid_exists(int(found[1])):
            continue
        if time.time() - folder.stat().st_mtime > STALE:
            shutil.rmtree(folder, ignore_errors=True)
