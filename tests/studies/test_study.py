"""Running a study: what fails alone, what waits, what stops, and what is left on the disk."""

import threading
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from diffatlas.errors import InvalidParams, UnknownModel
from diffatlas.events import Failed
from diffatlas.library import Library
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.studies.run import (
    CellBegan,
    CellEnded,
    CellStep,
    LaneChanged,
    Stops,
    run_study,
)
from tests.studies.fake_backends import (
    TOTAL,
    FakeBackend,
    ImageBackend,
    Limited,
    LimitedError,
    picture,
)
from tests.studies.playing import BASE, BROKEN, of, play, seeds, statuses, two_lanes


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "library")


def test_each_cell_is_a_run_in_the_library(library):
    events, study = play(seeds(), FakeBackend(), library)
    assert (study.status, statuses(study)) == ("complete", ["complete"] * 3)
    assert len({cell.run_id for cell in study.cells}) == 3
    for cell in study.cells:
        assert library.open(cell.run_id).params == cell.params
        assert (cell.seconds, cell.error, cell.image, cell.batched) == (0.5, None, False, False)
        began, *steps, ended = [e for e in events if getattr(e, "key", None) == cell.key]
        assert began == CellBegan(cell.key, cell.run_id, TOTAL)
        assert [(e.index, e.total) for e in steps] == [(0, TOTAL), (1, TOTAL)]
        assert np.array_equal(steps[0].preview, picture(cell.params))
        assert ended.cell == cell
        assert np.array_equal(ended.image, picture(cell.params))
    assert of(events, LaneChanged)[-1] == LaneChanged("a", "complete", "")


def test_the_first_event_is_the_study_before_anything_ran(library):
    backend = FakeBackend()
    events = run_study(seeds(), lambda name: backend, library)
    first = next(events).study
    assert (first.status, statuses(first), backend.asked) == ("running", ["waiting"] * 3, [])
    events.close()


def test_a_failed_cell_leaves_the_others_alone(library):
    events, study = play(seeds(), FakeBackend(lambda p, n: BROKEN if p.seed == 2 else None), library)
    assert (study.status, statuses(study)) == ("complete", ["complete", "failed", "complete"])
    failed = study.cell("a-0-1")
    assert failed.error == {"code": "backend_failure", "message": "It broke.", "field": "seed"}
    assert library.open(failed.run_id).status == "failed"
    assert of(events, LaneChanged)[-1] == LaneChanged("a", "complete", "1 of 3 cells failed.")


def test_a_backend_that_raises_fails_its_cell_with_a_sentence(library):
    backend = FakeBackend(lambda p, n: RuntimeError("secret\npath") if p.seed == 1 else None)
    _, study = play(seeds(), backend, library)
    assert statuses(study) == ["failed", "complete", "complete"]
    assert "RuntimeError" in study.cells[0].error["message"]
    assert "secret" not in study.cells[0].error["message"]


def test_a_study_of_failures_has_failed(library):
    _, study = play(seeds(), FakeBackend(lambda p, n: BROKEN), library)
    assert study.status == "failed"


def test_a_run_without_an_end_is_a_failure(library):
    class Silent(FakeBackend):
        def trace(self, params, capture=None, stop=None):
            yield from ()

    _, study = play(seeds("1 2"), Silent(), library)
    assert "without an image" in study.cells[0].error["message"]


@pytest.mark.parametrize("code", ["unknown_model", "model_load", "not_enough_memory", "auth"])
def test_a_model_that_cannot_be_loaded_fails_its_lane_at_once(library, code):
    broken = FakeBackend(lambda p, n: Failed(code, "No such model."), begins=lambda p: False)
    events, study = play(two_lanes(), {"local": FakeBackend(), "other": broken}, library)
    assert len(broken.asked) == 1
    assert statuses(study, "a") == ["complete"] * 3
    assert [cell.error["message"] for cell in study.in_lane("b")] == ["No such model."] * 3
    assert {e.key for e in of(events, CellEnded)} == {cell.key for cell in study.cells}
    assert of(events, LaneChanged, "b")[-1] == LaneChanged("b", "failed", "No such model.")


def test_a_backend_that_is_not_there_fails_its_lane(library):
    def backends(name):
        if name == "other":
            raise UnknownModel("There is no such backend.")
        return FakeBackend()

    study = [*run_study(two_lanes("1 2"), backends, library)][-1].study
    assert (statuses(study, "a"), statuses(study, "b")) == (["complete"] * 2, ["failed"] * 2)
    assert study.cell("b-0-0").error["message"] == "There is no such backend."


def test_an_open_that_breaks_fails_its_lane_with_a_sentence(library):
    study = [*run_study(seeds("1 2"), {}.__getitem__, library)][-1].study
    assert "cannot be opened" in study.cells[0].error["message"]


def test_a_backend_is_opened_once_for_all_its_lanes(library):
    opened = []

    def backends(name):
        opened.append(name)
        return FakeBackend(name=name)

    [*run_study(seeds(lanes=[{"scheduler": "euler"}, {"backend": "other"}]), backends, library)]
    assert sorted(opened) == ["local", "other"]


def test_the_study_on_the_disk_follows_what_happens(library):
    study = seeds("1 2")
    seen = []
    for event in run_study(study, lambda name: FakeBackend(), library):
        if isinstance(event, (CellBegan, CellEnded)):
            seen.append(library.studies.open(study.id).cell(event.key).status)
    # The lane may be ahead of who listens, never behind.
    order = ["running", "complete"]
    assert all(order.index(now) >= order.index(least) for now, least in zip(seen, order * 2, strict=True))
    assert seen[-1] == "complete"


# Backends without steps, and with a seed and nothing more


def test_pictures_without_steps_are_kept_by_the_study(library):
    events, study = play(seeds(), ImageBackend(), library)
    assert library.list() == []
    for cell in study.cells:
        assert (cell.status, cell.run_id, cell.image) == ("complete", None, True)
        assert np.array_equal(library.studies.image(study.id, cell.key), picture(cell.params))
        assert [type(e) for e in events if getattr(e, "key", None) == cell.key] == [CellBegan, CellEnded]


@pytest.mark.parametrize(
    ("study", "fail", "words"),
    [
        (plan_neighbourhood(BASE, "perturb", k=2), ["b-0-1", "b-0-2"], "mode offset"),
        (plan_neighbourhood(BASE, "slerp", to_seed=9, stops=3), ["b-0-1"], "mode offset"),
        (plan_neighbourhood(BASE, "offset", k=2), [], ""),
        (plan_sweep(BASE, "guidance_method", "plain, apg"), ["b-0-1"], "plain method"),
    ],
)
def test_what_a_backend_cannot_take_is_said_in_its_cells(library, study, fail, words):
    # The same cells once more, in a lane of a backend that takes seeds alone.
    other = [replace(cell, key=f"b{cell.key[1:]}", lane="b") for cell in study.cells]
    lane = replace(study.lanes[0], key="b", name="b", backend="other")
    study = replace(study, lanes=(*study.lanes, lane), cells=(*study.cells, *other))

    class Able(FakeBackend):
        capabilities = replace(FakeBackend.capabilities, noise=True, guidance_methods=True)

    backend = ImageBackend()
    _, study = play(study, {"local": Able(), "other": backend}, library)
    assert set(statuses(study, "a")) == {"complete"}
    assert [cell.key for cell in study.in_lane("b") if cell.status == "failed"] == fail
    assert len(backend.asked) == len(other) - len(fail)
    for key in fail:
        assert study.cell(key).error["code"] == "capability"
        assert words in study.cell(key).error["message"]


# Waiting


@pytest.mark.parametrize(
    "limit", [Limited("rate_limit", "Too many.", retry_after=0.01), LimitedError("Too many.")]
)
def test_a_backend_that_asks_to_wait_is_asked_again(library, limit):
    backend = FakeBackend(lambda p, n: limit if p.seed == 2 and n < 3 else None)
    events, study = play(seeds(), backend, library)
    assert statuses(study) == ["complete"] * 3
    assert [p.seed for p in backend.asked] == [1, 2, 2, 2, 3]
    waits = [e.message for e in of(events, LaneChanged) if e.status == "waiting"]
    assert ["attempt 2 of 4" in waits[0], "attempt 3 of 4" in waits[-1]] == [True, True]
    assert [e.cell.key for e in of(events, CellEnded)] == ["a-0-0", "a-0-1", "a-0-2"]
    # What the broken attempts left behind is gone.
    assert {info.id for info in library.list()} == {cell.run_id for cell in study.cells}


def test_after_four_attempts_it_is_a_failure(library):
    backend = FakeBackend(
        lambda p, n: Limited("rate_limit", "Too many.", retry_after=0.01) if p.seed == 1 else None
    )
    _, study = play(seeds("1 2"), backend, library)
    assert [p.seed for p in backend.asked] == [1, 1, 1, 1, 2]
    assert statuses(study) == ["failed", "complete"]
    assert study.cells[0].error["message"] == "Too many."


@pytest.mark.parametrize("seconds", [1e9, float("nan"), float("inf"), None, "soon", True])
def test_a_wait_without_measure_is_not_waited_for(library, seconds):
    backend = FakeBackend(lambda p, n: Limited("rate_limit", "Too many.", retry_after=seconds))
    _, study = play(seeds("1"), backend, library)
    assert (len(backend.asked), statuses(study)) == (1, ["failed"])


def test_a_wait_ends_when_its_lane_is_stopped_and_the_other_goes_on(library):
    limited = FakeBackend(lambda p, n: Limited("rate_limit", "Too many.", retry_after=600))
    stops = Stops()
    events = run_study(
        two_lanes(), {"local": FakeBackend(pause=0.02), "other": limited}.__getitem__, library, stops=stops
    )
    for event in events:
        if isinstance(event, LaneChanged) and (event.key, event.status) == ("b", "waiting"):
            stops.lane("b").set()
    study = event.study
    assert (statuses(study, "a"), statuses(study, "b")) == (["complete"] * 3, ["stopped"] * 3)
    assert study.status == "stopped"


# Stopping


def test_stop_keeps_what_is_finished(library):
    stops = Stops()
    backend = FakeBackend()
    finished = []
    for event in run_study(seeds("1 2 3 4 5"), lambda name: _slow(backend), library, stops=stops):
        if isinstance(event, CellEnded):
            finished.append((event.key, event.cell.status))
            stops.all.set()
    study = event.study
    assert (study.status, study.cells[0].status) == ("stopped", "complete")
    assert statuses(study)[2:] == ["stopped"] * 3
    # Every cell has been told of.
    assert [key for key, _ in finished] == [cell.key for cell in study.cells]
    assert library.studies.open(study.id) == study


def _slow(backend):
    backend._pause = 0.05
    return backend


def test_a_stop_before_the_start_runs_nothing(library):
    backend, stops = FakeBackend(), Stops()
    stops.all.set()
    _, study = play(seeds(), backend, library, stops=stops)
    assert (backend.asked, statuses(study), study.status) == ([], ["stopped"] * 3, "stopped")


def test_stops_may_be_given_and_are_the_same_each_time():
    signal = threading.Event()
    stops = Stops(signal)
    assert stops.all is signal
    assert stops.lane("a") is stops.lane("a") is not stops.lane("b")


def test_closing_stops_everything_and_joins(library):
    before = set(threading.enumerate())
    study = two_lanes("1 2 3 4 5 6")
    events = run_study(study, lambda name: FakeBackend(pause=0.02), library)
    for event in events:
        if isinstance(event, CellStep):
            break
    events.close()
    assert set(threading.enumerate()) <= before
    stored = library.studies.open(study.id)
    assert stored.status == "stopped"
    assert set(statuses(stored, "a")) | set(statuses(stored, "b")) <= {"complete", "stopped"}
    assert not library.studies.is_running(study.id)


def test_closing_before_the_lanes_begin_leaves_a_stopped_study(library):
    events = run_study(seeds(), lambda name: FakeBackend(), library)
    next(events)
    events.close()
    assert statuses(library.studies.open(library.studies.list()[0].id)) == ["stopped"] * 3


def test_a_listener_that_is_slow_holds_the_lanes_up_and_closing_still_works(library, monkeypatch):
    from diffatlas.studies import run as module

    monkeypatch.setattr(module, "QUEUE_SIZE", 2)
    before = set(threading.enumerate())
    backend = FakeBackend()
    events = run_study(two_lanes("1 2 3 4 5 6 7 8"), lambda name: backend, library)
    next(events)
    next(events)
    deadline = time.monotonic() + 10
    while not backend.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    events.close()
    assert len(backend.asked) <= 4
    assert set(threading.enumerate()) <= before


def test_one_study_runs_once_at_a_time(library):
    study = seeds()
    events = run_study(study, lambda name: FakeBackend(), library)
    next(events)
    with pytest.raises(InvalidParams, match="running already"):
        next(run_study(study, lambda name: FakeBackend(), library))
    events.close()


# Again


def test_retry_runs_the_cells_that_were_asked_for(library):
    _, study = play(seeds(), FakeBackend(lambda p, n: BROKEN if p.seed > 1 else None), library)
    kept = study.cell("a-0-0")
    backend = FakeBackend()
    events, study = play(study, backend, library, only=["a-0-2"])
    assert [p.seed for p in backend.asked] == [3]
    assert (study.status, statuses(study)) == ("complete", ["complete", "failed", "complete"])
    assert (study.cell("a-0-0"), study.cell("a-0-2").error) == (kept, None)
    first = events[0].study
    assert (first.cell("a-0-2").status, first.cell("a-0-2").run_id) == ("waiting", None)
    assert {e.key for e in of(events, CellEnded)} == {"a-0-2"}


def test_a_stopped_study_goes_on_where_it_was(library):
    stops = Stops()
    events = run_study(seeds(), lambda name: FakeBackend(pause=0.05), library, stops=stops)
    for event in events:
        if isinstance(event, CellEnded):
            stops.all.set()
    study = event.study
    done = statuses(study).count("complete")
    backend = FakeBackend()
    _, study = play(study, backend, library)
    assert (len(backend.asked), statuses(study)) == (3 - done, ["complete"] * 3)


def test_a_cell_that_is_not_there_cannot_be_retried(library):
    with pytest.raises(InvalidParams, match="no cell 'z-9-9'"):
        next(run_study(seeds(), lambda name: FakeBackend(), library, only=["z-9-9"]))
    assert library.studies.list() == []


# Lanes


def test_lanes_on_different_backends_run_at_the_same_time(library):
    # Each waits for the other to begin: one after the other would never end.
    meeting = threading.Barrier(2, timeout=10)

    def plan(params, attempt):
        if params.seed == 1:
            meeting.wait()

    backends = {"local": FakeBackend(plan, "local"), "other": FakeBackend(plan, "other")}
    _, study = play(two_lanes(), backends, library)
    assert set(statuses(study, "a") + statuses(study, "b")) == {"complete"}


def test_lanes_on_one_local_pipeline_alternate(library):
    other_waits = threading.Event()
    backend = FakeBackend(lambda p, n: other_waits.wait(10) and None, name="local")
    for event in run_study(seeds("1 2 3 4", [{"scheduler": "euler"}]), lambda name: backend, library):
        if isinstance(event, LaneChanged) and event.status == "waiting":
            assert "turn" in event.message
            other_waits.set()
    assert set(statuses(event.study, "a") + statuses(event.study, "b")) == {"complete"}
    assert backend.most_at_once == 1
    order = [p.scheduler for p in backend.asked]
    assert all(a != b for a, b in pairwise(order))


def test_lanes_of_two_models_on_one_pipeline_load_each_once(library):
    backend = FakeBackend(name="local", pause=0.01)
    lanes = [{"model": "/another"}, {"scheduler": "euler"}]
    play(seeds("1 2 3 4", lanes), backend, library)
    models = [p.model for p in backend.asked]
    assert sum(a != b for a, b in pairwise(models)) == 1
    assert models[0] == BASE.model


def test_a_lane_that_waits_for_its_turn_can_be_stopped(library):
    stops = Stops()
    backend = FakeBackend(name="local", pause=0.1)
    for event in run_study(
        seeds("1 2 3", [{"model": "/another"}]), lambda name: backend, library, stops=stops
    ):
        if isinstance(event, LaneChanged) and event.status == "waiting":
            waiting = event.key
            stops.lane(waiting).set()
    other = {"a": "b", "b": "a"}[waiting]
    assert statuses(event.study, waiting) == ["stopped"] * 3
    assert statuses(event.study, other) == ["complete"] * 3


# Batches
