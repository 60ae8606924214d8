"""Runs of another Atlas: bit for bit those of this one, over real HTTP."""

from __future__ import annotations

import threading
from dataclasses import fields

import numpy as np
import pytest

from diffatlas import Capture, GenerationParams, Library
from diffatlas.backends import open_backend
from diffatlas.backends.base import BatchBackend, IdentifiedBackend
from diffatlas.backends.remote.asking import Patience
from diffatlas.errors import InvalidParams, UnknownModel
from diffatlas.events import Failed, Finished, Started, Waiting
from diffatlas.operations.trace import shared_local_backend, stream_batch, trace
from diffatlas.serving.limits import Limits
from diffatlas.ui.turns import Turns
from tests.backends.remote.wires import served, watching

PARAMS = GenerationParams(prompt="a red circle and a blue square", seed=7, num_inference_steps=4)
ALL = Capture(previews="every", attention="all", attention_heads="each")
#: What tells when and under which name a run ran.
OF_THE_RUN = {"run_id", "seconds"}


@pytest.fixture(scope="module")
def server():
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def remote(server):
    backend = open_backend("remote", url=server.url)
    yield backend
    backend.close()


def plain(value):
    """Return a value with arrays as their bytes, so that it can be compared bit for bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items() if name != "started"}
    return value


def told(event):
    return {f.name: plain(getattr(event, f.name)) for f in fields(event) if f.name not in OF_THE_RUN}


def same(ours, theirs):
    assert [e.kind for e in ours] == [e.kind for e in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert told(mine) == told(other)


def test_it_says_what_the_other_can_do(remote):
    here = shared_local_backend()
    assert remote.capabilities == here.capabilities
    assert (remote.device, remote.dtype) == (here.device, here.dtype)
    assert isinstance(remote, IdentifiedBackend)
    assert isinstance(remote, BatchBackend)
    assert [entry.id for entry in remote.models()][:2] == ["shapes", "shapes-dit"]
    for model in ("shapes", "shapes-dit"):
        assert remote.info(model) == here.info(model)
        assert remote.guidance_methods(model) == here.guidance_methods(model)
        assert remote.guidance_kind(model) == here.guidance_kind(model)
        assert remote.takes_picture(model) == here.takes_picture(model)
    with pytest.raises(UnknownModel):
        remote.info("no-such-model")
    assert not remote.is_loaded("no-such-model")


def test_what_is_known_of_a_request_is_the_same(remote):
    here = shared_local_backend()
    resolved = remote.resolve(PARAMS)
    assert resolved == here.resolve(PARAMS)
    for batched in (False, True):
        assert remote.identity(resolved, batched=batched) == here.identity(resolved, batched=batched)
    list(here.trace(PARAMS))
    assert remote.estimate(resolved).own == here.estimate(resolved).own
    with pytest.raises(InvalidParams, match="ddim") as caught:
        remote.resolve(PARAMS.replace(scheduler="no-such-scheduler"))
    assert caught.value.field == "scheduler"


@pytest.mark.parametrize("packing", [False, True])
def test_a_run_is_that_of_the_other_bit_for_bit(server, packing):
    remote = open_backend("remote", url=server.url, packing=packing)
    same(list(remote.trace(PARAMS, ALL)), list(shared_local_backend().trace(PARAMS, ALL)))


def test_a_batch_is_too(remote):
    cells = [PARAMS, PARAMS.replace(seed=8, guidance_scale=2.0)]
    capture = Capture(previews=2, attention="cross")
    ours, theirs = remote.trace_batch(cells, capture), shared_local_backend().trace_batch(cells, capture)
    ours, theirs = list(ours), list(theirs)
    assert [i for i, _ in ours] == [i for i, _ in theirs]
    same([e for _, e in ours], [e for _, e in theirs])
    with pytest.raises(InvalidParams, match="differ in prompt"):
        remote.trace_batch([PARAMS, PARAMS.replace(prompt="x")])


def test_a_library_serves_a_remote_run_for_one_that_is_asked_here(remote, tmp_path):
    library = Library(tmp_path)
    made = trace(PARAMS, ALL, remote, library)
    served_run = trace(PARAMS, ALL, shared_local_backend(), library)
    assert served_run.cached_from == made.id
    assert trace(PARAMS, ALL, remote, library).cached_from == made.id
    assert len(library.list()) == 1


def test_what_is_wrong_with_a_run_arrives_as_its_failure(remote):
    (failed,) = remote.trace(PARAMS.replace(model="no-such-model"))
    (here,) = shared_local_backend().trace(PARAMS.replace(model="no-such-model"))
    assert failed == here
    cells = [PARAMS.replace(scheduler="no-such-scheduler", seed=seed) for seed in (1, 2)]
    assert [(i, e.code) for i, e in remote.trace_batch(cells)] == [
        (0, "scheduler_mismatch"),
        (1, "scheduler_mismatch"),
    ]


def test_stop_ends_the_denoiser_there_and_keeps_what_came(remote):
    stop = threading.Event()
    with watching(seconds=0.05) as watched:
        events = []
        for event in remote.trace(PARAMS.replace(num_inference_steps=100), Capture(), stop):
            events.append(event)
            if event.kind == "step" and event.index == 1:
                stop.set()
        assert [e.kind for e in events[:3]] == ["started", "step", "step"]
        assert isinstance(events[-1], Finished)
        assert events[-1].status == "stopped"
        assert watched.settled() < 30


def test_closing_the_stream_ends_the_denoiser_there(remote, server):
    with watching(seconds=0.05) as watched:
        events = remote.trace(PARAMS.replace(num_inference_steps=100))
        assert isinstance(next(events), Started)
        events.close()
        assert watched.settled() < 30
    assert server.serving.runs.counts == (0, 0)


def test_a_run_that_is_stopped_before_it_begins_costs_nothing(remote):
    stop = threading.Event()
    stop.set()
    with watching() as watched:
        assert [e.status for e in remote.trace(PARAMS, None, stop)] == ["stopped"]
        assert watched.calls == 0


def test_a_run_waits_for_its_turn_and_says_so():
    turns = Turns()
    with served(turns=turns) as server:
        remote = open_backend("remote", url=server.url)
        page = turns.join("a page")
        events, seen = remote.trace(PARAMS), []
        with watching() as watched:
            for event in events:
                seen.append(event)
                if isinstance(event, Waiting):
                    assert watched.calls == 0
                    turns.leave(page)
        assert seen[0].message.startswith("Waits there for its turn: 1 ahead")
        assert seen[-1].status == "complete"
        assert turns.counts == (0, 0)


def test_a_batch_that_waits_for_its_turn_is_recorded_as_it_runs(tmp_path):
    turns, library = Turns(), Library(tmp_path)
    with served(turns=turns) as server:
        remote = open_backend("remote", url=server.url)
        page = turns.join("a page")
        seen = []
        for position, event in stream_batch([PARAMS, PARAMS.replace(seed=8)], None, remote, library):
            seen.append((position, event.kind))
            if isinstance(event, Waiting):
                turns.leave(page)
    assert seen[0] == (0, "waiting")
    assert seen[-1] == (1, "finished")
    assert [info.status for info in library.list()] == ["complete"] * 2


def test_one_client_has_so_many_runs_at_a_time():
    with served(Limits(of_client=1)) as server, watching(seconds=0.05):
        remote = open_backend("remote", url=server.url, patience=Patience(stopping=5))
        first = remote.trace(PARAMS.replace(num_inference_steps=50))
        assert isinstance(next(first), Started)
        (refused,) = remote.trace(PARAMS)
        assert isinstance(refused, Failed)
        assert refused.code == "too_much"
        first.close()
        assert [e.kind for e in remote.trace(PARAMS)][-1] == "finished"
