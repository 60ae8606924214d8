"""Who may ask a server: whoever has its token, and on this machine, where there is none, programs but no web pages."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from diffatlas.backends.remote.place import is_loopback, token_of
from diffatlas.errors import InvalidParams, KeyRefused
from diffatlas.serving.limits import SHORTEST_TOKEN

#: The token that this server asks for.
VARIABLE = "DIFFATLAS_TOKEN"
MAKE = 'python -c "import secrets; print(secrets.token_urlsafe())"'
#: What only a proxy, or a browser on behalf of a page, puts into a request.
_BETWEEN = ("forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip")
_BETWEEN_BEGIN = ("x-forwarded", "x-proxy", "x-scheme", "x-original")
_BROWSER = ("origin", "referer", "cookie")
_BROWSER_BEGIN = ("sec-fetch-",)


def own_token() -> SecretStr | None:
    """Return the token of the environment, None where there is none. Raises `InvalidParams` for one that cannot be."""
    token = token_of(None, VARIABLE)
    if token is not None and len(token.get_secret_value()) < SHORTEST_TOKEN:
        raise InvalidParams(
            f"{VARIABLE} is too short to keep anybody out: give it at least {SHORTEST_TOKEN} letters ({MAKE}).",
            field="token",
        )
    return token


def check_host(host: str, token: SecretStr | None) -> None:
    """Raise `InvalidParams` where a server would listen to the network and ask for no token."""
    if token is None and not is_loopback(host):
        raise InvalidParams(
            f"Whoever reaches {host} could run models here: set {VARIABLE} to a token ({MAKE}), or listen on "
            "127.0.0.1.",
            field="host",
        )


def check_access(scope: Mapping[str, Any], token: SecretStr | None, open_here: bool) -> None:
    """Raise `KeyRefused` for a request of somebody who may not ask.

    scope: of ASGI. open_here: whether programs of this machine may ask without a token where there is none.
    """
    headers = {name.decode("latin-1").lower(): value for name, value in scope.get("headers", ())}
    if token is not None:
        given = headers.get("authorization", b"")
        wanted = f"Bearer {token.get_secret_value()}".encode()
        if not hmac.compare_digest(given, wanted):
            raise KeyRefused("It asks for a token: that of its host, as “Authorization: Bearer …”.")
        return
    if not open_here or not _from_here(scope, headers):
        raise KeyRefused(
            f"It has no token, so only programs of its own machine may ask it: set {VARIABLE} there."
        )


def _from_here(scope: Mapping[str, Any], headers: Mapping[str, bytes]) -> bool:
    """Whether a program of this machine asks by this machine's own name, no proxy for others and no web page.

    A page whose name is made to lead here (DNS rebinding) asks by that name.
    """
    peer = scope.get("client")
    if not peer or not is_loopback(str(peer[0])):
        return False
    if any(
        name in _BETWEEN + _BROWSER or name.startswith(_BETWEEN_BEGIN + _BROWSER_BEGIN) for name in headers
    ):
        return False
    host = headers.get("host", b"").decode("latin-1")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return is_loopback(name)
