"""Who calls a tool: the visitor, and the address at which they see the app."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffatlas.errors import InvalidParams
from diffatlas.settings import is_shared
from diffatlas.ui.visitors import COOKIE, visitor_of

#: Of callers without the cookie on a personal machine, whose library is everybody's: links of theirs open anywhere.
_OWNER = secrets.token_hex(16)


@dataclass(frozen=True)
class Caller:
    """One call. ``session``: its own name, under which it can be stopped; ``root``: the app's address, without a slash
    at its end."""

    visitor: str
    root: str
    cookies: Mapping[str, str] = field(default_factory=dict)
    session: str = field(default_factory=lambda: secrets.token_hex(16))


def caller_of(request: Any, root: str) -> Caller:
    """Return who calls. request: of Starlette. Raises `InvalidParams` for a stranger who names no library."""
    visitor = visitor_of(request, None if is_shared() else _OWNER)
    if visitor is None:
        raise InvalidParams(
            "Each visitor of this server has a library of their own: draw 32 hexadecimal digits once, and send them "
            f"with every call as the header Cookie: {COOKIE}=<the digits>."
        )
    return Caller(visitor, root, dict(request.cookies))
