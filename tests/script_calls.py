"""Reading the scripts of the pages for what they ask of the server and what they take from its answers.

It looks at one file at a time, at what stands in it: the names of calls, objects that are written out where something
is asked (or once before, under a name), and properties that are taken from an answer where it came. What goes through
further functions and files, and what is spread into an object, it does not follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import tree_sitter_javascript
from pydantic import ValidationError
from tree_sitter import Language, Node, Parser

from diffatlas.ui.wire.call import Call, adapter, schema_of

_PARSER = Parser(Language(tree_sitter_javascript.language()))
#: Functions that ask, by their last name: at which argument the name of the call is, and what they add to the question.
ASKING = {
    "ask": (1, ()),
    "want": (0, ()),
    "call": (0, ("lab",)),
    "run": (0, ("lab",)),
    "lastWord": (1, ()),
    "follow": (1, ("job",)),
}
#: What every value has, so that it says nothing of an answer.
_OWN = {
    "length",
    "map",
    "filter",
    "find",
    "some",
    "every",
    "includes",
    "at",
    "slice",
    "flatMap",
    "then",
    "catch",
}
_FUNCTIONS = {"function_declaration", "arrow_function", "function_expression", "method_definition", "program"}
_LITERALS = {"true": True, "false": False, "null": None}


@dataclass
class Found:
    """What was read: what is wrong, in sentences; the calls that were named; how much could be held against them."""

    wrong: list[str] = field(default_factory=list)
    named: set[str] = field(default_factory=set)
    fields: int = 0
    properties: int = 0


def read_script(source: str, calls: Mapping[str, Call], where: str = "script") -> Found:
    """Hold a script against the calls that there are. where: what it is called in a sentence."""
    found = Found()
    root = _PARSER.parse(source.encode()).root_node
    assert not root.has_error, f"{where} cannot be read"
    for node in _all(root):
        if node.type == "string" and _text(node)[1:-1] in calls:
            found.named.add(_text(node)[1:-1])
        if node.type == "call_expression":
            _Site(node, calls, f"{where}:{node.start_point[0] + 1}", found).read()
    return found


class _Site:
    """One place where something is asked."""

    def __init__(self, node: Node, calls: Mapping[str, Call], where: str, found: Found) -> None:
        self.node, self.calls, self.where, self.found = node, calls, where, found

    def read(self) -> None:
        asking = _text(self.node.child_by_field_name("function")).rsplit(".", 1)[-1]
        arguments = self.node.child_by_field_name("arguments").named_children
        at, added = ASKING.get(asking, (0, ()))
        if asking not in ASKING or len(arguments) <= at or arguments[at].type != "string":
            return
        name = _text(arguments[at])[1:-1]
        if name not in self.calls:
            self._say(f"there is no call {name}")
            return
        call = self.calls[name]
        if asking != "follow" and len(arguments) > at + 1:
            for asked in _objects(arguments[at + 1]):
                self._asked(name, call, asked, added)
        self._answer(name, schema_of(call.answered), arguments[at + 2 :] if asking == "want" else [])

    def _say(self, words: str) -> None:
        self.found.wrong.append(f"{self.where}: {words}")

    def _asked(self, name: str, call: Call, asked: Node, added: tuple[str, ...]) -> None:
        schema = schema_of(call.asked)
        given, spread, values = set(added), False, {}
        for part in asked.named_children:
            if part.type == "spread_element":
                spread = True
            elif part.type in ("pair", "shorthand_property_identifier", "method_definition"):
                key = part.child_by_field_name("key") if part.type == "pair" else part
                given.add(said := _text(key).strip("\"'"))
                self.found.fields += 1
                if said not in schema.get("properties", {}):
                    self._say(f"{name} does not ask {said}")
                elif (
                    part.type == "pair"
                    and (value := _literal(part.child_by_field_name("value"))) is not _UNKNOWN
                ):
                    values[said] = value
        missing = set(schema.get("required", ())) - given
        if missing and not spread:
            self._say(f"{name} asks {', '.join(sorted(missing))} too")
        try:
            adapter(call.asked).validate_python(values)
        except ValidationError as error:
            for field in dict.fromkeys(one["loc"][0] for one in error.errors() if one["loc"][0] in values):
                self._say(f"{name} does not ask {values[field]!r} as {field}")

    def _answer(self, name: str, schema: dict[str, Any], readers: list[Node]) -> None:
        """Look at what is taken from the answer, where it is given to something."""
        for reader in readers:
            self._parameter(name, schema, reader)
        node, awaited = self.node, False
        while (
            node.parent.type in ("await_expression", "parenthesized_expression")
            or _then(node.parent) == "catch"
        ):
            awaited |= node.parent.type == "await_expression"
            node = node.parent.parent if _then(node.parent) == "catch" else node.parent
        parent = node.parent
        if _then(parent) == "then":
            self._parameter(name, schema, parent.parent.child_by_field_name("arguments").named_children[0])
        elif parent.type == "member_expression" and awaited:
            self._chain(name, schema, parent)
        elif _then(parent) == "value" and not readers and parent.parent.type == "member_expression":
            self._chain(name, schema, parent.parent)
        elif awaited and not _text(self.node.child_by_field_name("function")).endswith((".run", "follow")):
            # What a job comes to is not what it is answered.
            target = parent.child_by_field_name("name") or parent.child_by_field_name("left")
            if parent.type in ("variable_declarator", "assignment_expression"):
                self._taken(name, schema, target, parent)

    def _parameter(self, name: str, schema: dict[str, Any], reader: Node) -> None:
        if reader.type != "arrow_function":
            return
        parameter = reader.child_by_field_name("parameter")
        parameters = [parameter] if parameter else reader.child_by_field_name("parameters").named_children
        if parameters:
            self._taken(name, schema, parameters[0], reader, reader.child_by_field_name("body"))

    def _taken(
        self, name: str, schema: dict[str, Any], target: Node, place: Node, inside: Node | None = None
    ) -> None:
        if target.type == "object_pattern":
            for part in target.named_children:
                key = part.child_by_field_name("key") or part.child_by_field_name("left") or part
                if part.type != "rest_pattern":
                    self._property(name, schema, _text(key))
        elif target.type == "identifier":
            scope = inside or _scope(place)
            for node in _all(scope):
                if node.type == "member_expression" and _text(node.child_by_field_name("object")) == _text(
                    target
                ):
                    self._chain(name, schema, node)
                value = node.child_by_field_name("value") if node.type == "variable_declarator" else None
                if value is not None and _text(value) == _text(target):
                    self._taken(name, schema, node.child_by_field_name("name"), node, _EMPTY)

    def _chain(self, name: str, schema: dict[str, Any], node: Node) -> None:
        """Follow answer.part.part, as far as the schema says what a part is."""
        part: Any = schema
        while node is not None and node.type == "member_expression":
            part = self._property(name, part, _then(node), schema)
            if part is None:
                return
            node = node.parent

    def _property(self, name: str, part: Any, said: str, root: dict[str, Any] | None = None) -> Any:
        known = _properties(part, (root or part).get("$defs", {}))
        if known is None or said in _OWN:
            return None
        self.found.properties += 1
        if said not in known:
            self._say(f"an answer to {name} has no {said}")
            return None
        return known[said]


class _Unknown:
    pass


_UNKNOWN = _Unknown()
_EMPTY = _PARSER.parse(b"").root_node


def _all(node: Node) -> Iterator[Node]:
    yield node
    for child in node.named_children:
        yield from _all(child)


def _text(node: Node | None) -> str:
    return "" if node is None else node.text.decode()


def _then(member: Node) -> str:
    return _text(member.child_by_field_name("property"))


def _scope(node: Node) -> Node:
    """The function around a node; of a variable that is declared further out, that one."""
    while node.parent is not None and node.type not in _FUNCTIONS:
        node = node.parent
    return node


def _objects(node: Node) -> Iterator[Node]:
    """The objects that an expression may be, as far as they are written out."""
    if node.type == "object":
        yield node
    elif node.type == "parenthesized_expression":
        yield from _objects(node.named_children[0])
    elif node.type == "ternary_expression":
        for name in ("consequence", "alternative"):
            yield from _objects(node.child_by_field_name(name))
    elif node.type == "binary_expression":
        yield from _objects(node.child_by_field_name("right"))
    elif node.type == "identifier":
        yield from _declared(node)


def _declared(name: Node) -> Iterator[Node]:
    """What a name was declared as, in the function around it."""
    for node in _all(_scope(name)):
        if node.type == "variable_declarator" and _text(node.child_by_field_name("name")) == _text(name):
            value = node.child_by_field_name("value")
            if value is not None and value.type != "identifier":
                yield from _objects(value)


def _literal(node: Node) -> Any:
    if node.type == "string":
        return _text(node)[1:-1]
    if node.type == "number":
        return float(_text(node)) if "." in _text(node) else int(_text(node))
    return _LITERALS.get(node.type, _UNKNOWN)


def _properties(schema: Any, named: Mapping[str, Any]) -> dict[str, Any] | None:
    """The properties that an object of a schema may have; None for anything else, and where they may be any."""
    if "$ref" in schema:
        return _properties(named[schema["$ref"].rsplit("/", 1)[-1]], named)
    if "anyOf" in schema:
        parts = [_properties(one, named) for one in schema["anyOf"] if one.get("type") != "null"]
        return (
            None if not parts or None in parts else {key: one for part in parts for key, one in part.items()}
        )
    return schema.get("properties") if schema.get("additionalProperties") is False else None
