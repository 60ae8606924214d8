"""The index mirrors the folders, whatever happens to it or to them."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from diffatlas.errors import InvalidParams, RunNotFound
from diffatlas.library import Library, index
from diffatlas.library.reader import read_info
from diffatlas.library.store import RunInfo
from tests.library.made_runs import made

WORDS = [
    "heron",
    "Harbour",
    "clock",
    "clockwork",
    "a",
    "naïve",
    "ÉTUDE",
    "c++",
    "100%",
    "under_score",
    "日本の庭",
    "🙂",
]


def folders(library: Library) -> list[RunInfo]:
    """What the list must show, read from the folders alone."""
    found = [
        read_info(f)
        for f in library.folder.iterdir()
        if f.name[0] != "." and f.is_dir() and not f.is_symlink()
    ]
    return sorted(found, key=lambda info: (info.created, info.id), reverse=True)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "runs")
    for number in range(30):
        words = [WORDS[number % len(WORDS)], WORDS[(number * 5 + 2) % len(WORDS)]]
        library.save(
            made(
                number,
                prompt=f"a picture of {' '.join(words)}",
                model=("shapes", "sdxl")[number % 3 == 0],
                seed=number * 37 % 11,
                status=("complete", "stopped")[number % 5 == 0],
                side=4 + number % 4,
            )
        )
    return library


def ids(found) -> list[str]:
    return [info.id for info in found.runs]


def test_the_list_is_what_the_folders_hold(library: Library) -> None:
    assert library.list() == folders(library)
    # Another process, so to speak: the index is there already.
    assert Library(library.folder).list() == folders(library)
    one = library.list()[3]
    assert (one.kind, one.width, one.guidance_scale, one.scheduler) == ("trace", 64, 5.0, None)
    on_disk = sum(f.stat().st_size for f in library.path(one.id).rglob("*") if f.is_file())
    assert one.bytes == on_disk > 1000


@pytest.mark.parametrize("full_text", [True, False])
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("heron", ["heron"]),
        ("HERON", ["heron"]),
        ("clock", ["clock", "clockwork"]),
        ("clockw", ["clockwork"]),
        ("étude", ["étude"]),
        ("c++", ["c++"]),
        ("100%", ["100%"]),
        ("under_", ["under_score"]),
        ("本の", ["日本の庭"]),
        ("🙂", ["🙂"]),
        ("picture heron clock", ["heron", "clock"]),
    ],
)
def test_text_is_found(library: Library, monkeypatch, full_text: bool, text: str, wanted: list[str]) -> None:
    if full_text and not index.has_full_text():
        pytest.skip("this SQLite has no FTS5")
    monkeypatch.setattr(index, "has_full_text", lambda: full_text)
    join = all if "picture" in text else any
    expected = [
        info.id for info in folders(library) if join(w.casefold() in info.prompt.casefold() for w in wanted)
    ]
    assert expected
    if text == "c++" and full_text:
        # A word of one letter begins many.
        assert set(expected) <= set(ids(library.search(text)))
    else:
        assert ids(library.search(text)) == expected


def test_text_finds_every_part(library: Library) -> None:
    run_id = library.list()[4].id
    library.mark(run_id, name="Figure nine", tags=["camera ready"], note="compare with\nthe sombre one")
    for text in ("nine", "ready camera", "sombre", run_id, run_id[:-3], run_id[-8:], "figure sombre ready"):
        assert run_id in ids(library.search(text)), text
    assert ids(library.search("figure absent")) == []
    assert len(library.search("sdxl").runs) == 10
    # A mark that goes is no longer found.
    library.mark(run_id, note="")
    assert ids(library.search("sombre")) == []


@pytest.mark.parametrize(
    "text",
    ['"', "'; DROP TABLE runs; --", "a OR", "NEAR(", "*", "^a", "%", "\\", "\x00", "a\x00b", "-", "\ud800"],
)
def test_nothing_in_a_text_is_an_operator(library: Library, text: str) -> None:
    before = library.list()
    found = library.search(text)
    assert set(found.runs) <= set(before)
    if not any(character.isalnum() for character in text):
        words = text.replace("\x00", " ").encode("utf-8", "replace").decode().split()
        shown = [f"{info.id}\n{info.prompt}\n{info.model}" for info in before]
        assert found.total == sum(all(word in line for word in words) for line in shown)
    assert not list(library.folder.glob(".index.sqlite.damaged"))
    assert library.list() == before


def test_filters(library: Library) -> None:
    every = library.list()
    library.mark(every[2].id, tags=["x", "y"], locked=True)
    library.mark(every[5].id, tags=["x"])

    def check(keep, **asked) -> None:
        wanted = [info.id for info in library.list() if keep(info)]
        found = library.search(**asked)
        assert (ids(found), found.total) == (wanted, len(wanted)), asked

    check(lambda i: i.model == "sdxl", model="sdxl")
    check(lambda i: i.status == "stopped" and i.model == "sdxl", status="stopped", model="sdxl")
    check(lambda i: "x" in i.tags, tags=["x"])
    check(lambda i: i.id == every[2].id, tags=["x", "y"])
    check(lambda i: i.locked, locked=True)
    check(lambda i: not i.locked, locked=False)
    check(lambda i: True, kind="trace")
    check(lambda i: False, kind="sweep")
    check(lambda i: i.created >= "2026-01-31T12:00:20", since="2026-01-31T12:00:20")
    check(lambda i: i.created < "2026-01-31T12:00:05", until=datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC))
    check(lambda i: i.created < "2026-01-31T12:00:05", until="2026-01-31T14:00:05+02:00")
    # The last day is part of it.
    check(lambda i: True, since="2026-01-31", until="2026-01-31")
    check(lambda i: True, since=date(2026, 1, 31), until=date(2026, 1, 31))
    check(lambda i: False, until="2026-01-30")
    assert library.models() == ["sdxl", "shapes"]
    assert library.tags() == ["x", "y"]


def test_runs_are_found_by_their_attention(library: Library) -> None:
    captured = {60: "cross", 61: "self", 62: "all", 63: "off"}
    made_with = {
        library.save(made(number, capture={"latents": True, "attention": kind})): kind
        for number, kind in captured.items()
    }
    told = {info.id: info.attention for info in library.list()}
    assert {run: told[run] or "off" for run in made_with} == made_with
    assert library.list() == folders(library)

    def found(asked: bool | str | None) -> list[str]:
        return [made_with.get(run, "-") for run in ids(library.search(attention=asked, limit=None))]

    assert found(True) == ["all", "self", "cross"]
    assert found("cross") == ["all", "cross"]
    assert found("self") == ["all", "self"]
    assert found("all") == ["all"]
    assert found(False) == ["off", *"-" * 30]
    assert found(None) == ["off", "all", "self", "cross", *"-" * 30]
    assert library.search(model="sdxl", attention=True).total == 0


def test_an_index_from_before_attention_is_made_again(library: Library) -> None:
    run_id = library.save(made(60, capture={"attention": "cross"}))
    library.list()
    with sqlite3.connect(library.folder / ".index.sqlite") as db:
        db.execute('ALTER TABLE runs DROP COLUMN "attention"')
        db.execute(f"PRAGMA user_version = {2 + index.has_full_text()}")
    db.close()
    assert ids(Library(library.folder).search(attention="cross")) == [run_id]
    # It was not damaged, only older.
    assert not list(library.folder.glob(".index.sqlite.damaged"))


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("sort", ["created", "name", "prompt", "model", "seed", "steps", "bytes", "used"])
def test_sorts_and_pages(library: Library, sort: str, descending: bool) -> None:
    every = library.list()
    library.mark(every[7].id, name="A name before all prompts")
    library.touch(every[9].id)
    keys = {"name": lambda i: (i.name or i.prompt).lower(), "prompt": lambda i: i.prompt.lower()}
    key = keys.get(sort, lambda i: getattr(i, sort))
    found = library.search(sort=sort, descending=descending, limit=None)
    assert len(found.runs) == found.total == 30
    values = [key(i) for i in found.runs]
    if sort not in keys or all(v.isascii() for v in values):
        assert values == sorted(values, reverse=descending)
    pages = [library.search(sort=sort, descending=descending, limit=7, offset=at) for at in range(0, 35, 7)]
    assert [i for page in pages for i in page.runs] == [*found.runs]
    assert {page.total for page in pages} == {30}


@pytest.mark.parametrize(
    "asked",
    [
        {"sort": "id; DROP TABLE runs"},
        {"limit": -1},
        {"limit": True},
        {"offset": 2**63},
        {"offset": None},
        {"since": "yesterday"},
        {"until": 5},
        {"model": 5},
        {"tags": [None]},
        {"text": "a" * 1001},
        {"text": None},
        {"attention": "off"},
        {"attention": ["cross"]},
        {"attention": 1},
    ],
)
def test_nonsense_is_refused(library: Library, asked: dict) -> None:
    with pytest.raises(InvalidParams) as caught:
        library.search(**asked)
    assert "\n" not in str(caught.value)


def test_an_empty_library(tmp_path: Path) -> None:
    library = Library(tmp_path / "absent")
    assert (library.list(), library.search("x").total, library.usage().runs) == ([], 0, 0)
    assert (library.tags(), library.models(), library.trashed(), library.evict(1)) == ([], [], [], [])
    library.refresh()
    library.rebuild()
    assert not library.folder.exists()


def test_the_folders_are_followed(library: Library, tmp_path: Path) -> None:
    """What another program does to the folders shows."""
    gone, copied, edited = (library.list()[k] for k in (0, 1, 2))
    shutil.rmtree(library.path(gone.id))
    shutil.copytree(library.path(copied.id), library.folder / "a-copy")
    (library.folder / "linked").symlink_to(library.path(copied.id))
    (library.folder / "file").write_text("")
    found = {info.id for info in library.list()}
    assert gone.id not in found
    assert "a-copy" in found
    assert not {"linked", "file"} & found
    # In place, without a rename; the file's time may be that of the last look.
    manifest = library.path(edited.id) / "manifest.json"
    manifest.write_text(manifest.read_text().replace("a picture of", "a drawing of"))
    (library.path(copied.id) / "marks.json").write_text('{"name": "by hand"}')
    library.refresh()
    assert library.list() == folders(library)
    assert [i.name for i in library.search("by hand").runs] == ["by hand"]
    assert ids(library.search("drawing")) == [edited.id]


def test_changes_are_noticed_without_asking(library: Library) -> None:
    run_id = library.list()[0].id
    (library.path(run_id) / "marks.json").write_text('{"name": "by hand"}')
    deadline = time.monotonic() + 30
    while library.list()[0].name != "by hand":
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "readable"),
        ("[]", "readable"),
        ('{"format": 99}', "99"),
        ('{"format": 1}', "damaged"),
        ("params.seed=1" + "0" * 30, "damaged"),
        ("params.prompt=[1]", "damaged"),
        ('steps="many"', "damaged"),
        ("created=null", "damaged"),
        ('capture="x"', "damaged"),
        ('capture={"attention": "some"}', "damaged"),
    ],
)
def test_a_run_damaged_by_hand_is_listed_as_such(library: Library, content: str, says: str) -> None:
    victim = library.list()[3].id
    path = library.path(victim) / "manifest.json"
    if "=" in content:
        where, value = content.split("=")
        manifest = json.loads(path.read_text())
        inner = manifest["params"] if where.startswith("params.") else manifest
        inner[where.removeprefix("params.")] = json.loads(value)
        content = json.dumps(manifest)
    path.write_text(content)
    library.refresh()
    (info,) = [i for i in library.list() if i.id == victim]
    assert info.status == "damaged"
    assert says in info.error
    assert "\n" not in info.error
    assert len(library.list()) == 30
    assert ids(library.search(status="damaged")) == [victim]


def test_odd_text_in_a_manifest(library: Library) -> None:
    path = library.path(library.list()[0].id) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["params"]["prompt"] = "a \ud800 b\x00c <b>"
    path.write_text(json.dumps(manifest))
    library.refresh()
    assert library.list()[0].prompt == "a ? b\x00c <b>"


@pytest.mark.parametrize("damage", ["noise", "cut", "empty", "version", "table", "column", "removed"])
def test_a_damaged_index_is_made_again(library: Library, damage: str) -> None:
    before, path = library.list(), library.folder / ".index.sqlite"
    marked = library.mark(before[0].id, note="stays")
    if damage == "noise":
        path.write_bytes(os.urandom(5000))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    if damage == "empty":
        path.write_bytes(b"")
    if damage == "removed":
        path.unlink()
    statement = {
        "version": "PRAGMA user_version = 77",
        "table": "DROP TABLE tagged",
        "column": 'ALTER TABLE runs DROP COLUMN "note"',
    }.get(damage)
    if statement:
        with sqlite3.connect(path) as db:
            db.execute(statement)
        db.close()
    for one in (library, Library(library.folder)):
        assert one.list() == [marked, *before[1:]]
        assert ids(one.search("heron")) == [i.id for i in before if "heron" in i.prompt]
        assert one.tags() == []


def test_an_index_that_cannot_be_kept_is_in_memory(library: Library) -> None:
    (library.folder / ".index.sqlite").unlink(missing_ok=True)
    (library.folder / ".index.sqlite").mkdir()
    run_id = library.list()[0].id
    assert library.mark(run_id, note="kept").note == "kept"
    assert library.search("heron").total == sum("heron" in i.prompt for i in folders(library))
    library.delete(run_id)
    assert library.list() == folders(library)
    assert len(library.list()) == 29
    found = []
    threads = [threading.Thread(target=lambda: found.append(len(library.list()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [29] * 8


def test_rebuild(library: Library) -> None:
    before = library.list()
    with sqlite3.connect(library.folder / ".index.sqlite") as db:
        db.execute("UPDATE runs SET prompt = 'lies'")
    db.close()
    library.touch(before[0].id)
    library.rebuild()
    assert library.list() == before


def test_a_use_is_noted(library: Library) -> None:
    first = library.list()[-1]
    library.touch(first.id)
    assert ids(library.search(sort="used", limit=1)) == [first.id]
    assert library.list()[-1].used > first.used
    # Reading the folder again does not take it back.
    library.mark(first.id, note="x")
    assert ids(library.search(sort="used", limit=1)) == [first.id]
    with pytest.raises(RunNotFound):
        library.touch("absent")


def test_the_key_is_stored_and_found(library: Library) -> None:
    run = made(40, provenance={"key": "f" * 64})
    library.save(run)
    manifest = json.loads((library.path(run.id) / "manifest.json").read_text())
    assert manifest["key"] == "f" * 64
    assert ids(library.search(key="f" * 64)) == [run.id]
    assert library.list()[0].key == "f" * 64
    assert {info.key for info in library.list()[1:]} == {None}


def test_a_library_of_the_version_before_is_read(library: Library) -> None:
    """No index, no marks, no key, no token of the writer: a folder as it was written before."""
    run = made(50)
    folder = library.path(library.save(run))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format"] == 1
    assert set(manifest) == {
        "format", "id", "status", "created", "params", "initial_sigma", "total_steps", "provenance", "capture",
        "steps", "seconds",
    }  # fmt: skip
    manifest |= {"status": "running", "writer": {"pid": os.getpid(), "started": 0.0}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    library.refresh()
    assert library.list()[0].status == "partial"


def test_threads_share_a_library(library: Library) -> None:
    """Marks of one run from many threads: none is lost, and nobody is refused."""
    run_id, errors = library.list()[0].id, []

    def work(number: int) -> None:
        try:
            for _ in range(3):
                library.mark(run_id, **{("name", "note")[number % 2]: f"by {number % 2}"})
                library.mark(library.list()[number + 1].id, tags=[f"t{number}"])
                library.search(f"t{number}")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert (library.list()[0].name, library.list()[0].note) == ("by 0", "by 1")
    assert library.tags() == sorted(f"t{n}" for n in range(8))
    assert library.list() == folders(library)
    assert replace(library.list()[0], name="") in [replace(i, name="") for i in folders(library)]
