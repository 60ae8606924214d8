"""Connections that break in the middle of a run, over real HTTP through a network that cuts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from diffatlas import Capture, GenerationParams
from diffatlas.backends import open_backend
from diffatlas.backends.remote.asking import Patience
from diffatlas.events import Failed, Finished, Started, Waiting
from diffatlas.operations.trace import shared_local_backend
from diffatlas.serving.limits import Limits
from tests.backends.remote.test_remote_runs import same
from tests.backends.remote.wires import Network, served, until, watching

PARAMS = GenerationParams(prompt="a red circle", seed=7, num_inference_steps=6)
PREVIEWS = Capture(previews="every")
HASTY = Patience(first=0.02, most=0.1, lost=2.0, silent=2.0, wanted=0.1, stopping=3.0)


@pytest.fixture(scope="module")
def server():
    with served() as server:
        yield server


def test_a_run_goes_on_where_the_connection_was_cut(server):
    with Network(server.url) as network, watching() as watched:
        remote = open_backend("remote", url=network.url, patience=HASTY)
        # In the answer to the request or behind it, in the first events, later, at once, later.
        network.cuts = [700, 9_000, 50_000, 1, 60_000]
        events = list(remote.trace(PARAMS, PREVIEWS))
        made = watched.calls
        here = list(shared_local_backend().trace(PARAMS, PREVIEWS))
        assert watched.calls == 2 * made
    waits = [event for event in events if isinstance(event, Waiting)]
    assert len(waits) >= 4
    assert all("broke" in wait.message and wait.seconds is not None for wait in waits)
    same([event for event in events if not isinstance(event, Waiting)], here)


def test_a_request_whose_answer_was_lost_makes_one_run(server):
    with Network(server.url) as network, watching() as watched:
        remote = open_backend("remote", url=network.url, patience=HASTY)
        network.cuts = [3, 3]
        events = [event.kind for event in remote.trace(PARAMS)]
        assert events[:2] == ["waiting", "waiting"]
        assert events[-1] == "finished"
        made, watched.calls = watched.calls, 0
        list(shared_local_backend().trace(PARAMS))
        assert watched.calls == made


def test_a_connection_that_does_not_come_back_ends_the_run_at_both_ends():
    with served(Limits(gone=0.6)) as server, Network(server.url) as network, watching(0.05) as watched:
        remote = open_backend("remote", url=network.url, patience=HASTY)
        seen = []
        for event in remote.trace(PARAMS.replace(num_inference_steps=200)):
            seen.append(event)
            if event.kind == "step" and event.index == 1:
                network.down = True
                network.cut()
        assert isinstance(seen[-1], Failed)
        assert seen[-1].code == "network"
        assert "lost and did not come back in 2 s" in seen[-1].message
        assert until(lambda: server.serving.runs.counts[0] == 0)
        assert watched.settled() < 200


def test_one_who_comes_back_too_late_is_told_that_the_run_was_ended():
    with served(Limits(gone=0.4)) as server, Network(server.url) as network, watching(0.05):
        remote = open_backend("remote", url=network.url, patience=HASTY)
        seen = []
        for event in remote.trace(PARAMS.replace(num_inference_steps=200)):
            seen.append(event)
            if event.kind == "step" and event.index == 1:
                network.down = True
                network.cut()
            if network.down and server.serving.runs.counts[0] == 0:
                network.down = False
        assert isinstance(seen[-1], Failed)
        assert "because nobody asked for it for 0.4 s" in seen[-1].message
        assert not any(isinstance(event, Finished) for event in seen)


def test_stop_comes_back_though_the_connection_is_lost(server):
    with Network(server.url) as network, watching(0.05):
        remote = open_backend("remote", url=network.url, patience=HASTY)
        events = remote.trace(PARAMS.replace(num_inference_steps=200))
        assert isinstance(next(events), Started)
        network.down = True
        network.cut()
        began = time.monotonic()
        events.close()
        assert time.monotonic() - began < HASTY.lost
        server.serving.runs.close()
        assert until(lambda: server.serving.runs.counts[0] == 0)


def test_the_run_of_a_client_that_was_killed_is_ended():
    code = (
        "import sys\n"
        "from diffatlas import GenerationParams\n"
        "from diffatlas.backends.remote.backend import RemoteBackend\n"
        "from diffatlas.backends.remote.asking import Patience\n"
        "backend = RemoteBackend(sys.argv[1], patience=Patience(wanted=0.2))\n"
        "for event in backend.trace(GenerationParams(prompt='x', num_inference_steps=900)):\n"
        "    print(event.kind, flush=True)\n"
    )
    with served(Limits(gone=1.5)) as server, watching(0.05) as watched:
        with subprocess.Popen(
            [sys.executable, "-c", code, server.url], stdout=subprocess.PIPE, text=True
        ) as client:
            assert client.stdout.readline() == "started\n"
            for _ in range(40):  # longer than a run without a word from its client would last
                assert client.stdout.readline() == "step\n"
            os.kill(client.pid, signal.SIGKILL)
        assert until(lambda: server.serving.runs.counts[0] == 0)
        assert watched.settled() < 900
