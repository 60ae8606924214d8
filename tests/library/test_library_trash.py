"""Trash, restore and eviction: what goes, what stays, and what a killed process leaves."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from diffatlas.bench.packs.shipped import shipped_pack
from diffatlas.errors import InvalidParams, RunNotFound
from diffatlas.events import Finished, Started
from diffatlas.library import Library
from diffatlas.run import Run
from tests.library.made_runs import made


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "runs", cap=0)
    for number in range(6):
        library.save(made(number))
    return library


def ids(library: Library) -> list[str]:
    """Oldest first."""
    return [info.id for info in reversed(library.list())]


def events_of(run: Run):
    yield Started(run.id, run.params, run.initial_latents, 1.0, len(run.steps), {}, {})
    yield from run.steps
    yield Finished("complete", 0.1)


def test_a_run_goes_to_the_trash_and_comes_back_whole(library: Library) -> None:
    victim = ids(library)[2]
    library.mark(victim, tags=["x"])
    before, states = library.list(), library.load(victim).latents
    library.trash(victim)
    assert victim not in ids(library)
    assert library.search("x").total == 0
    assert [info.id for info in library.trashed()] == [victim]
    for gone in (library.load, library.open, library.path, library.trash, library.delete):
        with pytest.raises(RunNotFound):
            gone(victim)
    library.restore(victim)
    assert library.list() == before
    assert library.trashed() == []
    assert library.load(victim).latents.tobytes() == states.tobytes()
    with pytest.raises(RunNotFound):
        library.restore(victim)


def test_the_trash_never_overwrites_the_library(library: Library) -> None:
    victim = ids(library)[0]
    library.trash(victim)
    library.save(made(0, prompt="again"))
    with pytest.raises(InvalidParams, match="again"):
        library.restore(victim)
    assert library.load(victim).params.prompt == "again"
    # The one that is thrown away last is the one that comes back.
    library.trash(victim)
    assert len(library.trashed()) == 1
    library.restore(victim)
    assert library.load(victim).params.prompt == "again"


def test_the_trash_tells_what_it_holds_and_gives_back_one_or_deletes_it_for_good(library: Library) -> None:
    from tests.bench.stored_benches import stored_bench, verdict
    from tests.library.test_studies import small

    study, (first, second, *_) = small(), ids(library)
    bench = stored_bench(library, shipped_pack("smoke"), lambda cell: verdict(True), seeds=1)
    library.benches.trash(bench.id)
    library.studies.save(study)
    library.studies.save_image(study.id, "a-0-0", np.zeros((4, 4, 3), np.uint8))
    size = sum(path.stat().st_size for path in library.path(first).rglob("*") if path.is_file())
    before = time.time()
    library.trash(first)
    library.trash(second)
    library.studies.trash(study.id)
    held = {(one.kind, one.id): one for one in library.in_trash()}
    assert set(held) == {("run", first), ("run", second), ("study", study.id), ("bench", bench.id)}
    assert library.trash_count == 4
    assert held["run", first].bytes == size
    assert min(held["study", study.id].bytes, held["bench", bench.id].bytes) > 100
    for one in held.values():
        assert before - 1 < datetime.fromisoformat(one.deleted).timestamp() < time.time() + 1
    assert library.open_trashed(first).params.prompt == "run 0"
    assert library.studies.list() == []
    library.delete_trashed(first)
    for gone in (library.delete_trashed, library.restore, library.open_trashed):
        with pytest.raises(RunNotFound):
            gone(first)
    library.studies.restore(study.id)
    assert library.studies.open(study.id) == study
    with pytest.raises(RunNotFound, match="no study"):
        library.studies.restore(study.id)
    library.studies.trash(study.id)
    assert sorted(library.empty_trash()) == sorted([second, study.id, bench.id])
    assert (library.in_trash(), library.trash_count) == ([], 0)
    # A run of the library is not in the trash, so nothing there deletes it.
    third = ids(library)[0]
    with pytest.raises(RunNotFound):
        library.delete_trashed(third)
    assert third in ids(library)


def test_without_a_cap_the_trash_keeps_all_until_it_is_emptied(library: Library, tmp_path: Path) -> None:
    assert library.trash_seconds is None
    assert Library(tmp_path / "runs", cap=10**9).trash_seconds == 7 * 86_400


@pytest.mark.parametrize("bad", ["absent", "..", "../runs", ".trash", "a/b", "", None])
def test_only_runs_are_moved(library: Library, bad: str | None) -> None:
    for act in (library.trash, library.restore, library.delete_trashed, library.open_trashed):
        with pytest.raises(RunNotFound):
            act(bad)
    assert len(ids(library)) == 6


def test_a_run_that_is_recorded_is_not_moved(library: Library) -> None:
    events = library.record(events_of(made(9)))
    next(events)
    with pytest.raises(InvalidParams, match="still being recorded"):
        library.trash(made(9).id)
    list(events)
    library.trash(made(9).id)
    assert made(9).id not in ids(library)


def test_emptying_the_trash(library: Library) -> None:
    first, second, third, *_ = ids(library)
    for run_id in (first, second, third):
        library.trash(run_id)
    assert [info.id for info in library.trashed()] == [third, second, first]
    old = time.time() - 1000
    os.utime(library.folder / ".trash" / second, (old, old))
    assert library.empty_trash(older_than_seconds=500) == [second]
    assert sorted(library.empty_trash()) == [first, third]
    assert library.trashed() == []
    assert list((library.folder / ".trash").iterdir()) == []
    assert len(ids(library)) == 3


def test_usage_is_what_the_files_take(library: Library) -> None:
    def taken() -> int:
        files = [f for run_id in ids(library) for f in library.path(run_id).rglob("*") if f.is_file()]
        return sum(f.stat().st_size for f in files)

    usage = library.usage()
    assert (usage.runs, usage.bytes, usage.cap) == (6, taken(), 0)
    library.trash(ids(library)[0])
    library.mark(ids(library)[0], note="x" * 5000)
    assert (library.usage().runs, library.usage().bytes) == (5, taken())


def test_the_least_recently_used_go_first(library: Library) -> None:
    size = library.list()[0].bytes
    order = ids(library)
    for run_id in (order[3], order[0]):
        library.touch(run_id)
    assert library.evict(0) == []
    assert library.evict(int(6.5 * size)) == []
    assert library.evict(int(3.5 * size)) == [order[1], order[2], order[4]]
    assert ids(library) == [order[0], order[3], order[5]]
    assert library.evict(int(1.5 * size)) == [order[5], order[3]]


def test_what_somebody_wants_stays(library: Library) -> None:
    locked, noted, tagged, named, plain, _ = ids(library)
    library.mark(locked, locked=True)
    library.mark(noted, note="why")
    library.mark(tagged, tags=["paper"])
    library.mark(named, name="a name alone does not keep it")
    recorded = library.record(events_of(made(20)))
    next(recorded)
    foreign = library.folder / "holiday-pictures"
    foreign.mkdir()
    (foreign / "beach.jpg").write_bytes(b"x" * 100_000)
    assert named in library.evict(1)
    assert set(ids(library)) == {locked, noted, tagged, made(20).id, "holiday-pictures"}
    assert (foreign / "beach.jpg").is_file()
    assert plain not in ids(library)
    recorded.close()


def test_the_folder_has_the_last_word(library: Library) -> None:
    """A mark that the index has not seen yet keeps its run."""
    library.list()
    kept = ids(library)[0]
    (library.path(kept) / "marks.json").write_text('{"locked": true}')
    library.evict(1)
    assert ids(library) == [kept]


def test_recording_makes_room(tmp_path: Path) -> None:
    library = Library(tmp_path)
    size = library.open(library.save(made(0))).info.bytes
    small = Library(tmp_path, cap=int(2.5 * size))
    for number in range(1, 6):
        list(small.record(events_of(made(number))))
    # Those that are left are the last two: the new run itself never goes.
    assert ids(small) == [made(4).id, made(5).id]
    tiny = Library(tmp_path, cap=1)
    list(tiny.record(events_of(made(7))))
    assert ids(tiny) == [made(7).id]


def test_the_cap_of_the_settings(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("DIFFATLAS_LIBRARY_CAP", raising=False)
    assert Library(tmp_path).usage().cap == 5_000_000_000
    for text, cap in (("0", 0), ("123", 123), ("2e9", 2_000_000_000)):
        monkeypatch.setenv("DIFFATLAS_LIBRARY_CAP", text)
        assert Library(tmp_path).usage().cap == cap
    for text in ("-1", "lots", "nan", "inf"):
        monkeypatch.setenv("DIFFATLAS_LIBRARY_CAP", text)
        with pytest.raises(InvalidParams, match="DIFFATLAS_LIBRARY_CAP"):
            Library(tmp_path).usage()
    # A wrong setting never costs a run.
    list(Library(tmp_path).record(events_of(made(1))))
    assert Library(tmp_path).load(made(1).id).status == "complete"
    for cap in (-1, "5", float("nan")):
        with pytest.raises(InvalidParams):
            Library(tmp_path).evict(cap)


def test_the_mode_of_the_settings(monkeypatch) -> None:
    from diffatlas.settings import settings

    monkeypatch.delenv("DIFFATLAS_MODE", raising=False)
    assert settings().mode == "auto"
    monkeypatch.setenv("DIFFATLAS_MODE", "shared")
    assert settings().mode == "shared"
    monkeypatch.setenv("DIFFATLAS_MODE", "public")
    with pytest.raises(InvalidParams, match="DIFFATLAS_MODE"):
        settings()


def test_old_trash_goes_when_room_is_made(library: Library) -> None:
    first, second, *_ = ids(library)
    library.trash(first)
    library.trash(second)
    old = time.time() - 30 * 86_400
    os.utime(library.folder / ".trash" / first, (old, old))
    library.evict(10**12)
    assert [info.id for info in library.trashed()] == [second]


def test_what_a_killed_process_leaves_is_seen_to(library: Library) -> None:
    replaced, deleted, saved, trashed, *_ = ids(library)
    folder = library.folder
    states = library.load(replaced).latents
    # Killed between the two renames of a replacement.
    (folder / replaced).rename(folder / f".{replaced}.0123abcd.old")
    # Killed while the files of a deleted run went.
    (folder / deleted).rename(folder / f".{deleted}.0123abcd.gone")
    # Killed after a replacement took its place, and while a run was written.
    (folder / f".{saved}.0123abcd.old" / "steps").mkdir(parents=True)
    library.trash(trashed)
    (folder / ".trash" / trashed).rename(folder / ".trash" / f".{trashed}.0123abcd.gone")
    being_written = folder / f".{made(9).id}.0123abcd.tmp"
    being_written.mkdir()
    left = folder / f".{made(10).id}.0123abcd.tmp"
    left.mkdir()
    old = time.time() - 3 * 86_400
    os.utime(left, (old, old))
    fresh = Library(folder)
    assert fresh.load(replaced).latents.tobytes() == states.tobytes()
    assert deleted not in ids(fresh)
    assert being_written.is_dir()
    names = {path.name for path in folder.iterdir() if ".sqlite" not in path.name}
    assert names == {*ids(fresh), being_written.name, ".trash"}
    assert fresh.trashed() == []
