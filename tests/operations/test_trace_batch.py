"""The runs of a batch are recorded each for itself, as they arrive."""

from __future__ import annotations

import numpy as np
import pytest

from diffatlas.capture.spec import Capture
from diffatlas.errors import BackendFailure, CapabilityError, InvalidParams
from diffatlas.events import Failed, Finished, Image, Started, Step
from diffatlas.library import Library
from diffatlas.operations.trace import stream_batch
from diffatlas.run import collect


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "library")


@pytest.fixture
def cells(shapes_asked):
    return [shapes_asked.replace(guidance_scale=g) for g in (2.0, 4.0)]


def test_every_event_is_on_disk_before_it_is_seen(cells, library, shapes_backend):
    ids, events = {}, {0: [], 1: []}
    for i, event in stream_batch(cells, Capture(previews="every"), shapes_backend, library):
        events[i].append(event)
        if isinstance(event, Started):
            ids[i] = event.run_id
            assert event.provenance["key"]
        stored = library.open(ids[i])
        if isinstance(event, Step):
            assert np.array_equal(stored.step(event.index).latents, event.latents)
            assert np.array_equal(stored.step(event.index).preview, event.preview)
        elif isinstance(event, Image):
            assert np.array_equal(stored.images()[event.index], event.pixels)
        elif isinstance(event, Finished):
            assert stored.status == "complete"
        else:
            assert stored.status == "running"
    for i in ids:
        live, stored = collect(events[i]), library.load(ids[i])
        assert np.array_equal(live.latents, stored.latents)
        assert [s.metrics for s in live.steps] == [s.metrics for s in stored.steps]
    # The two arrived together, not one after the other.
    assert len(library.list()) == 2


def test_closing_marks_the_runs_as_stopped(cells, library, shapes_backend):
    events = stream_batch(cells, Capture(), shapes_backend, library)
    for i, event in events:
        if isinstance(event, Step) and event.index == 1 and i == 1:
            break
    events.close()
    runs = library.list()
    assert [run.status for run in runs] == ["stopped"] * 2
    assert {library.open(run.id).step_count for run in runs} == {2}


def test_without_a_library_the_events_come_as_they_are(cells, shapes_backend):
    kinds = {0: [], 1: []}
    for i, event in stream_batch(cells, Capture(), shapes_backend):
        kinds[i].append(type(event))
    assert kinds[0] == kinds[1] == [Started, *[Step] * 4, Image, Finished]


class Scripted:
    """A backend of which the first cell fails and the stream then breaks."""

    name = "scripted"
    capabilities = None

    def __init__(self, started, error):
        self._started, self._error = started, error

    def trace(self, params, capture=None, stop=None):
        raise NotImplementedError

    def trace_batch(self, cells, capture=None, stop=None):
        yield from enumerate(self._started)
        yield 0, Failed("non_finite", "NaN.")
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize(
    ("error", "statuses"),
    [(None, ["failed", "stopped"]), (BackendFailure("Gone."), ["failed", "failed"])],
)
def test_a_run_whose_stream_breaks_is_not_left_running(cells, library, shapes_backend, error, statuses):
    started = [e for _, e in stream_batch(cells, Capture(), shapes_backend) if isinstance(e, Started)]
    events = stream_batch(cells, Capture(), Scripted(started, error), library)
    if error is None:
        list(events)
    else:
        with pytest.raises(BackendFailure, match=r"Gone\."):
            list(events)
    assert [library.open(event.run_id).status for event in started] == statuses


def test_what_cannot_be_a_batch_is_refused_at_the_call(cells, library, shapes_backend):
    with pytest.raises(InvalidParams, match="num_inference_steps"):
        stream_batch([cells[0], cells[1].replace(num_inference_steps=5)], Capture(), shapes_backend, library)

    class Plain:
        name = "plain"
        capabilities = shapes_backend.capabilities

        def trace(self, params, capture=None, stop=None):
            raise NotImplementedError

    with pytest.raises(CapabilityError, match="one by one"):
        stream_batch(cells, Capture(), Plain(), library)


def test_what_cannot_share_a_call_runs_one_by_one(cells, library, shapes_backend, monkeypatch):
    """A pipeline whose formula is not known takes no scale but its own."""
    from diffatlas.steering import guided

    monkeypatch.setattr(guided, "find_form", lambda *args: guided.Form(formula=None))
    events = {0: [], 1: []}
    for i, event in stream_batch(cells, Capture(), shapes_backend, library):
        events[i].append(event)
    for i, cell in enumerate(cells):
        run = collect(events[i])
        assert run.status == "complete"
        assert run.params.guidance_scale == cell.guidance_scale
        assert "batch" not in run.provenance
        assert "batched" not in run.provenance["identity"]
    assert len(library.list()) == 2
