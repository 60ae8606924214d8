"""Who is asking: one secret cookie per browser, of which only a hash is ever kept."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Any

#: Set by the page: 128 random bits.
COOKIE = "diffatlas_visitor"
#: What the names of visitors without the cookie begin with.
SESSION = "session-"
_SECRET = re.compile(r"[0-9a-f]{32}")

_without_cookie: str | None = None


def one_without_cookie(wanted: bool) -> None:
    """Take all who come without the cookie for one visitor, or no longer.

    For a notebook: a browser keeps no cookie of a page in a frame on another site, and notebooks are often at
    ``localhost``, which is another site than 127.0.0.1.
    """
    global _without_cookie
    _without_cookie = SESSION + secrets.token_hex(12) if wanted else None


def visitor_of(request: Any, session: str | None = None) -> str | None:
    """Return a name for the visitor, safe as a file name; None where there is neither cookie nor session.

    request: Gradio's or FastAPI's request. session: what to go by where there is no cookie (a script).
    """
    secret = str(_cookies(request).get(COOKIE, ""))
    if _SECRET.fullmatch(secret):
        return hashlib.sha256(secret.encode()).hexdigest()[:32]
    if _without_cookie is not None:
        return _without_cookie
    return SESSION + hashlib.sha256(session.encode()).hexdigest()[:24] if session else None


def _cookies(request: Any) -> dict[str, Any]:
    inner = getattr(request, "request", None) or request
    cookies = getattr(inner, "cookies", None) or {}
    return dict(cookies.items())
