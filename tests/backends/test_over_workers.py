"""A request whose workers end: what had arrived is compared, the rest goes on, and nothing is told twice."""

import threading
from contextlib import closing

import numpy as np
import pytest

from diffatlas.backends import wire
from diffatlas.backends.over_workers import TRIES, WorkerEnded, over_workers
from diffatlas.errors import BackendFailure, InvalidParams
from diffatlas.events import Failed, Finished, Image, Started, Step, Waiting
from diffatlas.params import GenerationParams

STEPS = 5
PARAMS = GenerationParams(model="shapes", prompt="a red circle", seed=3)


def whole_run(run_id="one", shift=0.0, identity="same", steps=STEPS):
    """A run whose numbers, from its third step on, are another's by ``shift``."""
    yield Started(run_id, PARAMS, np.zeros((1, 2), np.float32), 1.0, steps, {"identity": identity})
    for index in range(steps):
        state = np.full((1, 2), index + (shift if index >= 2 else 0), np.float32)
        yield Step(
            index, 10.0 - index, 0.5, state, metrics={"norm": float("nan")}, other_preds={"image": state}
        )
    yield Image(0, np.full((2, 2, 3), int(shift) + 1, np.uint8))
    yield Finished("complete", 1.0)


class Crew:
    """Workers whose runs are given: events, `WorkerEnded` where one ends, another exception that it raises."""

    def __init__(self, *runs):
        self.runs = list(runs)
        self.taken = self.given_back = self.replaced = self.closed = 0
        self.actor, self.model = object(), None

    def take(self, model):
        self.taken += 1
        return self

    def waits_for(self):
        return "Waits for its turn."

    def give_back(self, worker):
        self.given_back += 1

    def replace(self, worker, actor):
        self.replaced += 1

    def run(self, blob, stop):
        assert wire.asked_from_bytes(blob).cells
        try:
            for item in self.runs.pop(0):
                if isinstance(item, Exception):
                    raise item
                yield item if isinstance(item, tuple) else (0, item)
        finally:
            self.closed += 1


def dies_after(events, count, begun=True):
    return [*list(events)[:count], WorkerEnded("killed", begun)]


def played(crew, cells=PARAMS, stop=None):
    found = list(over_workers(crew, wire.asked_of(cells, None), stop))
    assert crew.given_back == crew.taken
    return found


def events_of(crew):
    return [event for _, event in played(crew)]


@pytest.mark.parametrize("arrived", range(STEPS + 3))
def test_a_run_goes_on_where_its_worker_ended(arrived):
    events = events_of(Crew(dies_after(whole_run(), arrived), whole_run("two")))
    told = [event for event in events if isinstance(event, Waiting)]
    assert [event.message for event in told] == ["A worker ended: its run goes on on another one."]
    rest = [event for event in events if not isinstance(event, Waiting)]
    assert [event.kind for event in rest] == ["started", *["step"] * STEPS, "image", "finished"]
    assert [event.index for event in rest if isinstance(event, Step)] == list(range(STEPS))
    assert rest[0].run_id == ("one" if arrived else "two")


@pytest.mark.parametrize(
    ("second", "what"),
    [
        (lambda: whole_run(shift=1.0), "latents of step 4 is another"),
        (lambda: whole_run(identity="other"), "the model or the software is another"),
        (lambda: whole_run(steps=3), "it has 3 steps in place of 4 and more"),
    ],
)
def test_a_run_that_comes_out_otherwise_elsewhere_fails(second, what):
    events = events_of(Crew(dies_after(whole_run(), 5), second()))
    assert events[-1].code == "worker_lost"
    assert what in events[-1].message
    assert [event.index for event in events if isinstance(event, Step)] == [0, 1, 2, 3]


def test_a_picture_that_comes_out_otherwise_elsewhere_fails():
    second = [event for event in whole_run() if not isinstance(event, Image)]
    second.insert(-1, Image(0, np.zeros((2, 2, 3), np.uint8)))
    events = events_of(Crew(dies_after(whole_run(), STEPS + 2), second))
    assert "image 1 is another" in events[-1].message


def test_a_request_that_ends_every_worker_fails_with_a_sentence():
    crew = Crew(*[dies_after(whole_run(), 2)] * TRIES, whole_run())
    events = events_of(crew)
    assert (events[-1].code, crew.replaced, len(crew.runs)) == ("worker_lost", TRIES, 1)
    assert "3 workers ended while they made this" in events[-1].message


def test_a_worker_that_had_ended_before_is_no_fault_of_the_request():
    gone = [[WorkerEnded("gone")]] * (TRIES + 2)
    events = events_of(Crew(*gone, whole_run()))
    assert [event.kind for event in events] == ["started", *["step"] * STEPS, "image", "finished"]


def test_the_cells_of_a_batch_that_had_ended_are_not_told_again():
    first, second = list(whole_run("a")), list(whole_run("b"))
    both = [(0, event) for event in first] + [(1, event) for event in second]
    crew = Crew(dies_after(both, len(first) + 2), both)
    found = played(crew, [PARAMS, PARAMS])
    for position in (0, 1):
        mine = [event for at, event in found if at == position and not isinstance(event, Waiting)]
        assert [event.kind for event in mine] == ["started", *["step"] * STEPS, "image", "finished"]
    # Nobody waits for a cell that has ended.
    assert [at for at, event in found if isinstance(event, Waiting)] == [1]


def test_what_a_worker_does_not_take_is_a_failure_of_its_own_kind():
    refused = InvalidParams("Too wide.", field="width")
    assert events_of(Crew([refused])) == [Failed("invalid_params", "Too wide.", "width")]


def test_a_worker_that_breaks_off_says_so():
    assert events_of(Crew(list(whole_run())[:3]))[-1].code == "worker_lost"


def test_a_stop_while_it_waits_for_a_worker_ends_it():
    stop = threading.Event()

    class Busy(Crew):
        def take(self, model):
            return None

    with closing(over_workers(Busy(), wire.asked_of(PARAMS, None), stop)) as events:
        assert next(events) == (0, Waiting("Waits for its turn."))
        stop.set()
        assert list(events) == [(0, Finished("stopped", 0.0))]


def test_what_no_worker_can_be_had_for_is_told():
    class Broken(Crew):
        def take(self, model):
            raise BackendFailure("No worker starts.")

    found = list(over_workers(Broken(), wire.asked_of([PARAMS] * 2, None), None))
    assert found == [(i, Failed("backend_failure", "No worker starts.")) for i in range(2)]


def test_closing_ends_the_run_of_the_worker():
    crew = Crew(whole_run())
    events = over_workers(crew, wire.asked_of(PARAMS, None), None)
    next(events)
    events.close()
    assert (crew.closed, crew.given_back) == (1, 1)
