"""Whether the page that asked is still there."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from contextvars import ContextVar
from typing import Any

#: When a page has last asked something.
last_asked = [time.monotonic()]

_gone: ContextVar[threading.Event | None] = ContextVar("gone", default=None)


def gone() -> threading.Event:
    """Return what is set when the connection closes over which this call was asked; never, for a call of our own."""
    return _gone.get() or threading.Event()


class Gone:
    """ASGI middleware: lets the functions that the pages call know, by `gone`, when nobody waits for the answer."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass the request on, and listen for the end of its connection once its body is read."""
        if scope["type"] != "http" or not scope["path"].rstrip("/").endswith("/component_server"):
            await self._app(scope, receive, send)
            return
        last_asked[0] = time.monotonic()
        signal, ended = threading.Event(), asyncio.Event()
        listening: list[asyncio.Task[None]] = []

        async def listen() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            signal.set()
            ended.set()

        async def heard() -> dict[str, Any]:
            if listening:
                await ended.wait()
                return {"type": "http.disconnect"}
            message = await receive()
            if message["type"] == "http.disconnect":
                signal.set()
            elif not message.get("more_body"):
                listening.append(asyncio.create_task(listen()))
            return message

        token = _gone.set(signal)
        try:
            await self._app(scope, heard, send)
        finally:
            _gone.reset(token)
            for task in listening:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
