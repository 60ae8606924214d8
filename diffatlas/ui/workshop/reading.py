"""A workshop as a file of YAML."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from diffatlas.bench.packs.files import path_words, said
from diffatlas.bench.packs.lines import NotRead, line_of, read_lines
from diffatlas.errors import InvalidParams, Unreadable
from diffatlas.files import read_text
from diffatlas.registry import list_models
from diffatlas.ui.workshop.plan import Workshop, faults

#: Bytes of a workshop's file.
MOST_BYTES = 200_000


def read_workshop(path: Path | str) -> Workshop:
    """Return the workshop that a file of YAML holds.

    Raises `InvalidParams` that names the line and the field of the first fault, and `Unreadable` for what is no YAML,
    too large, or not there.
    """
    path = Path(path)
    try:
        text = read_text(path, MOST_BYTES)
    except FileNotFoundError:
        raise Unreadable(f"There is no file {path}.") from None
    return parse_workshop(text, path.name)


def parse_workshop(text: str, name: str = "The workshop") -> Workshop:
    """Return the workshop that a text of YAML holds. Raises as `read_workshop`.

    name: what the text is called in errors.
    """
    try:
        value, tree = read_lines(text)
    except NotRead as error:
        where = "" if error.line is None else f"line {error.line}: "
        raise Unreadable(f"{name}: {where}{error.what}", reason=error.what.rstrip(".")) from None
    try:
        workshop = _adapter().validate_python(value)
        found = next(faults(workshop, list_models("local")), None)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # A name that is spelled wrongly is missing under the right one: say the former.
        unknown = [one for one in errors if one["type"] == "unexpected_keyword_argument"]
        found = said(value, [*unknown, *errors][0], _adapter().json_schema())
        workshop = None
    if found is not None:
        where, what = found
        raise InvalidParams(
            f"{name}, line {line_of(tree, where)}: {path_words(where)} {what.rstrip('.')}.",
            field=path_words(where),
        )
    return workshop


@cache
def _adapter() -> TypeAdapter[Workshop]:
    return TypeAdapter(Workshop)
