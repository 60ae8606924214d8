"""One call of a page: what is asked, read into its type; what is answered, held against its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from fastapi import Response
from pydantic import TypeAdapter, ValidationError

from diffatlas.errors import InvalidParams
from diffatlas.schema_words import words
from diffatlas.ui.asked_values import asked_values, shown
from diffatlas.ui.wire.kinds import Refused

T = TypeVar("T")


class Mismatch(TypeError):
    """An answer is not what its type says: a fault of ours."""


@dataclass(frozen=True)
class Call:
    """One call that a page may make: ``asked`` is a data class, ``answered`` what pydantic takes for a type."""

    asked: type
    answered: Any

    def read(self, asked: Any) -> Any:
        """Return what is asked as an ``asked``. Raises `InvalidParams`, see `read`."""
        return read(self.asked, asked)

    def check(self, answer: Any) -> None:
        """Raise `Mismatch` unless an answer is an ``answered``, or a refusal, on its way to the browser as JSON."""
        text = answer.body if isinstance(answer, Response) else json.dumps(answer, allow_nan=False)
        refused = not isinstance(answer, Response) and list(answer) == ["error"]
        try:
            adapter(Refused if refused else self.answered).validate_json(text)
        except ValidationError as error:
            raise Mismatch(f"This is no such answer: {error}") from None


def read(kind: type[T], asked: Any) -> T:
    """Return what a page has asked as a data class.

    Raises `InvalidParams`, with the name of the field, for what is missing, unknown or of another kind; and for what
    `diffatlas.ui.asked_values.asked_values` refuses.
    """
    values = asked_values(asked)
    try:
        return adapter(kind).validate_python(values)
    except ValidationError as error:
        raise _refusal(kind, values, error) from None


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """Return pydantic's reader of a type, made when it is first needed."""
    return TypeAdapter(kind)


@cache
def schema_of(kind: Any) -> dict[str, Any]:
    """Return the JSON schema of a type."""
    return adapter(kind).json_schema()


def _refusal(kind: type, values: Mapping[str, Any], error: ValidationError) -> InvalidParams:
    """Say what is wrong with the first field that is: what it is, and what to give."""
    first = error.errors(include_url=False)[0]
    name, schema = str(first["loc"][0]), schema_of(kind)
    known = schema.get("properties", {})
    if name not in known:
        some = f"{', '.join(known)} can be given" if known else "nothing can be given"
        return InvalidParams(f"{shown(name)} means nothing here: {some}.", field=name)
    give = words(known[name], schema.get("$defs", {}))
    if name not in values:
        return InvalidParams(f"{name} is missing: give {give}.", field=name)
    what = "empty" if values[name] is None else shown(values[name])
    return InvalidParams(f"{name} is {what}: give {give}.", field=name)
