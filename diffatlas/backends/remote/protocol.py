"""What the two ends of a connection between two Atlases agree on: paths, headers, frames (docs/remote.md).

The events of a run come as frames: the length of what follows the head (4 bytes, little-endian), a kind (1 byte), and
so many bytes. A frame of an event holds `diffatlas.backends.wire.answer_to_bytes`, as it is or packed.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from diffatlas.backends.hosted.refusals import read_json
from diffatlas.errors import BackendFailure, DiffAtlasError, error_for

#: Of the paths, the headers and the frames. What is in the frames has a version of its own (`wire.VERSION`).
PROTOCOL = 1
PREFIX = f"/atlas/v{PROTOCOL}/"
#: Of every answer: the version of the protocol.
VERSION_HEADER = "Atlas-Protocol"
#: Of a request: a word at random by which a client's runs are told from those of others, for whom turns go round.
CLIENT_HEADER = "Atlas-Client"
#: Of the bodies that are not JSON.
BINARY = "application/octet-stream"
#: The kinds of frames: an event as it is, and packed; a sign that the connection is alive; the end of the run's events,
#: with the error that ended them where one did (JSON).
PLAIN, PACKED, ALIVE, END = range(4)
#: Bytes of one event.
MOST_FRAME = 1_000_000_000
#: An event is packed where that takes away at least this share of it.
WORTH = 0.05
_HEAD = struct.Struct("<IB")
_SIZE = struct.Struct("<I")

T = TypeVar("T")


def frame(kind: int, payload: bytes = b"") -> bytes:
    """Return a frame."""
    return _HEAD.pack(len(payload), kind) + payload


def event_frame(answer: bytes, packing: bool) -> bytes:
    """Return the frame of an event, packed where ``packing`` asks for that and it is worth it.

    Packed bytes are grouped by their place in a number of 4 bytes before zlib makes them smaller: the exponents of
    neighbouring float32 values are alike, their mantissas are not.
    """
    if packing:
        packed = _SIZE.pack(len(answer)) + zlib.compress(_grouped(answer), 1)
        if len(packed) <= (1 - WORTH) * len(answer):
            return frame(PACKED, packed)
    return frame(PLAIN, answer)


def answer_of(kind: int, payload: bytes) -> bytes:
    """Return what `event_frame` was given, of a frame of either kind. Raises ValueError for what is no such frame."""
    if kind == PLAIN:
        return payload
    if kind != PACKED or len(payload) < _SIZE.size:
        raise ValueError("This frame holds no event.")
    (size,) = _SIZE.unpack_from(payload)
    if size > MOST_FRAME:
        raise ValueError("This event is too large.")
    reader = zlib.decompressobj()
    try:
        grouped = reader.decompress(payload[_SIZE.size :], size + 1)
    except zlib.error as error:
        raise ValueError("This frame is damaged.") from error
    if len(grouped) != size or not reader.eof:
        raise ValueError("This frame is damaged.")
    return _ungrouped(grouped)


class Frames:
    """Takes bytes as they arrive and gives the frames that are whole."""

    def __init__(self) -> None:
        self._held = bytearray()

    def take(self, part: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (kind, payload) of each frame that is whole with ``part``. Raises ValueError for one too large."""
        self._held += part
        while len(self._held) >= _HEAD.size:
            size, kind = _HEAD.unpack_from(self._held)
            if size > MOST_FRAME:
                raise ValueError("This frame is too large.")
            end = _HEAD.size + size
            if len(self._held) < end:
                return
            payload = bytes(self._held[_HEAD.size : end])
            del self._held[:end]
            yield kind, payload


def end_frame(error: DiffAtlasError | None) -> bytes:
    """Return the last frame of a run. ``error``: what ended its events, where they do not tell their end themselves."""
    return frame(END, b"" if error is None else json.dumps(error_to_plain(error)).encode())


def error_of_end(payload: bytes) -> DiffAtlasError | None:
    """Return the error that `end_frame` was given."""
    if not payload:
        return None
    unread = BackendFailure("The run ended there in an error that cannot be read.")
    return error_from_plain(read_json(payload)) or unread


def error_to_plain(error: DiffAtlasError) -> dict[str, Any]:
    """Return an error as JSON."""
    return {"code": error.code, "message": error.message, "field": error.field}


def error_from_plain(plain: Any) -> DiffAtlasError | None:
    """Return the typed error that `error_to_plain` wrote; None for anything else."""
    found = plain if isinstance(plain, dict) else {}
    code, message, field = (found.get(name) for name in ("code", "message", "field"))
    if not isinstance(code, str) or not isinstance(message, str):
        return None
    error = error_for(code, message[:2000])
    error.field = field if isinstance(field, str) else None
    return error


def to_plain(thing: Any) -> Any:
    """Return a data class as JSON; None stays None."""
    return None if thing is None else asdict(thing)


def from_plain(cls: type[T], plain: Any) -> T:
    """Return the data class that `to_plain` wrote; fields that it does not know are left out.

    Raises ValueError where a field is missing or of another type.
    """
    return _reader(cls).validate_python(plain)


@lru_cache(maxsize=32)
def _reader(cls: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def _grouped(raw: bytes) -> bytes:
    """Return the bytes at the places 0, 4, 8 ..., then those at 1, 5, 9 ..., and so on; the odd ones come last."""
    whole = len(raw) // 4 * 4
    return np.frombuffer(raw, np.uint8, whole).reshape(-1, 4).T.tobytes() + raw[whole:]


def _ungrouped(grouped: bytes) -> bytes:
    whole = len(grouped) // 4 * 4
    return np.frombuffer(grouped, np.uint8, whole).reshape(4, -1).T.tobytes() + grouped[whole:]
