"""Answers that compute: whose is next, and when one ends."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from diffatlas.stopping import ended_by, look
from diffatlas.ui import desks
from diffatlas.ui.answers import STOPPED, answered
from diffatlas.ui.gone import Gone, gone
from diffatlas.ui.turns import Turns
from diffatlas.ui.visitors import COOKIE, visitor_of


def request_of(digit):
    return SimpleNamespace(cookies={COOKIE: digit * 32}, session_hash="tab")


@pytest.fixture
def one_desk(monkeypatch):
    # What is answered here is made up.
    monkeypatch.setenv("DIFFATLAS_CHECK_ANSWERS", "0")
    long, quick = Turns(1, 2, 4, "files and measures"), Turns(1, 2, 4, "answers")
    monkeypatch.setattr(desks, "LONG", long)
    monkeypatch.setattr(desks, "QUICK", quick)
    return long


def on_thread(call, *args):
    told = []
    thread = threading.Thread(target=lambda: told.append(call(*args)))
    thread.start()
    return thread, told


def until(true):
    for _ in range(500):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to that")


def test_what_is_quick_does_not_wait_for_what_is_long(one_desk):
    go, order = threading.Event(), []
    measures = answered("measures", lambda visitor, asked: go.wait(20))
    maps = answered("word_maps", lambda visitor, asked: order.append(visitor))
    thread, _ = on_thread(measures, {"id": "a"}, request_of("1"))
    maps({"id": "a", "tokens": []}, request_of("2"))
    assert len(order) == 1
    go.set()
    thread.join(5)


def test_answers_go_round_visitors_and_have_a_limit(one_desk):
    go, order = threading.Event(), []

    def measure(visitor, asked):
        go.wait(20)
        order.append(int(asked.id))

    measures = answered("measures", measure)
    threads = []
    for n, digit in enumerate("1112"):
        threads.append(on_thread(measures, {"id": str(n)}, request_of(digit))[0])
        until(lambda n=n: sum(len(own) for own in one_desk._waiting.values()) == n)
    refused = measures({"id": "9"}, request_of("1"))["error"]["message"]
    assert refused == "You have 2 files and measures waiting already; stop one or wait."
    go.set()
    for thread in threads:
        thread.join(5)
    assert order == [0, 3, 1, 2]


def test_a_measuring_ends_where_it_is_stopped_and_others_go_on(one_desk):
    mine, yours = request_of("1"), request_of("2")

    def measure(visitor, asked):
        for _ in range(1000):
            look()
            time.sleep(0.01)
            if asked.id == "short":
                return "done"
        return "too late"

    measures = answered("measures", measure)
    thread, told = on_thread(measures, {"id": "long"}, mine)
    until(lambda: len(one_desk._at_work) == 1)
    waits, other = on_thread(measures, {"id": "short"}, yours)
    desks.stop(visitor_of(yours), "export")  # nothing of this name
    desks.stop(visitor_of(mine), "measures")
    thread.join(5)
    waits.join(5)
    assert told == [{"error": {"message": STOPPED, "field": None}}]
    assert other == ["done"]
    assert not desks._stops


def test_nothing_is_stopped_outside_of_what_ends():
    look()
    with ended_by(lambda: False):
        look()


def served(call, leave_after=None):
    """Ask through the middleware as a server would; the page leaves after so many seconds."""
    sent, found = [], []

    async def app(scope, receive, send):
        await receive()
        found.append(await asyncio.to_thread(call))
        await send({"type": "done"})

    async def run():
        left, first = asyncio.Event(), [True]

        async def receive():
            if first:
                first.pop()
                return {"type": "http.request", "body": b"{}", "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        if leave_after is not None:
            asyncio.get_running_loop().call_later(leave_after, left.set)
        scope = {"type": "http", "path": "/gradio_api/component_server", "headers": []}
        await asyncio.wait_for(Gone(app)(scope, receive, send), 20)

    # In a thread of its own: another test's browser may have a loop running here.
    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    thread.join(30)
    return found[0]


def test_a_call_knows_when_its_page_is_gone():
    assert served(lambda: gone().wait(10), leave_after=0.1) is True
    assert served(lambda: gone().wait(0.2)) is False
    assert not gone().is_set()


def test_an_answer_that_waits_or_computes_ends_with_its_page(one_desk):
    def measure(visitor, asked):
        for _ in range(2000):
            look()
            time.sleep(0.01)

    measures = answered("measures", measure)
    began = time.monotonic()
    assert "error" in served(lambda: measures({"id": "a"}, request_of("1")), leave_after=0.1)
    with one_desk.turn("somebody"):
        assert "error" in served(lambda: measures({"id": "a"}, request_of("1")), leave_after=0.1)
    assert time.monotonic() - began < 5
    assert not one_desk.ahead(one_desk.join("z"))
