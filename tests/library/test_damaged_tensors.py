"""A run of which only arrays or pictures are damaged: listed as damaged, with a sentence, without reading an array."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from diffatlas.errors import RunNotFound
from diffatlas.library import Library, whole
from tests.attended_runs import run_of
from tests.library.made_runs import made
from tests.spoken import Spoken

TENSORS = ("steps/step_0001.safetensors", "steps/step_0001.attention.safetensors", "initial.safetensors")
PICTURES = ("previews/step_0001_00.png", "images/image_00.png")


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    library = Library(tmp_path / "runs")
    library.save(replace(run_of(1, side=8, pixels=16), id="struck"))
    library.save(made(2, run_id="other"))
    yield library
    assert next(info for info in library.list() if info.id == "other").status == "complete"


def listed(library: Library) -> tuple[str, str | None]:
    library.refresh()
    info = next(info for info in library.list() if info.id == "struck")
    assert info.prompt == "a red circle and a blue square"
    return info.status, info.error


def change(library: Library, name: str, data: bytes) -> bytes:
    path = library.folder / "struck" / name
    before = path.read_bytes()
    path.write_bytes(data)
    return before


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("left", [0, 4, 100, -1])
def test_a_list_sees_tensors_that_are_cut_short(library: Library, name: str, left: int) -> None:
    before = (library.folder / "struck" / name).read_bytes()
    change(library, name, before[:left])
    library.rebuild()
    status, sentence = listed(library)
    assert status == "damaged"
    assert sentence.startswith("The run in struck is damaged: ")
    assert Path(name).name in sentence
    assert ("it is empty" if left == 0 else "it is cut short") in sentence
    change(library, name, before)
    library.rebuild()
    assert listed(library) == ("complete", None)


def test_a_list_opens_no_more_than_the_files_that_are_unlike(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    header = whole.files.tensors_header
    monkeypatch.setattr(
        whole.files, "tensors_header", lambda path: (opened.append(path.name), header(path))[1]
    )
    library.rebuild()
    assert set(opened) == {"initial.safetensors"}


@pytest.mark.parametrize("name", [*TENSORS, *PICTURES])
@pytest.mark.parametrize("how", ["header", "cut", "gone"])
def test_what_a_look_finds_is_listed_until_it_is_mended(library: Library, name: str, how: str) -> None:
    before = (library.folder / "struck" / name).read_bytes()
    # Of the same size: a list cannot see it.
    damage = {"header": b"\0" * 40 + before[40:], "cut": before[:-20], "gone": b""}[how]
    change(library, name, damage)
    if how == "gone":
        (library.folder / "struck" / name).unlink()
    found = library.check("struck")
    if how == "gone" and name in ("initial.safetensors", "images/image_00.png"):
        # It may not have been recorded: nothing lists it.
        assert found.status == "complete"
        return
    assert (found.status, found.error) == listed(library)
    assert found.status == "damaged"
    assert Path(name).name in found.error
    # Another process lists it so, and a mark does not make it whole.
    assert listed(Library(library.folder))[0] == "damaged"
    assert library.mark("struck", note="look at this").status == "damaged"
    assert [info.id for info in library.search(status="damaged").runs] == ["struck"]
    (library.folder / "struck" / name).write_bytes(before)
    assert library.check("struck").status == "complete"
    assert listed(library) == ("complete", None)


def test_a_run_that_is_written_again_is_whole_again(library: Library) -> None:
    change(library, "steps/step_0001.safetensors", b"\0" * 500)
    assert library.check("struck").status == "damaged"
    library.save(replace(run_of(1, side=8, pixels=16), id="struck"))
    os.utime(library.folder / "struck" / "manifest.json", ns=(1, 1))
    assert listed(library) == ("complete", None)


def test_a_run_that_is_not_there_is_not_looked_at(library: Library) -> None:
    with pytest.raises(RunNotFound):
        library.check("nowhere")


def test_the_page_lists_what_a_thumbnail_has_found(library: Library) -> None:
    from diffatlas.ui.layers import Layers
    from diffatlas.ui.libraries import Libraries
    from diffatlas.ui.library_services import LibraryServices
    from diffatlas.ui.turns import Turns

    libraries = Libraries(library.folder, False)
    services = Spoken(LibraryServices(libraries, Layers(libraries), None, {}, Turns()))
    name = "steps/step_0001.safetensors"
    change(library, name, b"\0" * 40 + (library.folder / "struck" / name).read_bytes()[40:])
    visitor = "v" * 32
    services.find(visitor, {})
    assert services.thumbs(visitor, {"ids": ["struck", "other"]})["thumbs"]["other"]
    told = {row["id"]: row for row in services.find(visitor, {})["runs"]}
    assert (told["struck"]["status"], told["other"]["status"]) == ("damaged", "complete")
    assert "step_0001.safetensors" in told["struck"]["error"]
    # What of it can be read is shown, with what is wrong.
    details = services.details(visitor, {"id": "struck"})
    assert details["notes"][0] == told["struck"]["error"]
    assert len(details["frames"]) == 3
