"""Who is at a folder, and which runs are needed meanwhile: a claim ends with its process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffatlas.errors import InvalidParams

#: Folders that this process is at now.
_CLAIMED: set[Path] = set()
#: Runs that are needed until what they belong to has ended, by the id of that.
_HELD: dict[str, set[str]] = {}
_CLAIMING = threading.Lock()


def this_process() -> dict[str, Any]:
    """Return what tells later whether the process that writes is still alive."""
    import psutil

    return {"pid": os.getpid(), "started": psutil.Process().create_time()}


def is_alive(folder: Path, writer: Any) -> bool:
    """Whether the process that `this_process` told of, ``writer``, is still at ``folder``."""
    import psutil

    try:
        if writer["pid"] == os.getpid():
            return is_claimed_here(folder)
        return abs(psutil.Process(writer["pid"]).create_time() - writer["started"]) < 1
    except (psutil.Error, KeyError, TypeError, ValueError, OverflowError):
        return False


def is_claimed_here(folder: Path) -> bool:
    """Whether this process is at a folder."""
    return folder.resolve() in _CLAIMED


@contextmanager
def claimed(folder: Path, elsewhere: Callable[[], bool], what: str) -> Iterator[None]:
    """Claim a folder until the block is left.

    elsewhere: whether another process is at it. Raises `InvalidParams` with the field ``what`` where somebody is.
    """
    key = folder.resolve()
    with _CLAIMING:
        if key in _CLAIMED or elsewhere():
            raise InvalidParams(
                f"This {what} is running already: wait until it has ended, or stop it.", field=what
            )
        _CLAIMED.add(key)
    try:
        yield
    finally:
        _CLAIMED.discard(key)


def hold(study_id: str, run_id: str) -> None:
    """Keep a run from being evicted by this process until `let_go`: what it belongs to still runs."""
    _HELD.setdefault(study_id, set()).add(run_id)


def let_go(study_id: str) -> None:
    """Hold the runs of a study or a bench no longer."""
    _HELD.pop(study_id, None)


def held_runs() -> set[str]:
    """Return the runs that are held now."""
    return set().union(*_HELD.copy().values())
