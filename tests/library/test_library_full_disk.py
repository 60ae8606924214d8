"""A disk that is full: one clear sentence, and nothing that was there is damaged."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from diffatlas.errors import BackendFailure
from diffatlas.events import Finished, Image, Started
from diffatlas.library import Library
from diffatlas.run import Run
from tests.library.made_runs import STEPS, made

DATABASES = (".sqlite", ".sqlite-wal", ".sqlite-shm")


def events_of(run: Run):
    yield Started(run.id, run.params, run.initial_latents, 1.0, len(run.steps), {}, {})
    yield from run.steps
    yield Image(0, run.images[0])
    yield Finished("complete", 0.1)


class Disk:
    """Takes so many bytes more; then a write takes what fits and fails, as on a real disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = 10**12
        write, unlink = Path.write_bytes, Path.unlink
        disk = self

        def write_bytes(path: Path, data: bytes) -> int:
            took = min(len(data), disk.free)
            disk.free -= took
            write(path, data[:took])
            if took < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return took

        def unlink_file(path: Path, missing_ok: bool = False) -> None:
            if path.is_file():
                disk.free += path.stat().st_size
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "write_bytes", write_bytes)
        monkeypatch.setattr(Path, "unlink", unlink_file)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path)
    library.save(made(1))
    library.mark(made(1).id, note="before")
    library.list()
    return library


def check_what_was_there(library: Library) -> None:
    assert library.load(made(1).id).latents.tobytes() == made(1).latents.tobytes()
    assert library.open(made(1).id).info.note == "before"


@pytest.mark.parametrize("free", [0, 100, 500, 1500, 2000, 2500, 3000, 3200, 3500])
def test_recording(library: Library, disk: Disk, free: int) -> None:
    disk.free, seen = free, []
    with pytest.raises(BackendFailure, match=r"disk is full.*free some space") as caught:
        seen.extend(library.record(events_of(made(2, side=6))))
    assert "\n" not in str(caught.value)
    check_what_was_there(library)
    found = {info.id: info for info in library.list()}
    if made(2).id in found:
        # What arrived before stays, and is not taken for a whole run.
        assert found[made(2).id].status in ("failed", "partial")
        kept = library.load(made(2).id)
        assert [s.latents.tobytes() for s in kept.steps] == [
            s.latents.tobytes() for s in made(2, side=6).steps[: len(kept.steps)]
        ]
    # Nothing half-written is left in the way.
    assert not list(library.folder.glob(".*.tmp"))
    disk.free = 10**12
    assert library.save(made(3)) in {info.id for info in library.list()}


def test_the_range_of_sizes_ends_in_every_place(library: Library, disk: Disk) -> None:
    """The sizes above are too small for a whole run, and the largest holds a step."""
    disk.free = 10**9
    list(library.record(events_of(made(2, side=6))))
    assert 10**9 - disk.free > 3500
    library.delete(made(2).id)
    disk.free = 3500
    with pytest.raises(BackendFailure):
        list(library.record(events_of(made(2, side=6))))
    assert 1 <= len(library.load(made(2).id).steps) <= STEPS


@pytest.mark.parametrize("free", [0, 700, 2000])
def test_saving_in_place_of_another(library: Library, disk: Disk, free: int) -> None:
    disk.free = free
    with pytest.raises(BackendFailure, match="disk is full"):
        library.save(made(1, side=8, seed=99))
    check_what_was_there(library)
    assert [path.name for path in library.folder.iterdir() if not path.name.endswith(DATABASES)] == [
        made(1).id
    ]


def test_marking(library: Library, disk: Disk) -> None:
    disk.free = 10
    with pytest.raises(BackendFailure, match="disk is full"):
        library.mark(made(1).id, note="after")
    check_what_was_there(library)
    assert library.list()[0].note == "before"
    disk.free = 10**6
    assert library.mark(made(1).id, note="after").note == "after"


def test_a_run_whose_end_cannot_be_written_is_not_running(library: Library, disk: Disk) -> None:
    """This process lives on, and must not be taken for the one that still writes it."""
    events = library.record(events_of(made(2)))
    next(events)
    assert library.open(made(2).id).status == "running"
    disk.free = 0
    with pytest.raises(BackendFailure):
        next(events)
    assert library.open(made(2).id).status == "partial"
    library.trash(made(2).id)


def test_a_real_full_disk(tmp_path: Path) -> None:
    """On a file system of 300 kB, where one can be had."""
    import subprocess

    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        library = Library(tmp_path)
        saved = []

        def fill() -> None:
            for number in range(100):
                saved.append(library.save(made(number, side=16)))
                library.list()

        with pytest.raises(BackendFailure, match="disk is full"):
            fill()
        assert saved
        found = {info.id for info in library.list() if info.status == "complete"}
        assert found == set(saved)
        for number, run_id in enumerate(saved):
            assert library.load(run_id).latents.tobytes() == made(number, side=16).latents.tobytes()
        with pytest.raises(BackendFailure, match="disk is full"):
            list(library.record(events_of(made(200, images=(np.zeros((300, 300, 3), np.uint8),), side=64))))
        library.delete(saved[0])
        assert library.mark(saved[-1], note="room again").note == "room again"
        assert {info.id for info in library.list() if info.status == "complete"} == set(saved[1:])
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
