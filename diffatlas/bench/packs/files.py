"""A pack as a file of YAML or JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from diffatlas.bench.packs.lines import NotRead, line_of, plain_value, read_lines
from diffatlas.bench.tasks import Pack, faults
from diffatlas.errors import InvalidParams, Unreadable
from diffatlas.files import read_text
from diffatlas.schema_words import words

#: Bytes of a pack's file.
MOST_BYTES = 32_000_000


def read_pack(path: Path | str) -> Pack:
    """Return the pack that a file of YAML or JSON holds.

    Raises `InvalidParams` that names the line and the field of the first fault, `Unreadable` for what is no YAML or
    JSON or too large, FileNotFoundError where there is no such file.
    """
    path = Path(path)
    return parse_pack(read_text(path, MOST_BYTES), path.name)


@dataclass(frozen=True)
class Fault:
    """The first thing that is wrong with a text that is to be a pack.

    line: from 1; None where it is nowhere in particular. field: as `path_words` has it, empty where the text is neither
    YAML nor JSON. what: a sentence, to which the field is the beginning where there is one.
    """

    line: int | None
    field: str
    what: str

    @property
    def sentence(self) -> str:
        """The fault without its line."""
        return f"{self.field} {self.what}." if self.field else self.what


def parse_pack(text: str, name: str = "The pack") -> Pack:
    """Return the pack that a text of YAML or JSON holds.

    name: what the text is called in errors. Raises as `read_pack`.
    """
    found = pack_or_fault(text)
    if isinstance(found, Pack):
        return found
    if found.field:
        raise InvalidParams(f"{name}, line {found.line}: {found.sentence}", field=found.field)
    reason = found.what if found.line is None else f"line {found.line}: {found.what}"
    raise Unreadable(f"{name}: {reason}", reason=reason.rstrip("."))


def pack_or_fault(text: str) -> Pack | Fault:
    """Return the pack that a text of YAML or JSON holds, or the first fault of it."""
    try:
        value, tree = read_lines(text)
    except NotRead as error:
        return Fault(error.line, "", error.what)
    try:
        pack = adapter().validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A name that is spelled wrongly is missing under the right one: say the former.
        unknown = [one for one in found if one["type"] == "unexpected_keyword_argument"]
        where, what = said(value, [*unknown, *found][0], adapter().json_schema(by_alias=True))
        return Fault(line_of(tree, where), path_words(where), what)
    for place, what in faults(pack):
        return Fault(line_of(tree, place), path_words(place), what)
    return pack


def pack_text(pack: Pack, kind: str = "yaml") -> str:
    """Return a pack as a text of "yaml" or "json", without what is as it would be anyway."""
    value = plain(pack)
    if kind == "json":
        return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    return yaml_text(value)


def plain(part: Any) -> Any:
    """Return a pack or a part of one as plain values, by the names that files use, without what is so anyway."""
    if isinstance(part, tuple):
        return [plain(one) for one in part]
    if not dataclasses.is_dataclass(part):
        return part
    found = {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if value != field.default or field.name in ("format", "count"):
            found["class" if field.name == "noun" else field.name] = plain(value)
    return found


def yaml_text(value: Any) -> str:
    """Return plain values as YAML, a line to each field, that reads back as it was with every reader."""
    import yaml

    return yaml.dump(value, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=110)


def pack_schema() -> dict[str, Any]:
    """Return the JSON schema of a pack (draft 2020-12)."""
    schema = adapter().json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


@cache
def adapter() -> TypeAdapter[Pack]:
    """Return pydantic's reader of a pack."""
    return TypeAdapter(Pack)


def path_words(where: Sequence[str | int]) -> str:
    """Return a place in a pack as one writes it: ``tasks[3].include[0].count``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)
    return text.removeprefix(".") or "The whole"


def said(value: Any, error: Any, schema: dict[str, Any]) -> tuple[list[str | int], str]:
    """Where a fault is, and what is wrong there and what to give, from what pydantic found.

    value: what was read. error: the first of pydantic's. schema: the JSON schema of what it was to be.
    """
    where = [step for step in error["loc"] if not (isinstance(step, str) and "[" in step)]
    named, at, holder = schema.get("$defs", {}), schema, schema
    for step in where:
        holder = at = _meant(at, named)
        at = at.get("properties", {}).get(step, {}) if isinstance(step, str) else at.get("items", {})
        if not at and isinstance(step, int) and (items := holder.get("prefixItems")):
            at = items[min(step, len(items) - 1)]
    if error["type"] == "missing":
        return where, f"is missing: give {words(at, named)}"
    if error["type"] == "unexpected_keyword_argument":
        known = ", ".join(_meant(holder, named).get("properties", {}))
        return where, f"means nothing here: there are {known}"
    found = value
    for step in where:
        found = found[step]
    shown = json.dumps(found, ensure_ascii=False, default=str)
    return where, f"is {shown if len(shown) < 60 else shown[:57] + '…'}: give {words(at, named)}"


def _meant(schema: dict[str, Any], named: dict[str, Any]) -> dict[str, Any]:
    """The schema itself, past references and what may be null."""
    if "anyOf" in schema:
        schema = next(one for one in schema["anyOf"] if one.get("type") != "null")
    return named[schema["$ref"].rsplit("/", 1)[-1]] if "$ref" in schema else schema


@cache
def _dumper() -> Any:
    """A writer of YAML by whose files every reader of YAML 1.1 and 1.2 has the same texts."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        # YAML 1.1 has yes, no, on and off for true and false, and PyYAML quotes those by itself; but it takes 1e5 for
        # text, which YAML 1.2 and `read_lines` take for a number.
        style = None if plain_value(value) is value else "'"
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)

    Dumper.add_representer(str, text)
    return Dumper
