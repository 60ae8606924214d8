"""What is to be given for a field, in words: from its JSON schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ONE = {"string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}
_MANY = {"string": "texts", "integer": "whole numbers", "number": "numbers", "array": "lists"}


def words(schema: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    """Return what a JSON schema takes, such as "a list of texts". named: the schemas that it refers to, by name."""
    schema = _meant(schema, named)
    if "anyOf" in schema:
        kinds = [one for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(words(one, named) for one in kinds))
    if "enum" in schema or "const" in schema:
        return _one_of([repr(one) for one in schema.get("enum", [schema.get("const")])])
    kind = schema.get("type")
    if kind == "array":
        return _list(schema, named)
    if kind == "object":
        return (
            f"an object with {', '.join(schema['properties'])}" if schema.get("properties") else "an object"
        )
    return _ONE.get(kind, "another value") + _bounds(schema)


def _one_of(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _meant(schema: Mapping[str, Any], named: Mapping[str, Any]) -> Mapping[str, Any]:
    return named[schema["$ref"].rsplit("/", 1)[-1]] if "$ref" in schema else schema


def _list(schema: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    if "prefixItems" in schema:
        return f"a list of {' and '.join(words(one, named) for one in schema['prefixItems'])}"
    item = _meant(schema.get("items", {}), named)
    least, most = schema.get("minItems"), schema.get("maxItems")
    count = "" if most is None else f"{least or 0} to {most} "
    what = _MANY.get(item.get("type"), "") or ("objects" if item.get("type") == "object" else "values")
    return f"a list of {count}{what}{_bounds(item)}"


def _bounds(schema: Mapping[str, Any]) -> str:
    """Say between what a number lies."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" from {low:,} to {high:,}"
    return "" if low is None else f", {low:,} or more"
