"""What a server of runs refuses, over real HTTP, and what it goes on doing meanwhile."""

from __future__ import annotations

import json
import socket
import threading
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from diffatlas import Capture, GenerationParams, Lora
from diffatlas.backends import open_backend, wire
from diffatlas.backends.listed import AMOUNTS
from diffatlas.backends.remote.protocol import Frames, answer_of
from diffatlas.errors import InvalidParams, RunNotFound
from diffatlas.events import Step, Waiting
from diffatlas.serving import app as serving
from diffatlas.serving.limits import Limits
from diffatlas.serving.runs import KeptRun
from diffatlas.ui.components import picture_field
from tests.backends.remote.wires import TOKEN, served

PARAMS = GenerationParams(prompt="a red circle", num_inference_steps=2)
GOOD = wire.asked_to_bytes(wire.asked_of(PARAMS, None))
ID = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def server():
    with served() as server:
        yield server


def connected(server):
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port))


def altered(**rest):
    plain = {"version": wire.VERSION, "cells": [{"prompt": "x"}], "capture": {}, "batch": False} | rest
    return save({}, metadata={"request": json.dumps(plain)})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "runs", b"", 422, "invalid_params"),
        ("POST", "runs", b"\x80\x04\x95" * 400, 422, "invalid_params"),
        ("POST", "runs", altered(version=99), 422, "capability"),
        ("POST", "runs", altered(cells=[{"prompt": "x", "seed": -1}]), 422, "invalid_params"),
        (
            "POST",
            "runs",
            altered(cells=[{"prompt": "x"}, {"prompt": "y"}], batch=True),
            422,
            "invalid_params",
        ),
        ("POST", "runs?id=../../etc/passwd", GOOD, 422, "invalid_params"),
        ("POST", "runs?id=short", GOOD, 422, "invalid_params"),
        ("POST", "resolve", altered(cells=[{"prompt": "x", "scheduler": "none"}]), 422, "scheduler_mismatch"),
        ("POST", "identity", altered(cells=[{"prompt": "x", "model": "none"}]), 422, "unknown_model"),
        ("POST", "estimate", b"{}", 422, "invalid_params"),
        ("POST", "model", b"[]", 422, "invalid_params"),
        ("POST", "model", b"[" * 90_000, 422, "invalid_params"),
        ("POST", "model", b'{"model": 3}', 422, "invalid_params"),
        ("POST", "model", b" " * 200_000, 422, "over_bound"),
        ("GET", f"runs/{ID}/events", b"", 404, "run_not_found"),
        ("GET", f"runs/{ID}/events?from=-1", b"", 422, "invalid_params"),
        ("GET", f"runs/{ID}/events?from=1e9", b"", 422, "invalid_params"),
        ("POST", f"runs/{ID}/wanted", b"", 404, "run_not_found"),
        ("GET", "nothing", b"", 404, "invalid_params"),
        ("GET", "../../settings", b"", 404, "invalid_params"),
        ("PUT", "info", b"", 405, "invalid_params"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(server, method, path, body, status, code):
    answer = httpx.request(method, f"{server.url}/atlas/v1/{path}", content=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["atlas-protocol"] == "1"
    assert answer.json()["message"].endswith(".")
    assert server.serving.runs.counts == (0, 0)


def test_a_body_is_read_up_to_its_bound_whatever_it_announces(server, monkeypatch):
    monkeypatch.setattr(serving, "MOST_JSON", 1000)
    url = f"{server.url}/atlas/v1/model"
    answer = httpx.post(url, content=(b" " * 100 for _ in range(50)))
    assert answer.json()["code"] == "over_bound"
    with connected(server) as wire_end:
        wire_end.sendall(
            b"POST /atlas/v1/model HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n"
        )
        assert b"422" in wire_end.recv(4096)
    assert httpx.get(f"{server.url}/atlas/v1/info").status_code == 200


def test_a_body_that_does_not_come_holds_nobody_up():
    with served(Limits(body=0.2, bodies=1)) as server, connected(server) as wire_end:
        wire_end.sendall(b"POST /atlas/v1/model HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{")
        assert open_backend("remote", url=server.url).info("shapes").width == 64
        assert b"did not arrive in time" in wire_end.recv(4096)


def test_a_run_is_begun_once_and_is_its_clients():
    with served() as server:
        url, mine = f"{server.url}/atlas/v1/runs?id={ID}", {"Atlas-Client": "a-client-of-mine"}
        first = httpx.post(url, content=GOOD, headers=mine)
        again = httpx.post(url, content=GOOD, headers=mine)
        assert (first.status_code, again.json()) == (201, {"run": ID})
        assert httpx.post(url, content=GOOD, headers={"Atlas-Client": "another-client"}).status_code == 404
        frames = httpx.get(f"{server.url}/atlas/v1/runs/{ID}/events").content
        kinds = [kind for kind, _ in Frames().take(frames)]
        assert kinds == [0] * 5 + [3]
        httpx.delete(f"{server.url}/atlas/v1/runs/{ID}")
        assert server.serving.runs.counts == (0, 0)


def test_events_are_kept_for_a_while_after_the_end_and_no_longer():
    with served(Limits(kept=0.5)) as server:
        httpx.post(f"{server.url}/atlas/v1/runs?id={ID}", content=GOOD)
        url = f"{server.url}/atlas/v1/runs/{ID}/events"
        assert httpx.get(url).content == httpx.get(url).content
        assert server.serving.runs.counts[1] > 1000
        threading.Event().wait(0.6)
        assert httpx.get(url).json()["code"] == "run_not_found"
        assert server.serving.runs.counts == (0, 0)


def step(index):
    return Step(index, 1.0, 1.0, latents=np.full((1, 4, 50, 50), index, np.float32))


def indices(frames):
    return [wire.answer_from_bytes(answer_of(*next(Frames().take(one))))[1].index for one in frames]


def test_what_nobody_collected_is_never_dropped_and_the_rest_within_a_bound():
    run = KeptRun(ID, "x", False, Limits(run_bytes=100_000))
    for index in range(3):  # of 40 kB each
        run.put(0, step(index))
    found, end = run.frames(0)
    assert (indices(found), end) == ([0, 1, 2], None)
    for index in (3, 4):
        run.put(0, step(index))
    with pytest.raises(RunNotFound, match="no longer kept"):
        run.frames(0)
    assert indices(run.frames(3)[0]) == [3, 4]
    with pytest.raises(RunNotFound):
        run.check(6)
    run.end(None)
    assert run.frames(5) == ([], b"\0\0\0\0\x03")


def test_a_run_waits_for_who_collects_it_and_is_given_up_where_nobody_does():
    run = KeptRun(ID, "x", False, Limits(run_bytes=50_000, stalled=30.0))
    for index in range(2):
        run.put(0, step(index))
    waiting = threading.Thread(target=run.put, args=(0, step(2)))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    assert indices(run.frames(0)[0]) == [0, 1]
    waiting.join(5)
    assert indices(run.frames(2)[0]) == [2]

    run = KeptRun(ID, "x", False, Limits(run_bytes=50_000, stalled=0.2))
    for index in range(3):
        run.put(0, step(index))
    assert run.ending.is_set()
    assert run.ending.gone


@pytest.fixture(scope="module")
def shared():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFATLAS_TOKEN", TOKEN)
        patch.setenv("DIFFATLAS_MODE", "shared")
        patch.setenv("DIFFATLAS_MOST_SECONDS", "20")
        with served() as server:
            yield open_backend("remote", url=server.url, token=TOKEN)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "models/shapes"}, "choose one of its models"),
        ({"model": "somebody/a-model"}, "choose one of its models"),
        ({"loras": (Lora("/etc/style.safetensors"),)}, "cannot have LoRAs"),
        ({"extra": {"ip_adapter_image": "/etc/passwd"}}, "cannot have further arguments"),
        ({"revision": "main"}, "cannot have a revision"),
    ],
)
def test_a_shared_server_runs_the_models_of_its_list_as_they_are(shared, changes, words):
    params = PARAMS.replace(**changes)
    for asked in (shared.resolve, shared.identity, shared.estimate):
        with pytest.raises(InvalidParams, match=words):
            asked(params)
    (failed,) = shared.trace(params)
    assert words in failed.message
    if "model" in changes:
        with pytest.raises(InvalidParams, match=words):
            shared.info(params.model)


def test_a_shared_server_has_its_bounds(shared):
    assert [e.kind for e in shared.trace(PARAMS) if not isinstance(e, Waiting)][-1] == "finished"
    (failed,) = shared.trace(PARAMS.replace(width=2048, height=2048, num_inference_steps=900), Capture())
    assert failed.code == "over_bound"


def test_a_shared_server_asks_for_a_token_on_its_own_machine_too(monkeypatch):
    monkeypatch.setenv("DIFFATLAS_MODE", "shared")
    with served() as server:
        assert httpx.get(f"{server.url}/atlas/v1/info").status_code == 401


def test_the_amounts_of_a_picture_are_those_of_the_form():
    assert set(AMOUNTS) == set(picture_field.AMOUNTS)
