"""Layers: the runs, and the studies, that a visitor lays over each other, and how they look.

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

from diffatlas.described import fields, flag, listed, maybe, one_of, text
from diffatlas.errors import DiffAtlasError, InvalidParams, RunNotFound
from diffatlas.files import read_object
from diffatlas.library import Library, study_lock
from diffatlas.library.format import is_run_id, write_atomically
from diffatlas.library.study import OPERATIONS
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.palette import next_colour
from diffatlas.ui.wire.runs import LayerEdit

log = logging.getLogger("diffatlas")

#: What a layer is: a run, or a study by its operation.
RUN = "run"
#: Layers of one visitor and kind; a batch makes 50 at once.
MAX_LAYERS = 120
MAX_NAME = 80
GONE = "This layer is no longer here: reload the page."
#: Bytes of the list of layers, and what is in it.
MOST_BYTES = 1_000_000
_LAYER = {
    "id": text(200),
    "name": text(1000),
    "locked": flag,
    "visible": flag,
    "colour": maybe(text(40)),
    # The oldest files do not say it: their layers are runs.
    "kind": one_of(RUN, *OPERATIONS),
}
_FILE = fields({"layers": listed(fields(_LAYER, ("id", "name"), closed=True), 10_000)}, ("layers",))


@dataclass(frozen=True)
class Layer:
    """A run or study on its page. A temporary layer is not locked, has no colour, and gives way to the next one.

    kind: `RUN`, or the operation of a study.
    """

    id: str
    name: str
    locked: bool = False
    visible: bool = True
    colour: str | None = None
    kind: str = RUN


class Layers:
    """The layers of every visitor, over the runs in the visitor's library. A run stays there when its layer goes."""

    kind: str = RUN

    def __init__(self, libraries: Libraries) -> None:
        self._libraries = libraries
        self._lock = threading.RLock()

    def of_studies(self, operation: str) -> StudyLayers:
        """Return the layers of the studies of one operation, which are kept in the same files."""
        return StudyLayers(self._libraries, self._lock, operation)

    @property
    def shared(self) -> bool:
        """Whether strangers share the server."""
        return self._libraries.shared

    def library(self, visitor: str) -> Library:
        """Return the library that the visitor's layers are over."""
        return self._libraries.of(visitor)

    def check_room(self, visitor: str) -> None:
        """See `Libraries.check_room`."""
        self._libraries.check_room(visitor)

    def of(self, visitor: str) -> list[Layer]:
        """Return the visitor's layers in order, the temporary one last."""
        with self._lock:
            library = self.library(visitor)
            layers = [layer for layer in self._stored(visitor) if self._is_there(library, layer.id)]
        return sorted(layers, key=lambda layer: not layer.locked)

    def find(self, visitor: str, run_id: Any) -> Layer:
        """Return one layer, or an example as if it were one. Raises `RunNotFound` where it is not this visitor's."""
        found = next((layer for layer in self.of(visitor) if layer.id == run_id), None)
        if found is None:
            found = self._example(visitor, run_id)
        if found is not None:
            return found
        raise RunNotFound(GONE)

    def begin(self, visitor: str, run_id: str, name: str) -> None:
        """A run has begun: it is the temporary layer now, in place of the one before.

        A run out of the library that is a locked layer already stays that, shown.
        """
        with self._lock:
            kept = [layer for layer in self.of(visitor) if layer.locked]
            if any(layer.id == run_id for layer in kept):
                kept = [replace(layer, visible=layer.visible or layer.id == run_id) for layer in kept]
            else:
                kept.append(self._new(run_id, name))
            self._write(visitor, kept)

    def open(self, visitor: str, run_id: str, name: str) -> None:
        """Make a run of the visitor's library a locked layer. Raises `RunNotFound`."""
        self.library(visitor).adopt(run_id)
        with self._lock:
            if all(layer.id != run_id for layer in self.of(visitor)):
                self._write(visitor, [*self.of(visitor), self._new(run_id, name)])
            self.lock(visitor, run_id)
            self.show(visitor, run_id, True)

    def lock(self, visitor: str, run_id: Any) -> None:
        """Keep a layer, in a colour of its own. Raises `InvalidParams` where there are too many."""
        with self._lock:
            layers = self.of(visitor)
            layer = self.find(visitor, run_id)
            if layer not in layers:
                self.open(visitor, run_id, layer.name)
                return
            locked = [layer for layer in layers if layer.locked]
            if len(locked) >= MAX_LAYERS:
                raise InvalidParams(f"There are {MAX_LAYERS} locked layers already: delete one first.")
            colour = next_colour(layer.colour or "" for layer in locked)
            self._change(
                visitor, run_id, lambda layer: replace(layer, locked=True, colour=layer.colour or colour)
            )
            self._hold(visitor, run_id, True)

    def edit(self, visitor: str, asked: LayerEdit) -> None:
        """Change a layer as a page asks. Raises `InvalidParams` and `RunNotFound`."""
        run_id, action = asked.id, asked.action
        if action == "lock":
            self.lock(visitor, run_id)
        elif action == "rename":
            self.rename(visitor, run_id, asked.name)
        elif action == "show":
            self.show(visitor, run_id, asked.visible)
        elif action == "delete":
            self.delete(visitor, run_id)
        else:
            self.reset(visitor)

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
        """The library may let go of it again when it needs the room."""
        if layer.locked:
            try:
                self._hold(visitor, layer.id, False)
            except DiffAtlasError:
                log.info("What a layer that was taken away showed is gone already.")

    def _example(self, visitor: str, run_id: Any) -> Layer | None:
        library = self.library(visitor)
        return self._new(run_id, library.open(run_id).info.prompt) if library.is_example(run_id) else None

    def _is_there(self, library: Library, run_id: str) -> bool:
        return (library.folder / run_id).is_dir()

    def _hold(self, visitor: str, run_id: str, locked: bool) -> None:
        self.library(visitor).mark(run_id, locked=locked)

    def _new(self, run_id: str, name: str) -> Layer:
        return Layer(run_id, _name(name), kind=self.kind)

    def _stored(self, visitor: str) -> list[Layer]:
        return [layer for layer in self._read(visitor) if layer.kind == self.kind]

    def _file(self, visitor: str) -> Path:
        return self.library(visitor).folder / ".layers" / f"{visitor}.json"

    def _read(self, visitor: str) -> list[Layer]:
        file = self._file(visitor)
        try:
            data = read_object(file, MOST_BYTES)
            _FILE(data)
            return [Layer(**entry) for entry in data["layers"] if is_run_id(entry["id"])]
        except FileNotFoundError:
            return []
        except ValueError as error:
            # Set aside rather than written over: somebody may want to mend it.
            log.warning("The list of layers %s cannot be read (%s) and was set aside.", file.name, error)
            file.replace(file.with_suffix(".damaged"))
            return []

    def _write(self, visitor: str, layers: list[Layer]) -> None:
        file = self._file(visitor)
        layers = [*(layer for layer in self._read(visitor) if layer.kind != self.kind), *layers]
        file.parent.mkdir(parents=True, exist_ok=True)
        data = json.dumps({"layers": [asdict(layer) for layer in layers]}, ensure_ascii=False, indent=1)
        write_atomically(file, data.encode())


class StudyLayers(Layers):
    """The layers of studies of one operation. One comes to be as its study is looked at; the study itself stays."""

    def __init__(self, libraries: Libraries, lock: threading.RLock, operation: str) -> None:
        super().__init__(libraries)
        self._lock = lock
        self.kind = operation

    def look(self, visitor: str, study_id: str, name: str) -> None:
        """A study has come into view: unless it is a layer already, it is the temporary one, in place of the last.

        Nothing changes for a study that is not of the visitor's own library, as an example is.
        """
        with self._lock:
            known = next((layer for layer in self.of(visitor) if layer.id == study_id), None)
            if known is None and self._is_there(self.library(visitor), study_id):
                self.begin(visitor, study_id, name)
            elif known is not None and not known.visible:
                self.show(visitor, study_id, True)

    def left_out(self, visitor: str) -> list[Layer]:
        """Return the locked layers whose studies are not there. Those in the trash come back with their studies."""
        with self._lock:
            library = self.library(visitor)
            locked = [layer for layer in self._stored(visitor) if layer.locked]
            return [layer for layer in locked if not self._is_there(library, layer.id)]

    def is_in_trash(self, visitor: str, study_id: str) -> bool:
        """Return whether a study is in the trash of the visitor's library."""
        return study_lock.has(self.library(visitor).studies.deleted, study_id)

    def _write(self, visitor: str, layers: list[Layer]) -> None:
        waiting = [layer for layer in self.left_out(visitor) if self.is_in_trash(visitor, layer.id)]
        super()._write(visitor, [*layers, *waiting])

    def _example(self, visitor: str, study_id: Any) -> None:
        return None

    def _is_there(self, library: Library, study_id: str) -> bool:
        return study_lock.has(library.studies, study_id)

    def _hold(self, visitor: str, study_id: str, locked: bool) -> None:
        study_lock.lock(self.library(visitor).studies, study_id, locked)


def _name(name: str) -> str:
    return " ".join(name.split())[:MAX_NAME]
