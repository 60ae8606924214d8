"""A run's folder is opened wherever it lies."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest

import diffatlas
from diffatlas.errors import DamagedRun, RunNotFound
from diffatlas.events import Started
from diffatlas.library import Library
from diffatlas.library.store import record_into
from tests.library.made_runs import STEPS, made


def same(a, b) -> bool:
    """Whether two values are equal, arrays to the bit."""
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.fixture
def moved(tmp_path) -> Path:
    """A folder that was taken out of its library."""
    library = Library(tmp_path / "library")
    library.save(made(3, run_id="20260131-120000-0000000a"))
    return Path(shutil.move(library.folder / "20260131-120000-0000000a", tmp_path / "on a stick"))


def test_a_folder_that_was_moved_out_of_its_library(moved, monkeypatch):
    run = diffatlas.open_run(moved)
    stored = made(3, run_id="20260131-120000-0000000a")
    assert run.id == stored.id
    assert run.status == "complete"
    assert run.params == stored.params
    assert same(run.latents, stored.latents)
    assert same(run.images, stored.images)
    assert same(diffatlas.open_run(str(moved)), run)
    assert same(diffatlas.open_run(moved / "manifest.json"), run)
    monkeypatch.chdir(moved)
    assert same(diffatlas.open_run("."), run)


def test_a_run_that_is_still_written_and_one_whose_process_died(tmp_path):
    from diffatlas.events import Finished

    run = made(5)

    def events():
        yield Started(run.id, run.params, run.initial_latents, run.initial_sigma, STEPS)
        yield from run.steps
        yield Finished("complete", 1.0)

    folder = tmp_path / "growing"
    writing = record_into(folder, events())
    for _ in range(3):
        next(writing)
    found = diffatlas.open_run(folder)
    assert (found.status, len(found.steps), found.images) == ("running", 2, ())
    assert same(found.steps[1].latents, run.steps[1].latents)
    # The same files, left by a process that is no more.
    dead = tmp_path / "dead"
    shutil.copytree(folder, dead)
    manifest = json.loads((dead / "manifest.json").read_text())
    manifest["writer"]["started"] -= 1000
    manifest["writer"]["pid"] += 1
    (dead / "manifest.json").write_text(json.dumps(manifest))
    assert diffatlas.open_run(dead).status == "partial"
    assert len(diffatlas.open_run(dead).steps) == 2
    for _ in writing:
        pass
    assert (diffatlas.open_run(folder).status, len(diffatlas.open_run(folder).steps)) == ("complete", STEPS)


def test_what_is_no_run_is_said_in_a_sentence(tmp_path, moved):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "nowhere", tmp_path, tmp_path / "file"):
        with pytest.raises(RunNotFound) as caught:
            diffatlas.open_run(path)
        assert repr(str(path)) in str(caught.value)
        assert "\n" not in str(caught.value)
    step = next((moved / "steps").iterdir())
    step.write_bytes(step.read_bytes()[:100])
    with pytest.raises(DamagedRun, match="on a stick") as caught:
        diffatlas.open_run(moved)
    (moved / "manifest.json").write_text("{")
    with pytest.raises(DamagedRun, match="manifest"):
        diffatlas.open_run(moved)
