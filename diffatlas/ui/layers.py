"""Layers: the runs that a visitor lays over each other, and how they look.

A visitor's layers are one JSON file beside the runs, replaced atomically, so they survive a reload and a
restart. The file is named by a hash of the visitor's secret, and it is also the list of the runs that this
visitor may read: nobody sees another's.
"""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from diffatlas.errors import DiffAtlasError, InvalidParams, RunNotFound
from diffatlas.library import Library
from diffatlas.library.format import is_run_id, write_atomically
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.palette import next_colour

log = logging.getLogger("diffatlas")

#: Layers of one visitor; a batch makes 50 at once.
MAX_LAYERS = 120
MAX_NAME = 80


@dataclass(frozen=True)
class Layer:
    """A run on the page. A temporary layer is not locked, has no colour, and gives way to the next run."""

    id: str
    name: str
    locked: bool = False
    visible: bool = True
    colour: str | None = None


class Layers:
    """The layers of every visitor, over the runs in the visitor's library. A run stays there when its layer goes."""

    def __init__(self, libraries: Libraries) -> None:
        self._libraries = libraries
        self._lock = threading.RLock()

    @property
    def shared(self) -> bool:
        """Whether strangers share the server."""
        return self._libraries.shared

    def library(self, visitor: str) -> Library:
        """Return the library that the visitor's layers are over."""
        return self._libraries.of(visitor)

    def of(self, visitor: str) -> list[Layer]:
        """Return the visitor's layers in order, the temporary one last."""
        with self._lock:
            folder = self.library(visitor).folder
            layers = [layer for layer in self._read(visitor) if (folder / layer.id).is_dir()]
        return sorted(layers, key=lambda layer: not layer.locked)

    def find(self, visitor: str, run_id: Any) -> Layer:
        """Return one layer. Raises `RunNotFound` where it is not this visitor's."""
        for layer in self.of(visitor):
            if layer.id == run_id:
                return layer
        raise RunNotFound("This layer is no longer here: reload the page.")

    def begin(self, visitor: str, run_id: str, name: str) -> None:
        """A run has begun: it is the temporary layer now, in place of the one before.

        A run out of the library that is a locked layer already stays that, shown.
        """
        with self._lock:
            kept = [layer for layer in self.of(visitor) if layer.locked]
            if any(layer.id == run_id for layer in kept):
                kept = [replace(layer, visible=layer.visible or layer.id == run_id) for layer in kept]
            else:
                kept.append(Layer(run_id, _name(name)))
            self._write(visitor, kept)

    def open(self, visitor: str, run_id: str, name: str) -> None:
        """Make a run of the visitor's library a locked layer. Raises `RunNotFound`."""
        self.library(visitor).path(run_id)
        with self._lock:
            if all(layer.id != run_id for layer in self.of(visitor)):
                self._write(visitor, [*self.of(visitor), Layer(run_id, _name(name))])
            self.lock(visitor, run_id)
            self.show(visitor, run_id, True)

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
            self.library(visitor).mark(run_id, locked=True)

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
            self._release(visitor, gone)

    def reset(self, visitor: str) -> None:
        """Take all layers away."""
        with self._lock:
            gone = self.of(visitor)
            self._write(visitor, [])
            for layer in gone:
                self._release(visitor, layer)

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

    def _release(self, visitor: str, layer: Layer) -> None:
        """The library may let the run go again when it needs the room."""
        if layer.locked:
            try:
                self.library(visitor).mark(layer.id, locked=False)
            except DiffAtlasError:
                log.info("The run of a layer that was taken away is gone already.")

    def _file(self, visitor: str) -> Path:
        return self.library(visitor).folder / ".layers" / f"{visitor}.json"

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
        file = self._file(visitor)
        file.parent.mkdir(parents=True, exist_ok=True)
        data = json.dumps({"layers": [asdict(layer) for layer in layers]}, ensure_ascii=False, indent=1)
        write_atomically(file, data.encode())


def _name(name: str) -> str:
    return " ".join(name.split())[:MAX_NAME]
