"""The recorded examples: every library opens them, none lists them, and a mark makes one its own."""

import numpy as np
import pytest

from diffatlas import Library
from diffatlas.errors import RunNotFound
from diffatlas.library.shipped import EXAMPLES
from diffatlas.library.studies import Studies
from diffatlas.ui.starts import STARTS, start_of

RUN = start_of("trajectory")["id"]


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "runs")


def test_an_example_is_read_whole_and_not_listed(library):
    run = library.load(RUN)
    assert run.status == "complete"
    assert len(run.steps) == 30
    assert np.array_equal(run.steps[-1].latents, library.open(RUN).step(29).latents)
    assert library.list() == []
    library.touch(RUN)
    assert not library.folder.exists() or library.list() == []


def test_a_mark_makes_a_copy_that_is_the_librarys_own(library):
    before = {path.name: path.stat().st_mtime_ns for path in (EXAMPLES / RUN).rglob("*")}
    library.mark(RUN, locked=True, note="mine")
    assert [(info.id, info.locked, info.note) for info in library.list()] == [(RUN, True, "mine")]
    assert {path.name: path.stat().st_mtime_ns for path in (EXAMPLES / RUN).rglob("*")} == before
    library.delete(RUN)
    assert library.list() == []
    assert library.is_example(RUN)


def test_an_example_cannot_be_deleted(library):
    for act in (library.delete, library.trash):
        with pytest.raises(RunNotFound):
            act(RUN)
    assert (EXAMPLES / RUN).is_dir()


@pytest.mark.parametrize("page", ["sweep", "neighbourhood"])
def test_the_study_of_an_example_is_read_with_its_runs(library, page):
    study = library.studies.open(start_of(page)["id"])
    assert study.status == "complete"
    assert study.operation == page
    assert {library.open(cell.run_id).status for cell in study.cells} == {"complete"}
    assert library.studies.list() == []
    with pytest.raises(RunNotFound):
        library.studies.delete(study.id)


def test_nothing_but_an_id_reaches_the_examples(library):
    for name in ("..", "../library", ".studies", "README.md", "starts.json", ""):
        assert not library.is_example(name)
        with pytest.raises(RunNotFound):
            library.open(name)


def test_every_example_is_there_and_says_what_one_sees():
    assert set(STARTS) == {"trajectory", "sweep", "neighbourhood", "attention"}
    for page, start in STARTS.items():
        assert start.says.endswith(".")
        assert start_of(page)["says"] == start.says
    kept = {path.name for path in EXAMPLES.iterdir() if path.is_dir()} - {".studies"}
    used = {RUN} | {
        cell.run_id
        for page in ("sweep", "neighbourhood")
        for cell in Studies(EXAMPLES).open(start_of(page)["id"]).cells
    }
    assert kept == used
