"""What a page hands over, looked at once before anything uses it: each value by its name, all of them for sense."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from diffatlas.errors import InvalidParams

#: A whole number beyond it is none that a page sends: JSON's readers in browsers lose its last digits.
LARGEST = 2**53
#: Lists in lists, and the like.
DEEPEST = 12
_SHOWN = 60

_Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _single(value: Any) -> bool:
    return isinstance(value, (str, int, float))


def _list_of(check: _Check) -> _Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


_KINDS: tuple[tuple[str, _Check, tuple[str, ...]], ...] = (
    (
        "text",
        _text,
        (
            *("id", "a", "b", "job", "lab", "again", "instead", "action", "kind", "align", "of", "operation"),
            *(
                "tag",
                "model",
                "status",
                "sort",
                "until",
                "per",
                "licence",
                "repo",
                "token",
                "source",
                "title",
            ),
            *("name", "note", "half", "request", "sampler", "quantity", "field", "fill", "open"),
            *("axis", "measure", "scale", "along"),
        ),
    ),
    ("a whole number", _whole, ("index", "image", "offset", "limit", "count", "changes", "readings")),
    (
        "text or a number",
        _single,
        ("cell", "lane", "since", "classes", "head", "fit", "step", "kept", "text"),
    ),
    ("a list of texts", _list_of(_text), ("ids", "studies", "tags", "samplers", "retry")),
    (
        "a list",
        lambda value: isinstance(value, list),
        ("tokens", "words", "sizes", "sigmas", "start", "place"),
    ),
    ("an object", lambda value: isinstance(value, dict), ("target", "recipe")),
)
_BY_NAME = {name: (what, check) for what, check, names in _KINDS for name in names}


def asked_values(asked: Any) -> dict[str, Any]:
    """Return what was handed over as a dict; nothing where it is null. A name that is null counts as absent.

    Raises `InvalidParams` for anything but an object, for a value of another kind than its name's, and for what no page
    sends: numbers without end, letters that are none, lists within lists without end.
    """
    if asked is None:
        return {}
    if not isinstance(asked, Mapping):
        raise InvalidParams(f"What is asked is {_shown(asked)}: give an object.")
    for name, value in asked.items():
        check_sense(name, str(name))
        check_sense(value, name)
        if value is None or name not in _BY_NAME:
            continue
        what, check = _BY_NAME[name]
        if not check(value):
            raise InvalidParams(f"{name} is {_shown(value)}: give {what}.", field=name)
    return dict(asked)


def typed(value: Any, field: str) -> str:
    """Return the text of a form's field, without the white space around it; "" where it is empty.

    Raises `InvalidParams` for anything but text.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidParams(f"The field {field} is {_shown(value)}: give text.", field=field)
    check_sense(value, field)
    return value.strip()


def submitted(data: Any) -> dict[str, Any]:
    """Return what a view has submitted to its page; nothing where no view submits such a thing."""
    try:
        return asked_values(data)
    except InvalidParams:
        return {}


def check_sense(value: Any, name: str, *, deepest: int = DEEPEST, largest: int = LARGEST) -> None:
    """Raise `InvalidParams` for what no page sends, wherever it is in a value.

    name: of the value, for the sentence. deepest: lists in lists; largest: a whole number.
    """
    _check(value, name, deepest, largest)


def _check(value: Any, name: str, deepest: int, largest: int) -> None:
    if deepest < 0:
        raise InvalidParams(f"{_shown(name)} has lists in lists, too deep to be read.", field=name)
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise InvalidParams(f"{_shown(name)} has half a letter in it: give text.", field=name)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidParams(f"{_shown(name)} is {value}: give a number.", field=name)
    elif isinstance(value, int):
        if abs(value) > largest:
            raise InvalidParams(f"{_shown(name)} is a number of too many digits.", field=name)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            _check(key, name, deepest - 1, largest)
            _check(each, name, deepest - 1, largest)
    elif isinstance(value, (list, tuple)):
        for each in value:
            _check(each, name, deepest - 1, largest)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
