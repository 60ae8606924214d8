"""Whether who calls a tool has signed in, where the app asks for a name and a password."""

from __future__ import annotations

import base64
import binascii
import hmac
import inspect
from typing import Any

from starlette.requests import Request


async def signed_in(scope: dict[str, Any]) -> bool:
    """Return whether a request may be answered: the app lets everybody in, or the caller has signed in.

    That is by the cookies that Gradio's page of signing in sets, or by name and password as basic authorization.
    """
    app, request = scope["app"], Request(scope)
    if app.auth_dependency is not None:
        user = app.auth_dependency(request)
        return (await user if inspect.isawaitable(user) else user) is not None
    if app.auth is None:
        return True
    cookies = [f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}"]
    if any(app.tokens.get(request.cookies.get(name)) is not None for name in cookies):
        return True
    given = _basic(request.headers.get("authorization", ""))
    if given is None:
        return False
    name, password = given
    if callable(app.auth):
        found = app.auth(name, password)
        return bool(await found if inspect.isawaitable(found) else found)
    return name in app.auth and hmac.compare_digest(password.encode(), app.auth[name].encode())


def _basic(header: str) -> tuple[str, str] | None:
    """Return name and password of a header of basic authorization; None where it is none."""
    kind, _, text = header.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, password) if colon else None
