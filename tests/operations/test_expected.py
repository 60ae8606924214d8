"""What the embedded model is expected to take: its trials are bounded, and repeated where they seem too long."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from diffatlas.backends import open_backend, paces
from diffatlas.backends.bounds import Bounds
from diffatlas.capture.spec import Capture
from diffatlas.errors import OverBound
from diffatlas.operations.expected import expected
from diffatlas.params import GenerationParams

ORDINARY = GenerationParams(model="shapes", prompt="a red circle", num_inference_steps=20)
HUGE = ORDINARY.replace(width=2048, height=2048, num_inference_steps=900)


@pytest.fixture(scope="module")
def backend():
    return open_backend("local", device="cpu")


@pytest.fixture
def fresh(backend):
    """The model is loaded, and nothing is known of what it takes."""
    backend.pipeline("shapes")
    backend._paces.forget("shapes")
    return backend


def pace_of(backend):
    return next(pace for key, pace in backend._paces._paces.items() if key[0] == "shapes")


def slow_down(backend, times):
    """Make all that was noted so much slower, as of a machine that was busy when it tried the model out."""
    pace = pace_of(backend)
    for late in (pace.passes, pace.decodings):
        for seconds in late.values():
            seconds.extend([times * one for one in seconds])
    pace.fastest_passes = {key: times * one for key, one in pace.fastest_passes.items()}
    pace.fastest_decodings = {key: times * one for key, one in pace.fastest_decodings.items()}


def seen_slow(backend):
    """Return bounds that an ordinary run keeps to, and seems not to."""
    own = backend.measure(ORDINARY).work
    slow_down(backend, 400)
    bounds = Bounds(20 * own, 1e12, shared=True)
    with pytest.raises(OverBound):
        bounds.check(backend.estimate(ORDINARY))
    return bounds


def test_what_a_busy_machine_made_slow_is_measured_again_before_it_is_refused(fresh, count, monkeypatch):
    bounds = seen_slow(fresh)
    count.denoiser = 0
    with pytest.raises(OverBound):
        bounds.check(expected(fresh, [ORDINARY], Capture(), bounds=bounds))
    assert count.denoiser == 0, "it was tried out a moment ago"
    monkeypatch.setattr(paces, "AGAIN", 0.0)
    bounds.check(expected(fresh, [ORDINARY], Capture(), bounds=bounds))
    assert count.denoiser == 5
    # What is allowed is not measured.
    bounds.check(expected(fresh, [ORDINARY], Capture(), bounds=bounds))
    assert count.denoiser == 5


def test_what_is_really_too_long_is_refused_without_running(fresh, count, monkeypatch):
    bounds = seen_slow(fresh)
    monkeypatch.setattr(paces, "AGAIN", 0.0)
    count.denoiser = 0
    with pytest.raises(OverBound):
        bounds.check(expected(fresh, [HUGE], Capture(), bounds=bounds))
    # Three passes at the model's own size and two at twice its sides: not one at the size that was asked for.
    assert count.denoiser == 5


def test_a_run_with_attention_corrects_a_pace_that_is_too_slow(fresh):
    fresh.measure(ORDINARY)
    slow_down(fresh, 400)
    list(fresh.trace(ORDINARY.replace(num_inference_steps=2), Capture(attention="cross")))
    fastest = pace_of(fresh).fastest_passes
    assert fastest[1.0, 2] < fastest[4.0, 2] / 40


def passes_of(backend):
    """Return a list that every pass of the denoiser is added to as it ends: the latents' sides; and what to undo."""
    ended = []
    unet = backend.pipeline("shapes").unet
    return ended, unet.register_forward_hook(lambda module, args, out: ended.append(args[0].shape[-1]))


def test_a_trial_whose_time_is_up_ends_after_one_pass_at_the_own_size(fresh, monkeypatch):
    monkeypatch.setattr(paces, "TRIAL_SECONDS", 0.0)
    ended, handle = passes_of(fresh)
    try:
        found = fresh.measure(HUGE)
    finally:
        handle.remove()
    assert ended == [16, 16]
    with pytest.raises(OverBound):
        Bounds(60.0, 1e12).check(found)


def test_a_trial_ends_inside_a_pass_at_its_second_size(fresh, monkeypatch):
    now = [0.0]
    clock = SimpleNamespace(perf_counter=lambda: now[0], monotonic=time.monotonic)
    monkeypatch.setattr(paces, "time", clock)

    def late(module, args, out):
        now[0] = 100.0 if out.shape[-1] == 32 else 0.0

    ended, handle = passes_of(fresh)
    slow = fresh.pipeline("shapes").unet.conv_in.register_forward_hook(late)
    try:
        found = fresh.measure(HUGE)
    finally:
        handle.remove()
        slow.remove()
    assert ended == [16, 16, 16]
    assert found is not None
    assert {area for area, _ in pace_of(fresh).passes} == {1.0}


def test_a_trial_ends_when_nobody_asks_any_more(fresh):
    stop = threading.Event()
    ended, handle = passes_of(fresh)
    gone = fresh.pipeline("shapes").unet.register_forward_hook(lambda *_: stop.set())
    try:
        assert expected(fresh, [HUGE], Capture(), stop=stop) is None
        assert ended == [16]
        assert fresh._lock.acquire(blocking=False), "the model is free"
        fresh._lock.release()
    finally:
        handle.remove()
        gone.remove()
    assert fresh.measure(ORDINARY) is not None
