"""Values of a provider's answer, each checked for its type: what is none of it is left out."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable, Mapping
from typing import Any

from diffatlas.errors import BadDownload

#: Characters of a text, and entries of a table, that are kept.
MOST_CHARACTERS = 200
MOST_ENTRIES = 20


def picture_in(value: Any, label: str) -> bytes | None:
    """Return the file of a picture that is written in base64, or as a ``data:`` URL; None where ``value`` is no text.

    label: the provider's name. Raises `BadDownload` where the text is not whole.
    """
    if not isinstance(value, str) or not value:
        return None
    if value.startswith("data:"):
        value = value.partition(",")[2]
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise BadDownload(f"{label} sent a picture that is not whole: try again.") from None


def address_in(value: Any) -> str | None:
    """Return the address of a picture, or None where ``value`` is none."""
    return value if isinstance(value, str) and value.startswith(("https://", "http://")) else None


def text_in(value: Any) -> str:
    """Return a text, such as the id of a request, cut; "" where ``value`` is none."""
    return value[:MOST_CHARACTERS] if isinstance(value, str) else ""


def whole_in(value: Any) -> int | None:
    """Return a whole number, such as a seed, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def told_in(body: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return those fields of an answer that are short texts, numbers, flags, or tables or lists of these."""
    found = {name: _plain(body[name]) for name in names if name in body}
    return {name: value for name, value in found.items() if value is not None}


def _plain(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return value[:MOST_CHARACTERS] or None
    if isinstance(value, bool) or (isinstance(value, (int, float)) and math.isfinite(value)):
        return value
    if depth:
        return None
    if isinstance(value, list):
        return [one for item in value[:MOST_ENTRIES] if (one := _plain(item, 1)) is not None] or None
    if isinstance(value, dict):
        pairs = ((str(key)[:60], _plain(item, 1)) for key, item in list(value.items())[:MOST_ENTRIES])
        return {key: item for key, item in pairs if item is not None} or None
    return None
