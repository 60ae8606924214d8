"""What a search asks of the index, as SQL. Values are always bound, never spelled into the query."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from diffatlas.errors import InvalidParams
from diffatlas.library.format import ATTENTION, RunInfo

#: Sort key -> what it sorts by. A run without a name sorts by its prompt, as it is shown.
SORTS = {
    "created": "moment",
    "name": "CASE name WHEN '' THEN prompt ELSE name END COLLATE NOCASE",
    "prompt": "prompt COLLATE NOCASE",
    "model": "model COLLATE NOCASE",
    "seed": "seed",
    "steps": "steps",
    "bytes": "bytes",
    "used": "used",
}
MAX_TEXT = 1000

#: Scripts written without spaces, whose words cannot be told apart, and characters that are newer than SQLite: any
#: part of the text matches.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00010000-\U0010ffff]"
)


@dataclass(frozen=True)
class Found:
    """One page of the runs that were looked for, and how many there are in all."""

    runs: tuple[RunInfo, ...]
    total: int


@dataclass
class Query:
    """Conditions on the rows of the table ``runs``, all of which hold."""

    conditions: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, condition: str, *values: Any) -> None:
        """Add a condition with a ``?`` for each value."""
        self.conditions.append(condition)
        self.values.extend(values)

    @property
    def where(self) -> str:
        """The WHERE clause."""
        return f"WHERE {' AND '.join(self.conditions)}" if self.conditions else ""


def query(
    text: str = "",
    *,
    full_text: bool,
    model: str | None = None,
    kind: str | None = None,
    status: str | None = None,
    since: str | date | None = None,
    until: str | date | None = None,
    tags: Iterable[str] = (),
    locked: bool | None = None,
    key: str | None = None,
    attention: bool | str | None = None,
) -> Query:
    """Return the conditions of a search; see `diffatlas.library.store.Library.search`.

    full_text: whether the index has the table ``words`` (FTS5).
    """
    asked = Query()
    for name, value in (("model", model), ("kind", kind), ("status", status), ("key", key)):
        if value is not None:
            asked.add(f'runs."{name}" = ?', storable(value, name))
    if since is not None:
        asked.add("moment >= ?", _moment(since, "since"))
    if until is not None:
        asked.add("moment < ?", _moment(until, "until"))
    if locked is not None:
        asked.add("locked = ?", int(bool(locked)))
    _add_attention(asked, attention)
    for tag in [tags] if isinstance(tags, str) else tags:
        asked.add("id IN (SELECT id FROM tagged WHERE tag = ?)", storable(tag, "tags"))
    _add_text(asked, text, full_text)
    return asked


def order(sort: str, descending: bool) -> str:
    """Return the ORDER BY clause. Raises `InvalidParams` for an unknown sort key."""
    if sort not in SORTS:
        raise InvalidParams(f"Runs cannot be sorted by {sort!r}: use {', '.join(SORTS)}.", field="sort")
    way = "DESC" if descending else "ASC"
    keys = dict.fromkeys((SORTS[sort], "moment", "id"))
    return "ORDER BY " + ", ".join(f"{key} {way}" for key in keys)


def page(limit: int | None, offset: int) -> tuple[int, int]:
    """Return LIMIT and OFFSET. Raises `InvalidParams` for anything but whole numbers from 0."""
    for name, value in (("limit", limit), ("offset", offset)):
        whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
        if not whole and (name, value) != ("limit", None):
            raise InvalidParams(f"The {name} must be a whole number from 0, not {value!r:.40}.", field=name)
    return (-1 if limit is None else limit), offset


def haystack(info: RunInfo) -> str:
    """Return what the text of a search is looked for in, where there are no words to match."""
    parts = (info.id, info.name, info.prompt, info.note, *info.tags, info.model)
    return "\n".join(parts).replace("\x00", " ").casefold()


def moment_of(created: str) -> float:
    """Return a stored time in seconds since 1970, UTC where it does not say; 0 for none."""
    try:
        return _utc(datetime.fromisoformat(created)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def storable(value: Any, name: str) -> str:
    """Return text that SQLite can hold. Raises `InvalidParams` for anything that is not text."""
    if not isinstance(value, str):
        raise InvalidParams(f"To look for {name}, give text, not {value!r:.40}.", field=name)
    return value.encode("utf-8", "replace").decode()


def _add_attention(asked: Query, attention: bool | str | None) -> None:
    if attention is None:
        return
    if isinstance(attention, bool):
        asked.add("attention <> ''" if attention else "attention = ''")
    elif attention in ATTENTION:
        asked.add("attention IN (?, 'all')", attention)
    else:
        known = ", ".join(repr(kind) for kind in ATTENTION)
        raise InvalidParams(
            f"Runs cannot be looked for by attention {attention!r:.40}: give True, False or one of {known}.",
            field="attention",
        )


def _add_text(asked: Query, text: str, full_text: bool) -> None:
    text = storable(text, "text").replace("\x00", " ")
    if len(text) > MAX_TEXT:
        raise InvalidParams(f"Look for at most {MAX_TEXT} characters at once.", field="text")
    for word in dict.fromkeys(text.split()):
        if full_text and any(c.isalnum() for c in word) and not _UNSPACED.search(word):
            # In quotes nothing is an operator; the star stands for the rest of the word.
            quoted = '"' + word.replace('"', '""') + '"*'
            asked.add("runs.rowid IN (SELECT rowid FROM words WHERE words MATCH ?)", quoted)
        else:
            escaped = re.sub(r"([\\%_])", r"\\\1", word.casefold())
            asked.add("text LIKE ? ESCAPE '\\'", f"%{escaped}%")


def _moment(value: Any, name: str) -> float:
    """Return a time as asked for; a day without a time is its start, and for ``until`` its end."""
    try:
        day = isinstance(value, str) and len(value.strip()) <= 10
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        elif not isinstance(value, datetime):
            day, value = True, datetime(value.year, value.month, value.day)
        if day and name == "until":
            value += timedelta(days=1)
        return _utc(value).timestamp()
    except (ValueError, AttributeError, OverflowError) as error:
        raise InvalidParams(
            f"{value!r:.40} is no time: write it as 2026-01-31 or 2026-01-31T12:00.", field=name
        ) from error


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
