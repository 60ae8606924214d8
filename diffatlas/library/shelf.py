"""What studies and benches have in common: a folder each beside the runs, a title, images, a claim while it runs."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from diffatlas import files
from diffatlas.described import Wrong
from diffatlas.errors import (
    BackendFailure,
    DamagedRun,
    DiffAtlasError,
    InvalidParams,
    NewerVersion,
    RunNotFound,
    Unreadable,
)
from diffatlas.library import format as layout
from diffatlas.library import shipped, trash
from diffatlas.library.claimed import claimed, is_alive, is_claimed_here
from diffatlas.library.format import is_run_id

#: The folder of benches in a library.
BENCHES = ".benches"
TITLE = "title.json"
MAX_TITLE = 120


class Shelf(ABC):
    """Folders of one kind in a library, each by its id."""

    #: What one is called, the command that lists them, the folder that they are in, and the file of each.
    noun: ClassVar[str]
    listed_by: ClassVar[str]
    place: ClassVar[str]
    file: ClassVar[str]

    def __init__(self, library: str | Path) -> None:
        self.folder = Path(library).expanduser() / self.place

    def delete(self, kept_id: str) -> None:
        """Delete one; its runs stay. Raises `RunNotFound`, or `InvalidParams` for one that is running."""
        folder = self._find(kept_id)
        if self.is_running(kept_id):
            raise InvalidParams(f"This {self.noun} is still running: stop it first.", field=self.noun)
        trash.tidy(self.folder)
        try:
            trash.delete(folder)
        except OSError as error:
            raise self._refused(folder, error) from error

    def trash(self, kept_id: str) -> None:
        """Move one to the trash; its runs stay. Raises what `delete` raises."""
        folder = self._find(kept_id)
        if self.is_running(kept_id):
            raise InvalidParams(f"This {self.noun} is still running: stop it first.", field=self.noun)
        try:
            trash.move_to_trash(self.folder, kept_id)
        except OSError as error:
            raise self._refused(folder, error) from error

    def restore(self, kept_id: str) -> None:
        """Bring one back from the trash. Raises `RunNotFound`."""
        try:
            trash.restore(self.folder, kept_id)
        except RunNotFound:
            raise RunNotFound(f"The trash has no {self.noun} {kept_id!r:.80}.") from None

    @property
    def deleted(self) -> Self:
        """Those in the trash, to be listed, read and deleted for good as the others are."""
        found = type(self)(self.folder.parent)
        found.folder = self.folder / trash.TRASH
        return found

    def rename(self, kept_id: str, title: str) -> None:
        """Give one another title; white space is collapsed.

        The title has a file of its own: what is running is written again and again, by somebody else.

        Raises `RunNotFound`, or `InvalidParams` for an empty or overlong title.
        """
        folder = self._find(kept_id)
        words = " ".join(plain_text(title).split()) if isinstance(title, str) else ""
        if not 1 <= len(words) <= MAX_TITLE:
            raise InvalidParams(f"A title is text of 1 to {MAX_TITLE} characters.", field="title")
        try:
            layout.write_atomically(folder / TITLE, as_json({"title": words}))
        except OSError as error:
            raise self._refused(folder, error) from error

    def save_image(self, kept_id: str, cell: str, pixels: np.ndarray) -> None:
        """Keep the image of a cell, (H, W, 3) uint8, without loss. Raises `RunNotFound` or `BackendFailure`."""
        from PIL import Image

        path = self._image_file(kept_id, cell)
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=1)
        try:
            path.parent.mkdir(exist_ok=True)
            layout.write_atomically(path, buffer.getvalue())
        except OSError as error:
            raise self._refused(path.parent, error) from error

    def image(self, kept_id: str, cell: str) -> np.ndarray:
        """Read an image that is kept here, (H, W, 3) uint8.

        Raises `RunNotFound` where there is none, or `DamagedRun` where it cannot be read.
        """
        path = self._image_file(kept_id, cell)
        if not path.is_file() or path.is_symlink():
            raise RunNotFound(f"The {self.noun} {kept_id!r} keeps no image of the cell {cell!r}.")
        with self._reading(path.parent.parent):
            return np.asarray(files.open_png(path).convert("RGB"))

    def is_running(self, kept_id: str) -> bool:
        """Return whether a process that is alive runs it now."""
        folder = self._folder(kept_id)
        try:
            data = self._read(folder)
            return data.get("status") == "running" and is_alive(folder, data.get("writer"))
        except Exception:
            # It cannot be read, so nobody is at it.
            return is_claimed_here(folder)

    @contextmanager
    def running(self, kept_id: str) -> Iterator[None]:
        """Claim one for a run of its cells, until the block is left.

        Raises `InvalidParams` where somebody runs it already.
        """
        with claimed(self._folder(kept_id), lambda: self.is_running(kept_id), self.noun):
            yield

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._names())

    def _names(self) -> list[str]:
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        folders = ((name, self.folder / name) for name in names if is_run_id(name))
        return [name for name, folder in folders if folder.is_dir() and not folder.is_symlink()]

    def _folder(self, kept_id: str) -> Path:
        if not is_run_id(kept_id):
            raise RunNotFound(f"{kept_id!r:.80} cannot be the id of a {self.noun}.")
        return self.folder / kept_id

    def _find(self, kept_id: str, otherwise: Path | None = None) -> Path:
        folder = self._folder(kept_id)
        if otherwise is not None and not folder.is_dir():
            folder = otherwise / kept_id
        if not folder.is_dir() or folder.is_symlink():
            raise RunNotFound(
                f"The library has no {self.noun} {kept_id!r}: {self.listed_by} lists those it has."
            )
        return folder

    def _image_file(self, kept_id: str, cell: str) -> Path:
        # An id has neither separators nor dots, and a cell's key is of the same letters.
        if not is_run_id(cell):
            raise RunNotFound(f"{cell!r:.80} cannot be a cell of a {self.noun}.")
        return self._find(kept_id, self._examples) / "images" / f"{cell}.png"

    @property
    def _examples(self) -> Path:
        return shipped.EXAMPLES / self.place

    @abstractmethod
    def _read(self, folder: Path) -> dict[str, Any]:
        """The file of one, as far as it is looked at to list it. Raises whatever is wrong with it."""

    def _refused(self, folder: Path, error: OSError) -> BackendFailure:
        return BackendFailure(
            f"The {self.noun} cannot be written to {folder} ({error.strerror or error}): free some space or choose "
            "another folder."
        )

    @contextmanager
    def _reading(self, folder: Path) -> Iterator[None]:
        """Turn whatever goes wrong while one is read into `DamagedRun`; `NewerVersion` is one already."""
        try:
            yield
        except NewerVersion:
            raise
        except FileNotFoundError as error:
            raise DamagedRun(
                f"The {self.noun} in {folder.name} has no readable {self.file}: it is missing."
            ) from error
        except Unreadable as error:
            raise DamagedRun(f"The {self.noun} in {folder.name} is damaged: {error.message}") from error
        except DiffAtlasError as error:
            raise DamagedRun(f"The {self.noun} in {folder.name} cannot be read: {error.message}") from error
        except Exception as error:
            raise self._damaged(folder, error) from error

    def _damaged(self, folder: Path, error: Exception) -> DamagedRun:
        if isinstance(error, OSError):
            what = files.reason_of(error)
        elif isinstance(error, KeyError):
            what = f"it has no {error.args[0]!s:.40}"
        elif isinstance(error, ValueError):
            what = str(error)
        else:
            what = "its parts do not fit each other"
        said = " ".join(what.split())[:200].rstrip(".")
        return DamagedRun(f"The {self.noun} in {folder.name} is damaged: {said}.")


def as_json(data: Any) -> bytes:
    """Return the bytes of a JSON file."""
    return (layout.dumps(data, indent=1) + "\n").encode("utf-8", "replace")


def given_title(folder: Path) -> str:
    """The title that a person gave; empty where none did, or where the file cannot be read."""
    try:
        return plain_text(files.read_object(folder / TITLE, MAX_TITLE * 100)["title"])[:MAX_TITLE]
    except (FileNotFoundError, ValueError, KeyError):
        return ""


def must(holds: bool, otherwise: str) -> None:
    """Raise `Wrong` with what is wrong where something does not hold."""
    if not holds:
        raise Wrong("", otherwise)


def plain_text(value: Any) -> str:
    """Return a text that can be shown and stored. Raises `Wrong` for what is none."""
    must(isinstance(value, str), f"{value!r:.40} is not text")
    # A lone surrogate, which JSON can spell, can be neither shown nor stored.
    return value.encode("utf-8", "replace").decode()
