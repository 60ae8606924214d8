"""Files for one visitor: kept in a folder of theirs, and given to nobody else."""

from __future__ import annotations

import hashlib
import os
import time
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from diffatlas.ui.visitors import SESSION, visitor_of

_FOLDER = "visitors"


def private_url(visitor: str, data: bytes, name: str) -> str:
    """Store ``data`` as a file for ``visitor`` and return its address, relative to the page.

    Another visitor who asks for the address is told that there is nothing (`PrivateFiles`).
    """
    folder = _root() / visitor / hashlib.sha256(data).hexdigest()
    path = folder / name
    if path.is_file():
        path.touch()  # it is in use: `sweep` goes by this
    else:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{name}.{os.getpid()}.tmp"
        temporary.write_bytes(data)
        temporary.replace(path)
    return f"gradio_api/file={path}"


def sweep(seconds: float) -> None:
    """Delete the files of all visitors that nobody has asked for in so many seconds, and the folders left empty."""
    for path in sorted(_root().rglob("*"), reverse=True):
        try:
            if path.is_dir():
                path.rmdir()
            elif time.time() - path.stat().st_mtime > seconds:
                path.unlink()
        except OSError:
            continue  # a folder with files in it, or one that is gone already


class PrivateFiles:
    """ASGI middleware: a private file answers 404 to everybody but its visitor.

    Visitors without a cookie (scripts) are named by an unguessable hash of their session, which is then their key.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass the request on, or answer that there is nothing."""
        if scope["type"] == "http" and not _may(scope):
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, send)


def _may(scope: dict[str, Any]) -> bool:
    owner = _owner(scope["path"])
    return owner is None or owner.startswith(SESSION) or owner == visitor_of(_request(scope))


def _owner(path: str) -> str | None:
    """Return whose file a request's path names, by where it really lies; None where it is nobody's."""
    for mark in ("file=", "/file/"):
        if mark in path:
            real = Path(os.path.realpath("/" + path.split(mark, 1)[1].lstrip("/")))
            root = Path(os.path.realpath(_root()))
            if real.is_relative_to(root) and real != root:
                return real.relative_to(root).parts[0]
    return None


def _request(scope: dict[str, Any]) -> Any:
    cookies: dict[str, str] = {}
    for name, value in scope.get("headers", ()):
        if name == b"cookie":
            try:
                cookies.update(
                    {k: morsel.value for k, morsel in SimpleCookie(value.decode("latin-1")).items()}
                )
            except CookieError:
                continue
    return SimpleNamespace(cookies=cookies)


def _root() -> Path:
    from gradio.utils import get_upload_folder

    return Path(get_upload_folder()) / _FOLDER
