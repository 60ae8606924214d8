"""Processes that are killed, and processes that work on one library at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffatlas.errors import RunNotFound
from diffatlas.library import Library, trash
from diffatlas.library.reader import read_info
from tests.library.made_runs import made

HERE = Path(__file__).parent
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])]),
    "OMP_NUM_THREADS": "1",
}


def harness(folder: Path, kills: int, seed: int) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, str(HERE / "crash_harness.py"), str(folder), str(kills), str(seed)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@needs_fork
def test_a_few_kills(tmp_path: Path) -> None:
    assert sum(harness(tmp_path, kills=8, seed=1).values()) == 8


@needs_fork
@pytest.mark.slow
def test_a_hundred_kills(tmp_path: Path) -> None:
    hit = harness(tmp_path, kills=100, seed=2)
    assert sum(hit.values()) == 100
    # They fell into the midst of acts of most kinds, or the test shows nothing.
    assert len(hit.keys() - {"between"}) >= 5, hit


WORKER = """
import sys
from pathlib import Path
from tests.library.made_runs import made
from diffatlas.library import Library

folder, me, remove = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "remove"
library = Library(folder, cap=0)
shared = made(0).id
print("ready", flush=True)
sys.stdin.readline()
for number in range(12):
    run_id = library.save(made(1000 * (me + 1) + number))
    library.mark(run_id, tags=[f"of {me}"], note=f"note {number}")
    library.mark(shared, **{("name", "note", "tags")[me]: ("by 0", "by 1", ["by 2"])[me]})
    if not remove:
        assert run_id in {info.id for info in library.search(f"note {number}", tags=[f"of {me}"]).runs}
    if number % 3 == 0:
        library.trash(run_id)
        assert run_id not in {info.id for info in library.list()}
        assert run_id in {info.id for info in library.trashed()}
        library.restore(run_id)
    if number % 4 == 1:
        library.delete(run_id)
    if number == 6:
        (folder / ".index.sqlite").unlink(missing_ok=True) if remove else library.rebuild()
    library.save(made(0))
    library.touch(run_id) if number % 4 != 1 else library.usage()
"""


@pytest.mark.parametrize("how", ["rebuild", "remove"])
def test_processes_share_a_library(tmp_path: Path, how: str) -> None:
    """Three at once, who make the index again or remove it on the way: no run, no mark is lost, and nobody fails."""
    library = Library(tmp_path / "runs", cap=0)
    library.save(made(0))
    children = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(library.folder), str(me), how],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for me in range(3)
    ]
    for child in children:
        child.stdout.readline()
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        _, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors[-3000:]
    wanted = {made(1000 * (me + 1) + n).id: f"note {n}" for me in range(3) for n in range(12) if n % 4 != 1}
    infos = {info.id: info for info in library.list()}
    assert infos.keys() == {*wanted, made(0).id}
    assert {run_id: infos[run_id].note for run_id in wanted} == wanted
    shared = infos[made(0).id]
    assert (shared.name, shared.note, shared.tags) == ("by 0", "by 1", ("by 2",))
    for run_id in infos:
        assert library.load(run_id).status == "complete"
        assert read_info(library.path(run_id)).note == infos[run_id].note
    assert [p.name for p in library.folder.iterdir() if p.name.endswith((".tmp", ".old", ".gone"))] == []


def test_a_run_between_two_renames_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has moved the old one aside, and puts the new one in place while this one looks."""
    library = Library(tmp_path / "runs", cap=0)
    run_id = library.save(made(0))
    folder = library.path(run_id)
    aside = folder.with_name(f".{run_id}.0123abcd.old")
    folder.rename(aside)
    looks = []

    def put_back(_: float) -> None:
        looks.append(aside.exists())
        if len(looks) == 3:
            aside.rename(folder)

    monkeypatch.setattr(trash, "tidy", lambda library: None)
    monkeypatch.setattr(trash.time, "sleep", put_back)
    assert library.path(run_id) == folder
    assert looks == [True, True, True]
    library.delete(run_id)
    with pytest.raises(RunNotFound):
        library.path(run_id)
    assert len(looks) == 4
