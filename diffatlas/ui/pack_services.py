"""What the Bench page asks of packs. Each visitor reaches the packs of their own library only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from diffatlas.bench.packs.edited import named, task_lines, with_task
from diffatlas.bench.packs.files import Fault, pack_or_fault, pack_text, parse_pack
from diffatlas.bench.packs.own import MOST_BYTES, Kept, OwnPacks, find_pack, version_of
from diffatlas.bench.packs.reading import read_file
from diffatlas.bench.packs.shipped import SHIPPED, shipped_pack
from diffatlas.bench.packs.writing import file_text
from diffatlas.bench.tasks import Pack
from diffatlas.bench.words import demands
from diffatlas.errors import InvalidParams
from diffatlas.files import bytes_words, read_text
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.pack_form import at_row, task_of
from diffatlas.ui.private_files import private_url
from diffatlas.ui.sent_files import sent_file
from diffatlas.ui.wire import packs as wire
from diffatlas.ui.wire.kinds import File, Nothing

#: Packs, and bytes of them all, that a shared server keeps for one visitor.
SHARED_MOST, SHARED_BYTES = 40, 16_000_000
#: Bytes of a text that is edited in the page.
MOST_TYPED = 1_000_000
#: Tasks that a preview shows.
MOST_SEEN = 300
NEW = """\
name: mine
title: My pack
tasks:
- id: dog-and-bear
  prompt: a photo of a dog right of a teddy bear
  tag: position
  include:              # what must be there
  - class: teddy bear   # has the number 0
  - class: dog
    position: [right of, 0]
"""


class PackServices:
    """The server's side of packs in the Bench page. ``calls`` are what the browser may call."""

    def __init__(self, libraries: Libraries) -> None:
        self._libraries = libraries

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        return {
            "packs": self.packs,
            "pack_open": self.open,
            "pack_check": self.check,
            "pack_keep": self.keep,
            "pack_rename": self.rename,
            "pack_copy": self.copy,
            "pack_delete": self.delete,
            "pack_restore": self.restore,
            "pack_export": self.export,
            "pack_import": self.take,
            "pack_task": self.add_task,
        }

    def packs(self, visitor: str, asked: Nothing) -> wire.PackList:
        """Return the packs that come with the program, and those that the visitor keeps."""
        return {"packs": self._rows(visitor)}

    def choices(self, visitor: str) -> list[tuple[str, str]]:
        """Return the packs that a visitor keeps and can run, as what they are called in a list and their names."""
        kept = self._own(visitor).list()
        return [(f"{one.pack.title} ({one.name})", one.name) for one in kept if one.pack is not None]

    def open(self, visitor: str, asked: wire.PackNamed) -> wire.PackText:
        """Return the text of a kept pack, or that of a new one which begins as a pack that is shipped."""
        own = self._own(visitor)
        if asked.name in own.names():
            text = own.text(asked.name)
            large = _too_large(text)
            shown = "" if large else text
            return {
                "name": asked.name,
                "text": shown,
                "own": True,
                "version": version_of(text),
                "large": large,
            }
        if asked.name:
            text = pack_text(find_pack(self._folder(visitor), asked.name))
        else:
            text = NEW
        name = own.free_name(asked.name or "mine")
        text = named(text, name)
        return {"name": name, "text": text, "own": False, "version": version_of(text), "large": ""}

    def check(self, visitor: str, asked: wire.PackTyped) -> wire.PackChecked:
        """Return the first fault of a text, or what the text says."""
        _check_size(asked.text)
        found = pack_or_fault(asked.text)
        if isinstance(found, Fault):
            return {
                "fault": {"line": found.line, "field": found.field, "sentence": found.sentence},
                "pack": None,
            }
        return {"fault": None, "pack": _seen(found, asked.text, asked.seeds)}

    def keep(self, visitor: str, asked: wire.PackKept) -> wire.PackNow:
        """Keep a text under the name that it gives itself."""
        kept = self._own(visitor).keep(asked.text, asked.instead, asked.version)
        return self._now(visitor, kept.name)

    def rename(self, visitor: str, asked: wire.PackRenamed) -> wire.PackNow:
        """Give a kept pack another name."""
        return self._now(visitor, self._own(visitor).rename(asked.name, asked.to.strip()).name)

    def copy(self, visitor: str, asked: wire.PackNamed) -> wire.PackNow:
        """Keep a pack a second time, under the next name that is free."""
        own = self._own(visitor)
        return self._now(visitor, own.add(own.pack(asked.name), own.text(asked.name)).name)

    def delete(self, visitor: str, asked: wire.PackNamed) -> wire.PackNow:
        """Delete a kept pack, which can be had back for a day."""
        self._own(visitor).delete(asked.name)
        return self._now(visitor, asked.name)

    def restore(self, visitor: str, asked: wire.PackNamed) -> wire.PackNow:
        """Have back a pack that was deleted."""
        self._own(visitor).restore(asked.name)
        return self._now(visitor, asked.name)

    def export(self, visitor: str, asked: wire.PackExported) -> File:
        """Write a text as a file where the browser can fetch it, and return its address."""
        pack = parse_pack(asked.text)
        # What is YAML already keeps its remarks.
        as_typed = asked.kind == "yaml" and not asked.text.lstrip().startswith("{")
        text = asked.text if as_typed else file_text(pack, asked.kind)
        name = f"{re.sub(r'[^A-Za-z0-9_-]+', '-', pack.name).strip('-') or 'pack'}.{asked.kind}"
        return {"url": private_url(visitor, text.encode(), name), "name": name}

    def take(self, visitor: str, asked: wire.PackImported) -> wire.PackTaken:
        """Keep the pack of a file that was sent. A text with a fault comes back, to be mended."""
        path = sent_file(asked.upload)
        try:
            return self._take(visitor, path)
        finally:
            path.unlink(missing_ok=True)

    def add_task(self, visitor: str, asked: wire.PackTask) -> wire.PackWritten:
        """Return a text with one more task, which a form has asked for."""
        _check_size(asked.text)
        task, places = task_of(asked)
        try:
            text = with_task(asked.text, task)
        except InvalidParams as error:
            raise at_row(error, places) from None
        lines = task_lines(text, parse_pack(text))
        return {"text": text, "line": lines[-1]}

    def _take(self, visitor: str, path: Path) -> wire.PackTaken:
        own = self._own(visitor)
        if path.stat().st_size > MOST_BYTES:
            raise InvalidParams(
                f"The file is too large: a pack of {bytes_words(MOST_BYTES)} is kept at most."
            )
        text = None
        if path.suffix.lower() in (".yaml", ".yml", ".json"):
            text = read_text(path, MOST_BYTES)
            if isinstance(pack_or_fault(text), Fault) and len(text) <= MOST_TYPED:
                return {"name": None, "text": text, "packs": self._rows(visitor)}
        kept = own.add(read_file(path), text)
        return {"name": kept.name, "text": "", "packs": self._rows(visitor)}

    def _now(self, visitor: str, name: str) -> wire.PackNow:
        return {"name": name, "packs": self._rows(visitor)}

    def _rows(self, visitor: str) -> list[wire.PackRow]:
        return [*_shipped(), *(_own_row(one) for one in self._own(visitor).list())]

    def _own(self, visitor: str) -> OwnPacks:
        folder = self._folder(visitor)
        return OwnPacks(folder, SHARED_MOST, SHARED_BYTES) if self._libraries.shared else OwnPacks(folder)

    def _folder(self, visitor: str) -> Path:
        return self._libraries.of(visitor).folder


@cache
def _shipped() -> tuple[wire.PackRow, ...]:
    return tuple(_row(shipped_pack(name), name, own=False) for name in SHIPPED)


def _own_row(one: Kept) -> wire.PackRow:
    if one.pack is not None:
        return _row(one.pack, one.name, own=True)
    return {
        "name": one.name,
        "title": one.name,
        "about": "",
        "prompts": 0,
        "tags": [],
        "own": True,
        "problem": one.problem,
    }


def _row(pack: Pack, name: str, own: bool) -> wire.PackRow:
    return {
        "name": name,
        "title": pack.title,
        "about": pack.description,
        "prompts": len(pack.tasks),
        "tags": list(pack.tags),
        "own": own,
        "problem": "",
    }


def _seen(pack: Pack, text: str, seeds: int) -> wire.PackSeen:
    counts = Counter(task.tag for task in pack.tasks)
    lines = task_lines(text, pack)
    return {
        "name": pack.name,
        "title": pack.title,
        "prompts": len(pack.tasks),
        "images": len(pack.tasks) * seeds,
        "tags": [{"tag": tag, "prompts": counts[tag]} for tag in pack.tags],
        "tasks": [
            {"id": task.id, "line": line, "prompt": task.prompt, "tag": task.tag, "demands": demands(task)}
            for task, line in zip(pack.tasks[:MOST_SEEN], lines, strict=False)
        ],
        "more": max(0, len(pack.tasks) - MOST_SEEN),
    }


def _too_large(text: str) -> str:
    """Why a text is not edited in the page; empty where it is."""
    if len(text) <= MOST_TYPED:
        return ""
    size, most = bytes_words(len(text)), bytes_words(MOST_TYPED)
    return f"This pack has {size}: one of more than {most} is changed in a file, and imported."


def _check_size(text: str) -> None:
    if large := _too_large(text):
        raise InvalidParams(large)
