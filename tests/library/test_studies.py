"""Studies on the disk: what comes back, what a killed process leaves, what a stranger may have written."""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from diffatlas.errors import BackendFailure, DamagedRun, InvalidParams, RunNotFound
from diffatlas.library import Library
from diffatlas.library.studies import StudyInfo
from diffatlas.library.study import Cell, Lane, Study
from diffatlas.params import GenerationParams, Noise
from tests.library.made_runs import made

BASE = GenerationParams(prompt="a red circle", guidance_method="apg", guidance_options={"eta": 0.5})


def small(number=0, operation="sweep", status="complete", **changes):
    """A study of two lanes and two columns."""
    if operation == "sweep":
        spec = {"field": "guidance_scale", "values": [1.0, 7.5], "seeds": 1, "exact": False, "baseline": 1}
    else:
        spec = {"mode": "perturb", "k": 1, "radius": 0.4, "spread": "even", "step": 0, "exact": False}
    lanes = (Lane("a", "ddim"), Lane("b", "euler", "local", {"scheduler": "euler"}))
    cells = tuple(
        Cell(
            f"{lane.key}-0-{column}",
            lane.key,
            0,
            column,
            value,
            f"g {value}",
            "What it means.",
            BASE.replace(guidance_scale=value, noise=Noise("perturb", 9, 0.25)),
            status="complete",
            run_id=f"20260131-120000-{column:08x}",
            seconds=0.25,
        )
        for lane in lanes
        for column, value in enumerate((1.0, 7.5))
    )
    study = Study(
        f"20260131-12000{number}-00000000",
        operation,
        f"Study {number}",
        f"2026-01-31T12:00:0{number}.000+00:00",
        spec,
        lanes,
        cells,
        status,
    )
    return replace(study, **changes)


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "library")


def altered(library, study, change):
    """Save a study, change its file as a stranger might, and return its id."""
    library.studies.save(study)
    path = library.studies.folder / study.id / "study.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return study.id


def test_a_study_comes_back_as_it_was_saved(library):
    study = small()
    study = study.with_cell(
        "a-0-1", status="failed", run_id=None, error={"code": "x", "message": "No.", "field": None}
    )
    study = study.with_cell("b-0-0", cached=True, batched=True, seconds=None)
    library.studies.save(study)
    assert library.studies.open(study.id) == study


def test_a_list_is_newest_first_and_of_one_operation(library):
    for number, operation in ((1, "sweep"), (3, "neighbourhood"), (2, "sweep")):
        library.studies.save(small(number, operation))
    titles = [info.title for info in library.studies.list()]
    assert titles == ["Study 3", "Study 2", "Study 1"]
    assert [info.title for info in library.studies.list("sweep")] == ["Study 2", "Study 1"]
    half = small(1).with_cell("a-0-0", status="failed")
    library.studies.save(half)
    assert library.studies.list("sweep")[1] == StudyInfo(
        half.id, "sweep", "Study 1", half.created, "complete", cells=4, done=3
    )


def test_an_absent_library_has_no_studies(library):
    assert library.studies.list() == []
    with pytest.raises(RunNotFound, match="no study"):
        library.studies.open("20260131-120000-00000000")
    assert not library.folder.exists()


@pytest.mark.parametrize("name", ["../../etc", "..", "a/b", "", ".trash", "a" * 200, None, 5])
def test_no_name_leads_out_of_the_library(library, name):
    library.studies.save(small())
    for ask in (library.studies.open, library.studies.delete, lambda n: library.studies.rename(n, "x")):
        with pytest.raises(RunNotFound):
            ask(name)
    with pytest.raises(RunNotFound):
        library.studies.image(small().id, name)
    with pytest.raises(RunNotFound):
        library.studies.save_image(small().id, name, np.zeros((2, 2, 3), np.uint8))


def test_a_link_is_no_study(library, tmp_path):
    library.studies.save(small())
    other = Library(tmp_path / "other")
    other.studies.folder.mkdir(parents=True)
    (other.studies.folder / small().id).symlink_to(library.studies.folder / small().id)
    assert other.studies.list() == []
    with pytest.raises(RunNotFound):
        other.studies.open(small().id)


def test_images_are_kept_without_loss(library):
    study = small()
    library.studies.save(study)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    library.studies.save_image(study.id, "a-0-1", pixels)
    assert np.array_equal(library.studies.image(study.id, "a-0-1"), pixels)
    with pytest.raises(RunNotFound, match="no image"):
        library.studies.image(study.id, "a-0-0")
    (library.studies.folder / study.id / "images" / "a-0-1.png").write_bytes(b"no picture")
    with pytest.raises(DamagedRun):
        library.studies.image(study.id, "a-0-1")


def test_deleting_a_study_leaves_its_runs(library):
    library.save(made(1))
    study = small().with_cell("a-0-0", run_id=made(1).id)
    library.studies.save(study)
    library.studies.save_image(study.id, "a-0-1", np.zeros((2, 2, 3), np.uint8))
    library.studies.delete(study.id)
    assert library.studies.list() == []
    assert os.listdir(library.studies.folder) == []
    assert [info.id for info in library.list()] == [made(1).id]
    with pytest.raises(RunNotFound):
        library.studies.delete(study.id)


def test_studies_are_no_runs(library):
    library.save(made(1))
    library.studies.save(small())
    library.studies.save_image(small().id, "a-0-0", np.zeros((2, 2, 3), np.uint8))
    library.rebuild()
    assert [(info.id, info.status) for info in library.list()] == [(made(1).id, "complete")]
    before = library.usage()
    library.studies.delete(small().id)
    library.rebuild()
    assert library.usage() == before


def test_a_new_title_outlives_the_next_save(library):
    study = small()
    library.studies.save(study)
    library.studies.rename(study.id, "  Circles,\n by guidance ")
    library.studies.save(study.with_cell("a-0-0", status="failed"))
    assert library.studies.open(study.id).title == "Circles, by guidance"
    assert library.studies.list()[0].title == "Circles, by guidance"


@pytest.mark.parametrize("title", ["", "  ", "x" * 500, None, 5])
def test_a_title_must_be_one(library, title):
    library.studies.save(small())
    with pytest.raises(InvalidParams) as caught:
        library.studies.rename(small().id, title)
    assert caught.value.field == "title"


def test_a_title_file_that_cannot_be_read_is_passed_over(library):
    library.studies.save(small())
    (library.studies.folder / small().id / "title.json").write_text("{")
    assert library.studies.open(small().id).title == "Study 0"


def test_only_one_may_run_a_study_at_a_time(library):
    study = small(status="running")
    studies = library.studies
    with studies.running(study.id):
        studies.save(study)
        # Another handle of the same library knows it, too.
        assert Library(library.folder).studies.is_running(study.id)
        assert studies.open(study.id).status == "running"
        with pytest.raises(InvalidParams, match="already"), Library(library.folder).studies.running(study.id):
            pass
        with pytest.raises(InvalidParams, match="stop it first"):
            studies.delete(study.id)
    assert not studies.is_running(study.id)
    assert studies.open(study.id).status == "stopped"
    studies.delete(study.id)


def test_what_this_process_gave_up_reads_as_stopped(library):
    study = small(status="running").with_cell("a-0-1", status="running").with_cell("b-0-0", status="waiting")
    library.studies.save(study)
    found = library.studies.open(study.id)
    assert found.status == "stopped"
    assert [cell.status for cell in found.cells] == ["complete", "stopped", "stopped", "complete"]
    assert found.cell("a-0-1").run_id == study.cell("a-0-1").run_id
    assert library.studies.list()[0].status == "stopped"


def test_a_study_that_never_began_waits(library):
    study = small(status="waiting").with_cell("a-0-1", status="waiting")
    library.studies.save(study)
    assert library.studies.open(study.id) == study


SAVING = """
import sys, time
sys.path[:0] = {paths!r}
from tests.library.test_studies import small
from diffatlas.library import Library
studies = Library({folder!r}).studies
study = small(status="running").with_cell("b-0-1", status="running")
with studies.running(study.id):
    studies.save(study)
    print("saved", flush=True)
    while True:
        studies.save(study)
"""


def test_a_killed_process_leaves_a_readable_study(library):
    paths = [os.path.dirname(__file__), os.getcwd()]
    code = SAVING.format(paths=paths, folder=str(library.folder))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline().strip() == "saved"
        study = library.studies.open(small().id)
        assert (study.status, study.cell("b-0-1").status) == ("running", "running")
        with pytest.raises(InvalidParams, match="already"), library.studies.running(study.id):
            pass
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    study = library.studies.open(small().id)
    assert (study.status, study.cell("b-0-1").status) == ("stopped", "stopped")
    with library.studies.running(study.id):
        pass


def test_readers_see_whole_studies_while_one_is_written(library):
    studies, ended, torn = library.studies, threading.Event(), []
    studies.save(small())

    def read():
        while not ended.is_set():
            try:
                studies.open(small().id)
            except Exception as error:
                torn.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(100):
        studies.save(small())
    ended.set()
    reader.join()
    assert torn == []


def test_a_disk_that_refuses_says_so(library):
    library.folder.mkdir(parents=True)
    (library.folder / ".studies").write_text("a file in its place")
    with pytest.raises(BackendFailure, match="free some space"):
        library.studies.save(small())


def set_cell(**changes):
    return lambda data: data["cells"][0].update(changes)


HOSTILE = {
    "another id": lambda data: data.update(id="20260131-120009-00000000"),
    "another format": lambda data: data.update(format=99),
    "an unknown operation": lambda data: data.update(operation="rm"),
    "no lanes": lambda data: data.update(lanes=[]),
    "no cells": lambda data: data.update(cells=[]),
    "lanes that are numbers": lambda data: data.update(lanes=[1, 2]),
    "a lane twice": lambda data: data["lanes"].append(data["lanes"][0]),
    "a cell twice": lambda data: data["cells"].append(data["cells"][0]),
    "no spec": lambda data: data.update(spec=None),
    "a field that cannot be swept": lambda data: data["spec"].update(field="prompt"),
    "a baseline beyond the columns": lambda data: data["spec"].update(baseline=7),
    "too few values": lambda data: data["spec"].update(values=[1]),
    "a number that is none": lambda data: data["spec"].update(values=[float("nan"), 1]),
    "a number that is too large": lambda data: data["spec"].update(values=[float("inf"), 1]),
    "a title that is none": lambda data: data.update(title={"a": 1}),
    "a status that is none": lambda data: data.update(status="<b>"),
    "a key with a path": set_cell(key="../../x"),
    "a key of another place": set_cell(key="a-0-7"),
    "a place below zero": set_cell(key="a--1-0", row=-1),
    "a lane that is not there": set_cell(key="z-0-0", lane="z"),
    "a run with a path": set_cell(run_id="../../etc/passwd"),
    "a value with structure": set_cell(value={"a": []}),
    "parameters with more": set_cell(params={**BASE.to_dict(), "evil": 1}),
    "parameters of a wrong type": set_cell(params={**BASE.to_dict(), "seed": "x"}),
    "parameters out of range": set_cell(params={**BASE.to_dict(), "guidance_scale": 1e9}),
    "parameters with noise of another kind": set_cell(params={**BASE.to_dict(), "noise": {"kind": "x"}}),
    "an error that is text": set_cell(error="x"),
    "seconds that are text": set_cell(seconds="x"),
    "a label that is a list": set_cell(label=[]),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_study_is_damaged_and_no_more(library, what):
    study_id = altered(library, small(), HOSTILE[what])
    with pytest.raises(DamagedRun):
        library.studies.open(study_id)
    assert len(library.studies.list()) == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "[" * 100_000, '{"format": 1}', "\x00", '{"a": 1e999}']
)
def test_a_file_that_is_no_study_is_listed_as_damaged(library, text):
    library.studies.save(small(1))
    library.studies.save(small(2))
    (library.studies.folder / small(2).id / "study.json").write_text(text)
    with pytest.raises(DamagedRun):
        library.studies.open(small(2).id)
    infos = library.studies.list("sweep")
    assert [(info.id, info.status) for info in infos] == [
        (small(1).id, "complete"),
        (small(2).id, "damaged"),
    ]
    library.studies.delete(small(2).id)
    assert len(library.studies.list()) == 1


def test_a_folder_without_a_file_is_damaged(library):
    (library.studies.folder / small().id).mkdir(parents=True)
    with pytest.raises(DamagedRun):
        library.studies.open(small().id)
    assert [info.status for info in library.studies.list()] == ["damaged"]


def test_a_newer_version_may_say_more(library):
    def more(data):
        data["mood"] = "good"
        data["lanes"][0]["colour"] = "gold"
        data["cells"][0]["taste"] = 1

    assert library.studies.open(altered(library, small(), more)) == small()


def test_a_lone_surrogate_does_no_harm(library):
    study_id = altered(library, small(), lambda data: data.update(title="a \ud800 b"))
    assert library.studies.open(study_id).title == "a ? b"
    library.studies.save(library.studies.open(study_id))
    library.studies.rename(study_id, "c \ud800 d")
    assert library.studies.list()[0].title == "c ? d"
