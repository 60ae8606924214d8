"""Who is asking: one secret cookie per browser, of which only a hash is ever kept."""

from __future__ import annotations

import hashlib
import re
from typing import Any

#: Set by the page: 128 random bits.
COOKIE = "diffatlas_visitor"
#: What the names of visitors without the cookie begin with.
SESSION = "session-"
_SECRET = re.compile(r"[0-9a-f]{32}")


def visitor_of(request: Any, session: str | None = None) -> str | None:
    """Return a name for the visitor, safe as a file name; None where there is neither cookie nor session.

    request: Gradio's or FastAPI's request. session: what to go by where there is no cookie (a script).
    """
    secret = str(_cookies(request).get(COOKIE, ""))
    if _SECRET.fullmatch(secret):
        return hashlib.sha256(secret.encode()).hexdigest()[:32]
    return SESSION + hashlib.sha256(session.encode()).hexdigest()[:24] if session else None


def _cookies(request: Any) -> dict[str, Any]:
    inner = getattr(request, "request", None) or request
    cookies = getattr(inner, "cookies", None) or {}
    return dict(cookies.items())
