"""What a page hands over, looked at once before anything uses it: each value by its name, all of them for sense."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from diffatlas.errors import InvalidParams

#: A whole number beyond it is none that a page sends: JSON's readers in browsers lose its last digits.
LARGEST = 2**53
#: Lists in lists, and the like.
DEEPEST = 12
_SHOWN = 60


def asked_values(asked: Any) -> dict[str, Any]:
    """Return what was handed over as a dict; nothing where it is null.

    Raises `InvalidParams` for anything but an object, and for what no page sends: numbers without end, letters that are
    none, lists within lists without end.
    """
    if asked is None:
        return {}
    if not isinstance(asked, Mapping):
        raise InvalidParams(f"What is asked is {shown(asked)}: give an object.")
    for name, value in asked.items():
        check_sense(name, str(name))
        check_sense(value, name)
    return dict(asked)


def typed(value: Any, field: str) -> str:
    """Return the text of a form's field, without the white space around it; "" where it is empty.

    Raises `InvalidParams` for anything but text.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidParams(f"The field {field} is {shown(value)}: give text.", field=field)
    check_sense(value, field)
    return value.strip()


def check_sense(value: Any, name: str, *, deepest: int = DEEPEST, largest: int = LARGEST) -> None:
    """Raise `InvalidParams` for what no page sends, wherever it is in a value.

    name: of the value, for the sentence. deepest: lists in lists; largest: a whole number.
    """
    _check(value, name, deepest, largest)


def _check(value: Any, name: str, deepest: int, largest: int) -> None:
    if deepest < 0:
        raise InvalidParams(f"{shown(name)} has lists in lists, too deep to be read.", field=name)
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise InvalidParams(f"{shown(name)} has half a letter in it: give text.", field=name)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidParams(f"{shown(name)} is {value}: give a number.", field=name)
    elif isinstance(value, int):
        if abs(value) > largest:
            raise InvalidParams(f"{shown(name)} is a number of too many digits.", field=name)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            _check(key, name, deepest - 1, largest)
            _check(each, name, deepest - 1, largest)
    elif isinstance(value, (list, tuple)):
        for each in value:
            _check(each, name, deepest - 1, largest)


def shown(value: Any) -> str:
    """Return a value as a sentence shows it: not all of it where it is long."""
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
