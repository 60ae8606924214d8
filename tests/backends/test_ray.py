"""A real Ray cluster of two workers on the CPU, started once for all tests of this file."""

import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import closing

import numpy as np
import psutil
import pytest

from diffatlas.backends import open_backend, ray_cluster, wire
from diffatlas.backends.ray import RayBackend, _from_setting
from diffatlas.backends.ray_pool import misfit
from diffatlas.backends.threads import computing_with
from diffatlas.capture.spec import Capture
from diffatlas.errors import CapabilityError, InvalidParams, NetworkError, UnknownModel
from diffatlas.events import Step, Waiting, to_bytes
from diffatlas.library import Library
from diffatlas.params import GenerationParams
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.studies.run import CellStep, StudyChanged, run_study

ASKED = GenerationParams(model="shapes", prompt="a red circle", seed=7, num_inference_steps=6)
ALL = Capture(previews="every", attention="cross")
#: Seconds that a worker may take to start on a machine that is busy.
LONG = 300


@pytest.fixture(scope="module")
def local():
    """The embedded model here, computed as on a worker."""
    with computing_with(1):
        yield open_backend("local", device="cpu")


@pytest.fixture(scope="module")
def workers():
    before = set(psutil.Process().children(recursive=True))
    # As a page does, from a thread that ends: what a cluster starts lives no longer than the thread that started it.
    opened = []
    thread = threading.Thread(target=lambda: opened.append(open_backend("ray", workers=2, threads=1)))
    thread.start()
    thread.join()
    (backend,) = opened
    backend.resolve(ASKED)
    until(lambda: len(backend.counts()) == 2)
    started = set(psutil.Process().children(recursive=True)) - before
    yield backend
    started |= set(psutil.Process().children(recursive=True)) - before
    backend.close()
    assert started
    assert psutil.wait_procs(started, timeout=LONG)[1] == []


def until(true):
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def comparable(event):
    """An event as bytes, without what differs from run to run of the same request."""
    blob = to_bytes(event)
    size = 8 + int.from_bytes(blob[:8], "little")
    told = json.loads(json.loads(blob[8:size])["__metadata__"]["event"])
    told = {name: value for name, value in told.items() if name not in ("run_id", "seconds", "provenance")}
    return told, blob[size:]


def busy_pid(backend):
    return next(worker.told["pid"] for worker in backend._pool.workers if worker.busy)


def made(backend):
    """How many cells the workers that are up have made whole."""
    return sum(one["whole"] for one in backend.counts())


def test_a_run_on_a_worker_is_the_run_here_bit_for_bit(workers, local):
    there = [event for event in workers.trace(ASKED, ALL) if not isinstance(event, Waiting)]
    here = list(local.trace(ASKED, ALL))
    assert len(here) == 6 + 3
    assert [comparable(event) for event in there] == [comparable(event) for event in here]
    assert there[0].provenance["identity"] == here[0].provenance["identity"]


def test_what_is_known_without_running_is_what_is_known_here(workers, local):
    asked = ASKED.replace(prompt="another", seed=3, scheduler="euler")
    resolved = local.resolve(asked)
    assert workers.resolve(asked) == resolved
    assert workers.identity(resolved) == local.identity(resolved)
    assert workers.identity(resolved, batched=True) == local.identity(resolved, batched=True)
    assert workers.info("shapes") == local.info("shapes")
    assert workers.models()[0].id == "shapes"
    assert workers.capabilities.concurrent == 2
    assert workers.runs_on() == "2 workers on CPU"
    assert not workers.is_loaded("another")


def test_errors_keep_their_type(workers):
    with pytest.raises(UnknownModel):
        workers.resolve(ASKED.replace(model="nosuch"))
    with pytest.raises(InvalidParams) as caught:
        workers.resolve(ASKED.replace(width=61))
    assert caught.value.field == "width"
    events = [e for e in workers.trace(ASKED.replace(width=61)) if not isinstance(e, Waiting)]
    assert [(event.code, event.field) for event in events] == [("invalid_params", "width")]
    with pytest.raises(InvalidParams):
        workers.trace_batch([ASKED, ASKED.replace(prompt="another")])


@pytest.mark.parametrize("how", ["stop", "close"])
def test_a_run_ends_within_a_step_and_its_worker_is_free(workers, how):
    stop = threading.Event()
    with closing(workers.trace(ASKED.replace(num_inference_steps=900), stop=stop)) as events:
        first = next(event for event in events if isinstance(event, Step))
        assert first.index == 0
        if how == "stop":
            stop.set()
            rest = list(events)
            assert rest[-1].status == "stopped"
            assert len(rest) < 800
    assert not any(worker.busy for worker in workers._pool.workers)
    # Nothing of it runs on: the next one has its worker at once, and is whole.
    assert list(workers.trace(ASKED))[-1].status == "complete"


def test_a_study_is_dealt_out_to_the_workers_and_each_cell_is_made_once(workers, local, tmp_path):
    library = Library(tmp_path)
    before = Counter({one["pid"]: one["whole"] for one in workers.counts()})
    study = plan_sweep(ASKED, "seed", list(range(8)))
    *_, last = run_study(study, lambda name: workers, library, ALL)
    assert isinstance(last, StudyChanged)
    assert [cell.status for cell in last.study.cells] == ["complete"] * 8
    assert len(library.search(limit=None).runs) == 8
    after = Counter({one["pid"]: one["whole"] for one in workers.counts()})
    assert sorted((after - before).values()) == [4, 4]
    # A batch of these four here gives the same, bit for bit.
    batch = [cell.params for cell in last.study.cells[:4]]
    here = [event for at, event in local.trace_batch(batch, ALL) if at == 1 and isinstance(event, Step)]
    stored = library.load(last.study.cells[1].run_id)
    assert np.array_equal(stored.steps[-1].latents, here[-1].latents)


def test_a_worker_that_is_killed_midway_loses_nothing_and_nothing_is_made_twice(workers, tmp_path):
    until(lambda: len(workers.counts()) == 2)
    library = Library(tmp_path)
    asked = ASKED.replace(num_inference_steps=12)
    killed, before = None, {one["pid"]: one["whole"] for one in workers.counts()}
    study = plan_sweep(asked, "seed", list(range(8)))
    for event in run_study(study, lambda name: workers, library, ALL):
        if killed is None and isinstance(event, CellStep) and event.index == 3:
            killed = busy_pid(workers)
            os.kill(killed, signal.SIGKILL)
    assert killed is not None
    assert [cell.status for cell in event.study.cells] == ["complete"] * 8
    runs = library.search(limit=None).runs
    assert len(runs) == 8
    assert {run.status for run in runs} == {"complete"}
    # What the killed worker had begun was made by another, once.
    assert made(workers) == 8 + sum(whole for pid, whole in before.items() if pid != killed)
    for cell in event.study.cells:
        assert [step.index for step in library.load(cell.run_id).steps] == list(range(12))
    # Another worker has its place.
    until(lambda: len(workers.counts()) == 2)
    assert killed not in [one["pid"] for one in workers.counts()]


def test_a_run_whose_worker_is_killed_goes_on_after_what_had_arrived(workers, local):
    asked = ASKED.replace(num_inference_steps=16)
    events = []
    for event in workers.trace(asked, ALL):
        events.append(event)
        if isinstance(event, Step) and event.index == 5 and not any(isinstance(e, Waiting) for e in events):
            os.kill(busy_pid(workers), signal.SIGKILL)
    assert "goes on on another one" in next(e.message for e in events if isinstance(e, Waiting))
    there = [comparable(event) for event in events if not isinstance(event, Waiting)]
    assert there == [comparable(event) for event in local.trace(asked, ALL)]


def test_another_size_of_cluster_shares_the_connection_and_another_address_is_refused(workers):
    with pytest.raises(InvalidParams, match="one cluster at a time"):
        open_backend("ray", address="127.0.0.1:6379")


# Without a cluster


def test_the_setting_is_an_address_or_a_number():
    assert _from_setting(" 3 ") == (None, 3)
    assert _from_setting("auto") == ("auto", None)
    assert _from_setting("") == (None, None)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"workers": 0}, "workers"),
        ({"threads": 0}, "threads"),
        ({"gpus_per_worker": 1.5}, "gpus_per_worker"),
        ({"address": "ray://host:10001"}, "address"),
        ({"address": "host"}, "address"),
    ],
)
def test_numbers_that_cannot_be_are_refused_before_anything_starts(options, field):
    with pytest.raises(InvalidParams) as caught:
        RayBackend(**options)
    assert caught.value.field == field


def test_an_address_at_which_nothing_listens_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(NetworkError, match="No Ray cluster answers at"):
        ray_cluster.knock(address)


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    with pytest.raises(CapabilityError, match=r"diffatlas\[ray\]"):
        RayBackend(workers=1)


def test_versions_that_differ_are_one_sentence():
    versions = {"torch": "2.9", "Python": "3.12.1"}
    assert misfit({"wire": wire.VERSION, "versions": versions}, versions) is None
    newer = misfit({"wire": wire.VERSION + 1, "versions": versions}, versions)
    assert "install the same version of diffatlas at both ends" in newer.message
    other = misfit({"wire": wire.VERSION, "versions": {**versions, "torch": "2.8"}}, versions)
    assert "(torch 2.8 and 2.9)" in other.message


def test_another_version_of_ray_is_one_sentence():
    from ray._private.utils import check_version_info

    there = {"ray_version": "2.1.0", "python_version": "3.9.1"}
    with pytest.raises(RuntimeError) as caught:
        check_version_info(there, "process", raise_on_mismatch=True)
    typed = ray_cluster.typed(caught.value, "head:6379")
    assert isinstance(typed, CapabilityError)
    assert "The cluster runs Ray 2.1.0 on Python 3.9.1, and here is Ray " in typed.message
