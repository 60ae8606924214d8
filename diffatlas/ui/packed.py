"""Pages and JSON are sent compressed to browsers that can take it: a room of thirty shares one network."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

#: Bytes below which it gains nothing, and above which it would hold up too much.
LEAST, MOST = 2_000, 8_000_000
LEVEL = 4
_KINDS = (b"text/html", b"application/json")


class Packed:
    """ASGI middleware: gzips answers that are text and come whole; streams and files go through as they are."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass the request on, and the answer back, smaller where that helps."""
        accepted = dict(scope.get("headers", ())).get(b"accept-encoding", b"")
        if scope["type"] != "http" or b"gzip" not in accepted or scope["method"] == "HEAD":
            await self._app(scope, receive, send)
            return
        held: dict[str, Any] | None = None

        async def packed(message: dict[str, Any]) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _is_text(message):
                held = message
                return
            if held is None:
                await send(message)
                return
            start, held = held, None
            body = message.get("body", b"")
            if not message.get("more_body", False) and LEAST <= len(body) <= MOST:
                body = await asyncio.to_thread(gzip.compress, body, LEVEL, mtime=0)
                start = _smaller(start, len(body))
                message = {**message, "body": body}
            await send(start)
            await send(message)

        await self._app(scope, receive, packed)


def _is_text(start: dict[str, Any]) -> bool:
    headers = {name.lower(): value for name, value in start.get("headers", ())}
    plain = b"content-encoding" not in headers and start["status"] == 200
    return plain and headers.get(b"content-type", b"").lower().startswith(_KINDS)


def _smaller(start: dict[str, Any], length: int) -> dict[str, Any]:
    kept = [
        (name, value) for name, value in start["headers"] if name.lower() not in (b"content-length", b"etag")
    ]
    added = [
        (b"content-encoding", b"gzip"),
        (b"content-length", str(length).encode()),
        (b"vary", b"accept-encoding"),
    ]
    return {**start, "headers": [*kept, *added]}
