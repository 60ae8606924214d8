"""Marks are in the run's folder, checked, and never cost more than themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diffatlas.errors import InvalidParams, RunNotFound
from diffatlas.library import Library
from diffatlas.library.marks import Marks, read_marks
from tests.library.made_runs import made


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path)
    library.save(made(1))
    return library


@pytest.fixture
def run_id(library: Library) -> str:
    return library.list()[0].id


def test_marks_come_and_go(library: Library, run_id: str) -> None:
    info = library.mark(
        run_id, name="  My\n run ", tags=["b", " a  c ", "b", ""], note=" as\nit is ", locked=True
    )
    assert (info.name, info.tags, info.note, info.locked) == ("My run", ("b", "a c"), " as\nit is ", True)
    assert library.list() == [info] == [library.open(run_id).info]
    # None leaves the others as they are.
    info = library.mark(run_id, name="")
    assert (info.name, info.tags, info.note, info.locked) == ("", ("b", "a c"), " as\nit is ", True)
    info = library.mark(run_id, tags=(), note="", locked=False)
    assert read_marks(library.path(run_id)) == Marks()
    assert library.list() == [info]


def test_marks_survive_the_index_and_a_new_run_in_their_place(library: Library, run_id: str) -> None:
    library.mark(run_id, note="kept")
    (library.folder / ".index.sqlite").unlink()
    assert Library(library.folder).list()[0].note == "kept"
    library.save(made(1, prompt="another"))
    assert (library.list()[0].note, library.list()[0].prompt) == ("kept", "another")


@pytest.mark.parametrize(
    "asked",
    [
        {"name": "x" * 81},
        {"name": 5},
        {"name": "a\x00"},
        {"note": "x" * 10_001},
        {"note": "\ud800"},
        {"note": ["x"]},
        {"tags": "one string"},
        {"tags": 5},
        {"tags": ["x" * 41]},
        {"tags": [f"t{n}" for n in range(21)]},
        {"tags": [5]},
        {"locked": 1},
        {"locked": "yes"},
    ],
)
def test_nonsense_is_refused(library: Library, run_id: str, asked: dict) -> None:
    library.mark(run_id, name="before")
    with pytest.raises(InvalidParams) as caught:
        library.mark(run_id, **asked)
    assert caught.value.field == next(iter(asked))
    assert "\n" not in str(caught.value)
    assert library.list()[0].name == "before"


def test_the_limits_themselves_are_allowed(library: Library, run_id: str) -> None:
    tags = [f"{n:040d}" for n in range(20)]
    info = library.mark(run_id, name="n" * 80, note="o" * 10_000, tags=tags)
    assert (len(info.name), len(info.note), info.tags) == (80, 10_000, tuple(tags))


@pytest.mark.parametrize("bad", ["absent", "..", "../x", ".trash", None])
def test_only_runs_are_marked(library: Library, bad: str | None) -> None:
    with pytest.raises(RunNotFound):
        library.mark(bad, name="x")


@pytest.mark.parametrize("content", ["{", "[]", '{"tags": "x"}', '{"name": 5}', '{"locked": "no"}', "\xff"])
def test_marks_damaged_by_hand_keep_the_run(library: Library, run_id: str, content: str) -> None:
    """They may have said that it must stay."""
    (library.path(run_id) / "marks.json").write_bytes(content.encode("latin-1"))
    library.refresh()
    info = library.list()[0]
    assert (info.status, info.locked, info.name) == ("complete", True, "")
    assert "marks.json" in info.error
    assert library.evict(1) == []
    assert library.load(run_id).status == "complete"
    # A person who marks it anew mends it; what was there is set aside.
    info = library.mark(run_id, name="new")
    assert (info.name, info.locked, info.error) == ("new", True, None)
    assert (library.path(run_id) / "marks.damaged.json").is_file()
    assert library.mark(run_id, locked=False).locked is False


def test_a_mark_more_than_known_is_no_damage(library: Library, run_id: str) -> None:
    (library.path(run_id) / "marks.json").write_text(json.dumps({"name": "x", "of the future": 1}))
    library.refresh()
    assert (library.list()[0].name, library.list()[0].error) == ("x", None)
