"""Looking on while methods are called, from the one place that no copy carries away: their class.

A wrapper that is set on an object lies in its ``__dict__``, which pipelines copy, restore and share. What stands in the
class is in no copy, and a copy is watched like the original. It is there only as long as somebody looks on.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

#: Called as ``around(instance, proceed, args, kwargs)``; ``proceed(*args, **kwargs)`` makes the call.
Around = Callable[[Any, Callable[..., Any], tuple, dict[str, Any]], Any]

_lock = threading.Lock()
_ABSENT = object()


@contextmanager
def method_watched(cls: type, name: str, around: Around) -> Iterator[None]:
    """Call ``around`` in place of the method ``name`` of every instance of ``cls``, on every thread.

    Whoever is concerned with some instances or one thread alone returns ``proceed(*args, **kwargs)`` for the others. Of
    several the one that came last is called first. A method that an instance has of its own is watched as well.
    Signature and ``__wrapped__`` are those of the method, and what ``__wrapped__`` gives is watched too.

    Raises AttributeError where the class has no such method.
    """
    with _lock:
        stand_in = cls.__dict__.get(name)
        if not isinstance(stand_in, _StandIn):
            stand_in = _StandIn(cls, name)
            setattr(cls, name, stand_in)
        stand_in.arounds = (*stand_in.arounds, around)
    try:
        yield
    finally:
        with _lock:
            left = list(stand_in.arounds)
            # Of equal ones the last; contexts need not end in the order in which they began.
            del left[len(left) - 1 - left[::-1].index(around)]
            stand_in.arounds = tuple(left)
            if not left and cls.__dict__.get(name) is stand_in:
                stand_in.remove()


def is_watched(cls: type, name: str) -> bool:
    """Whether somebody looks on at this method."""
    return isinstance(cls.__dict__.get(name), _StandIn)


class _StandIn:
    """Stands in a class for a method. It has ``__set__``, so that it comes before what an instance has of its own."""

    def __init__(self, cls: type, name: str) -> None:
        self._cls, self._name = cls, name
        self._own = cls.__dict__.get(name, _ABSENT)
        #: From the innermost to the outermost.
        self.arounds: tuple[Around, ...] = ()
        self._function = self._watching(getattr(cls, name))

    def remove(self) -> None:
        """Give the class back what it had."""
        if self._own is _ABSENT:
            delattr(self._cls, self._name)
        else:
            setattr(self._cls, self._name, self._own)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self._function
        own = getattr(instance, "__dict__", {}).get(self._name, _ABSENT)
        if own is _ABSENT:
            return MethodType(self._function, instance)

        @functools.wraps(own)
        def watched(*args: Any, **kwargs: Any) -> Any:
            return self._run(instance, own, args, kwargs)

        return watched

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self._name] = value

    def __delete__(self, instance: Any) -> None:
        try:
            del instance.__dict__[self._name]
        except KeyError:
            raise AttributeError(self._name) from None

    def _watching(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``plain``, a function whose first argument is the instance, as it is seen from outside."""

        @functools.wraps(plain)
        def watched(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
            return self._run(instance, functools.partial(plain, instance), args, kwargs)

        inner = getattr(plain, "__wrapped__", None)
        if inner is not None:
            watched.__wrapped__ = self._watching(inner)
        return watched

    def _run(self, instance: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        for around in self.arounds:
            proceed = _link(around, instance, proceed)
        return proceed(*args, **kwargs)


def _link(around: Around, instance: Any, proceed: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: around(instance, proceed, args, kwargs)
