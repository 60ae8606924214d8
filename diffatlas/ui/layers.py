"""Layers: the runs that a visitor lays over each other, and how they look.

A visitor's layers are one JSON file beside the runs, replaced atomically, so they survive a reload and a
restart. The file is named by a hash of the visitor's secret, and it is also the list of the runs that this
visitor may read: nobody sees another's.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from diffatlas.errors import DiffAtlasError, InvalidParams, RunNotFound
from diffatlas.library import Library
from diffatlas.library.format import is_run_id, write_atomically
from diffatlas.ui.palette import next_colour

log = logging.getLogger("diffatlas")

#: Layers of one visitor; a batch makes 50 at once.
MAX_LAYERS = 120
MAX_NAME = 80
DAY = 86_400


@dataclass(frozen=True)
class Layer:
    """A run on the page. A temporary layer is not locked, has no colour, and gives way to the next run."""

    id: str
    name: str
    locked: bool = False
    visible: bool = True
    colour: str | None = None


class Layers:
    """The layers of every visitor, over the runs of ``library``.

    ephemeral: whether a run is deleted with its layer (a public server keeps nothing); otherwise runs stay in the
        library.
    """

    def __init__(self, library: Library, ephemeral: bool = False) -> None:
        self.library = library
        self.ephemeral = ephemeral
        self._folder = library.folder / ".layers"
        self._lock = threading.RLock()

    def of(self, visitor: str) -> list[Layer]:
        """Return the visitor's layers in order, the temporary one last."""
        with self._lock:
            layers = [layer for layer in self._read(visitor) if (self.library.folder / layer.id).is_dir()]
        return sorted(layers, key=lambda layer: not layer.locked)

    def find(self, visitor: str, run_id: Any) -> Layer:
        """Return one layer. Raises `RunNotFound` where it is not this visitor's."""
        for layer in self.of(visitor):
            if layer.id == run_id:
                return layer
        raise RunNotFound("This layer is no longer here: reload the page.")

    def begin(self, visitor: str, run_id: str, name: str) -> None:
        """A run has begun: it is the temporary layer now, in place of the one before."""
        self._sweep()
        with self._lock:
            layers = self.of(visitor)
            for layer in layers:
                if not layer.locked:
                    self._drop(layer)
            kept = [layer for layer in layers if layer.locked]
            self._write(visitor, [*kept, Layer(run_id, _name(name))])

    def lock(self, visitor: str, run_id: Any) -> None:
        """Keep a layer, in a colour of its own. Raises `InvalidParams` where there are too many."""
        with self._lock:
            layers = self.of(visitor)
            self.find(visitor, run_id)
            locked = [layer for layer in layers if layer.locked]
            if len(locked) >= MAX_LAYERS:
                raise InvalidParams(f"There are {MAX_LAYERS} locked layers already: delete one first.")
            colour = next_colour(layer.colour or "" for layer in locked)
            self._change(
                visitor, run_id, lambda layer: replace(layer, locked=True, colour=layer.colour or colour)
            )

    def rename(self, visitor: str, run_id: Any, name: Any) -> None:
        """Give a layer another name. Raises `InvalidParams` for an empty one."""
        if not isinstance(name, str) or not name.strip():
            raise InvalidParams(
                "The name is empty: type one, or press Escape to keep the old one.", field="name"
            )
        self._change(visitor, run_id, lambda layer: replace(layer, name=_name(name)))

    def show(self, visitor: str, run_id: Any, visible: Any) -> None:
        """Show or hide a layer."""
        self._change(visitor, run_id, lambda layer: replace(layer, visible=bool(visible)))

    def delete(self, visitor: str, run_id: Any) -> None:
        """Take a layer away."""
        with self._lock:
            gone = self.find(visitor, run_id)
            self._write(visitor, [layer for layer in self.of(visitor) if layer.id != run_id])
            self._drop(gone)

    def reset(self, visitor: str) -> None:
        """Take all layers away."""
        with self._lock:
            gone = self.of(visitor)
            self._write(visitor, [])
            for layer in gone:
                self._drop(layer)

    def forget(self, visitor: str) -> None:
        """Drop a visitor who will not come back: one known by a session only."""
        self.reset(visitor)
        self._file(visitor).unlink(missing_ok=True)

    def _change(self, visitor: str, run_id: Any, change: Any) -> None:
        with self._lock:
            self.find(visitor, run_id)
            self._write(
                visitor, [change(layer) if layer.id == run_id else layer for layer in self.of(visitor)]
            )

    def _drop(self, layer: Layer) -> None:
        if self.ephemeral:
            try:
                self.library.delete(layer.id)
            except DiffAtlasError:
                log.info("The run of a dropped layer was gone already.")

    def _sweep(self) -> None:
        """A public server forgets what is a day old, its visitors' lists included."""
        if not self.ephemeral:
            return
        for entry in self.library.folder.glob("*"):
            if is_run_id(entry.name) and time.time() - entry.stat().st_mtime > DAY:
                shutil.rmtree(entry, ignore_errors=True)
        for file in self._folder.glob("*.json"):
            if time.time() - file.stat().st_mtime > DAY:
                file.unlink(missing_ok=True)

    def _file(self, visitor: str) -> Path:
        return self._folder / f"{visitor}.json"

    def _read(self, visitor: str) -> list[Layer]:
        file = self._file(visitor)
        try:
            listed = json.loads(file.read_text(encoding="utf-8"))["layers"]
            return [Layer(**entry) for entry in listed if is_run_id(entry["id"])]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            # Set aside rather than written over: somebody may want to mend it.
            log.warning("The list of layers %s cannot be read (%s) and was set aside.", file.name, error)
            file.replace(file.with_suffix(".damaged"))
            return []

    def _write(self, visitor: str, layers: list[Layer]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        data = json.dumps({"layers": [asdict(layer) for layer in layers]}, ensure_ascii=False, indent=1)
        write_atomically(self._file(visitor), data.encode())


def _name(name: str) -> str:
    return " ".join(name.split())[:MAX_NAME]
