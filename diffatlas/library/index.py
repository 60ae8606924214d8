"""The index of a library: what its lists show, in SQLite, so that thousands of runs are listed at once.

It is a mirror of the folders and holds nothing that matters but when a run was last used. A file that is missing,
damaged, or of another version is made again from the folders; where no file can be kept (a read-only or full disk,
a network file system without locks), the index lives in memory.

Each call opens a connection of its own, so that threads and processes share the file and nothing else.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from diffatlas.library import find
from diffatlas.library import format as layout
from diffatlas.library.format import RunInfo, is_run_id
from diffatlas.library.reader import read_info

log = logging.getLogger("diffatlas")

T = TypeVar("T")

FILE = ".index.sqlite"
LOCK = ".lock.sqlite"
#: Raised by one whenever a table changes.
VERSION = 3
BUSY_SECONDS = 20
#: What SQLite says of a file that is none of its own, or whose tables are not as they should be.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
#: Seconds between two looks at every run's files, and the share of the time that they may take.
LOOK_EVERY, LOOK_SHARE = 1.0, 0.05
#: A file that is younger than this (ns) may change again without a change of its time.
RACY = 100_000_000

COLUMNS = tuple(f.name for f in fields(RunInfo))
_TAGS = COLUMNS.index("tags")
# With the table's name: SQLite takes a quoted name that is no column for text.
_NAMES = ", ".join(f'runs."{name}"' for name in COLUMNS)
_ALL = (*COLUMNS, "moment", "text", "stamp")
_UPSERT = (
    "INSERT INTO runs ({}) VALUES ({}) ON CONFLICT (id) DO UPDATE SET {}, used = max(runs.used, excluded.used)"
).format(
    ", ".join(f'"{name}"' for name in _ALL),
    ", ".join("?" * len(_ALL)),
    ", ".join(f'"{name}" = excluded."{name}"' for name in _ALL if name not in ("id", "used")),
)
_WORDS = ("name", "prompt", "note", "tags", "model", "id")


class Index:
    """The index of the runs in ``folder``. Its own troubles never reach the caller."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE
        self._lock = threading.RLock()
        self._memory: sqlite3.Connection | None = None
        self._next_look = 0.0

    def search(self, sort: str, descending: bool, limit: int | None, offset: int, **asked: Any) -> find.Found:
        """Return a page of the runs that `find.query` selects."""
        query = find.query(full_text=has_full_text(), **asked)
        order, (limit, offset) = find.order(sort, descending), find.page(limit, offset)

        def work(db: sqlite3.Connection) -> find.Found:
            self._sync(db)
            chosen = f"SELECT {_NAMES} FROM runs {query.where} {order} LIMIT ? OFFSET ?"
            rows = db.execute(chosen, (*query.values, limit, offset)).fetchall()
            if limit < 0 and not offset:
                total = len(rows)
            else:
                total = db.execute(f"SELECT count(*) FROM runs {query.where}", query.values).fetchone()[0]
            return find.Found(tuple(map(_info, rows)), total)

        return self._do(work)

    def distinct(self, what: str) -> list[str]:
        """Return the "model" or "tag" values that there are, sorted."""
        table = {
            "model": "SELECT DISTINCT model FROM runs WHERE model <> ''",
            "tag": "SELECT DISTINCT tag FROM tagged",
        }

        def work(db: sqlite3.Connection) -> list[str]:
            self._sync(db)
            return sorted((value for (value,) in db.execute(table[what])), key=str.casefold)

        return self._do(work)

    def usage(self) -> tuple[int, int]:
        """Return the number of runs and the bytes that they take."""

        def work(db: sqlite3.Connection) -> tuple[int, int]:
            self._sync(db)
            return db.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM runs").fetchone()

        return self._do(work)

    def evictable(self) -> tuple[int, list[tuple[str, int]]]:
        """Return the bytes of all readable runs, and (id, bytes) of those nobody asked to keep, least used first."""

        def work(db: sqlite3.Connection) -> tuple[int, list[tuple[str, int]]]:
            self._sync(db)
            held = db.execute(
                "SELECT coalesce(sum(bytes), 0) FROM runs WHERE status <> 'damaged'"
            ).fetchone()[0]
            loose = "status NOT IN ('damaged', 'running') AND NOT locked AND note = '' AND tags = ''"
            return held, db.execute(
                f"SELECT id, bytes FROM runs WHERE {loose} ORDER BY used, moment, id"
            ).fetchall()

        return self._do(work)

    def refresh(self) -> None:
        """Bring the index in line with the folders, whatever was looked at before."""
        self._next_look = 0.0
        self._do(self._sync)

    def rebuild(self) -> None:
        """Make the index again from the folders alone."""

        def work(db: sqlite3.Connection) -> None:
            read = {name: _entry(self.folder, name) for name in _names_in(self.folder) if is_run_id(name)}
            # In one transaction: nobody finds the half of it.
            with _transaction(db):
                _create(db)
                for run_id in filter(is_run_id, read.keys() | _names_in(self.folder)):
                    self._put_or_drop(db, run_id, *read.get(run_id, (None, "")))
            self._sync(db)

        self._next_look = 0.0
        self._do(work)

    def update(self, run_id: str) -> None:
        """Read one run's folder again. An index that nobody has asked for yet stays unmade."""
        if self._memory is not None or self.path.is_file():
            self._do(lambda db: self._read(db, {run_id}))

    def change(self, run_id: str, act: Callable[[], None]) -> RunInfo | None:
        """Call ``act``, which changes one run's files, while no other caller of this does; return the run after it.

        Where the folder takes no lock, only the threads of this process are kept out.
        """
        with self._alone():
            act()

        def work(db: sqlite3.Connection) -> RunInfo | None:
            self._read(db, {run_id})
            return self._row(db, run_id)

        return self._do(work)

    def harmed(self, run_id: str, harm: str | None) -> RunInfo | None:
        """Note what is wrong with a run's files that the list does not look into; None that nothing is. Return the run.

        It is forgotten when the run is written again.
        """

        def work(db: sqlite3.Connection) -> RunInfo | None:
            if self._row(db, run_id) is None:
                self._read(db, {run_id})
            noted = f"{_written(self.folder, run_id)}\n{harm}" if harm else None
            if db.execute("SELECT harm FROM runs WHERE id = ?", (run_id,)).fetchone() not in (None, (noted,)):
                db.execute("UPDATE runs SET harm = ? WHERE id = ?", (noted, run_id))
                self._read(db, {run_id})
            return self._row(db, run_id)

        return self._do(work)

    def touch(self, run_id: str, when: str) -> None:
        """Note when a run was used."""

        def work(db: sqlite3.Connection) -> None:
            if self._row(db, run_id) is None:
                self._read(db, {run_id})
            db.execute("UPDATE runs SET used = ? WHERE id = ?", (when, run_id))

        self._do(work)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the library's lock: a database without tables, because the index itself may be set aside."""
        with self._lock, ExitStack() as stack:
            try:
                lock = sqlite3.connect(self.folder / LOCK, timeout=BUSY_SECONDS, isolation_level=None)
                stack.callback(lock.close)
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.Error as error:
                log.warning("The library in %s takes no lock: %s", self.folder, error)
            yield

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Call ``work`` with a connection; where the file fails it, again with a new file, then in memory."""
        new_files = 3
        patience = time.monotonic() + BUSY_SECONDS
        while True:
            seen = _identity(self.path)
            try:
                with self._connection() as db:
                    return work(db)
            except sqlite3.Error as error:
                if self._memory is not None:
                    raise
                code = (getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_CORRUPT) & 0xFF
                if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() < patience:
                    time.sleep(0.01)
                elif code in _DAMAGED and new_files and self._set_aside(seen):
                    new_files -= 1
                    log.warning("The index of %s was damaged (%s) and is made again.", self.folder, error)
                else:
                    log.warning("The index of %s cannot be kept (%s): it is in memory.", self.folder, error)
                    self._keep_in_memory()

    def _keep_in_memory(self) -> None:
        with self._lock:
            if self._memory is None:
                self._memory = _open(":memory:", check_same_thread=False)

    def _set_aside(self, seen: tuple[int, int] | None) -> bool:
        """Move the file away, unless another process has done so; return whether a new one can be tried."""
        try:
            if seen is not None and seen == _identity(self.path):
                for ending in ("-wal", "-shm"):
                    self.path.with_name(FILE + ending).unlink(missing_ok=True)
                os.replace(self.path, self.path.with_name(f"{FILE}.damaged"))
            return True
        except OSError:
            return False

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if self._memory is not None:
            with self._lock:
                yield self._memory
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        db = _open(self.path)
        try:
            yield db
        finally:
            db.close()

    def _sync(self, db: sqlite3.Connection) -> None:
        """Make the rows follow the folders: always for runs that came or went, now and then for changed ones."""
        with self._lock:
            known = dict(db.execute("SELECT id, stamp FROM runs"))
            names = _names_in(self.folder)
            changed = {name for name in names - known.keys() if is_run_id(name)}
            changed |= {run_id for (run_id,) in db.execute("SELECT id FROM runs WHERE status = 'running'")}
            began = time.monotonic()
            if began >= self._next_look:
                changed |= {
                    run_id for run_id, stamp in known.items() if not _holds(self.folder, run_id, stamp)
                }
                took = time.monotonic() - began
                self._next_look = time.monotonic() + max(LOOK_EVERY, took / LOOK_SHARE)
            self._read(db, changed | (known.keys() - names))

    def _read(self, db: sqlite3.Connection, run_ids: set[str]) -> None:
        """Read some folders into their rows; the row of a folder that is gone goes."""
        ids = sorted(run_ids)
        for first in range(0, len(ids), 500):
            rows = [(run_id, *_entry(self.folder, run_id)) for run_id in ids[first : first + 500]]
            with _transaction(db):
                for row in rows:
                    self._put_or_drop(db, *row)

    def _put_or_drop(self, db: sqlite3.Connection, run_id: str, info: RunInfo | None, stamp: str) -> None:
        """Write what was read of a folder, inside a transaction: what has changed meanwhile is read again."""
        if info is None or not _holds(self.folder, run_id, stamp):
            info, stamp = _entry(self.folder, run_id)
        if info is None:
            _drop(db, run_id)
        else:
            _put(db, self._with_harm(db, info), stamp)

    def _with_harm(self, db: sqlite3.Connection, info: RunInfo) -> RunInfo:
        """Return what is listed of a run with what was found wrong with its files (`harmed`)."""
        row = db.execute("SELECT harm FROM runs WHERE id = ?", (info.id,)).fetchone()
        if row is None or row[0] is None or info.status == "running":
            return info
        written, harm = row[0].split("\n", 1)
        if written != _written(self.folder, info.id):
            db.execute("UPDATE runs SET harm = NULL WHERE id = ?", (info.id,))
            return info
        return replace(info, status="damaged", error=harm)

    @staticmethod
    def _row(db: sqlite3.Connection, run_id: str) -> RunInfo | None:
        row = db.execute(f"SELECT {_NAMES} FROM runs WHERE id = ?", (run_id,)).fetchone()
        return _info(row) if row else None


@cache
def has_full_text() -> bool:
    """Whether this SQLite has FTS5."""
    try:
        with sqlite3.connect(":memory:") as db:
            db.execute("CREATE VIRTUAL TABLE t USING fts5(a, prefix='2 3')")
        return True
    except sqlite3.OperationalError:
        return False


def _open(path: Path | str, **options: Any) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, **options)
    try:
        # What is lost with the power is made again.
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        if _version(db) != _wanted():
            with _transaction(db):
                # Another process may have been faster.
                if _version(db) != _wanted():
                    _create(db)
        return db
    except BaseException:
        db.close()
        raise


def _version(db: sqlite3.Connection) -> int:
    return db.execute("PRAGMA user_version").fetchone()[0]


def _wanted() -> int:
    return 2 * VERSION + has_full_text()


def _create(db: sqlite3.Connection) -> None:
    for table in ("words", "tagged", "runs"):
        db.execute(f"DROP TABLE IF EXISTS {table}")
    columns = ", ".join(f'"{name}"' for name in COLUMNS if name != "id")
    # No declared types: SQLite keeps what it is given.
    db.execute(
        f"CREATE TABLE runs (rowid INTEGER PRIMARY KEY, id UNIQUE, {columns}, moment, text, stamp, harm)"
    )
    db.execute("CREATE TABLE tagged (id, tag, PRIMARY KEY (tag, id)) WITHOUT ROWID")
    db.execute("CREATE INDEX by_moment ON runs (moment, id)")
    db.execute('CREATE INDEX by_key ON runs ("key")')
    db.execute("CREATE INDEX by_status ON runs (status)")
    db.execute("CREATE INDEX by_tagged ON tagged (id)")
    if has_full_text():
        db.execute(
            f"CREATE VIRTUAL TABLE words USING fts5({', '.join(_WORDS)}, "
            "tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3')"
        )
    db.execute(f"PRAGMA user_version = {_wanted()}")


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    # IMMEDIATE: two that read first and write later would each wait for the other.
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _put(db: sqlite3.Connection, info: RunInfo, stamp: str) -> None:
    values = [getattr(info, name) for name in COLUMNS]
    values[_TAGS] = "\n".join(info.tags)
    db.execute(_UPSERT, (*values, find.moment_of(info.created), find.haystack(info), stamp))
    db.execute("DELETE FROM tagged WHERE id = ?", (info.id,))
    db.executemany(
        "INSERT INTO tagged VALUES (?, ?)",
        [(info.id, tag) for tag in info.tags],
    )
    if has_full_text():
        (rowid,) = db.execute("SELECT rowid FROM runs WHERE id = ?", (info.id,)).fetchone()
        db.execute("DELETE FROM words WHERE rowid = ?", (rowid,))
        db.execute(
            f"INSERT INTO words (rowid, {', '.join(_WORDS)}) VALUES (?{', ?' * len(_WORDS)})",
            (rowid, *(_joined(getattr(info, name)) for name in _WORDS)),
        )


def _drop(db: sqlite3.Connection, run_id: str) -> None:
    if has_full_text():
        db.execute("DELETE FROM words WHERE rowid = (SELECT rowid FROM runs WHERE id = ?)", (run_id,))
    db.execute("DELETE FROM tagged WHERE id = ?", (run_id,))
    db.execute("DELETE FROM runs WHERE id = ?", (run_id,))


def _joined(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else "\n".join(value)


def _info(row: tuple) -> RunInfo:
    # The constructor of a frozen class sets each field by a call: most of the time that a long list would take.
    info = object.__new__(RunInfo)
    shown = info.__dict__
    shown.update(zip(COLUMNS, row, strict=True))
    shown["tags"] = tuple(shown["tags"].split("\n")) if shown["tags"] else ()
    shown["locked"] = bool(shown["locked"])
    return info


def _entry(folder: Path, run_id: str) -> tuple[RunInfo | None, str]:
    """Return what the list shows of a run and the stamp of its files; None where there is no such folder."""
    run = folder / run_id
    if not _is_folder(run):
        return None, ""
    # The stamp first: what changes after it is read again later.
    stamp = _stamp(folder, run_id, time.time_ns() - RACY)
    info = read_info(run)
    return (info, stamp) if _is_folder(run) else (None, "")


def _stamp(folder: Path, run_id: str, before: int | None = None) -> str:
    """Return what changes with a run's files: the times of its folder, its manifest and its marks.

    "" where one of them is younger than ``before`` (ns): it may change again without a change of its time.
    """
    parts = []
    for name in ("", layout.MANIFEST, layout.MARKS):
        try:
            found = os.stat(f"{folder}/{run_id}/{name}")
        except OSError:
            parts.append("")
            continue
        if before is not None and found.st_mtime_ns > before:
            return ""
        parts.append(_mark_of(found, name))
    return " ".join(parts)


def _holds(folder: Path, run_id: str, stamp: str) -> bool:
    """Whether a run's files still have this stamp. Files that were not there are not looked for: the folder's time
    says that there are new ones."""
    parts = stamp.split(" ")
    if len(parts) != 3:
        return False
    try:
        for name, part in zip(("", layout.MANIFEST, layout.MARKS), parts, strict=True):
            if part and _mark_of(os.stat(f"{folder}/{run_id}/{name}"), name) != part:
                return False
    except OSError:
        return False
    return True


def _mark_of(found: os.stat_result, name: str) -> str:
    return f"{found.st_mtime_ns}.{found.st_size}" if name else str(found.st_mtime_ns)


def _written(folder: Path, run_id: str) -> str:
    """Return what changes when a run is written again."""
    try:
        return _mark_of(os.stat(f"{folder}/{run_id}/{layout.MANIFEST}"), layout.MANIFEST)
    except OSError:
        return ""


def _names_in(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
        return found.st_dev, found.st_ino
    except OSError:
        return None
