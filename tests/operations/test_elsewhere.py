"""A run that was made elsewhere: it is the same run, it says where it was made, and it answers an identical request."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffatlas.capture.spec import Capture
from diffatlas.formats.code import run_code
from diffatlas.formats.compared import machine
from diffatlas.formats.hosted import backend_of, device_of
from diffatlas.library import Library
from diffatlas.library.difference import difference
from diffatlas.names import told_apart
from diffatlas.operations.replay import ReplayReport, replay
from diffatlas.operations.trace import shared_local_backend, stream
from diffatlas.params import GenerationParams
from diffatlas.registry import note_models
from diffatlas.run import Run, collect
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.studies.run import CellEnded, StudyChanged, run_study
from diffatlas.ui.run_names import facts
from tests.elsewhere import ElsewhereBackend

PARAMS = GenerationParams(model="shapes", prompt="a red circle", seed=3, num_inference_steps=3)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "runs")


def ran(backend: object, library: Library | None = None, capture: Capture | None = None) -> Run:
    return collect(stream(PARAMS, capture or Capture(attention="cross"), backend, library))


def test_it_is_bit_identical_and_says_where_it_was_made(library: Library):
    here, there = ran(shared_local_backend()), ran(ElsewhereBackend(), library)
    assert np.array_equal(here.images[0], there.images[0])
    for a, b in zip(here.steps, there.steps, strict=True):
        assert np.array_equal(a.latents, b.latents)
        assert a.attention.keys() == b.attention.keys()
    assert (backend_of(here.provenance), backend_of(there.provenance)) == ("local", "remote")
    assert device_of(there.provenance).endswith(", at another Atlas")
    kept = library.open(there.id).provenance
    assert backend_of(kept) == "remote"
    assert 'backend="remote"' in run_code(PARAMS, {}, kept).replace("'", '"')


def test_an_identical_request_is_served_wherever_the_run_was_made(library: Library):
    first = ran(ElsewhereBackend(), library)
    ElsewhereBackend.asked.clear()
    for backend in (shared_local_backend(), ElsewhereBackend()):
        again = ran(backend, library)
        assert again.id == first.id
        # What is shown is the run that was made there.
        assert backend_of(again.provenance) == "remote"
    assert ElsewhereBackend.asked == []


def test_it_is_replayed_there(library: Library):
    made = ran(shared_local_backend(), library)
    *_, report = replay(library, made.id, ElsewhereBackend())
    assert isinstance(report, ReplayReport)
    assert report.verdict == "identical"


def test_a_study_runs_in_batches_there_and_its_words_are_those_of_what_sees_inside(library: Library):
    note_models("remote", [])
    study = plan_sweep(PARAMS, "guidance_scale", [1, 4, 7.5], backend="remote")
    assert "provider" not in " ".join(cell.caption for cell in study.cells)
    ElsewhereBackend.asked.clear()
    events = list(run_study(study, lambda name: ElsewhereBackend(), library, Capture()))
    assert [len(asked.cells) for asked in ElsewhereBackend.asked] == [3]
    assert all(event.cell.status == "complete" for event in events if isinstance(event, CellEnded))
    study = [event for event in events if isinstance(event, StudyChanged)][-1].study
    assert {backend_of(library.open(cell.run_id).provenance) for cell in study.cells} == {"remote"}


def test_a_model_of_the_same_name_here_says_nothing_of_the_one_there():
    note_models("remote", [])

    def caption() -> str:
        return plan_sweep(PARAMS, "guidance_scale", [4], backend="remote").cells[0].caption

    # What is usual of most models, as nothing is known of this one.
    assert "the usual 7.5" in caption()
    note_models("remote", [replace(ElsewhereBackend().models()[0], guidance=9.0)])
    assert "usual 9" in caption()
    study = plan_neighbourhood(PARAMS, "perturb", k=2, lanes=[{"backend": "remote"}])
    assert [lane.backend for lane in study.lanes] == ["local", "remote"]
    assert "elsewhere" in study.lanes[1].name
    note_models("remote", [])


def test_two_runs_in_view_differ_by_where_they_were_made(library: Library):
    here = ran(shared_local_backend(), library)
    there = collect(stream(PARAMS, Capture(attention="cross"), ElsewhereBackend(), library, reuse=False))
    found = difference(library.open(here.id), library.open(there.id))
    assert found.path.identical
    (row,) = [row for row in machine(found.environment).rows if row.name == "made at"]
    assert (row.a, row.b) == ("this machine", "another Atlas")
    names = told_apart(["a red circle"] * 2, [facts(library.open(run.id), {}) for run in (here, there)])
    assert names == ["a red circle", "a red circle, at another Atlas"]
