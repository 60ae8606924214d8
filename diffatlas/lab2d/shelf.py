"""Networks and drawings that are kept in a folder, to be found again.

::

    <folder>/
      <id>.json                   what it is: kind, name, times, target; of a network recipe, step and origin as well
      <id>-<8 hex>.safetensors    the weights and losses of a network, float32, under the name that its JSON gives
      <id>.deleted                the JSON of one that was deleted, as long as it can be had back

Weights are written first and under a new name each time, the JSON after them in one rename: a process that is killed
in between leaves what was kept before.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas import files
from diffatlas.errors import DiffAtlasError, InvalidParams, NewerVersion, Unreadable
from diffatlas.lab2d import states
from diffatlas.lab2d.mixtures import Target
from diffatlas.lab2d.training import Trainer
from diffatlas.stored_version import check_version

FORMAT, VERSION = "diffatlas-kept-lab", 1
MOST_NAME = 80
#: Of a JSON file and of one with weights: the largest that the app writes has less.
MOST_JSON, MOST_WEIGHTS = 1_000_000, 32_000_000
#: The losses that are kept of a long training: those of its last steps.
MOST_LOSSES = 1_000_000
#: Deleted ones that can be had back, and for how many seconds.
MOST_DELETED, DELETED_SECONDS = 5, 86_400
ORIGINS = ("scratch", "pretrained", "file")

_ID = re.compile(r"[0-9a-f]{32}")
_PARTS = {"average", "last", "moments", "early", "losses"}


@dataclass(frozen=True)
class Kept:
    """One that is kept.

    kind: "network" or "drawing". name: as a person called it, or empty. made, changed: seconds since 1970. target, a
    recipe: as JSON. origin: where a network's weights began (`ORIGINS`), at step ``begun``. given: points of a
    drawing or table before they were thinned out. weights: the file, which has another name each time that it is
    written. problem: why it cannot be read, where it cannot.
    """

    id: str
    kind: str
    name: str
    made: float
    changed: float
    target: dict[str, Any]
    given: int = 0
    recipe: dict[str, Any] | None = None
    step: int = 0
    origin: str = "scratch"
    begun: int = 0
    weights: str = ""
    sha256: str = ""
    problem: str = ""


class Shelf:
    """What is kept in ``folder``. most, most_bytes: bounds on what is kept at once, 0 for none.

    Methods that take an id raise `InvalidParams` where nothing of this id is kept, or what is cannot be read;
    `NewerVersion` where a later version kept it.
    """

    def __init__(self, folder: Path, most: int = 0, most_bytes: int = 0) -> None:
        self.folder = folder
        self._most = most
        self._most_bytes = most_bytes

    def list(self) -> list[Kept]:
        """Return all that is kept, last changed first. One that cannot be read says so in its ``problem``."""
        found = []
        for path in self._files(".json"):
            try:
                found.append(_read(path))
            except FileNotFoundError:
                continue
            except (OSError, InvalidParams, NewerVersion) as error:
                told = isinstance(error, DiffAtlasError)
                problem = error.message if told else f"It cannot be read: {files.reason_of(error)}."
                changed = _time_of(path)
                found.append(Kept(path.stem, "damaged", "", changed, changed, {}, problem=problem))
        return sorted(found, key=lambda kept: (kept.changed, kept.id), reverse=True)

    def get(self, name: Any) -> Kept:
        """Return what is kept under an id."""
        path = self._path(name)
        try:
            return _read(path)
        except FileNotFoundError:
            raise _gone() from None

    def open(self, name: Any) -> tuple[Kept, Trainer | Target]:
        """Return what is kept under an id, and the network in its training, or the drawn target."""
        for last in (False, True):
            kept = self.get(name)
            if kept.kind == "drawing":
                return kept, states.target_of(kept.target)
            try:
                return kept, states.trainer_of(asdict(kept), self._weights(kept))
            except FileNotFoundError:
                # It was written anew between the two readings.
                if last:
                    raise InvalidParams("The weights of this network are no longer there.") from None
        raise AssertionError

    def keep_network(
        self,
        trainer: Trainer,
        origin: str = "scratch",
        begun: int = 0,
        given: int = 0,
        before: Kept | None = None,
    ) -> Kept:
        """Keep a network as it is now and return how.

        before: how it was kept the last time; where that is still so it is replaced, else this becomes another one.
        A network that is kept already, to the bit, is not kept twice.
        Raises `InvalidParams` for weights that are not finite, and where a bound is reached.
        """
        parts = states.parts_of(trainer)
        parts["losses"] = parts["losses"][-MOST_LOSSES:]
        if not all(np.isfinite(values).all() for values in parts.values()):
            raise InvalidParams("This network has diverged: there is nothing to keep.")
        from safetensors.numpy import save

        data = save({name: np.ascontiguousarray(values) for name, values in parts.items()})
        digest, target, recipe = (
            hashlib.sha256(data).hexdigest(),
            states.target_json(trainer.target),
            trainer.recipe,
        )
        for kept in self.list():
            if (kept.sha256, kept.target, kept.recipe) == (digest, target, asdict(recipe)):
                return kept
        still = self._still(before)
        self._make_room(len(data), instead=still)
        now = time.time()
        name = still.id if still else secrets.token_hex(16)
        weights = f"{name}-{secrets.token_hex(4)}.safetensors"
        kept = Kept(
            name, "network", still.name if still else "", still.made if still else now, now,
            target, given, asdict(recipe), trainer.step, origin, begun, weights, digest,
        )  # fmt: skip
        states.write_whole(self.folder / weights, data)
        self._write(kept)
        for path in self.folder.glob(f"{name}-*.safetensors"):
            if path.name != weights:
                path.unlink(missing_ok=True)
        return kept

    def keep_drawing(self, target: Target, given: int = 0) -> Kept | None:
        """Keep a drawn target and return how; once, however often. None for one that was deleted.

        Raises `InvalidParams` where a bound is reached.
        """
        value = states.target_json(target)
        name = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
        if (self.folder / f"{name}.deleted").exists():
            return None
        with contextlib.suppress(InvalidParams):
            return self.get(name)
        self._make_room(0)
        now = time.time()
        kept = Kept(name, "drawing", "", now, now, value, given)
        self._write(kept)
        return kept

    def rename(self, name: Any, words: Any) -> Kept:
        """Call what is kept by another name; an empty one for the name that it has by itself."""
        text = " ".join(words.split()) if isinstance(words, str) else None
        if text is None or len(text) > MOST_NAME or not text.isprintable():
            raise InvalidParams(f"A name is one line of at most {MOST_NAME} characters.", field="name")
        kept = replace(self.get(name), name=text)
        self._write(kept)
        return kept

    def delete(self, name: Any) -> None:
        """Delete what is kept under an id. It can be had back for a day, as one of the last few."""
        path = self._path(name)
        deleted = path.with_suffix(".deleted")
        try:
            path.replace(deleted)
        except FileNotFoundError:
            raise _gone() from None
        os.utime(deleted)
        self._tidy(MOST_DELETED)

    def restore(self, name: Any) -> None:
        """Have back what was deleted."""
        path = self._path(name)
        if not path.with_suffix(".deleted").exists():
            raise InvalidParams("This can no longer be had back.")
        if self._most and len(self._files(".json")) >= self._most:
            raise self._full()
        path.with_suffix(".deleted").replace(path)

    def _still(self, before: Kept | None) -> Kept | None:
        """Return what is kept in place of ``before``, if nobody has changed its weights or deleted it since."""
        if before is None:
            return None
        with contextlib.suppress(InvalidParams, NewerVersion, OSError):
            now = self.get(before.id)
            return now if now.weights == before.weights else None
        return None

    def _make_room(self, more: int, instead: Kept | None = None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._most and instead is None and len(self._files(".json")) >= self._most:
            raise self._full()
        if self._most_bytes:
            spared = self._size(instead.weights) if instead else 0
            if self._bytes() + more - spared > self._most_bytes:
                self._tidy(0)
            if self._bytes() + more - spared > self._most_bytes:
                raise self._full()

    def _full(self) -> InvalidParams:
        return InvalidParams(
            f"No more is kept here than {self._most} networks and drawings in {self._most_bytes // 10**6} MB: "
            "delete one to keep another."
        )

    def _tidy(self, most: int) -> None:
        """Delete for good all but the last deleted ones, and weights that a killed process has left."""
        aged = sorted(self._files(".deleted"), key=lambda path: path.stat().st_mtime, reverse=True)
        for number, path in enumerate(aged):
            if number >= most or time.time() - path.stat().st_mtime > DELETED_SECONDS:
                path.unlink(missing_ok=True)
                for weights in self.folder.glob(f"{path.stem}-*.safetensors"):
                    weights.unlink(missing_ok=True)
        for path in self.folder.glob("*.safetensors"):
            known = any((self.folder / f"{path.name[:32]}{end}").exists() for end in (".json", ".deleted"))
            if not known and time.time() - path.stat().st_mtime > DELETED_SECONDS:
                path.unlink(missing_ok=True)

    def _files(self, end: str) -> list[Path]:
        return [path for path in self.folder.glob(f"*{end}") if _ID.fullmatch(path.stem)]

    def _bytes(self) -> int:
        return sum(self._size(name) for name in os.listdir(self.folder))

    def _size(self, name: str) -> int:
        with contextlib.suppress(OSError):
            return os.lstat(self.folder / name).st_size
        return 0

    def _path(self, name: Any) -> Path:
        if not isinstance(name, str) or not _ID.fullmatch(name):
            raise _gone()
        return self.folder / f"{name}.json"

    def _write(self, kept: Kept) -> None:
        value = {"format": FORMAT, "version": VERSION, **asdict(kept)}
        states.write_whole(self.folder / f"{kept.id}.json", json.dumps(value).encode())

    def _weights(self, kept: Kept) -> dict[str, np.ndarray]:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        data = _bytes_of(self.folder / kept.weights, MOST_WEIGHTS)
        try:
            if hashlib.sha256(data).hexdigest() != kept.sha256:
                raise ValueError
            parts = load(data)
        except (SafetensorError, ValueError):
            raise InvalidParams("The weights of this network are damaged.") from None
        if set(parts) - _PARTS or any(values.dtype != np.float32 for values in parts.values()):
            raise InvalidParams("The weights of this network are not those of a lab.")
        return {name: values.copy() for name, values in parts.items()}


def _gone() -> InvalidParams:
    return InvalidParams("This is no longer kept.")


def _time_of(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _bytes_of(path: Path, most: int) -> bytes:
    if path.is_symlink():
        raise InvalidParams("This file is not one that the lab has kept: it is a link.")
    try:
        return files.read_bytes(path, most)
    except Unreadable as error:
        raise InvalidParams(f"This file is not one that the lab has kept: {error.reason}.") from error


def _read(path: Path) -> Kept:
    """Read the JSON of one that is kept.

    Raises `InvalidParams`, `NewerVersion` where a later version kept it, or FileNotFoundError where there is none.
    """
    try:
        value = files.parse_json(_bytes_of(path, MOST_JSON), path, finite=True)
    except Unreadable as error:
        raise InvalidParams(f"What was kept of this is damaged: {error.reason}.") from None
    _check_format(value)
    problem = next(_wrong(value, path.stem), None)
    if problem:
        raise InvalidParams(f"What was kept of this cannot be read: {problem}.")
    return Kept(**{name: value[name] for name in Kept.__dataclass_fields__ if name in value})


def _check_format(value: Any) -> None:
    """Raise `InvalidParams` for JSON that is nothing that was kept, `NewerVersion` where a later version kept it."""
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InvalidParams("What was kept of this cannot be read: it is not what the lab writes.")
    try:
        check_version(value.get("version"), VERSION, "This kept lab")
    except ValueError as error:
        raise InvalidParams(f"What was kept of this cannot be read: {error}.") from None


def _wrong(value: dict[str, Any], name: str) -> Iterator[str]:
    """Yield what keeps a JSON object from being a `Kept`."""

    def number(key: str) -> bool:
        return isinstance(value.get(key, 0), (int, float)) and not isinstance(value.get(key, 0), bool)

    if value.get("id") != name or value.get("kind") not in ("network", "drawing"):
        yield "it is not what its file says"
    if not isinstance(value.get("name"), str) or len(value["name"]) > MOST_NAME:
        yield "its name is wrong"
    if not all(number(key) and 0 <= value.get(key, 0) < 1e11 for key in ("made", "changed")):
        yield "its times are wrong"
    if not all(
        isinstance(value.get(key, 0), int) and number(key) and 0 <= value.get(key, 0) <= 10**9
        for key in ("given", "step", "begun")
    ):
        yield "its steps are wrong"
    if not all(isinstance(value.get(key, ""), str) for key in ("origin", "weights", "sha256", "problem")):
        yield "its weights are wrong"
    if not isinstance(value.get("target"), dict):
        yield "it has no target"
    if value.get("kind") == "network":
        if not isinstance(value.get("recipe"), dict) or value.get("origin") not in ORIGINS:
            yield "it has no recipe"
        if not re.fullmatch(re.escape(name) + r"-[0-9a-f]{8}\.safetensors", str(value.get("weights"))):
            yield "it names no weights of its own"
