"""Whether a run's tensors are whole, as far as that can be told while their bytes are counted."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from diffatlas import files
from diffatlas.errors import Unreadable
from diffatlas.library import format as layout

#: Files of one run that are looked into because they are of another size than most of their kind.
MOST_LOOKED_INTO = 64
_STEP = re.compile(r"step_\d{4,}(\.attention)?\.safetensors")


def size_and_harm(folder: Path) -> tuple[int, str | None]:
    """Return the bytes of a run's files, and what is wrong with its tensors; None where nothing is seen.

    The steps of a run are of the same shapes, so their files are of the same size: of those that are not, and of the
    start, the headers are read and held against the size. What is wrong inside a file of the right size is not seen.
    """
    sizes: dict[str, int] = {}
    try:
        total = layout.size_of(folder, sizes)
    except OSError:
        # A file went away meanwhile, or may not be looked at.
        return 0, None
    try:
        for name in [*([layout.INITIAL] if layout.INITIAL in sizes else []), *_odd(sizes)]:
            files.tensors_header(folder / name)
    except Unreadable as error:
        return total, error.message
    except OSError:
        return total, None
    return total, None


def _odd(sizes: dict[str, int]) -> list[str]:
    """Return the files of steps that are of another size than most of their kind, or too short for any."""
    kinds: tuple[list[str], list[str]] = ([], [])
    for name in sizes:
        if name.startswith("steps") and (found := _STEP.fullmatch(name, len("steps") + 1)):
            kinds[found[1] is not None].append(name)
    odd: list[str] = []
    for names in kinds:
        counts = Counter(sizes[name] for name in names)
        usual = max(counts, key=lambda size: (counts[size], size), default=0)
        odd += [name for name in names if sizes[name] != usual or usual < 8]
    return sorted(odd)[:MOST_LOOKED_INTO]
