"""The events of a run as one answer that goes on until the run ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from diffatlas.backends.remote.protocol import ALIVE, BINARY, frame
from diffatlas.errors import RunNotFound
from diffatlas.serving.runs import KeptRun


class EventStream:
    """An ASGI answer: the frames of a run from the event of number ``at`` on.

    Raises `RunNotFound`, before anything is sent, where those are not kept.
    """

    kind = BINARY

    def __init__(self, run: KeptRun, at: int, alive: float) -> None:
        run.check(at)
        self._run, self._at, self._alive = run, at, alive

    def body(self, found: list[bytes], end: bytes | None) -> bytes:
        """Return what is sent of frames, and of the last one where they reach to it."""
        return b"".join(found) + (end or b"")

    def alive(self) -> bytes:
        """Return what is sent where no event comes for a while."""
        return frame(ALIVE)

    def left(self) -> None:
        """Take note that nobody listens any more, or that all was sent."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send frames as they come, until the last or until nobody listens."""
        loop, more = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            # The loop may have ended with the server.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(more.set)

        sending = asyncio.create_task(self._send(send, more))
        listening = asyncio.create_task(_until_gone(receive))
        self._run.listen(wake)
        try:
            await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._run.leave(wake)
            self.left()
            for task in (sending, listening):
                task.cancel()
                with suppress(asyncio.CancelledError, OSError):
                    await task

    async def _send(self, send: Any, more: asyncio.Event) -> None:
        headers = [(b"content-type", self.kind.encode()), (b"cache-control", b"no-store")]
        # Proxies hold an answer back until there is much of it.
        headers.append((b"x-accel-buffering", b"no"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        at, end = self._at, None
        while end is None:
            more.clear()
            try:
                found, end = self._run.frames(at)
            except RunNotFound:
                # Another connection of the same client went ahead: this one is of no use any more.
                break
            if found or end is not None:
                at += len(found)
                await send(_part(self.body(found, end)))
                continue
            try:
                await asyncio.wait_for(more.wait(), self._alive)
            except TimeoutError:
                await send(_part(self.alive()))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _part(body: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _until_gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
