"""YAML and JSON as plain values that know the line on which each stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
#: What YAML takes a value for by itself.
_TAGS = {"null", "bool", "int", "float", "timestamp", "str", "seq", "map"}
#: Lists and objects within each other.
DEEPEST = 40


class NotRead(Exception):
    """A text is neither YAML nor JSON. line: from 1, where it is known. what: a sentence."""

    def __init__(self, what: str, line: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.line = line


def read_lines(text: str) -> tuple[Any, Any]:
    """Return the value that a text of YAML or JSON holds, and the tree in which `line_of` looks.

    Values are objects, lists, texts, numbers, true, false and null. "yes" and "no" are texts, as in JSON: answers to
    questions would be true and false otherwise. Anchors and tags are refused, so that nothing is larger than its file.

    Raises `NotRead` for what is neither.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        tree = yaml.compose(text, loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or "this is no YAML"
        raise NotRead(f"{problem}.", mark.line + 1 if mark else None) from None
    except (yaml.YAMLError, RecursionError, ValueError):
        raise NotRead("This is neither YAML nor JSON.") from None
    if tree is None:
        raise NotRead("It is empty.")
    return _value(tree, set(), 0), tree


def line_of(tree: Any, path: Sequence[str | int]) -> int:
    """Return the line, from 1, on which what is at ``path`` stands.

    Of what is missing it is that of what it is missing in.
    """
    import yaml

    at = tree
    for step in path:
        found = None
        if isinstance(at, yaml.MappingNode):
            found = next((value for key, value in at.value if key.value == step), None)
        elif isinstance(at, yaml.SequenceNode) and isinstance(step, int) and step < len(at.value):
            found = at.value[step]
        if found is None:
            break
        at = found
    return at.start_mark.line + 1


def _value(node: Any, seen: set[int], depth: int) -> Any:
    import yaml

    line = node.start_mark.line + 1
    if id(node) in seen:
        raise NotRead("what stands elsewhere is named again by an anchor: write it out.", line)
    seen.add(id(node))
    if depth > DEEPEST:
        raise NotRead("lists and objects lie too deep in each other.", line)
    if node.tag.removeprefix("tag:yaml.org,2002:") not in _TAGS:
        raise NotRead(f"{node.tag} is nothing that can be read here: leave the tag out.", line)
    if isinstance(node, yaml.ScalarNode):
        return node.value if node.style else plain_value(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_value(each, seen, depth + 1) for each in node.value]
    found: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise NotRead("the name of a field is no text.", key.start_mark.line + 1)
        if key.value in found:
            raise NotRead(f"{key.value!r} is there twice.", key.start_mark.line + 1)
        found[key.value] = _value(value, seen, depth + 1)
    return found


def plain_value(text: str) -> Any:
    """Return a scalar without quotes, as JSON would have it; what JSON has not is text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if len(text) < 40 and _WHOLE.fullmatch(text):
        return int(text)
    if len(text) < 40 and _DECIMAL.fullmatch(text):
        return float(text)
    return text
