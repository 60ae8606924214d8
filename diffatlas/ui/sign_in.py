"""Names and passwords before the whole app: HTTP Basic authentication, which browsers and programs know by themselves.

It stands before everything that the app answers, files and streams too, and leaves alone who a visitor is: that stays
the cookie of their browser. Passwords come from the environment or from a file, never from arguments, which every
process of a machine can read.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffatlas import files
from diffatlas.errors import InvalidParams, Unreadable

#: Accounts of the environment: ``name:password`` a line, or with commas between them.
VARIABLE = "DIFFATLAS_AUTH"
MOST_BYTES, MOST_ACCOUNTS = 100_000, 1000
#: Seconds before a wrong password is answered.
SLOW = 0.5
#: What Gradio asks of itself once it serves, from this machine, before anybody else can.
_STARTUP = "/gradio_api/startup-events"
_LOOPBACK = ("127.0.0.1", "::1")
_WRONG = b"This needs a name and a password: ask whoever gave you the address."


class Accounts:
    """Names with their passwords, of which only digests are held."""

    def __init__(self, passwords: Mapping[str, str]) -> None:
        self._digests = [_digest(name, password) for name, password in passwords.items()]

    def __len__(self) -> int:
        return len(self._digests)

    def __repr__(self) -> str:
        return f"Accounts of {len(self)}"

    def has(self, name: str, password: str) -> bool:
        """Whether these belong together, found out in the same time whatever they are."""
        asked = _digest(name, password)
        # All are looked at: where the search ends would say which is near.
        return sum(hmac.compare_digest(asked, one) for one in self._digests) > 0


def accounts(file: Path | str | None = None) -> Accounts | None:
    """Return the accounts of a file, ``name:password`` a line, and of the environment; None where there are none.

    Raises `InvalidParams` where they cannot be read, which never shows what is in them.
    """
    found: dict[str, str] = {}
    if file is not None:
        found |= _parsed(_file_text(Path(file)), f"The file {Path(file).name} of --auth", "\n")
    if text := os.environ.get(VARIABLE, "").strip():
        separator = "\n" if "\n" in text else ","
        found |= _parsed(text, f"The environment variable {VARIABLE}", separator)
    return Accounts(found) if found else None


class SignIn:
    """ASGI middleware: who gives no name and password of an account is asked for them, and gets nothing else."""

    def __init__(self, app: Any, accounts: Accounts) -> None:
        self._app = app
        self._accounts = accounts

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass the request on, or ask for name and password."""
        if scope["type"] == "lifespan" or _is_startup(scope):
            await self._app(scope, receive, send)
            return
        given = _given(scope)
        if given is not None and self._accounts.has(*given):
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        if given is not None:
            await asyncio.sleep(SLOW)
        headers = [
            (b"www-authenticate", b'Basic realm="Diffusion Atlas", charset="UTF-8"'),
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(_WRONG)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else _WRONG})


def _file_text(path: Path) -> str:
    try:
        return files.read_text(path, MOST_BYTES)
    except FileNotFoundError:
        # What was typed may be a password: it is not said again.
        raise InvalidParams(
            "--auth takes the name of a file with name:password a line, and there is no such file; a password itself "
            f"goes into the file or into {VARIABLE}, because all processes of a machine can read arguments.",
            field="auth",
        ) from None
    except Unreadable as error:
        raise InvalidParams(f"The file of --auth cannot be read: {error.reason}.", field="auth") from error


def _parsed(text: str, what: str, separator: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.split(separator), start=1):
        line = line.strip()
        if not line or (line.startswith("#") and separator == "\n"):
            continue
        name, mark, password = line.partition(":")
        which = f"line {number}" if separator == "\n" else f"part {number}"
        if not mark or not name.strip() or not password:
            raise InvalidParams(f"{what}, {which}: write a name, a colon and a password.", field="auth")
        if name in found:
            raise InvalidParams(f"{what}, {which}: this name is there twice.", field="auth")
        found[name] = password
    if not found:
        raise InvalidParams(f"{what} names nobody: write name:password, an account a line.", field="auth")
    if len(found) > MOST_ACCOUNTS:
        raise InvalidParams(
            f"{what} names {len(found)} accounts: at most {MOST_ACCOUNTS} can be.", field="auth"
        )
    return found


def _digest(name: str, password: str) -> bytes:
    return hashlib.sha256(f"{name}\0{password}".encode("utf-8", "surrogatepass")).digest()


def _given(scope: dict[str, Any]) -> tuple[str, str] | None:
    """Return the name and password of a request; None where it gives none that can be read."""
    header = dict(scope.get("headers", ())).get(b"authorization", b"")
    kind, _, encoded = header.partition(b" ")
    if kind.lower() != b"basic":
        return None
    try:
        name, mark, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, password) if mark else None


def _is_startup(scope: dict[str, Any]) -> bool:
    client = scope.get("client") or ("",)
    return scope["type"] == "http" and scope["path"] == _STARTUP and client[0] in _LOOPBACK
