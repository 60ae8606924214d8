import math
import threading
import time

import pytest

from diffatlas.backends.bounds import (
    BoundedBackend,
    Bounds,
    Deadline,
    bounds_here,
    duration,
    sentence,
    together,
)
from diffatlas.backends.estimate import Estimate
from diffatlas.capture.spec import Capture
from diffatlas.errors import OverBound
from diffatlas.events import Failed, Finished

LONG = Estimate(540.0, 2_900_000_000, 30.0, (1024, 1024), (64, 64))
SHORT = Estimate(2.0, 20_000_000, 0.1, (64, 64), (64, 64))


def test_a_request_above_a_bound_is_refused_with_both_numbers():
    with pytest.raises(OverBound) as raised:
        Bounds(120.0, 7e9).check(LONG, ", or add --anyway")
    said = raised.value.message
    assert "9 minutes and 2.9 GB" in said
    assert "2 minutes and 7.0 GB" in said
    assert said.endswith("or add --anyway.")
    assert raised.value.field == "width"
    with pytest.raises(OverBound):
        Bounds(math.inf, 1e9).check(LONG)
    Bounds(600.0, 7e9).check(LONG)
    Bounds(1.0, 1.0).check(None)


def test_a_shared_server_refuses_a_layer_in_which_nothing_can_be_stopped():
    with pytest.raises(OverBound, match="one layer of it 30 seconds"):
        Bounds(600.0, 7e9, layer=2.0, shared=True).check(LONG)


def test_it_is_said_before_it_runs():
    assert (
        sentence(LONG)
        == "This model was made for 64 x 64; at 1024 x 1024 it will take about 9 minutes and 2.9 GB here."
    )
    assert sentence(SHORT) == "This will take about 2 seconds and 20 MB here."


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "less than a second"),
        (1, "1 second"),
        (89, "89 seconds"),
        (91, "2 minutes"),
        (8000, "2.2 hours"),
    ],
)
def test_durations_are_read_at_a_glance(seconds, words):
    assert duration(seconds) == words


def test_several_add_up_their_time_and_not_their_memory():
    both = together([SHORT, None, LONG])
    assert both.seconds == 542
    assert both.memory == LONG.memory
    assert both.size == (1024, 1024)
    assert together([None]) is None


def test_bounds_are_those_of_the_settings_and_lower_where_strangers_wait(monkeypatch):
    monkeypatch.delenv("DIFFATLAS_MOST_SECONDS", raising=False)
    own, shared = bounds_here(False), bounds_here(True)
    assert own.seconds > shared.seconds
    assert own.memory > 1.5 * shared.memory
    assert shared.layer < own.layer == math.inf
    monkeypatch.setenv("DIFFATLAS_MOST_SECONDS", "0")
    monkeypatch.setenv("DIFFATLAS_MOST_MEMORY", "5e8")
    set_by_hand = bounds_here(True)
    assert set_by_hand.seconds == math.inf
    assert set_by_hand.memory == 5e8


def test_a_deadline_is_a_stop_that_comes_by_itself():
    stop = threading.Event()
    late = Deadline(stop, 0.05)
    assert not late.is_set()
    late.begin()
    time.sleep(0.06)
    assert late.is_set()
    assert late.passed
    waiting = Deadline(stop, 60)
    waiting.begin()
    stop.set()
    assert waiting.is_set()
    assert not waiting.passed


class Hasty(Bounds):
    """Ends what takes longer than a tenth of a second."""

    def limit(self, expected):
        return 0.1


def test_a_run_that_outruns_its_estimate_by_far_is_ended_inside_its_step(backend, asked):
    unet = backend.pipeline(asked.model).unet
    handle = unet.mid_block.register_forward_hook(lambda *_: time.sleep(0.02))
    bounded = BoundedBackend(backend, Hasty(60.0, 1e9, shared=True))
    try:
        ended = list(bounded.trace(asked.replace(num_inference_steps=50), Capture()))
        cells = [asked, asked.replace(seed=8)]
        both = list(bounded.trace_batch([c.replace(num_inference_steps=50) for c in cells], Capture()))
    finally:
        handle.remove()
    assert isinstance(ended[-1], Failed)
    assert ended[-1].code == "overrun"
    assert "far longer than was expected" in ended[-1].message
    assert [e.code for _, e in both if isinstance(e, Failed)] == ["overrun"] * 2


def test_a_run_that_is_stopped_by_hand_is_stopped(backend, asked):
    stop = threading.Event()
    stop.set()
    last = list(BoundedBackend(backend, Bounds(60.0, 1e9, shared=True)).trace(asked, None, stop))[-1]
    assert isinstance(last, Finished)
    assert last.status == "stopped"


def test_an_estimate_is_outrun_by_far_where_it_is_both_times_and_seconds():
    here = Bounds(60.0, 1e9, shared=True)
    assert here.limit(1.0) == 31.0
    assert here.limit(20.0) == 80.0
    assert here.limit(None) == 240.0
    assert Bounds(60.0, 1e9).limit(1.0) == math.inf
