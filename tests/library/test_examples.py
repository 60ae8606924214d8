"""The recorded examples: every library opens them, none lists them, and a mark makes one its own."""

import numpy as np
import pytest

from diffatlas import Library
from diffatlas.attention.trace import AttentionTrace
from diffatlas.errors import RunNotFound
from diffatlas.library.shipped import EXAMPLES
from diffatlas.library.studies import Studies
from diffatlas.operations.attention_boxes import binding
from diffatlas.shapes.detect import detect
from diffatlas.ui.starts import OTHERS, STARTS, recorded_runs, start_of

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
    used = {*recorded_runs()} | {
        cell.run_id
        for page in ("sweep", "neighbourhood")
        for cell in Studies(EXAMPLES).open(start_of(page)["id"]).cells
    }
    assert kept == used


def test_two_recorded_runs_are_small_and_show_what_is_said_of_them(library):
    """One draws both objects as asked; in the other each has the colour of the other: “blue” looks at the square."""
    right, swapped = recorded_runs()
    assert swapped == start_of("attention")["others"][0]["id"]
    assert OTHERS["swapped"][1].preset.prompt == "a blue star and a purple square"
    assert sum(p.stat().st_size for p in (EXAMPLES / swapped).rglob("*") if p.is_file()) < 600_000
    run = library.load(right)
    assert {(found.color, found.shape) for found in detect(run.images[0])} == {
        ("orange", "ring"),
        ("blue", "star"),
    }
    run = library.load(swapped)
    image = np.asarray(run.images[0])
    assert {(found.color, found.shape) for found in detect(image)} == {("purple", "star"), ("blue", "square")}
    attention = AttentionTrace.of(run)
    blue = next(bound for bound in binding(attention, image).words if bound.word == "blue")
    assert (blue.shape, blue.own.color, len(blue.values)) == ("star", "purple", len(attention.steps))
    assert (blue.values < 0).all()
