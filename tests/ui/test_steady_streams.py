"""The stream of a tab's events: it ends when nothing is on its way any more, and no event is answered unheard."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from diffatlas.ui import steady_streams
from diffatlas.ui.steady_streams import SteadyStreams

END = b'data: {"msg":"close_stream","event_id":null}\n\n'
DATA = {
    "type": "http",
    "path": "/gradio_api/queue/data",
    "query_string": b"session_hash=mine",
    "method": "GET",
}
JOIN = {"type": "http", "path": "/gradio_api/queue/join", "query_string": b"", "method": "POST"}


class Server:
    """Streams that end as Gradio's do; ``pending`` are the events of the tab "mine"."""

    def __init__(self, streams: list[list[bytes]]) -> None:
        self.streams = streams
        self.opened = 0
        self.events: dict[str, set[str]] = {}
        queue = SimpleNamespace(pending_event_ids_session=self.events)
        self.scope = {"app": SimpleNamespace(get_blocks=lambda: SimpleNamespace(_queue=queue))}

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"].endswith("join"):
            self.asked = json.loads((await receive())["body"])
            parts = [b"{}"]
        else:
            parts = self.streams[self.opened]
            self.opened += 1
            self.events.clear()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def run(work: Any) -> Any:
    """Run it on a thread of its own: a browser's test may have left a loop on this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def ask(streams: SteadyStreams, server: Server, scope: dict[str, Any], body: bytes = b"") -> list[Any]:
    """Return what is sent, and when."""
    sent = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append((time.monotonic(), message))

    await streams({**scope, **server.scope}, receive, send)
    assert [message["type"] for _, message in sent].count("http.response.start") == 1
    assert [message.get("more_body") for _, message in sent if "body" in message][-1] is False
    return sent


def text_of(sent: list[Any]) -> bytes:
    return b"".join(message.get("body", b"") for _, message in sent)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady_streams, "HELD", 0.3)
    monkeypatch.setattr(steady_streams, "HEARD", 0.3)
    monkeypatch.setattr(steady_streams, "LOOK", 0.01)


def test_a_stream_goes_on_with_an_event_that_came_as_it_would_have_ended() -> None:
    server = Server([[b"data: 1\n\n", END], [b"data: 2\n\n", END]])

    async def both() -> list[Any]:
        listening = asyncio.create_task(ask(SteadyStreams(server), server, DATA))
        await asyncio.sleep(0.1)
        server.events["mine"] = {"another"}
        return await listening

    assert text_of(run(both())) == b"data: 1\n\ndata: 2\n\n" + END
    assert server.opened == 2


def test_a_stream_ends_when_nothing_comes() -> None:
    server = Server([[b"data: 1\n\n", END]])
    server.events["another tab"] = {"event"}
    sent = run(ask(SteadyStreams(server), server, DATA))
    assert text_of(sent) == b"data: 1\n\n" + END
    assert sent[-1][0] - sent[0][0] >= 0.3


def test_what_looks_like_the_end_within_a_value_is_sent_on() -> None:
    part = b'data: {"msg":"process_generating","output":{"data":[{"msg":"close_stream"}]}}\n\n'
    assert (
        text_of(run(ask(*(lambda server: (SteadyStreams(server), server))(Server([[part]])), DATA))) == part
    )


def test_an_event_after_the_end_is_answered_once_the_page_has_heard_of_it() -> None:
    server = Server([[END]])
    streams = SteadyStreams(server)

    async def both() -> tuple[float, list[Any], list[Any]]:
        ended = (await ask(streams, server, DATA))[-1][0]
        mine = await ask(streams, server, JOIN, b'{"session_hash": "mine", "data": [1]}')
        later = await ask(streams, server, JOIN, b'{"session_hash": "mine", "data": [2]}')
        return ended, mine, later

    ended, mine, later = run(both())
    assert mine[0][0] - ended >= 0.29
    assert later[-1][0] - later[0][0] < 0.1
    assert later[0][0] - mine[-1][0] < 0.1
    assert server.asked == {"session_hash": "mine", "data": [2]}


def test_another_tab_is_answered_at_once() -> None:
    server = Server([[END]])
    streams = SteadyStreams(server)

    async def both() -> float:
        await ask(streams, server, DATA)
        began = time.monotonic()
        return (await ask(streams, server, JOIN, b'{"session_hash": "yours"}'))[0][0] - began

    assert run(both()) < 0.2
