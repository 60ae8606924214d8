"""Running several cells of a lane at a time, and what they wait for."""

import threading

import pytest

from diffatlas.backends.base import Capabilities
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.events import Failed, Finished, Image, Started, Waiting
from diffatlas.library import Library
from diffatlas.run import new_run_id
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.studies.run import CellBegan, CellEnded, CellWaits, LaneChanged, Stops, run_study
from diffatlas.studies.run_lane import even_size
from tests.studies.fake_backends import BatchingBackend, Limited, picture
from tests.studies.playing import BASE, BROKEN, of, play, seeds, statuses

AT_ONCE = 3
#: Longer than any of these tests takes.
LONG = 30.0


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "library")


class Service:
    """A hosted service without a model: an image and no steps, `AT_ONCE` at a time.

    ``goes(params, stop)`` yields what comes before the image; a `Failed` among it is the end. ``heeds``: whether the
    model has an input for guidance, from 1 to 10.
    """

    name = "service"
    capabilities = Capabilities(cancel=True, negative_prompt=True, concurrent=AT_ONCE)

    def __init__(self, goes=lambda params, stop: (), heeds=True):
        self.asked = []
        self.most = 0
        self._now = 0
        self._goes = goes
        self._heeds = heeds
        self._lock = threading.Lock()

    def resolve(self, params):
        self.ignored(params)
        return params

    def ignored(self, params):
        if not self._heeds:
            return {"guidance_scale": "The model takes no guidance.", "negative_prompt": "Nor that."}
        if not 1 <= params.guidance_scale <= 10:
            raise CapabilityError(f"The model takes 1 to 10, not {params.guidance_scale:g}.")
        return {}

    def trace(self, params, capture=None, stop=None):
        with self._lock:
            self.asked.append(params)
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            began = False
            for event in self._goes(params, stop):
                began = began or isinstance(event, Started)
                yield event
                if isinstance(event, (Failed, Finished)):
                    return
            if not began:
                yield self.started(params)
            yield Image(0, picture(params))
            yield Finished("complete", 0.5)
        finally:
            with self._lock:
                self._now -= 1

    @staticmethod
    def started(params):
        provenance = {"backend": "service", "hosted": {"provider": "Service"}}
        return Started(new_run_id(), params, None, None, None, provenance)


def test_as_many_cells_run_at_a_time_as_the_backend_takes(library):
    # Each of three waits for the two others to begin: fewer at a time would never end.
    meeting = threading.Barrier(AT_ONCE, timeout=LONG)

    def goes(params, stop):
        meeting.wait()
        yield Service.started(params)

    service = Service(goes)
    events, study = play(seeds("1 2 3 4 5 6"), service, library)
    assert statuses(study) == ["complete"] * 6
    assert (service.most, len(service.asked)) == (AT_ONCE, 6)
    assert sorted(e.key for e in of(events, CellEnded)) == [cell.key for cell in study.cells]
    for cell in study.cells:
        assert library.open(cell.run_id).total_steps is None


class Machines(BatchingBackend):
    """Two machines that take a batch each, and begin when the other one has its own."""

    capabilities = Capabilities(trace=True, cancel=True, batch=True, concurrent=2)

    def __init__(self):
        super().__init__(name="machines")
        self._meeting = threading.Barrier(2, timeout=LONG)

    def trace_batch(self, cells, capture=None, stop=None):
        self._meeting.wait()
        yield from super().trace_batch(cells, capture, stop)


@pytest.mark.parametrize(("cells", "batches"), [(8, [4, 4]), (7, [3, 4]), (24, [6] * 4)])
def test_cells_that_could_share_a_batch_are_dealt_out_evenly_to_all_workers(library, cells, batches):
    machines = Machines()
    _, study = play(seeds(list(range(1, cells + 1))), machines, library)
    assert statuses(study) == ["complete"] * cells
    assert sorted(machines.batches) == batches
    assert len(machines.asked) == cells


def test_small_groups_are_not_split_further_where_there_are_enough_for_all_workers():
    # The prompts of a benchmark, of a few seeds each.
    assert even_size(cells=553 * 4, workers=2, most=8) == 8
    assert even_size(cells=3 * 8, workers=2, most=8) == 6
    assert even_size(cells=8, workers=64, most=8) == 1


def test_a_cell_that_fails_leaves_those_beside_it_alone(library):
    service = Service(lambda params, stop: [BROKEN] if params.seed == 2 else ())
    _, study = play(seeds("1 2 3 4"), service, library)
    assert statuses(study) == ["complete", "failed", "complete", "complete"]


@pytest.mark.parametrize("code", ["auth", "payment_required", "over_budget"])
def test_what_no_cell_can_change_ends_the_lane_and_lets_those_under_way_end(library, code):
    under_way = threading.Semaphore(0)
    failed = threading.Event()

    def goes(params, stop):
        if params.seed == 1:
            for _ in range(AT_ONCE - 1):
                assert under_way.acquire(timeout=LONG)
            yield Failed(code, "Not paid.")
            return
        yield Service.started(params)
        under_way.release()
        assert failed.wait(LONG)

    service = Service(goes)
    events = []
    for event in run_study(seeds(list(range(1, 17))), lambda name: service, library):
        events.append(event)
        if isinstance(event, CellBegan) and len(of(events, CellBegan)) == 2 * AT_ONCE - 1:
            # All have begun, so the first one's failure is on its way.
            failed.set()
    study = event.study
    assert statuses(study)[1:AT_ONCE] == ["complete"] * (AT_ONCE - 1)
    rest = [study.cells[0], *study.cells[-2:]]
    assert [(cell.status, cell.error["code"], cell.error["message"]) for cell in rest] == [
        ("failed", code, "Not paid.")
    ] * 3
    assert len(service.asked) < len(study.cells)
    assert len(of(events, CellEnded)) == len(study.cells)
    assert of(events, LaneChanged)[-1].message == "Not paid."


@pytest.mark.parametrize("close", [False, True])
def test_a_stop_ends_every_cell_that_is_under_way(library, close):
    def goes(params, stop):
        yield Service.started(params)
        yield Waiting("In the queue.")
        assert stop.wait(LONG)
        yield Finished("stopped", 0.1)

    before = set(threading.enumerate())
    stops = Stops()
    study = seeds("1 2 3 4 5 6")
    events = run_study(study, lambda name: Service(goes), library, stops=stops)
    waiting, ended = set(), []
    for event in events:
        if isinstance(event, CellWaits):
            waiting.add(event.key)
        elif isinstance(event, CellEnded):
            ended.append(event.key)
        if len(waiting) == AT_ONCE:
            if close:
                break
            stops.all.set()
    events.close()
    assert set(threading.enumerate()) <= before
    stored = library.studies.open(study.id)
    assert (stored.status, statuses(stored)) == ("stopped", ["stopped"] * 6)
    assert close or sorted(ended) == [cell.key for cell in study.cells]
    # What was stopped is made when it is asked for again.
    _, study = play(stored, Service(), library)
    assert statuses(study) == ["complete"] * 6


def test_a_countdown_is_told_once_and_another_wait_again(library):
    def goes(params, stop):
        # As a backend tells it, which counts down once a second.
        yield Waiting("The provider asks to wait.", 12.0)
        yield Waiting("The provider asks to wait.", 12.0)
        yield Waiting("The provider asks to wait.", 30.0)
        yield Waiting("In the queue.")
        yield Waiting("In the queue.")
        yield Service.started(params)
        yield Waiting("In the queue.")

    events, study = play(seeds("1"), Service(goes), library)
    key = study.cells[0].key
    told = [e for e in events if isinstance(e, (CellWaits, CellBegan, CellEnded))]
    assert told == [
        CellBegan(key),
        CellWaits(key, "The provider asks to wait.", 12.0),
        CellWaits(key, "The provider asks to wait.", 30.0),
        CellWaits(key, "In the queue.", None),
        CellBegan(key, study.cells[0].run_id),
        CellWaits(key, "In the queue.", None),
        told[-1],
    ]


def test_a_cell_that_is_to_wait_holds_no_other_up(library):
    others = threading.Semaphore(0)

    def goes(params, stop):
        if params.seed != 1:
            others.release()
            return
        if service.asked.count(params) == 1:
            yield Limited("rate_limit", "Too many.", retry_after=0.01)
            return
        for _ in range(5):
            assert others.acquire(timeout=LONG)

    service = Service(goes)
    events, study = play(seeds("1 2 3 4 5 6"), service, library)
    assert statuses(study) == ["complete"] * 6
    assert "attempt 2 of 4" in of(events, CellWaits, "a-0-0")[0].message
    # The lane itself goes on.
    assert "waiting" not in [e.status for e in of(events, LaneChanged)]


# What a model does not heed


def sweep(values, **options):
    return plan_sweep(BASE.replace(negative_prompt="blue"), "guidance_scale", values, **options)


def test_a_sweep_of_what_the_model_does_not_heed_is_a_finding_in_each_cell(library):
    service = Service(heeds=False)
    _, study = play(sweep("1 5"), service, library)
    assert [cell.error["message"] for cell in study.cells] == ["The model takes no guidance."] * 2
    assert {cell.error["code"] for cell in study.cells} == {"capability"}
    assert service.asked == []


def test_values_that_the_model_does_not_take_are_findings(library):
    service = Service()
    _, study = play(sweep("1 10 18"), service, library)
    assert statuses(study) == ["complete", "complete", "failed"]
    assert study.cells[2].error["message"] == "The model takes 1 to 10, not 18."
    assert len(service.asked) == 2


def test_what_the_study_does_not_vary_may_go_unheeded(library):
    base = BASE.replace(negative_prompt="blue")
    for study in (seeds("1 2", base=base), plan_neighbourhood(base, "offset", k=1)):
        _, study = play(study, Service(heeds=False), library)
        assert statuses(study) == ["complete"] * 2


def test_a_backend_that_breaks_leaves_a_sentence_in_its_cells(library):
    class Odd(Service):
        def ignored(self, params):
            raise InvalidParams("Something else is wrong.")

        def trace(self, params, capture=None, stop=None):
            raise RuntimeError("secret")

    _, study = play(seeds("1 2 3 4"), Odd(), library)
    assert {cell.error["message"] for cell in study.cells} == {
        "The cell failed with RuntimeError: the log of the app says more."
    }
