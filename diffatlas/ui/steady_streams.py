"""A tab's stream of what happens to its events, kept open while another event may be on its way.

Gradio ends the stream of a tab when none of its events is left, and the page opens it again with the next one. Where
that one was sent before the page has heard of the end, the page takes the stream for open: nobody listens, and what
was asked looks as if it never ended. So the end is held back for a while in which events may come, and the answer to an
event that came after the end is held back until the page has heard of it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from diffatlas.ui.plain_requests import again, asked_of, body_of, route_of

#: Seconds for which the end of a stream is held back, and in which a page surely hears of it once it is sent.
HELD, HEARD = 2.0, 1.0
#: Seconds between two looks at whether a tab has another event.
LOOK = 0.05
#: Tabs whose end of stream is remembered.
REMEMBERED = 2000
_END = b'data: {"msg":"close_stream"'


class SteadyStreams:
    """ASGI middleware around Gradio, below `diffatlas.ui.plain_requests.PlainRequests`, which checks what is asked.

    now: seconds on a clock that only rises.
    """

    def __init__(self, app: Any, now: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._now = now
        self._ended: OrderedDict[str, float] = OrderedDict()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass the request on."""
        route = route_of(scope) if scope["type"] == "http" else ""
        if route == "queue/data":
            await self._listen(scope, receive, send)
        elif route == "queue/join":
            body = await body_of(receive)
            session = str(asked_of(body).get("session_hash"))
            await self._app(scope, again(body, receive), self._once_heard(session, send))
        else:
            await self._app(scope, receive, send)

    async def _listen(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        session = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash", [""])[0]
        part = _Part(send)
        while True:
            await self._app(scope, receive, part.take)
            if part.end is None or not await self._has_another(scope, session):
                break
            part.end = None
        if part.end is not None:
            self._ended[session] = self._now()
            self._ended.move_to_end(session)
            while len(self._ended) > REMEMBERED:
                self._ended.popitem(last=False)
        await send({"type": "http.response.body", "body": part.end or b"", "more_body": False})

    async def _has_another(self, scope: dict[str, Any], session: str) -> bool:
        """Whether an event of the tab comes before the end of its stream has been held back for long enough."""
        pending = scope["app"].get_blocks()._queue.pending_event_ids_session
        until = self._now() + HELD
        while not pending.get(session):
            if self._now() >= until:
                return False
            await asyncio.sleep(LOOK)
        return True

    def _once_heard(self, session: str, send: Any) -> Any:
        async def told(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start" and session in self._ended:
                await asyncio.sleep(max(0.0, self._ended[session] + HEARD - self._now()))
            await send(message)

        return told


class _Part:
    """Sends what Gradio sends of a stream, in several goes as of one. ``end``: the message that would end it."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self._began = False
        self.end: bytes | None = None

    async def take(self, message: dict[str, Any]) -> None:
        """Send a message on, but for the end."""
        if message["type"] == "http.response.start":
            if not self._began:
                self._began = True
                await self._send(message)
            return
        body = message.get("body", b"")
        if body.startswith(_END):
            self.end = body
        elif body:
            await self._send({**message, "more_body": True})
