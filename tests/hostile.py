"""How tests that draw hostile files and requests are bounded: the same draws every time, and few of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: Values that a file's author may put anywhere.
HOSTILE = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        2**63,
        10**400,
        1e308,
        10**6,
        "",
        "x",
        "../../etc/passwd",
        "\ud800\0",
        [],
        {},
        [[[]]],
        {"a": {}},
    ]
)


def bounded(examples: int) -> Callable[..., Any]:
    """Return the settings of a test of so many draws."""
    return settings(
        derandomize=True,
        deadline=None,
        max_examples=examples,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where the parts of a JSON value are, of its lists the first three."""
    if at:
        yield at
    parts = (
        value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    )
    for name, part in parts:
        yield from places(part, (*at, name))


def with_another_part(data: st.DataObject, told: Any, hostile: st.SearchStrategy[Any]) -> Any:
    """Return a JSON value with one of its parts replaced by what ``hostile`` draws."""
    told = copy.deepcopy(told)
    place = data.draw(st.sampled_from(list(places(told))))
    inside = told
    for name in place[:-1]:
        inside = inside[name]
    inside[place[-1]] = data.draw(hostile)
    return told


def damaged(data: st.DataObject, before: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Return the content of a file after some of its bytes were changed, lost, added or taken from another file."""
    at = data.draw(st.integers(0, max(0, len(before) - 1)))
    more = data.draw(st.binary(min_size=1, max_size=8))
    how = data.draw(st.sampled_from(["flip", "cut", "insert", "empty", *(["swap"] if others else [])]))
    if how == "flip":
        return before[:at] + bytes([before[at] ^ 0x5A]) + before[at + 1 :] if before else more
    if how == "swap":
        return data.draw(st.sampled_from(others))
    return {"cut": before[:at], "insert": before[:at] + more + before[at:], "empty": b""}[how]
