"""What a value read from a file must be: small checks that are put together to the description of a format.

A check takes a value and raises `Wrong`, which says what is wrong and where. Where is put together on the way out, so
that what is right costs no words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Check = Callable[[Any], None]

#: Characters of a text, and entries of a list or object, where a format says nothing of its own.
MOST_TEXT, MOST_ENTRIES = 1_000_000, 100_000
#: The largest whole number that an index can hold, and the largest that surely fits a float.
MOST_WHOLE, MOST_NUMBER = 2**63 - 1, 2**1000
#: How numbers are spelled that JSON has no other way to say.
NON_FINITE = ("NaN", "Infinity", "-Infinity")


class Wrong(ValueError):
    """A value is not what its format says. ``str()`` is a clause: "params.seed is no whole number from 0"."""

    def __init__(self, what: str, where: str = "") -> None:
        self.what, self.where = what, where
        super().__init__(" ".join(f"{where or 'it'} {what}".split())[:300].rstrip("."))

    def inside(self, name: str) -> Wrong:
        """Return the same, in the entry ``name`` of something larger."""
        between = "." if self.where and not self.where.startswith("[") else ""
        return Wrong(self.what, f"{name[:60]}{between}{self.where}")


def text(most: int = MOST_TEXT) -> Check:
    """Text of at most so many characters."""

    def check(value: Any) -> None:
        if type(value) is not str:
            raise Wrong("is no text")
        if len(value) > most:
            raise Wrong(f"has more than {most:,} characters")

    return check


def whole(low: int = 0, high: int = MOST_WHOLE) -> Check:
    """A whole number of this range; true and false are none."""

    def check(value: Any) -> None:
        if type(value) is not int or not low <= value <= high:
            limit = f"from {low:,} to {high:,}" if high < MOST_WHOLE else f"from {low:,}"
            raise Wrong(f"is no whole number {limit}")

    return check


def number(value: Any) -> None:
    """A number that fits a float, or one of `NON_FINITE`."""
    if type(value) is float or (type(value) is int and abs(value) < MOST_NUMBER):
        return
    if type(value) is not str or value not in NON_FINITE:
        raise Wrong("is no number")


def finite(value: Any) -> None:
    """A number that is neither infinite nor NaN."""
    if type(value) is float:
        fine = math.isfinite(value)
    else:
        fine = type(value) is int and abs(value) < MOST_NUMBER
    if not fine:
        raise Wrong("is no number")


def flag(value: Any) -> None:
    """True or false."""
    if type(value) is not bool:
        raise Wrong("is neither true nor false")


def one_of(*choices: Any) -> Check:
    """One of these."""

    def check(value: Any) -> None:
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise Wrong(f"is none of {', '.join(map(str, choices))}")

    return check


def maybe(inner: Check) -> Check:
    """Nothing, or what ``inner`` wants."""

    def check(value: Any) -> None:
        if value is not None:
            inner(value)

    return check


def either(first: Check, second: Check) -> Check:
    """What one of the two wants."""

    def check(value: Any) -> None:
        try:
            first(value)
        except Wrong as wrong:
            try:
                second(value)
            except Wrong:
                raise wrong from None

    return check


def listed(inner: Check | None, most: int = MOST_ENTRIES, least: int = 0) -> Check:
    """A list of so many of what ``inner`` wants; of anything where that is None."""

    def check(value: Any) -> None:
        if type(value) is not list:
            raise Wrong("is no list")
        if not least <= len(value) <= most:
            raise Wrong(f"has {len(value):,} entries, not {least:,} to {most:,}")
        if inner is None:
            return
        for index, each in enumerate(value):
            try:
                inner(each)
            except Wrong as wrong:
                raise wrong.inside(f"[{index}]") from None

    return check


def by_name(inner: Check | None, most: int = MOST_ENTRIES) -> Check:
    """An object of so many of what ``inner`` wants, by any names; of anything where that is None."""

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise Wrong("is no object")
        if len(value) > most:
            raise Wrong(f"has more than {most:,} entries")
        if inner is None:
            return
        for name, each in value.items():
            try:
                inner(each)
            except Wrong as wrong:
                raise wrong.inside(name) from None

    return check


def fields(described: Mapping[str, Check], required: Iterable[str] = (), *, closed: bool = False) -> Check:
    """An object with these fields, those of ``required`` among them. closed: and no others."""
    needed = tuple(required)

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise Wrong("is no object")
        for name in needed:
            if name not in value:
                raise Wrong(f"has no {name}")
        for name, each in value.items():
            inner = described.get(name)
            if inner is None:
                if closed:
                    raise Wrong(f"has the unknown entry {name[:40]!r}")
                continue
            try:
                inner(each)
            except Wrong as wrong:
                raise wrong.inside(name) from None

    return check
