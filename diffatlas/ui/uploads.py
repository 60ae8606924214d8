"""Uploads: taken from visitors of a shared server who have a page open, and only so much."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict, deque
from typing import Any

from diffatlas.backends.bounds import size_words
from diffatlas.settings import is_shared, settings
from diffatlas.ui.private_files import request_of
from diffatlas.ui.visitors import visitor_of

#: Files that one visitor may upload in `WINDOW` seconds; their bytes are for the settings. Gradio's picture editor
#: sends a dozen for each picture.
MOST = 2000
WINDOW = 86_400.0
#: Visitors whose uploads are remembered.
REMEMBERED = 2000
#: What a form adds to its file.
AROUND = 10_000
#: In what a page asks.
_SESSION = re.compile(rb'"session_hash":\s*"(\w{1,64})"')


class Uploads:
    """ASGI middleware: on a shared server it answers an upload that may not be with a sentence, and counts the others.

    Gradio takes files from everybody; here a picture is only ever given to a form, so there is a page.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._lock = threading.Lock()
        #: Of each tab that is open, by its session: how many connections keep it so, and whose it is, "" if not known.
        self._tabs: dict[str, list[Any]] = {}
        self._taken: OrderedDict[str, deque[tuple[float, int]]] = OrderedDict()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass the request on, or answer why it may not be."""
        path = scope["path"].rstrip("/") if scope["type"] == "http" else ""
        if "/heartbeat/" in path:
            await self._open(scope, receive, send)
        elif path and scope["method"] == "POST" and is_shared():
            refusal = _too_large(scope)
            if refusal is None and _brings_files(path, scope):
                refusal = self._refusal(visitor_of(request_of(scope)), _size(scope) or 0)
            if refusal is None:
                await self._app(scope, self._overhearing(scope, receive), send)
            else:
                await _answer(send, *refusal)
        else:
            await self._app(scope, receive, send)

    async def _open(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """A page keeps this request open for as long as it is there. On a first visit it comes before the cookie."""
        session = scope["path"].rstrip("/").rsplit("/", 1)[-1]
        visitor = visitor_of(request_of(scope)) or ""
        with self._lock:
            tab = self._tabs.setdefault(session, [0, visitor])
            tab[0] += 1
            tab[1] = visitor or tab[1]
        try:
            await self._app(scope, receive, send)
        finally:
            with self._lock:
                tab[0] -= 1
                if not tab[0]:
                    self._tabs.pop(session, None)

    def _overhearing(self, scope: dict[str, Any], receive: Any) -> Any:
        """Return a ``receive`` that notes whose a tab is, from what its page asks."""
        visitor = visitor_of(request_of(scope))
        if visitor is None:
            return receive

        async def heard() -> Any:
            message = await receive()
            if found := _SESSION.search(message.get("body", b"")):
                with self._lock:
                    if tab := self._tabs.get(found[1].decode()):
                        tab[1] = visitor
            return message

        return heard

    def _refusal(self, visitor: str | None, size: int) -> tuple[int, str] | None:
        """Return status and sentence for an upload that may not be; else count it and return None."""
        with self._lock:
            if visitor is None or all(whose != visitor for _, whose in self._tabs.values()):
                return (
                    403,
                    "Files are taken from the pages of this app only: open one, and choose the file there.",
                )
            own = self._taken.setdefault(visitor, deque())
            self._taken.move_to_end(visitor)
            while len(self._taken) > REMEMBERED:
                self._taken.popitem(last=False)
            while own and own[0][0] < time.monotonic() - WINDOW:
                own.popleft()
            allowed = settings().visitor_uploads
            if len(own) >= MOST or sum(bytes for _, bytes in own) + size > allowed:
                return 429, (
                    f"You have uploaded as much as one visitor may in a day ({MOST} files, {size_words(allowed)}): "
                    "take a picture from one of your runs, or come back tomorrow."
                )
            own.append((time.monotonic(), size))
        return None


def _too_large(scope: dict[str, Any]) -> tuple[int, str] | None:
    """Return status and sentence for a request, with files or without, of which too much would have to be read."""
    size, most = _size(scope), settings().upload_bytes
    if size is None and b"transfer-encoding" in dict(scope["headers"]):
        return 411, "Say how large the request is: Content-Length is missing."
    if size is not None and size > most + AROUND:
        return 413, f"This is too large: at most {size_words(most)} can be sent here."
    return None


def _brings_files(path: str, scope: dict[str, Any]) -> bool:
    """Whether a request leaves files on the disk: an upload, or a picture out of an editor of Gradio's."""
    form = dict(scope["headers"]).get(b"content-type", b"").lower().startswith(b"multipart/")
    return path.endswith("/upload") or (form and path.endswith("/component_server"))


def _size(scope: dict[str, Any]) -> int | None:
    found = dict(scope["headers"]).get(b"content-length", b"")
    return int(found) if found.isdigit() else None


async def _answer(send: Any, status: int, sentence: str) -> None:
    body = sentence.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        # What is on its way is not read.
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
