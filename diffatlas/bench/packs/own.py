"""The packs that a person keeps in a library, and any pack by its name.

::

    <library>/.packs/
      <name>.yaml       the pack as it was written, remarks and all; its name is that which the pack has
      <name>.deleted    one that was deleted, as long as it can be had back
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from diffatlas import files
from diffatlas.bench.packs.edited import named
from diffatlas.bench.packs.files import pack_text, parse_pack
from diffatlas.bench.packs.shipped import SHIPPED, shipped_pack
from diffatlas.bench.tasks import Pack
from diffatlas.errors import BackendFailure, DiffAtlasError, InvalidParams
from diffatlas.library.format import write_atomically

FOLDER = ".packs"
#: Packs that are kept, and the bytes of one and of all.
MOST, MOST_BYTES, MOST_ALL = 200, 8_000_000, 100_000_000
#: Deleted ones that can be had back, and for how many seconds.
MOST_DELETED, DELETED_SECONDS = 5, 86_400
MOST_NAME = 60
NAME_WORDS = f"1 to {MOST_NAME} of a-z, 0-9, - and _, of which a letter or digit comes first"
_NAME = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{MOST_NAME - 1}}}")
# One process writes at a time, so that a bound that is looked at holds.
_WRITING = threading.RLock()


@dataclass(frozen=True)
class Kept:
    """A pack that is kept. changed: seconds since 1970. problem: why it cannot be read, where it cannot."""

    name: str
    changed: float
    pack: Pack | None
    problem: str = ""


def find_pack(library: Path | str, name: str, each: int | None = None, seed: int = 0) -> Pack:
    """Return a pack by its name: one that comes with the program, or one that is kept in the folder ``library``.

    each, seed: how many prompts of each category, and what draws them. Of a kept pack it is all of a category that has
    no more, and all of all where ``each`` is None.

    Raises `InvalidParams` for a name that is none, a size below 1 (and above what a pack that comes with the program
    can have), and for a kept pack that has become faulty.
    """
    if name in SHIPPED:
        return shipped_pack(name, each, seed)
    own = OwnPacks(library)
    if name not in own.names():
        known = [*SHIPPED, *own.names()]
        near = get_close_matches(name, known, 1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise InvalidParams(
            f"There is no pack {name!r:.80}: there are {', '.join(known)}.{meant}", field="pack"
        )
    pack = own.pack(name)
    return pack if each is None else _drawn(pack, each, seed)


class OwnPacks:
    """The packs in the library folder ``library``. most, most_all: how many there may be, and of how many bytes.

    A pack is found by its name. Methods raise `InvalidParams` where there is none of a name, and `BackendFailure` where
    the disk refuses.
    """

    def __init__(self, library: Path | str, most: int = MOST, most_all: int = MOST_ALL) -> None:
        self.folder = Path(library).expanduser() / FOLDER
        self._most = most
        self._most_all = most_all

    def names(self) -> list[str]:
        """Return the names, in their order."""
        return sorted(path.stem for path in self._files(".yaml"))

    def list(self) -> list[Kept]:
        """Return the packs, in the order of their names. One that cannot be read says so in its ``problem``."""
        found = []
        for name in self.names():
            try:
                changed = self._path(name).stat().st_mtime
                found.append(Kept(name, changed, self.pack(name)))
            except FileNotFoundError:
                continue
            except DiffAtlasError as error:
                found.append(Kept(name, changed, None, error.message))
        return found

    def text(self, name: str) -> str:
        """Return the text of a pack, as it was written. Raises `Unreadable` where it is no text any more."""
        try:
            return files.read_text(self._path(name), MOST_BYTES)
        except FileNotFoundError:
            raise self._absent(name) from None

    def pack(self, name: str) -> Pack:
        """Return a pack. Raises as `diffatlas.bench.packs.files.read_pack` where it has become faulty."""
        pack = _parsed(self.text(name), f"{name}.yaml")
        if pack.name != name:
            raise InvalidParams(
                f"{name}.yaml says that its name is {pack.name!r}: write {name!r} there.", field="name"
            )
        return pack

    def keep(self, text: str, instead: str | None = None, version: str | None = None) -> Pack:
        """Keep a text of YAML or JSON under the name that it gives itself, and return its pack.

        instead: the name of the kept pack that it is the new text of, which may be another. The name of any other pack
        is taken. version: what `version_of` that one's text was when it was looked at, so that nothing is written over
        that was written since.

        Raises `InvalidParams` for a text that is no pack (as `parse_pack`), a name that cannot be, a pack that has been
        changed since, and where a bound is reached.
        """
        pack = _parsed(text, "The pack")
        name = check_name(pack.name)
        data = text.encode()
        with self._writing():
            if instead is not None and instead not in self.names():
                raise self._absent(instead)
            if instead is not None and version not in (None, version_of(self.text(instead))):
                raise InvalidParams(
                    f"{instead!r} has been changed elsewhere since: open it again, or give this text another name and "
                    "keep it as a new pack.",
                    field="name",
                )
            if name != instead and name in self.names():
                raise InvalidParams(f"There is a pack {name!r} already: give another name.", field="name")
            self._check_room(len(data), instead)
            write_atomically(self._path(name), data)
            if instead is not None and instead != name:
                self._path(instead).unlink(missing_ok=True)
        return pack

    def add(self, pack: Pack, text: str | None = None) -> Pack:
        """Keep a pack under its name, or the next like it that is free, and return it.

        text: how it was written, where it was in YAML or JSON.
        """
        with self._writing():
            name = self.free_name(pack.name)
            return self.keep(named(pack_text(pack) if text is None else text, name))

    def rename(self, name: str, to: str) -> Pack:
        """Give a pack another name, in its file and of it."""
        with self._writing():
            return self.keep(named(self.text(name), check_name(to)), instead=name)

    def delete(self, name: str) -> None:
        """Delete a pack. It can be had back for a day, as one of the last few."""
        with self._writing():
            deleted = self._path(name).with_suffix(".deleted")
            try:
                self._path(name).replace(deleted)
            except FileNotFoundError:
                raise self._absent(name) from None
            os.utime(deleted)
            self._drop_deleted(MOST_DELETED)

    def restore(self, name: str) -> None:
        """Have back a pack that was deleted. Raises `InvalidParams` where it is gone or its name is taken."""
        with self._writing():
            deleted = self._path(name).with_suffix(".deleted")
            if not deleted.is_file():
                raise InvalidParams("This pack can no longer be had back.")
            if name in self.names():
                raise InvalidParams(f"There is a pack {name!r} again: rename that one first.", field="name")
            self._check_room(0, None)
            deleted.replace(self._path(name))

    def free_name(self, name: str) -> str:
        """Return a name like ``name`` that may be, and that no pack has: with a number where it must."""
        plain = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")[: MOST_NAME - 4].rstrip("-_") or "pack"
        taken = {*SHIPPED, *self.names()}
        numbered = (f"{plain}-{number}" for number in range(2, self._most + 3))
        return next(one for one in (plain, *numbered) if one not in taken)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with _WRITING:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                yield
            except OSError as error:
                raise BackendFailure(
                    f"The pack cannot be written to {self.folder} ({files.reason_of(error)}): free some space or "
                    "choose another folder."
                ) from error

    def _check_room(self, more: int, instead: str | None) -> None:
        if more > MOST_BYTES:
            raise InvalidParams(
                f"The pack has {files.bytes_words(more)}: {files.bytes_words(MOST_BYTES)} are kept at most."
            )
        kept = self._files(".yaml")
        spared = 0 if instead is None else self._path(instead).stat().st_size
        full = instead is None and len(kept) >= self._most
        if full or sum(path.stat().st_size for path in kept) + more - spared > self._most_all:
            raise InvalidParams(
                f"No more is kept than {self._most} packs in {files.bytes_words(self._most_all)}: delete one first."
            )

    def _drop_deleted(self, most: int) -> None:
        aged = sorted(self._files(".deleted"), key=lambda path: path.stat().st_mtime, reverse=True)
        for number, path in enumerate(aged):
            if number >= most or time.time() - path.stat().st_mtime > DELETED_SECONDS:
                path.unlink(missing_ok=True)

    def _files(self, end: str) -> list[Path]:
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        paths = [self.folder / name for name in names if name.endswith(end)]
        return [
            path for path in paths if _NAME.fullmatch(path.stem) and path.is_file() and not path.is_symlink()
        ]

    def _path(self, name: str) -> Path:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise self._absent(name)
        return self.folder / f"{name}.yaml"

    def _absent(self, name: str) -> InvalidParams:
        return InvalidParams(f"You keep no pack {name!r:.80}.", field="pack")


def version_of(text: str) -> str:
    """Return what tells a text from any other."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_name(name: str) -> str:
    """Return a name under which a pack can be kept. Raises `InvalidParams` for one that cannot be, or is shipped."""
    if not _NAME.fullmatch(name):
        raise InvalidParams(f"name is {name!r:.80}: give {NAME_WORDS}.", field="name")
    if name in SHIPPED:
        raise InvalidParams(
            f"name is {name!r}, which is a pack that comes with the program: give another.", field="name"
        )
    return name


def _drawn(pack: Pack, each: int, seed: int) -> Pack:
    """At most so many tasks of each category, in the order of the pack."""
    if each < 1:
        raise InvalidParams(f"A pack of {each} prompts a category is none: give 1 or more.", field="size")
    rng = random.Random(seed)
    kept: set[int] = set()
    for tag in pack.tags:
        own = [number for number, task in enumerate(pack.tasks) if task.tag == tag]
        kept.update(rng.sample(own, min(each, len(own))))
    return replace(pack, tasks=tuple(task for number, task in enumerate(pack.tasks) if number in kept))


@lru_cache(maxsize=16)
def _parsed(text: str, name: str) -> Pack:
    return parse_pack(text, name)
