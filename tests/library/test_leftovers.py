"""What a killed export leaves beside its target goes with the next start, and nothing else does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from diffatlas.library import Library, leftovers
from tests.attended_runs import run_of

#: Stops for good in the middle of an export, with its temporary files beside the target.
EXPORT = """
import sys, time
from dataclasses import replace
from pathlib import Path
from diffatlas.library import Library
kind, folder, to = sys.argv[1:]
def stop(*_, **__):
    print("midway", flush=True)
    time.sleep(600)
if kind == "dataset":
    from diffatlas.formats.dataset import card as dataset_card
    dataset_card.write_card = stop
    Library(folder).export_dataset(to, ["one"])
elif kind == "static":
    from diffatlas.formats.static import write as static_folder
    static_folder._install = stop
    static_folder.write(static_folder.plan(Library(folder).load("one"), static_folder.Options()), Path(to))
else:
    import os
    from diffatlas.formats.files import write
    os.replace = stop
    write(Library(folder).load("one"), to + ".json")
"""


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "library")
    library.save(replace(run_of(1, side=8, pixels=16), id="one"))
    return library


def begun(kind: str, library: Library, to: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", EXPORT, kind, str(library.folder), str(to)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "midway\n"
    return process


def killed(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("kind", ["dataset", "static", "file"])
def test_the_next_export_to_a_place_clears_it(kind: str, library: Library, tmp_path: Path) -> None:
    room = tmp_path / "out"
    room.mkdir()
    strangers = [".mine.tmp", ".x-deadbeef-1-1-00000000.tmp", "notes.tmp"]
    for name in strangers:
        (room / name).write_text("of somebody else")
    process = begun(kind, library, room / "made")
    left = {path.name for path in room.iterdir()} - set(strangers)
    assert len(left) == 1
    leftovers.sweep(room)
    assert left < {path.name for path in room.iterdir()}  # its process is alive
    killed(process)
    if kind == "dataset":
        library.export_dataset(room / "other", ["one"])
    else:
        leftovers.sweep(room)
    assert {path.name for path in room.iterdir()} - {"other"} == set(strangers)


def test_opening_the_library_clears_the_place_of_a_dataset(library: Library, tmp_path: Path) -> None:
    process = begun("dataset", library, tmp_path / "out" / "made")
    Library(library.folder).list()
    assert len(list((tmp_path / "out").iterdir())) == 1
    killed(process)
    Library(library.folder).list()
    assert not list((tmp_path / "out").iterdir())
    assert not list((library.folder / leftovers.NOTED).iterdir())
    assert [info.id for info in library.list()] == ["one"]


def test_a_note_names_nothing_but_its_own(library: Library, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    name = dead_name()
    noted = library.folder / leftovers.NOTED / name
    noted.parent.mkdir()
    for told in (
        str(tmp_path / "precious"),
        "/",
        f"{tmp_path}/precious\0",
        str(tmp_path / "precious" / ".."),
    ):
        noted.write_text(told)
        leftovers.sweep_noted(library.folder)
        assert (tmp_path / "precious").is_dir()


def test_a_number_that_another_process_has_got_is_dead() -> None:
    own = leftovers.temporary(Path("/x/made")).name
    assert not leftovers.is_dead(own)
    head, started, rest = own.rsplit("-", 2)
    assert leftovers.is_dead(f"{head}-{int(started) - 100}-{rest}")


def dead_name() -> str:
    program = (
        "from pathlib import Path; from diffatlas.library.leftovers import temporary; "
        "print(temporary(Path('/x/y')).name)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return told.stdout.strip()
