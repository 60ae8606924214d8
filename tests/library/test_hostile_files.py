"""Files that were written by anybody, or damaged byte by byte: each hurts the run, study or lab thing that it is of."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffatlas import files
from diffatlas.errors import DamagedRun, DiffAtlasError, InvalidParams, Unreadable
from diffatlas.formats.kinds import export
from diffatlas.formats.named import Named
from diffatlas.formats.static.check import check_folder
from diffatlas.formats.static.read import import_static
from diffatlas.lab2d import states
from diffatlas.lab2d.shelf import Shelf
from diffatlas.lab2d.targets import preset
from diffatlas.lab2d.training import Recipe, Trainer
from diffatlas.library import Library, shipped
from diffatlas.library.difference import difference
from diffatlas.operations.attention import attention_of
from tests.attended_runs import run_of
from tests.hostile import HOSTILE, bounded, damaged, with_another_part
from tests.library.made_runs import made

BOUNDED = bounded(60)
#: More than any small run needs: what is allocated by a number in a file is far more.
MOST_BYTES = 40_000_000


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of a run with everything, another one, a study and something of the lab."""
    room = tmp_path_factory.mktemp("good")
    library = Library(room / "library")
    library.save(replace(run_of(1, side=8, pixels=16, own={"up.attn1": ((8, 8), (4, 4), "up")}), id="struck"))
    library.save(made(2, run_id="other"))
    library.mark("struck", name="it", tags=["a"], note="b")
    study = next((shipped.EXAMPLES / ".studies").iterdir())
    shutil.copytree(study, library.studies.folder / study.name)
    shelf = Shelf(room / "shelf")
    shelf.keep_network(Trainer(preset("rings"), Recipe()))
    return room


@pytest.fixture
def room(good: Path, tmp_path: Path) -> Path:
    shutil.copytree(good, tmp_path / "room")
    return tmp_path / "room"


def everything(library: Library) -> Iterator[Callable[[], Any]]:
    """What is done with one run, each by itself."""
    yield lambda: library.open("struck").info
    yield lambda: library.open("struck").params
    yield lambda: library.open("struck").latents()
    yield lambda: library.open("struck").step_lines()
    yield lambda: [library.open("struck").step(i) for i in range(3)]
    yield lambda: library.open("struck").preview(0)
    yield lambda: library.open("struck").images()
    yield lambda: attention_of(library.open("struck")).tokens
    yield lambda: difference(library.open("struck"), library.open("other"))
    yield lambda: export("csv", [Named("a", library.load("struck"))])
    yield lambda: export("json", [Named("a", library.load("struck"))])


def refusal(act: Callable[[], Any]) -> DiffAtlasError | None:
    """Do something; return the typed error that it was refused with. Anything else comes out."""
    try:
        act()
    except DiffAtlasError as error:
        return error
    return None


def survives(room: Path, study_of: str) -> int:
    """Do everything with the library; return how often it was refused. Only typed errors come out, on one line."""
    library = Library(room / "library")
    library.refresh()
    listed = {info.id: info for info in library.list()}
    assert set(listed) == {"struck", "other"}
    assert (listed["other"].status, listed["other"].prompt) == ("complete", "run 2")
    if listed["struck"].status == "damaged":
        assert listed["struck"].error
    shelf = Shelf(room / "shelf")
    acts = [
        *everything(library),
        lambda: library.studies.open(study_of),
        *(lambda kept=kept: shelf.open(kept.id) for kept in shelf.list()),
    ]
    refusals = [error for error in map(refusal, acts) if error is not None]
    for error in refusals:
        assert not isinstance(error, Unreadable), "it does not say of which run"
        assert "\n" not in error.message
        assert len(error.message) < 700
    assert library.load("other").images
    assert all(info.status != "damaged" or info.error for info in library.studies.list())
    return len(refusals)


def all_files(room: Path) -> list[Path]:
    found = sorted(p for p in room.rglob("*") if p.is_file() and ".index" not in p.name)
    return [p for p in found if "other" not in p.parts]


def study_of(room: Path) -> str:
    return next(p.name for p in (room / "library" / ".studies").iterdir())


def put(path: Path, data: bytes) -> None:
    """Replace a file so that the index sees it."""
    path.write_bytes(data)
    os.utime(path, ns=(1, os.stat(path).st_mtime_ns + 1))


@BOUNDED
@given(data=st.data())
def test_a_damaged_byte_hurts_its_own_run(room: Path, data: st.DataObject) -> None:
    paths = all_files(room)
    path = data.draw(st.sampled_from(paths))
    before = path.read_bytes()
    after = damaged(data, before, [each.read_bytes() for each in paths])
    try:
        put(path, after)
        survives(room, study_of(room))
    finally:
        put(path, before)


@BOUNDED
@given(data=st.data())
def test_a_value_of_another_kind_hurts_its_own_run(room: Path, data: st.DataObject) -> None:
    own = room / "library" / "struck"
    study = room / "library" / ".studies" / study_of(room) / "study.json"
    kept = next((room / "shelf").glob("*.json"))
    path = data.draw(
        st.sampled_from([own / "manifest.json", own / "steps.jsonl", own / "marks.json", study, kept])
    )
    before = path.read_bytes()
    lines = (
        [json.loads(line) for line in before.splitlines()] if path.suffix == ".jsonl" else json.loads(before)
    )
    told = with_another_part(data, lines, HOSTILE)
    text = "".join(json.dumps(line) + "\n" for line in told) if path.suffix == ".jsonl" else json.dumps(told)
    try:
        put(path, text.encode())
        survives(room, study_of(room))
    finally:
        put(path, before)


DEEP = "[" * 100_000


@pytest.mark.parametrize("name", ["manifest.json", "marks.json", "steps.jsonl"])
@pytest.mark.parametrize(
    "text",
    [
        DEEP,
        '{"a":' * 100_000,
        "9" * 5000,
        '{"format": 1e999}',
        "NaN",
        "\ufeff{}",
        '"' + "x" * 2_000_000 + '"',
        "null",
    ],
    ids=["brackets", "braces", "digits", "infinite", "nan", "mark", "long", "null"],
)
def test_a_hostile_text_is_one_damaged_run(room: Path, name: str, text: str) -> None:
    put(room / "library" / "struck" / name, f"{text}\n".encode())
    refused = survives(room, study_of(room))
    assert refused or name == "marks.json"
    info = next(i for i in Library(room / "library").list() if i.id == "struck")
    if name == "manifest.json":
        assert info.status == "damaged"
    elif name == "marks.json" and "1e999" not in text:
        assert "marks.json" in info.error


@pytest.mark.parametrize(
    "name", ["manifest.json", "marks.json", "steps.jsonl", "initial.safetensors", "images/image_00.png"]
)
@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "broken link", "device"])
def test_what_is_no_file_is_one_damaged_run(room: Path, name: str, kind: str) -> None:
    path = room / "library" / "struck" / name
    (path.with_name("gone")).unlink(missing_ok=True)
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "loop": lambda: path.symlink_to(path),
        "broken link": lambda: path.symlink_to("nowhere"),
        "device": lambda: path.symlink_to("/dev/zero"),
    }[kind]()
    survives(room, study_of(room))


def test_a_number_makes_no_room_by_itself(room: Path) -> None:
    """A million previews, a tensor of a terabyte and a picture of a billion pixels, each a few bytes of a file."""
    struck = room / "library" / "struck"
    lines = (struck / "steps.jsonl").read_text().replace('"previews": 1', '"previews": 1000000')
    shape = {"latents": {"dtype": "F32", "shape": [1, 4, 2**18, 2**18], "data_offsets": [0, 2**40]}}
    header = json.dumps(shape).encode()
    hostile = {
        "steps.jsonl": lines.encode(),
        "steps/step_0000.safetensors": len(header).to_bytes(8, "little") + header,
        "steps/step_0001.safetensors": (2**62).to_bytes(8, "little") + b"{}",
        "previews/step_0000_00.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
        + (2**15).to_bytes(4, "big") * 2
        + bytes(20),
    }
    survives(room, study_of(room))
    for name, data in hostile.items():
        before = (struck / name).read_bytes()
        (struck / name).write_bytes(data)
        tracemalloc.start()
        refused = survives(room, study_of(room))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert refused, name
        assert peak < MOST_BYTES, name
        (struck / name).write_bytes(before)


def test_a_sparse_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(Unreadable, match="larger than 16 MB"):
        files.read_object(path)
    path.rename(tmp_path / "x.safetensors")
    with pytest.raises(Unreadable, match="no JSON"):
        files.tensors_header(tmp_path / "x.safetensors")


@BOUNDED
@given(depth=st.integers(1, 300))
def test_depth_is_counted(depth: int) -> None:
    text = "[" * depth + "]" * depth
    if depth <= files.MOST_DEPTH:
        assert json.dumps(files.parse_json(text, "x")).replace(" ", "") == text
    else:
        with pytest.raises(Unreadable, match="levels deep"):
            files.parse_json(text, "x")


@BOUNDED
@given(text=st.text())
def test_text_comes_back_as_it_was(text: str) -> None:
    assert files.parse_json(json.dumps([text]), "x") == [text]


def test_the_shell_says_it_on_one_line(room: Path) -> None:
    (room / "library" / "struck" / "manifest.json").write_text(DEEP)
    environment = {**os.environ, "DIFFATLAS_LIBRARY": str(room / "library")}

    def shell(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "diffatlas", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    listed = shell("runs")
    assert listed.returncode == 0
    assert "damaged" in listed.stdout
    assert "levels deep" in listed.stdout
    assert "other" in listed.stdout
    for words in (
        ("compare", "struck", "other"),
        ("export", "struck", "--format", "csv", "--to", str(room / "x.csv")),
    ):
        told = shell(*words)
        assert (told.returncode, told.stderr.count("\n")) == (2, 1)
        assert told.stderr.startswith("error: The run in struck has no readable manifest.json")


@BOUNDED
@given(data=st.data())
def test_a_static_folder_that_is_damaged_is_refused_or_has_gaps(
    good: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    from diffatlas.formats.static import write as static_folder

    folder = good / "static"
    if not folder.exists():
        run = Library(good / "library").load("struck")
        static_folder.write(static_folder.plan(run, static_folder.Options(npz=True)), folder)
    path = folder / data.draw(st.sampled_from(["metadata.json", "metrics.json", "latent_pca.json"]))
    before = path.read_bytes()
    told = with_another_part(data, json.loads(before), HOSTILE)
    library = Library(tmp_path_factory.mktemp("imported"))
    try:
        path.write_text(json.dumps(told))
        check_folder(folder)
        refused = refusal(lambda: import_static(library, folder))
        if refused is None:
            assert [info.status for info in library.list()] in (["complete"], ["stopped"])
            library.load(library.list()[0].id)
        else:
            assert "\n" not in refused.message
            assert not library.list()
    finally:
        path.write_bytes(before)


def test_a_lab_of_brackets_is_refused() -> None:
    with pytest.raises(InvalidParams, match="levels deep"):
        states.parse(DEEP)


def test_damage_is_of_the_right_kind(room: Path) -> None:
    (room / "library" / "struck" / "steps.jsonl").write_text(DEEP + "\n")
    with pytest.raises(DamagedRun, match="line 1"):
        Library(room / "library").load("struck")
