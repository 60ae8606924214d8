"""What one visitor may have in the server's memory, so that nobody's things make another's go."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from diffatlas.errors import TooMuch

T = TypeVar("T")


class ByVisitor(Generic[T]):
    """Things by visitor and name, the least recently used first to go.

    Where a visitor has ``each``, their own oldest goes that is not ``busy``; where all of them are busy, the new one is
    refused with the sentence ``full``. Where all visitors together have ``most``, the oldest goes of the visitor who
    has been away longest, yet never a visitor's newest; where nothing else is left, the new one is refused.

    each: None for any number, as on a personal machine. Safe to use from any thread.
    """

    def __init__(
        self, each: int | None, most: int, full: str, busy: Callable[[T], bool] = lambda thing: False
    ) -> None:
        self.most = most
        self._each, self._full, self._busy = each, full, busy
        self._lock = threading.Lock()
        self._things: OrderedDict[str, OrderedDict[str, T]] = OrderedDict()

    def add(self, visitor: str, name: str, thing: T) -> list[T]:
        """Keep a thing, and return those that went for it. Raises `TooMuch`."""
        gone: list[T] = []
        with self._lock:
            own = self._things.get(visitor, OrderedDict())
            if name not in own:
                while self._each is not None and len(own) >= self._each:
                    gone.append(self._drop(visitor, own, self._full))
                while sum(map(len, self._things.values())) >= self.most:
                    gone.append(self._drop_any(visitor))
            own = self._things.setdefault(visitor, OrderedDict())
            own[name] = thing
            self._use(visitor, name)
        return gone

    def get(self, visitor: str, name: str) -> T | None:
        """Return a thing, which is then the last used; None where the visitor has none of this name."""
        with self._lock:
            if name not in self._things.get(visitor, ()):
                return None
            self._use(visitor, name)
            return self._things[visitor][name]

    def pop(self, visitor: str, name: str) -> T | None:
        """Let go of a thing and return it; None where the visitor has none of this name."""
        with self._lock:
            own = self._things.get(visitor, OrderedDict())
            thing = own.pop(name, None)
            if visitor in self._things and not own:
                del self._things[visitor]
            return thing

    def of(self, visitor: str) -> list[T]:
        """Return what a visitor has, the least recently used first."""
        with self._lock:
            return list(self._things.get(visitor, {}).values())

    def __iter__(self) -> Iterator[T]:
        with self._lock:
            return iter([thing for own in self._things.values() for thing in own.values()])

    def _use(self, visitor: str, name: str) -> None:
        self._things[visitor].move_to_end(name)
        self._things.move_to_end(visitor)

    def _drop(self, visitor: str, own: OrderedDict[str, T], full: str, spare: int = 0) -> T:
        names = list(own)[: len(own) - spare]
        name = next((name for name in names if not self._busy(own[name])), None)
        if name is None:
            raise TooMuch(full)
        thing = own.pop(name)
        if not own:
            del self._things[visitor]
        return thing

    def _drop_any(self, comes: str) -> T:
        for visitor, own in list(self._things.items()):
            try:
                # One who adds something has a newer one than those.
                return self._drop(visitor, own, "", spare=0 if visitor == comes else 1)
            except TooMuch:
                continue
        raise TooMuch("The server keeps as much as it can for all its visitors: try again in some minutes.")
