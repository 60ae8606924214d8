"""What the app refuses because of what it is expected to take, and how it is asked for all the same."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from diffatlas.backends import bounds as bounds_room
from diffatlas.backends import open_backend, paces
from diffatlas.backends.bounds import bounds_here
from diffatlas.capture.spec import Capture
from diffatlas.library import Library
from diffatlas.params import GenerationParams
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.ui import expectations, live_runs, study_runner
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.live_runs import Asked, LiveRuns, Shelf
from diffatlas.ui.study_runner import StudyRunner
from diffatlas.ui.study_services import Running
from diffatlas.ui.turns import Turns

REQUEST = SimpleNamespace(session_hash="tab", cookies={}, request=None)


@pytest.fixture(scope="module")
def backend(sd_pipe):
    return open_backend("local", pipe=sd_pipe)


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "runs")


@pytest.fixture
def shared(monkeypatch):
    """A shared server, which takes the model of these tests for one of its own."""
    monkeypatch.setenv("DIFFATLAS_MODE", "shared")
    monkeypatch.setattr(live_runs, "refuse_server_files", lambda *asked: None)


@pytest.fixture
def live(backend, library):
    return LiveRuns(backend, {}, Turns(), Shelf(lambda visitor: library))


def params(backend, **more):
    given = {"prompt": "a red circle", "num_inference_steps": 3, "width": 64, "height": 64}
    return GenerationParams(model=backend.own_model, **(given | more))


def run(live, asked, count=1):
    what = Asked(asked, Capture(), count, "next", True)
    return list(live.stream("a red circle", asked.model, lambda: what, REQUEST))[-1]


def test_a_run_above_the_bound_is_refused_until_it_is_confirmed(live, backend, library, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_MOST_SECONDS", "0.0001")
    asked = params(backend)
    shown = run(live, asked)
    assert shown["status"] == "failed"
    assert shown["error"]["field"] == "size"
    assert "the bounds here are less than a second" in shown["error"]["message"]
    assert live.sessions.refused("tab")
    assert library.search().total == 0
    live.sessions.confirm("tab")
    assert run(live, asked)["status"] == "complete"
    assert not live.sessions.refused("tab")
    # A confirmation is for one run; what the library has is shown all the same.
    assert run(live, asked)["status"] == "complete"
    assert run(live, params(backend, seed=9))["status"] == "failed"


def test_several_runs_count_together(live, backend, monkeypatch):
    backend.measure(params(backend))
    one = backend.estimate(params(backend)).work
    monkeypatch.setenv("DIFFATLAS_MOST_SECONDS", str(one * 2))
    shown = run(live, params(backend, seed=20), count=45)
    assert shown["error"]["field"] == "runs"


def test_nobody_confirms_on_a_shared_server(live, backend, shared, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_MOST_SECONDS", "0.0001")
    live.sessions.confirm("tab")
    assert "the bounds here" in run(live, params(backend))["error"]["message"]


def test_a_visitor_runs_the_embedded_model_that_was_tried_out_on_a_busy_machine(library, shared, monkeypatch):
    backend = open_backend("local", device="cpu")
    live = LiveRuns(backend, {}, Turns(), Shelf(lambda visitor: library))
    asked = GenerationParams(model="shapes", prompt="a red circle", num_inference_steps=3)
    own = backend.measure(asked).work
    (pace,) = backend._paces._paces.values()
    pace.fastest_passes = {key: 400 * seconds for key, seconds in pace.fastest_passes.items()}
    monkeypatch.setenv("DIFFATLAS_MOST_SECONDS", str(20 * own))
    assert "the bounds here" in run(live, asked)["error"]["message"]
    monkeypatch.setattr(paces, "AGAIN", 0.0)
    assert run(live, asked)["status"] == "complete"
    assert "the bounds here" in run(live, asked.replace(num_inference_steps=900, seed=9))["error"]["message"]


def test_a_run_that_outruns_its_estimate_is_ended_with_a_sentence(
    live, backend, library, shared, monkeypatch
):
    backend.measure(params(backend))
    monkeypatch.setattr(bounds_room, "FAR", 0.0)
    monkeypatch.setattr(bounds_room, "LATE", 0.3 - backend.estimate(params(backend)).seconds)
    unet = backend.pipeline(backend.own_model).unet
    handle = unet.mid_block.register_forward_hook(lambda *_: time.sleep(0.2))
    try:
        shown = run(live, params(backend, seed=31))
    finally:
        handle.remove()
    assert shown["status"] == "failed"
    assert "far longer than was expected" in shown["error"]["message"]
    assert [info.status for info in library.search().runs] in ([], ["failed"])


def test_a_page_that_is_gone_frees_the_model_within_two_seconds(live, backend):
    """Gradio closes the generator: the pass that is on is ended inside, and the turn is given up."""
    unet = backend.pipeline(backend.own_model).unet
    layers = [m for m in unet.modules() if not list(m.children())]
    entered = []

    def dawdle(*_):
        entered.append(1)
        time.sleep(0.1 if len(entered) > len(layers) else 0)

    handles = [layer.register_forward_hook(dawdle) for layer in layers]
    backend.measure(params(backend))
    entered.clear()
    try:
        what = Asked(params(backend, seed=41, num_inference_steps=50), Capture(), 1, "keep", False)
        values = live.stream("a red circle", backend.own_model, lambda: what, REQUEST)
        for value in values:
            if value["status"] == "running":
                break
        while len(entered) < len(layers) + 3:
            time.sleep(0.02)
        began = time.monotonic()
        values.close()
        assert time.monotonic() - began < 0.5
        assert backend._lock.acquire(timeout=10)
        took = time.monotonic() - began
        backend._lock.release()
    finally:
        for handle in handles:
            handle.remove()
    # One layer after the second that a step is given.
    assert took < 2.0
    assert len(layers) * 0.1 > 4


def test_a_study_counts_with_all_its_cells(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(study_runner, "shared_local_backend", lambda: backend)
    libraries = Libraries(tmp_path / "runs", False)
    runner = StudyRunner(libraries, Turns(), Running())
    backend.measure(params(backend))
    each = backend.estimate(params(backend)).work
    study = plan_sweep(params(backend, seed=50), "seed", ",".join(str(n) for n in range(50, 70)))

    def last():
        return list(runner.run("me", "tab", lambda: (study, Capture()), True))[-1]

    # Ten times as much for what takes a place for each of its parts: sixteen cells would do.
    monkeypatch.setenv("DIFFATLAS_MOST_SECONDS", str(1.6 * each))
    shown = last()
    assert "the bounds here" in shown["error"]["message"]
    assert not libraries.of("me").studies.list(None)
    runner.sessions.confirm("tab")
    assert last()["status"] == "complete"


def test_the_form_says_what_a_size_will_take(backend, monkeypatch):
    backend.measure(params(backend))
    here, model = bounds_here(False), backend.own_model

    def told(size, bounds=here, refused=False):
        line, button = expectations.told(
            backend, bounds, refused, {"model": model, "steps": 30, "guidance": 5, "size": size}
        )
        return line["visible"], line["value"], button["visible"]

    assert told("64x64") == (False, "", False)
    shown, words, button = told("128x64")
    assert shown
    assert words.startswith("This model was made for 64 x 64; at 128 x 64 it will take about ")
    assert not button
    tight = bounds_here(False).__class__(0.001, 1e12)
    shown, words, button = told("64x64", tight)
    assert (shown, button) == (True, True)
    assert words.endswith("Run it all the same?")
    crowd = tight.__class__(0.001, 1e12, shared=True)
    shown, words, button = told("64x64", crowd)
    assert (shown, button) == (True, False)
    assert words.endswith("which is more than this server allows.")
    # What cannot be read is said when it runs.
    assert told("wide") == (False, "", False)


def test_what_was_not_measured_is_not_guessed(sd_pipe):
    fresh = open_backend("local", pipe=sd_pipe)
    asked = {"model": fresh.own_model, "steps": 30, "guidance": 5, "size": "128x128"}
    line, button = expectations.told(fresh, bounds_here(False), False, asked)
    assert "is known once it has run" in line["value"]
    assert not button["visible"]
