"""The names of a method's arguments, looked up once and not at each of its calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

#: By the function; those that nothing can be told of, or that cannot be kept here, are absent.
_NAMES: WeakKeyDictionary[Any, tuple[str, ...]] = WeakKeyDictionary()


def argument_names(method: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the arguments of a method, without ``self``.

    Raises TypeError or ValueError for what has no signature.
    """
    # A bound method is made anew each time that it is asked for; its function stays.
    function = method.__func__ if inspect.ismethod(method) else None
    names = None if function is None else _NAMES.get(function)
    if names is None:
        names = tuple(inspect.signature(method).parameters)
        if function is not None:
            _NAMES[function] = names
    return names
