"""Kill a process with SIGKILL again and again while it works on a library, and look at what is left each time.

Run as ``python crash_harness.py FOLDER KILLS SEED``. It forks, which a test process with threads must not do; it prints
what was interrupted, as JSON, or fails.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from diffatlas.events import Finished, Image, Started
from diffatlas.formats.kinds import export
from diffatlas.formats.named import Named
from diffatlas.library import Library
from diffatlas.library.format import write_atomically
from diffatlas.library.store import record_into
from diffatlas.run import Run
from tests.library.made_runs import made

#: How often each act is chosen: what takes long is interrupted more often anyway.
ACTS = {"save": 4, "replace": 4, "record": 3, "mark": 6, "trash": 4, "restore": 4, "delete": 8, "export": 2}
KINDS = ("csv", "json", "npz")
MOST_RUNS = 12


def content(number: int, run_id: str) -> Run:
    return made(number, run_id=run_id, side=16)


def events_of(run: Run):
    yield Started(run.id, run.params, run.initial_latents, run.initial_sigma, run.total_steps, {}, {})
    yield from run.steps
    yield Image(0, run.images[0])
    yield Finished("complete", 0.1)


class State:
    """What must be there: run id -> where it is, which content it has, and its note."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.number = 0

    def choose(self, rng: random.Random) -> dict[str, Any]:
        """Return an act that is possible now, with all that decides it."""
        while True:
            act = rng.choices([*ACTS], ACTS.values())[0]
            self.number += 1
            here = [run_id for run_id, run in self.runs.items() if run["where"] == "library"]
            there = [run_id for run_id, run in self.runs.items() if run["where"] == "trash"]
            if act in ("save", "record"):
                if len(self.runs) < MOST_RUNS:
                    return {"act": act, "id": f"run-{self.number}", "number": self.number}
            elif act == "restore":
                if there:
                    return {"act": act, "id": rng.choice(there), "number": self.number}
            elif here and (act != "delete" or len(self.runs) > 4):
                kind = rng.choice(KINDS)
                return {"act": act, "id": rng.choice(here), "number": self.number, "kind": kind}

    def after(self, act: dict[str, Any]) -> dict[str, Any] | None:
        """Return what must be there of the act's run once it is done."""
        name, run = act["act"], self.runs.get(act["id"])
        if name in ("save", "record"):
            return {"where": "library", "content": act["number"], "note": ""}
        if name == "delete":
            return None
        changes = {
            "replace": {"content": act["number"]},
            "mark": {"note": f"note {act['number']}"},
            "trash": {"where": "trash"},
            "restore": {"where": "library"},
            "export": {},
        }
        return {**run, **changes[name]}

    def settle(self, run_id: str, run: dict[str, Any] | None) -> None:
        if run is None:
            self.runs.pop(run_id, None)
        else:
            self.runs[run_id] = run


def perform(library: Library, exports: Path, act: dict[str, Any]) -> None:
    name, run_id, number = act["act"], act["id"], act["number"]
    if name in ("save", "replace"):
        library.save(content(number, run_id))
    elif name == "record":
        for _ in library.record(events_of(content(number, run_id))):
            pass
    elif name == "mark":
        library.mark(run_id, note=f"note {number}")
    elif name == "export":
        data = export(act["kind"], [Named("x", library.load(run_id), "#000000")])
        write_atomically(exports / f"{number}.{act['kind']}", data)
        # A run written to a folder of choice, as `diffatlas trace --out` does.
        for _ in record_into(exports / f"{number}-run", events_of(content(number, run_id))):
            pass
    else:
        getattr(library, name)(run_id)


def work(folder: Path, state: State, seed: int, journal: int) -> None:
    """Act until killed, and say of each act that it begins and that it is done."""
    rng, library = random.Random(seed), Library(folder / "runs", cap=0)
    library.list()
    while True:
        act = state.choose(rng)
        os.write(journal, json.dumps({**act, "done": False}).encode() + b"\n")
        perform(library, folder / "exports", act)
        state.settle(act["id"], state.after(act))
        os.write(journal, json.dumps({**act, "done": True}).encode() + b"\n")


def one_round(folder: Path, state: State, seed: int) -> dict[str, Any] | None:
    """Let a child act and kill it; bring ``state`` up to date, and return the act that was interrupted."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            work(folder, state, seed, writing)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(writing)
    select.select([reading], [], [], 60)
    time.sleep(random.Random(seed).uniform(0, 0.06))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child failed by itself"
    with os.fdopen(reading, "rb") as pipe:
        lines = [json.loads(line) for line in pipe.read().splitlines()]
    open_act = None
    for line in lines:
        if line["done"]:
            state.settle(line["id"], state.after(line))
            open_act = None
        else:
            open_act = line
        state.number = max(state.number, line["number"])
    return open_act


def same(run: Run, expected: Run) -> bool:
    return (
        run.params == expected.params
        and run.latents.tobytes() == expected.latents.tobytes()
        and [i.tobytes() for i in run.images] == [i.tobytes() for i in expected.images]
    )


def found(library: Library, run_id: str) -> dict[str, Any] | None:
    """Return what is there of a run, in the words of `State`; "partial" for one that was being recorded."""
    infos = {info.id: info for info in library.list()}
    if run_id in infos:
        info, where = infos[run_id], "library"
        if info.status == "partial":
            run = library.load(run_id)
            whole = content(run.params.seed, run_id)
            assert [s.latents.tobytes() for s in run.steps] == [
                s.latents.tobytes() for s in whole.steps[: len(run.steps)]
            ]
            return {"where": "partial"}
    else:
        infos = {info.id: info for info in library.trashed()}
        if run_id not in infos:
            return None
        info, where = infos[run_id], "trash"
    assert info.status == "complete", (run_id, where, info)
    home = library if where == "library" else Library(library.folder / ".trash")
    run = home.load(run_id)
    assert same(run, content(run.params.seed, run_id)), f"{run_id} is not what was saved"
    return {"where": where, "content": run.params.seed, "note": info.note}


def check(folder: Path, state: State, interrupted: dict[str, Any] | None) -> None:
    """A library that is opened now has every finished run, whole, and takes no half-run for a whole one."""
    library = Library(folder / "runs", cap=0)
    if interrupted is not None:
        run_id = interrupted["id"]
        before, now = state.runs.get(run_id), found(library, run_id)
        if now == {"where": "partial"}:
            assert interrupted["act"] == "record"
            library.delete(run_id)
            now = None
        assert now in (before, state.after(interrupted)), (interrupted, before, now)
        state.settle(run_id, now)
    for where, infos in (("library", library.list()), ("trash", library.trashed())):
        expected = {run_id: run for run_id, run in state.runs.items() if run["where"] == where}
        shown = {info.id: info for info in infos}
        assert shown.keys() == expected.keys(), (where, shown.keys() ^ expected.keys(), interrupted)
        for run_id, run in expected.items():
            info = shown[run_id]
            assert (info.status, info.seed, info.note) == ("complete", run["content"], run["note"]), info
    for path in (folder / "exports").iterdir():
        if path.suffix == ".csv":
            assert path.read_text().count("\n") == 1 + 1 + 3
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".npz":
            import numpy as np

            with np.load(path) as arrays:
                assert all(arrays[name].size for name in arrays.files)
        elif path.name.endswith("-run"):
            # Recorded in place: whole, or known to be cut short.
            assert (path / "manifest.json").is_file()
        if path.is_file():
            path.unlink()


def main(folder: Path, kills: int, seed: int) -> None:
    (folder / "exports").mkdir(parents=True)
    state, hit = State(), Counter()
    for number in range(kills):
        interrupted = one_round(folder, state, seed * 1000 + number)
        hit[interrupted["act"] if interrupted else "between"] += 1
        check(folder, state, interrupted)
    library = Library(folder / "runs", cap=0)
    library.rebuild()
    for run_id, run in state.runs.items():
        assert found(library, run_id) == run
    print(json.dumps(hit))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
