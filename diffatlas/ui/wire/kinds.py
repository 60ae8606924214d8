"""What questions and answers are made of: data classes for what is asked, typed dicts for what is answered.

What is asked comes from a browser, and is read into a frozen data class (`diffatlas.ui.wire.call.read`). What is
answered is plain JSON types already, often much of it; its typed dict says what is in it, and tests check that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NotRequired

from pydantic import AllowInfNan, ConfigDict, Strict
from typing_extensions import TypedDict

#: A number as JSON writes it, never one written as text, and never a truth value.
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), AllowInfNan(False)]
Flag = Annotated[bool, Strict()]
#: Numbers as base64, by `diffatlas.formats.wire`: little-endian float32, and 16-bit shares of an extent.
Floats = str
Shorts = str
#: A number that may be unknown.
Measured = float | None


class Asked:
    """What a call asks has the fields of its class, and no other."""

    __pydantic_config__ = ConfigDict(extra="forbid")


class Answer(TypedDict):
    """What a call is answered has the fields of its class, of exactly their types, and no other."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]


@dataclass(frozen=True, kw_only=True)
class Nothing(Asked):
    """Nothing needs to be said."""


@dataclass(frozen=True, kw_only=True)
class One(Asked):
    """One run, study or the like."""

    id: str


@dataclass(frozen=True, kw_only=True)
class Several(Asked):
    """Several runs."""

    ids: list[str]


@dataclass(frozen=True, kw_only=True)
class Pair(Asked):
    """Two runs."""

    a: str
    b: str


@dataclass(frozen=True, kw_only=True)
class JobAsked(Asked):
    """Work that goes on."""

    job: str


class Wait(Answer):
    """What a cell waits for, and for how long from ``at`` on, where that is known (seconds, and since the epoch)."""

    message: str
    seconds: float | None
    at: float


class Problem(Answer):
    """What is wrong: a sentence, and the name of the field that is at fault."""

    message: str
    field: NotRequired[str | None]
    #: It can be asked for all the same.
    anyway: NotRequired[bool]


class Refused(Answer):
    """What any call may be answered instead."""

    error: Problem


class Empty(Answer):
    """It is done."""


class Done(Answer):
    """It is done."""

    done: bool


class File(Answer):
    """Where a file can be fetched, and what it is called."""

    url: str
    name: str


class Started(Answer):
    """Work has begun: what to ask after it by."""

    job: str


class Opened(Answer):
    """Runs that are layers now."""

    layers: list[str]


class Picture(Answer):
    """Where one of the pictures that a run was given can be fetched; None where its file is not there."""

    name: str
    width: int
    height: int
    url: str | None


class Figure(Answer):
    """A figure as ``figure.js`` draws it: Plotly's own JSON, a layout by the number of charts in a row."""

    data: list[dict[str, Any]]
    layouts: dict[str, dict[str, Any]]
    config: dict[str, Any]


#: Parts of a link: by name, what its fields say.
Query = dict[str, str]
#: What a run was made with besides the usual: name, words, entry of the glossary.
Also = list[tuple[str, str, str]]
#: By kind, the words that a model was taught.
Known = list[tuple[str, list[str]]]
