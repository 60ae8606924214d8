"""Files for one visitor: kept in a folder of theirs, and given to nobody else."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from collections import OrderedDict
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from diffatlas.backends.bounds import size_words
from diffatlas.errors import TooMuch
from diffatlas.settings import is_shared, settings
from diffatlas.ui.visitors import SESSION, visitor_of

_FOLDER = "visitors"
#: What is before the path of a file in a request.
_MARK = re.compile(r"file=|/file/|proxy=")
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)
_RANGE = re.compile(rb"bytes=(?:(\d{1,18})-(\d{0,18})|-\d{1,18})")
#: Bytes that a file's name may take on the usual systems, and letters of a whole path.
_LONGEST_NAME, _LONGEST_PATH = 255, 4096
#: Visitors of whose files it is remembered what they take.
REMEMBERED = 2000

_measuring = threading.Lock()
_held: OrderedDict[str, int] = OrderedDict()


def private_url(visitor: str, data: bytes, name: str) -> str:
    """Store ``data`` as a file for ``visitor`` and return its address, relative to the page.

    Another visitor who asks for the address is told that there is nothing (`PrivateFiles`). On a shared server the
    visitor's files that nobody has asked for longest go where there is no room for it.

    Raises `TooMuch` for one that is larger than all that a visitor may keep.
    """
    if is_shared():
        _make_room(visitor, len(data))
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


def _make_room(visitor: str, size: int) -> None:
    """Delete a visitor's least recently used files until so many bytes more fit in what one may keep."""
    most = settings().visitor_files
    if size > most:
        raise TooMuch(
            f"This file is larger than what is kept for one visitor ({size_words(most)}): choose fewer runs."
        )
    with _measuring:
        held = _held.get(visitor)
        # What other processes and `sweep` delete is not seen, so what is held is measured anew when it gets too much.
        if held is None or held + size > most:
            held = _measured(visitor, most - size)
        _held[visitor] = held + size
        _held.move_to_end(visitor)
        while len(_held) > REMEMBERED:
            _held.popitem(last=False)


def _measured(visitor: str, most: int) -> int:
    """Return the bytes of a visitor's files, after the least recently used have gone that were more than ``most``."""
    found = []
    for path in (_root() / visitor).glob("*/*"):
        with contextlib.suppress(OSError):
            told = path.stat()
            found.append((told.st_mtime, told.st_size, path))
    held = sum(size for _, size, _ in found)
    for _, size, path in sorted(found, key=lambda one: one[0]):
        if held <= most:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            path.parent.rmdir()
        held -= size
    return held


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
        if scope["type"] == "http":
            scope = {
                **scope,
                "headers": [each for each in scope.get("headers", ()) if not _is_broken_range(*each)],
            }
        if scope["type"] == "http" and not _may(scope):
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, send)


def is_private(path: str) -> bool:
    """Whether a path, as the server takes it, is that of a visitor's file or of a folder of them."""
    return bool(_owners(path))


def _may(scope: dict[str, Any]) -> bool:
    """Whether a request may be passed on: it asks for no file, or for one that is nobody's, or the visitor's own.

    Wherever in its path the mark of a file is, what follows is looked at: whichever the server goes by, it is seen.
    """
    path = scope["path"]
    if not _can_be_path(path):
        return False
    for mark in _MARK.finditer(path):
        rest = path[mark.end() :]
        # Another server's file under this one's address, which the browser would take for the app's own.
        if _ELSEWHERE.match(rest) or mark[0] == "proxy=":
            return False
        owners = _owners(rest)
        if any(not owner.startswith(SESSION) for owner in owners) and owners != {
            visitor_of(request_of(scope))
        }:
            return False
    return True


def _owners(path: str) -> set[str]:
    """Return whose file a path names, by where it really lies; none where it is nobody's.

    The server takes a path that does not begin with a slash from the folder where it runs (`os.path.abspath`); but what
    passes a request on to it may have taken a slash away.
    """
    found = set()
    for taken in (path, "/" + path.lstrip("/")):
        below = ""
        real = Path(os.path.realpath(os.path.abspath(taken)))
        for folder in (real, *real.parents):
            # Asked of the disk, for which VISITORS may be the same folder.
            if os.path.exists(folder) and os.path.exists(_root()) and os.path.samefile(folder, _root()):
                found.add(below)
                break
            below = folder.name
    return found


def _can_be_path(path: str) -> bool:
    """Whether a system of files can be asked for a path at all: those that it cannot are errors there, not answers."""
    try:
        parts = os.fsencode(path).split(b"/")
        path.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in path and max(map(len, parts)) <= _LONGEST_NAME and len(path) < _LONGEST_PATH


def _is_broken_range(name: bytes, value: bytes) -> bool:
    """Whether a header asks for a part of a file in a way that says nothing, which is to be passed over (RFC 9110)."""
    if name.lower() != b"range":
        return False
    found = _RANGE.fullmatch(value.strip())
    return found is None or bool(found[2] and int(found[2]) < int(found[1]))


def request_of(scope: dict[str, Any]) -> Any:
    """Return what `visitor_of` reads of an ASGI request."""
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
