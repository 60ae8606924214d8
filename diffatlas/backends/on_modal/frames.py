"""Frames of bytes as items of a queue whose items have a largest size.

An item is a header and a part of a frame. The header says which attempt at the run it is of, the frame's number, the
part's number and how many there are, and the SHA-256 of the whole frame. The last item of an attempt has no parts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct

from diffatlas.errors import CapabilityError, NetworkError

#: Of this form. One who reads another says so.
VERSION = 1
#: Bytes of an item at most: of the 1 MiB that `modal.Queue` takes, with room for how it is wrapped.
ITEM_BYTES = 1_000_000
#: Bytes of a frame at most: a batch of large pictures with all its attention stays below.
FRAME_BYTES = 1_000_000_000
_HEADER = Struct("<2sB8sIII32s")
_MAGIC = b"DA"
_PART = ITEM_BYTES - _HEADER.size
DAMAGED = "What arrived from Modal is not whole (a part of it is missing or damaged): run it again."


def new_attempt() -> bytes:
    """Return what tells one attempt at a run from another: 8 random bytes."""
    return os.urandom(8)


def items_of(attempt: bytes, number: int, frame: bytes) -> Iterator[bytes]:
    """Yield a frame as items of at most `ITEM_BYTES`. ``number``: how many frames of the attempt came before."""
    digest = hashlib.sha256(frame).digest()
    parts = max(1, -(-len(frame) // _PART))
    for part in range(parts):
        header = _HEADER.pack(_MAGIC, VERSION, attempt, number, part, parts, digest)
        yield header + frame[part * _PART : (part + 1) * _PART]


def end_of(attempt: bytes, number: int) -> bytes:
    """Return the item that ends an attempt of ``number`` frames."""
    return _HEADER.pack(_MAGIC, VERSION, attempt, number, 0, 0, bytes(32))


@dataclass(frozen=True)
class Frame:
    """A frame that has arrived whole; None for the end of its attempt."""

    attempt: bytes
    content: bytes | None


@dataclass
class Joiner:
    """Puts items together to frames, in the order in which one attempt wrote them.

    An item of a new attempt begins anew, and what an earlier attempt still writes is left out.
    """

    #: The one that is read.
    attempt: bytes | None = None
    _before: set[bytes] = field(default_factory=set)
    _number: int = 0
    _parts: list[bytes] = field(default_factory=list)

    def take(self, item: bytes) -> Frame | None:
        """Return the frame that an item completes, or None.

        Raises `CapabilityError` for an item of another version, `NetworkError` for one that does not follow.
        """
        if len(item) < _HEADER.size or item[:2] != _MAGIC:
            raise NetworkError(DAMAGED)
        _, version, attempt, number, part, parts, digest = _HEADER.unpack_from(item)
        if version != VERSION:
            raise CapabilityError(
                f"The app on Modal sends frames of version {version}, and version {VERSION} is read here: deploy it "
                "again with the diffatlas that is installed here (modal deploy modal_deploy.py)."
            )
        if attempt in self._before:
            return None
        if attempt != self.attempt:
            if self.attempt is not None:
                self._before.add(self.attempt)
            self.attempt, self._number, self._parts = attempt, 0, []
        if number != self._number or part != len(self._parts) or (parts and part >= parts):
            raise NetworkError(DAMAGED)
        if parts == 0:
            return Frame(attempt, None)
        self._parts.append(item[_HEADER.size :])
        if sum(map(len, self._parts)) > FRAME_BYTES:
            raise NetworkError(DAMAGED)
        if len(self._parts) < parts:
            return None
        content, self._parts = b"".join(self._parts), []
        self._number += 1
        if hashlib.sha256(content).digest() != digest:
            raise NetworkError(DAMAGED)
        return Frame(attempt, content)
