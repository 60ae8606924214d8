"""Files that grow by a line of JSON: what was written stays, whenever the process that writes is killed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from diffatlas.errors import Unreadable
from diffatlas.files import parse_json, read_bytes
from diffatlas.library import format as layout

#: Bytes of a file of lines.
MOST_BYTES = 1 << 30
_APPENDING = threading.Lock()


def append(path: Path, *entries: Mapping[str, Any]) -> None:
    """Add entries to a file, each as a line, in one write. Raises OSError.

    After a line that was cut off, by a kill or a full disk, a new one is begun.
    """
    text = "".join(layout.dumps(entry) + "\n" for entry in entries).encode("utf-8", "replace")
    with _APPENDING:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, b"\n" * cut + text)
        finally:
            os.close(descriptor)


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a file in their order, none where there is no file; lines that were cut off are left out.

    Raises `Unreadable` for a file that is too large, or no plain file.
    """
    try:
        data = read_bytes(path, MOST_BYTES)
    except FileNotFoundError:
        return
    for line in data.split(b"\n"):
        if line.strip():
            try:
                found = parse_json(line.decode("utf-8", "replace"), path.name)
            except Unreadable:
                continue
            if isinstance(found, dict):
                yield found
