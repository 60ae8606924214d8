"""What a person says of a run: a name, tags, a note, and whether it must stay.

They are a small file in the run's own folder, so that they survive the loss of the index.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffatlas import files
from diffatlas.errors import DamagedRun, DiffAtlasError, InvalidParams, NewerVersion, Unreadable
from diffatlas.library import format as layout
from diffatlas.stored_version import check_version

#: Bytes of the file.
MOST_MARKS = 1_000_000
FORMAT_VERSION = 1
MAX_NAME = 80
MAX_NOTE = 10_000
MAX_TAG = 40
MAX_TAGS = 20


@dataclass(frozen=True)
class Marks:
    """The marks of one run; an unmarked run has these defaults."""

    name: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""
    #: Never evicted.
    locked: bool = False

    def changed(
        self,
        name: str | None = None,
        tags: Iterable[str] | None = None,
        note: str | None = None,
        locked: bool | None = None,
    ) -> Marks:
        """Return the marks with some changed; None leaves one as it is. Raises `InvalidParams` for nonsense.

        name: at most `MAX_NAME` characters. note: at most `MAX_NOTE`. tags: at most `MAX_TAGS` of at most
        `MAX_TAG`, equal ones kept once. White space in names and tags is collapsed.
        """
        return Marks(
            name=self.name if name is None else _line("name", "The name", name, MAX_NAME),
            tags=self.tags if tags is None else _tags(tags),
            note=self.note if note is None else _text("note", "The note", note, MAX_NOTE),
            locked=self.locked if locked is None else _flag(locked),
        )


def read_marks(folder: Path) -> Marks:
    """Read a run's marks. Raises `DamagedRun` where the file is there and cannot be read, `NewerVersion` among them."""
    try:
        data = files.read_object(folder / layout.MARKS, MOST_MARKS)
        # The first marks did not say.
        check_version(data.get("format", 1), FORMAT_VERSION, f"The {layout.MARKS} of the run {folder.name}")
        return Marks().changed(**{name: data[name] for name in Marks.__dataclass_fields__ if name in data})
    except FileNotFoundError:
        return Marks()
    except NewerVersion:
        raise
    except ValueError as error:
        told = error.message if isinstance(error, DiffAtlasError) else str(error)
        reason = error.reason if isinstance(error, Unreadable) else told.rstrip(".")
        raise DamagedRun(f"The {layout.MARKS} of the run {folder.name} cannot be read: {reason}.") from error


def marks_to_change(folder: Path) -> Marks:
    """Read a run's marks; a file that cannot be read is set aside, and the run stays locked until somebody says so.

    Raises `NewerVersion` for marks of a later version, which are left as they are.
    """
    try:
        return read_marks(folder)
    except NewerVersion:
        raise
    except DamagedRun:
        (folder / layout.MARKS).replace(folder / "marks.damaged.json")
        return Marks(locked=True)


def write_marks(folder: Path, marks: Marks) -> None:
    """Write a run's marks, in one rename."""
    text = json.dumps({"format": FORMAT_VERSION, **asdict(marks)}, ensure_ascii=False, indent=1)
    layout.write_atomically(folder / layout.MARKS, text.encode())


def _tags(tags: Any) -> tuple[str, ...]:
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise InvalidParams("The tags must be a list of words.", field="tags")
    lines = [_line("tags", "A tag", tag, MAX_TAG) for tag in tags]
    kept = tuple(dict.fromkeys(line for line in lines if line))
    if len(kept) > MAX_TAGS:
        raise InvalidParams(f"A run has at most {MAX_TAGS} tags, not {len(kept)}.", field="tags")
    return kept


def _line(field: str, label: str, value: Any, limit: int) -> str:
    """Check text that stands on one line."""
    return _text(field, label, " ".join(_text(field, label, value).split()), limit)


def _text(field: str, label: str, value: Any, limit: int | None = None) -> str:
    if not isinstance(value, str) or not _is_text(value):
        raise InvalidParams(f"{label} must be text.", field=field)
    if limit is not None and len(value) > limit:
        raise InvalidParams(f"{label} has {len(value)} characters: at most {limit:,} fit.", field=field)
    return value


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8 and searched for: no lone surrogates, no NUL."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidParams("Locked is either true or false.", field="locked")
    return value
