"""The JSON schema of a static folder (``schema.json``, draft 2020-12), and what a folder's JSON has against it."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

#: Errors that are told at most.
MOST_ERRORS = 100
#: Characters of a value that is told.
_SHOWN = 40
_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a text",
}


@functools.cache
def schema() -> dict[str, Any]:
    """Return the schema of a folder: an object of its JSON files by name."""
    return json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))


def errors_of(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (file, what is wrong) for everything in a folder's JSON that its schema does not allow.

    data: what each JSON file of the folder holds, by the file's name. What is wrong begins with the path in the JSON:
    "layers[2].id is missing", "steps is "5", not a whole number".
    """
    found = islice(_validator().iter_errors(dict(data)), MOST_ERRORS)
    return [_told(error) for error in found]


def _told(error: ValidationError) -> tuple[str, str]:
    path = list(error.absolute_path)
    if error.validator == "required":
        # One error for each name that is missing; the message begins with it.
        path.append(error.message.removesuffix(" is a required property")[1:-1])
        what = "is missing"
    else:
        what = _clause(error.validator, error.validator_value, error.instance)
    file, *inner = path or ["folder"]
    return str(file), f"{_spelled(inner)} {what}"


def _clause(rule: str, wanted: Any, value: Any) -> str:
    if rule == "type":
        names = [wanted] if isinstance(wanted, str) else wanted
        told = f"not {' or '.join(_TYPES[name] for name in names)}"
    elif rule == "enum":
        told = f"none of {', '.join(map(str, wanted))}"
    elif rule == "const":
        told = f"not {wanted}"
    elif rule == "pattern":
        told = "not a version that is known here, 1.0.0"
    elif rule == "minimum":
        told = f"less than {wanted}"
    elif rule in ("minItems", "maxItems", "minLength"):
        return f"has {len(value)} entries, {'less' if rule != 'maxItems' else 'more'} than {wanted}"
    else:
        told = "not what it must be"
    return f"is {_shown(value)}, {told}"


def _shown(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _spelled(path: list[Any]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{ascii(str(part)[:60])[1:-1]}"
    return text.removeprefix(".") or "it"


@functools.cache
def _validator() -> Validator:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    ordinary = Draft202012Validator.VALIDATORS

    def items(validator: Validator, inner: Any, value: Any, rule: Any) -> Iterator[ValidationError]:
        if inner.keys() == {"type"} and isinstance(value, list):
            yield from _of_type(validator, inner, enumerate(value))
        else:
            yield from ordinary["items"](validator, inner, value, rule)

    def additional(validator: Validator, inner: Any, value: Any, rule: Any) -> Iterator[ValidationError]:
        if inner.keys() == {"type"} and "properties" not in rule and isinstance(value, dict):
            yield from _of_type(validator, inner, value.items())
        else:
            yield from ordinary["additionalProperties"](validator, inner, value, rule)

    # Long lists of numbers are most of a folder's JSON: their types are looked at without a walk into each.
    return extend(Draft202012Validator, {"items": items, "additionalProperties": additional})(schema())


def _of_type(validator: Validator, inner: Any, entries: Any) -> Iterator[ValidationError]:
    wanted = [inner["type"]] if isinstance(inner["type"], str) else inner["type"]
    for place, value in entries:
        if not any(validator.is_type(value, name) for name in wanted):
            yield from validator.descend(value, inner, path=place)
