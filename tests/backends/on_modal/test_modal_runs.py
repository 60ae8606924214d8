"""Runs on Modal: the same events as here, whatever happens to containers, queues and those who ask."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace

import modal
import pytest

from diffatlas import GenerationParams
from diffatlas.backends import wire
from diffatlas.backends.modal import ModalBackend
from diffatlas.backends.on_modal import follow, frames, worker
from diffatlas.capture.spec import Capture
from diffatlas.errors import InvalidParams, UnknownModel
from diffatlas.events import Failed, Finished, Started, Step, Waiting, to_bytes
from diffatlas.library import Library
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.studies.run import CellEnded, run_study
from tests.backends.on_modal.fake_modal import Killed, ProcessContainer, ThreadContainer

RED = GenerationParams(model="shapes", prompt="a red circle", seed=3, num_inference_steps=6)
LONG = RED.replace(num_inference_steps=400)


@pytest.fixture(scope="module", autouse=True)
def process(fake):
    """A container in a process of its own, started ahead: it takes seconds to import what it needs."""
    box = ProcessContainer(fake, "Gpu")
    yield box
    box.close()


def same(event):
    """An event as it is wherever it runs: without its run's id, and what it says of its place and time."""
    if isinstance(event, Started):
        keep = {"identity": event.provenance.get("identity"), "batch": event.provenance.get("batch")}
        event = replace(event, run_id="", provenance=keep)
    if isinstance(event, Finished):
        event = replace(event, seconds=0.0)
    return to_bytes(event)


def told(events):
    return [event for event in events if not isinstance(event, Waiting)]


def test_a_run_is_bit_identical_to_a_local_one(far, here):
    capture = Capture(attention="all", previews="every")
    there = list(far.trace(RED, capture))
    assert isinstance(there[0], Waiting)
    assert [same(event) for event in told(there)] == [same(event) for event in here.trace(RED, capture)]


def test_a_batch_is_bit_identical_to_a_local_one(far, here):
    cells = [RED.replace(seed=seed, guidance_scale=scale) for seed, scale in ((1, 2.0), (2, 5.0), (3, 7.5))]

    def by_cell(backend):
        found = [[], [], []]
        for position, event in backend.trace_batch(cells):
            if not isinstance(event, Waiting):
                found[position].append(same(event))
        return found

    assert by_cell(far) == by_cell(here)


def test_what_is_known_without_running(far, here):
    resolved = far.resolve(RED)
    assert resolved == here.resolve(RED)
    assert far.identity(resolved) == here.identity(resolved)
    assert far.identity(resolved, batched=True) == here.identity(resolved, batched=True)
    assert far.models()[0].id == "shapes"
    assert far.estimate(RED).seconds > 0
    with pytest.raises(UnknownModel):
        far.resolve(RED.replace(model="no-such-model"))
    assert isinstance(told(far.trace(RED.replace(model="no-such-model")))[-1], Failed)
    with pytest.raises(InvalidParams):
        far.trace_batch([RED, LONG])


def test_another_kind_of_gpu(far, fake, here):
    other = ModalBackend(gpu="H100")
    assert [same(event) for event in told(other.trace(RED))] == [same(event) for event in here.trace(RED)]
    assert set(fake.gpus) == {"H100"}
    assert other.spent.runs == 1
    assert other.cost(other.spent.seconds).dollars > far.cost(other.spent.seconds).dollars > 0
    # Of more steps as much longer; of a model that has not run nothing is known.
    assert other.cost_of([RED.replace(num_inference_steps=12)] * 2).seconds == pytest.approx(
        4 * other.spent.seconds
    )
    assert other.cost_of([RED, RED.replace(model="other")]).seconds is None


def test_stop_stops_the_denoiser(far, fake):
    stop, events = threading.Event(), []
    for event in far.trace(LONG, stop=stop):
        events.append(event)
        if isinstance(event, Step) and event.index == 2:
            stop.set()
    steps = [event for event in events if isinstance(event, Step)]
    assert events[-1].status == "stopped"
    assert 3 <= len(steps) < 200
    # The steps that the run itself counts are those that arrived: none was made after its end.
    assert len(events[-1].cosine_to_end) == len(steps)
    call = fake.last
    assert call.cancelled
    assert call.result.status == call.result.GENERIC_STATUS_TERMINATED


def test_closing_cancels_too_and_a_run_that_was_not_begun_never_is(far, fake, lone):
    events = far.trace(LONG)
    assert isinstance(next(events), Waiting)
    events.close()
    call = fake.last
    assert call.cancelled
    assert not call.started


def test_a_word_on_the_queue_stops_what_cancelling_does_not_reach(far, monkeypatch):
    monkeypatch.setattr(modal.FunctionCall, "cancel", lambda self: None)
    stop, events = threading.Event(), []
    for event in far.trace(LONG, stop=stop):
        events.append(event)
        if isinstance(event, Step):
            stop.set()
    assert events[-1].status == "stopped"
    assert len(events) < 200


def test_a_container_that_hears_nothing_is_ended(far, fake, lone, monkeypatch):
    monkeypatch.setattr(follow, "STOP_SECONDS", 0.3)
    stop, busy = threading.Event(), threading.Event()

    def deaf(asked, name):
        stop.set()
        busy.wait(30)

    lone.start(deaf)
    events = told(far.trace(RED, stop=stop))
    busy.set()
    assert [type(event) for event in events] == [Finished]
    assert events[0].status == "stopped"
    assert fake.last.terminated


def test_a_partition_that_is_full_holds_the_denoiser_up(far, fake, here, monkeypatch):
    monkeypatch.setattr(fake, "items_most", 1)
    monkeypatch.setattr(worker, "BUNDLE_ITEMS", 1)
    take = follow.Following._take

    def slowly(self, name, seconds):
        threading.Event().wait(0.03)
        return take(self, name, seconds)

    monkeypatch.setattr(follow.Following, "_take", slowly)
    events = told(far.trace(RED))
    assert [same(event) for event in events] == [same(event) for event in here.trace(RED)]
    full = [part for part in fake.partitions.values() if part.refused]
    assert full
    assert full[-1].most == 1


def test_a_run_that_nobody_reads_is_given_up(deployed, fake, here, monkeypatch):
    monkeypatch.setattr(fake, "items_most", 3)
    monkeypatch.setattr(worker, "PATIENCE", 0.2)
    took = worker.run(here, deployed.answers, wire.asked_to_bytes(wire.asked_of(LONG, None)), "nobody")
    assert took["frames"] < 300


def test_a_run_goes_on_where_it_cannot_look_whether_it_is_to_stop(here, monkeypatch):
    monkeypatch.setattr(worker, "LOOK", 0.001)

    class Broken(Items):
        def get(self, *args, **kwargs):
            raise modal.exception.ServiceError("Nobody is there.")

    took = worker.run(here, Broken(), wire.asked_to_bytes(wire.asked_of(RED, None)), "run")
    assert took["frames"] == RED.num_inference_steps + 3


def test_a_frame_that_no_item_holds_goes_in_parts(far, here):
    four = RED.replace(num_inference_steps=2, num_images_per_prompt=4)
    capture = Capture(attention="all")
    events = told(far.trace(four, capture))
    assert max(len(to_bytes(event)) for event in events) > frames.ITEM_BYTES
    assert [same(event) for event in events] == [same(event) for event in here.trace(four, capture)]


class Items:
    """A queue that keeps what is put on it."""

    def __init__(self):
        self.items = []

    def get(self, *args, **kwargs):
        return None

    def put_many(self, items, **kwargs):
        self.items += items


def dies_once(deployed, here, then):
    """What a container runs: it is lost after three steps, and the next one does ``then(asked, name)``."""
    calls = []

    def local(asked, name):
        calls.append(name)
        if len(calls) > 1:
            return then(asked, name)
        whole = Items()
        worker.run(here, whole, asked, name)
        deployed.answers.put_many(whole.items[:4], partition=name)
        raise Killed

    return local, calls


@pytest.mark.parametrize("hands_on", [False, True], ids=["by us", "by Modal"])
def test_a_run_whose_container_dies_is_taken_up_again(far, fake, lone, deployed, here, hands_on):
    fake.hands_on = hands_on
    local, calls = dies_once(deployed, here, lambda *asked: worker.run(here, deployed.answers, *asked))
    lone.start(local)
    events = list(far.trace(RED))
    assert [same(event) for event in told(events)] == [same(event) for event in here.trace(RED)]
    assert len(calls) == 2
    assert len(set(calls)) == (1 if hands_on else 2)


def test_another_container_with_other_numbers_is_no_continuation(far, lone, deployed, here):
    def then(asked, name):
        cell = wire.asked_from_bytes(asked).cells[0].replace(guidance_scale=1.5)
        return worker.run(here, deployed.answers, wire.asked_to_bytes(wire.asked_of(cell, None)), name)

    lone.start(dies_once(deployed, here, then)[0])
    events = told(far.trace(RED))
    assert "other numbers" in events[-1].message
    assert sum(isinstance(event, Step) for event in events) == 3


def test_containers_that_go_on_dying_leave_what_arrived(far, lone, deployed, here):
    def then(asked, name):
        raise Killed

    lone.start(dies_once(deployed, here, then)[0])
    events = told(far.trace(RED))
    assert events[-1].code == "provider_down"
    assert sum(isinstance(event, Step) for event in events) == 3


def test_a_real_process_is_cancelled_and_killed(far, fake, lone, deployed, here, process):
    process.rests = False
    stop, events = threading.Event(), []
    for event in far.trace(LONG, stop=stop):
        events.append(event)
        if isinstance(event, Step):
            stop.set()
    assert events[-1].status == "stopped"
    assert sum(isinstance(event, Step) for event in events) < 300
    assert fake.last.result.status == fake.last.result.GENERIC_STATUS_TERMINATED
    # The same container takes the next run, and is killed in the midst of it.
    longer, events = RED.replace(num_inference_steps=60), []
    for event in far.trace(longer):
        events.append(event)
        if isinstance(event, Step) and event.index == 2:
            os.kill(process.process.pid, signal.SIGKILL)
            lone.start(lambda *asked: worker.run(here, deployed.answers, *asked))
    assert [same(event) for event in told(events)] == [same(event) for event in here.trace(longer)]


def test_a_sweep_goes_to_two_containers_and_each_cell_runs_once(fake, container, deployed, here, tmp_path):
    second = ThreadContainer(fake, "Gpu", deployed.Gpu())
    container.ran.clear()
    library = Library(tmp_path)
    study = plan_sweep(RED, "guidance_scale", [1, 2, 3, 4, 5, 6], exact=True, backend="modal")
    try:
        events = list(run_study(study, lambda _: ModalBackend(containers=2), library))
    finally:
        second.rests = True
    ended = [event for event in events if isinstance(event, CellEnded)]
    assert len(ended) == len({event.key for event in ended}) == 6
    runs = [[call for call in one.ran if call.method == "run"] for one in (container, second)]
    assert all(runs)
    assert sum(map(len, runs)) == 6
    for event in ended:
        image = list(here.trace(event.cell.params))[-2]
        assert library.open(event.cell.run_id).images()[0].tobytes() == image.pixels.tobytes()
    # Again: the library has them, and nothing is asked of a container with a GPU.
    again = list(
        run_study(study, lambda _: ModalBackend(containers=2), library, only={c.key for c in study.cells})
    )
    assert all(event.cell.cached for event in again if isinstance(event, CellEnded))
    assert sum(call.method == "run" for one in (container, second) for call in one.ran) == 6
