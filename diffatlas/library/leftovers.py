"""Temporary names that say whose they are, and the removal of those whose process is gone.

A name ends in ``-<machine>-<process>-<second of its start>-<random>.tmp``. Only what has such a name, was made on this
machine since it was started, and by a process that is no longer alive is removed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
from functools import lru_cache
from pathlib import Path

from diffatlas import files
from diffatlas.errors import Unreadable

#: In a library: a file for each folder that is being built elsewhere, named like it, with its path.
NOTED = ".building"
_OWNED = re.compile(
    r"\..+-(?P<machine>[0-9a-f]{8})-(?P<process>\d{1,10})-(?P<started>\d{1,12})-[0-9a-f]{8}\.tmp", re.DOTALL
)


def temporary(path: Path) -> Path:
    """Return a name of this process's own beside ``path``, to be renamed to it. It begins with a dot."""
    name = path.name.encode()[:120].decode("utf-8", "ignore")
    return path.with_name(f".{name}-{_machine()}-{_this(os.getpid())}-{secrets.token_hex(4)}.tmp")


def sweep(folder: Path) -> None:
    """Remove what processes that are gone have left in a folder under a name of `temporary`."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        if name.endswith(".tmp") and is_dead(name):
            _remove(folder / name)


def note(library: Path, building: Path) -> Path | None:
    """Note in a library that a folder is being built elsewhere; return the note, None where it cannot be written."""
    noted = library / NOTED / building.name
    try:
        noted.parent.mkdir(parents=True, exist_ok=True)
        noted.write_text(str(building.absolute()), encoding="utf-8")
    except (OSError, UnicodeEncodeError):
        return None
    return noted


def sweep_noted(library: Path) -> None:
    """Remove what processes that are gone have left wherever a library's notes say that they were building."""
    try:
        names = os.listdir(library / NOTED)
    except OSError:
        return
    for name in names:
        if not is_dead(name):
            continue
        noted = library / NOTED / name
        try:
            path = Path(files.read_text(noted, 10_000))
        except (OSError, Unreadable):
            continue
        # A note can name nothing but what is called like itself.
        if path.name == name and path.is_absolute():
            _remove(path)
        noted.unlink(missing_ok=True)


def is_dead(name: str) -> bool:
    """Whether a name is one of `temporary`, made on this machine by a process that is no longer alive."""
    import psutil

    owned = _OWNED.fullmatch(name)
    if owned is None or owned["machine"] != _machine():
        return False
    try:
        started = psutil.Process(int(owned["process"])).create_time()
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, OverflowError, ValueError):
        return False
    # Another process may have got the number.
    return abs(started - int(owned["started"])) > 2


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # It is in use, or not ours to remove.
        return


@lru_cache(maxsize=2)
def _this(process: int) -> str:
    import psutil

    return f"{process}-{int(psutil.Process(process).create_time())}"


@lru_cache(maxsize=1)
def _machine() -> str:
    """Return what tells this machine, since it was started, from others that may share the disk."""
    try:
        booted = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        # Containers on one machine have processes of the same numbers.
        booted += os.readlink("/proc/self/ns/pid")
    except (OSError, ValueError):
        booted = ""
    return hashlib.sha256(f"{platform.node()} {booted}".encode()).hexdigest()[:8]
