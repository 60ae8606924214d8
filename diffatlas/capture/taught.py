"""The words that a model was taught, where its folder has a list of them: a world of few words knows no others."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from diffatlas import files
from diffatlas.errors import Unreadable

#: In the folder of a pipeline. It decides nothing of what the model computes, so it is no part of its revision.
WORDS_FILE = "words.md"
#: A list that is longer is none of ours.
_MOST_BYTES = 100_000


def taught_words(pipe: Any) -> dict[str, list[str]]:
    """Return the words and phrases that a pipeline's training texts had, by kind; {} where its folder does not tell.

    pipe: a pipeline of diffusers that was read from a folder on this machine.
    """
    place = getattr(pipe, "name_or_path", None)
    return words_of(Path(place)) if isinstance(place, (str, os.PathLike)) and place else {}


def words_of(folder: Path) -> dict[str, list[str]]:
    """Return the same of a pipeline's folder: the lines "- kind: word, some words" of its ``words.md``."""
    path = folder / WORDS_FILE
    try:
        told = path.stat()
        return {k: list(v) for k, v in _read(path, told.st_size, told.st_mtime_ns).items()}
    except (OSError, Unreadable):
        return {}


@lru_cache(maxsize=16)
def _read(path: Path, size: int, changed: int) -> dict[str, tuple[str, ...]]:
    """Read the list; size and time of change make a changed file a new entry of the cache."""
    found: dict[str, tuple[str, ...]] = {}
    for line in files.read_text(path, _MOST_BYTES).splitlines():
        kind, colon, listed = line.removeprefix("- ").partition(":")
        words = tuple(word.strip() for word in listed.split(",") if word.strip())
        if line.startswith("- ") and colon and words:
            found[kind.strip()] = words
    return found
