import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest

from diffatlas.errors import BackendFailure, DamagedRun, RunNotFound
from diffatlas.events import Failed, Finished, Image, Started, Step
from diffatlas.library import Library
from diffatlas.library.store import record_into
from diffatlas.params import GenerationParams
from diffatlas.run import collect, new_run_id

BATCH, N = 2, 4


def make_events(run_id="20260131-120000-1a2b3c4d", steps=N, seed=0):
    rng = np.random.default_rng(seed)

    def latents(dtype=np.float32):
        return rng.normal(size=(BATCH, 4, 8, 8)).astype(dtype)

    params = GenerationParams(
        prompt="a <b>red</b> circle é", seed=seed, width=64, height=64, scheduler="ddim"
    )
    provenance = {"versions": {"torch": "2.13.0"}, "scheduler": {"config": {"shift": 3.0, "x": [1, None]}}}
    yield Started(run_id, params, latents(), 14.6, steps, provenance, {"x0": True})
    for i in range(steps):
        yield Step(
            index=i,
            timestep=999.0 - i / 3,
            sigma=None if i == 3 else 1 / (i + 1) / 3,
            latents=latents(),
            noise_pred=latents(np.float16) if i % 2 else None,
            x0_pred=np.where(latents() > 2, np.nan, latents()).astype(np.float32),
            metrics={"norm": float(rng.normal()), "cosine": math.inf if i == 1 else 0.1 + 0.2},
            preview=rng.integers(0, 256, (BATCH, 16, 16, 3), np.uint8) if i != 1 else None,
            start_latents=latents() if i == 2 else None,
            other_preds={"perturbed": latents(np.float16), "image": latents()} if i == 1 else {},
        )
    for i in range(BATCH):
        yield Image(i, rng.integers(0, 256, (16, 16, 3), np.uint8))
    yield Finished(
        "complete", 1.25, [0.1 * i for i in range(steps)], {"cond_pred": "It cannot be told which."}
    )


def assert_same(a, b):
    """Equal to the bit, arrays with their dtype."""
    if isinstance(a, np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, dict):
        assert set(a) == set(b)
        for name in a:
            assert_same(a[name], b[name])
    elif isinstance(a, Step):
        for f in fields(Step):
            assert_same(getattr(a, f.name), getattr(b, f.name))
    else:
        assert a == b


@pytest.mark.parametrize("how", ["save", "record"])
def test_a_run_comes_back_bit_exact(tmp_path, how):
    library = Library(tmp_path / "runs")
    run = collect(make_events())
    if how == "save":
        assert library.save(run) == run.id
    else:
        run = replace(collect(library.record(make_events())), created=library.load(run.id).created)
    back = library.load(run.id)
    for f in fields(run):
        assert_same(getattr(run, f.name), getattr(back, f.name))
    assert back.provenance["missing"] == {"cond_pred": "It cannot be told which."}
    assert [step.start_latents is not None for step in back.steps] == [False, False, True, False]
    assert set(back.steps[1].other_preds) == {"image", "perturbed"}
    assert not list(tmp_path.rglob("*.tmp"))


def test_noise_levels_that_are_not_known_come_back_as_such(tmp_path):
    library = Library(tmp_path / "runs")
    run = replace(collect(make_events()), initial_sigma=None)
    run = replace(run, steps=tuple(replace(step, sigma=None) for step in run.steps))
    library.save(run)
    back, stored = library.load(run.id), library.open(run.id)
    assert (back.initial_sigma, stored.initial_sigma) == (None, None)
    assert [step.sigma for step in back.steps] == [None] * N
    assert [line["sigma"] for line in stored.step_lines()] == [None] * N


def test_json_is_strict(tmp_path):
    library = Library(tmp_path)
    library.save(collect(make_events()))

    def refuse(constant):
        raise AssertionError(constant)

    for path in tmp_path.rglob("*.json*"):
        for line in [path.read_text()] if path.suffix == ".json" else path.read_text().splitlines():
            json.loads(line, parse_constant=refuse)


def test_the_list_is_newest_first_and_damage_is_not_fatal(tmp_path):
    library = Library(tmp_path)
    ids = [new_run_id() for _ in range(3)]
    for i, run_id in enumerate(ids):
        library.save(
            replace(collect(make_events(run_id, seed=i)), created=f"2026-01-0{i + 1}T00:00:00+00:00")
        )
    (tmp_path / ids[1] / "manifest.json").write_text('{"format": 1, "status"')
    (tmp_path / "not-a-run").mkdir()
    (tmp_path / "a file").write_text("")
    infos = library.list()
    assert [i.id for i in infos[:2]] == [ids[2], ids[0]]
    assert {i.id for i in infos if i.status == "damaged"} == {ids[1], "not-a-run"}
    newest = infos[0]
    assert (newest.status, newest.model, newest.seed) == ("complete", "shapes", 2)
    assert (newest.steps, newest.total_steps) == (N, N)
    with pytest.raises(DamagedRun):
        library.load(ids[1])
    library.delete(ids[1])
    assert ids[1] not in {i.id for i in library.list()}
    assert Library(tmp_path / "absent").list() == []


@pytest.mark.parametrize("damage", ["step", "initial", "image", "line", "format", "preview"])
def test_damage_is_noticed(tmp_path, damage):
    library = Library(tmp_path)
    run = collect(make_events())
    folder = tmp_path / library.save(run)
    if damage == "step":
        (folder / "steps" / "step_0002.safetensors").unlink()
    if damage == "initial":
        path = folder / "initial.safetensors"
        path.write_bytes(path.read_bytes()[:-5])
    if damage == "image":
        (folder / "images" / "image_01.png").write_bytes(b"\x89PNG")
    if damage == "line":
        lines = (folder / "steps.jsonl").read_text().splitlines()
        (folder / "steps.jsonl").write_text("\n".join([lines[0], lines[1][:20], *lines[2:]]) + "\n")
    if damage == "format":
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    if damage == "preview":
        (folder / "previews" / "step_0000_01.png").unlink()
    with pytest.raises(DamagedRun) as caught:
        library.load(run.id)
    assert "\n" not in str(caught.value)


def test_closing_marks_the_run_as_stopped_and_closes_the_source(tmp_path):
    library, closed = Library(tmp_path), []

    def source():
        try:
            yield from make_events()
        finally:
            closed.append(True)

    events = library.record(source())
    started = next(events)
    next(events)
    assert library.list()[0].status == "running"
    events.close()
    assert closed
    back = library.load(started.run_id)
    assert (back.status, len(back.steps), back.images) == ("stopped", 1, ())


def test_a_failed_run_keeps_its_error(tmp_path):
    library = Library(tmp_path)
    begun = list(make_events())[:3]
    run = collect(library.record([*begun, Failed("non_finite", "NaN at step 3.")]))
    back = library.load(run.id)
    assert (back.status, len(back.steps), back.error) == ("failed", 2, run.error)
    assert library.list()[0].error == "NaN at step 3."


def test_an_exception_in_the_source_marks_the_run_as_failed(tmp_path):
    library = Library(tmp_path)

    def source():
        yield from list(make_events())[:2]
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        list(library.record(source()))
    assert library.list()[0].status == "failed"


@pytest.mark.parametrize("event", [Failed("invalid_params", "no"), Finished("stopped", 0.0)])
def test_what_never_began_leaves_nothing(tmp_path, event):
    assert list(Library(tmp_path).record([event])) == [event]
    assert list(tmp_path.iterdir()) == []


CHILD = """
import os, signal, sys, threading, time
sys.path.insert(0, sys.argv[3])
from tests.library.test_store import make_events
from diffatlas.library import Library
for i, event in enumerate(Library(sys.argv[1]).record(make_events(steps=2000))):
    print(i, flush=True)
    if sys.argv[2] == "wait" and i == 3:
        time.sleep(600)
"""


def killed_writer(tmp_path, mode, after):
    """Record in another process; SIGKILL it once it has said that event ``after`` is on disk."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), mode, root], stdout=subprocess.PIPE, text=True
    )
    for line in child.stdout:
        if int(line) == after:
            break
    alive = Library(tmp_path).list()[0].status
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    return alive


def test_a_killed_process_leaves_a_readable_run(tmp_path):
    library = Library(tmp_path)
    assert killed_writer(tmp_path, "wait", after=3) == "running"
    info = library.list()[0]
    assert (info.status, info.steps, info.total_steps) == ("partial", 3, 2000)
    back = library.load(info.id)
    assert back.status == "partial"
    for step, sent in zip(back.steps, list(make_events(steps=2000))[1:4], strict=True):
        assert_same(step, sent)


@pytest.mark.parametrize("after", [0, 1, 7, 40, 41, 90])
def test_a_process_killed_while_writing(tmp_path, after):
    library = Library(tmp_path)
    killed_writer(tmp_path, "go", after)
    back = library.load(library.list()[0].id)
    assert len(back.steps) >= after
    assert [s.index for s in back.steps] == list(range(len(back.steps)))


def test_a_last_line_cut_short_is_no_step(tmp_path):
    library = Library(tmp_path)
    events = library.record(make_events())
    for _ in range(3):
        started = next(events)
    folder = next(tmp_path.iterdir())
    copy = tmp_path / "20260131-120000-copy0000"
    shutil.copytree(folder, copy)
    events.close()
    path = copy / "steps.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    assert len(library.load(copy.name).steps) == 1
    assert started.index == 1


@pytest.mark.parametrize(
    "bad", ["..", "../other", "a/b", "/etc", "", ".", ".hidden", "a\\b", "a" * 200, "x\n", None]
)
def test_ids_do_not_leave_the_library(tmp_path, bad):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "keep").write_text("")
    library = Library(tmp_path / "runs")
    library.save(collect(make_events()))
    for act in (library.load, library.delete, library.path):
        with pytest.raises(RunNotFound):
            act(bad)
    with pytest.raises(RunNotFound):
        library.save(replace(collect(make_events()), id=bad))
    with pytest.raises(RunNotFound):
        list(library.record(replace(e, run_id=bad) if isinstance(e, Started) else e for e in make_events()))
    assert (tmp_path / "other" / "keep").exists()


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "other")
    with pytest.raises(RunNotFound):
        Library(tmp_path / "runs").delete("link")
    assert (tmp_path / "other").exists()


def test_saving_again_replaces(tmp_path):
    library = Library(tmp_path)
    run = collect(make_events())
    library.save(run)
    library.save(replace(run, steps=run.steps[:1], total_steps=1))
    assert len(library.load(run.id).steps) == 1
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(".sqlite")] == [run.id]


def test_a_run_served_from_the_library_does_not_replace_itself(tmp_path):
    library = Library(tmp_path)
    run = collect(make_events())
    library.save(run)
    served = replace(run, cached_from=run.id, steps=tuple(replace(s, x0_pred=None) for s in run.steps))
    assert library.save(served) == run.id
    assert_same(library.load(run.id).steps[0].x0_pred, run.steps[0].x0_pred)
    elsewhere = Library(tmp_path / "elsewhere")
    elsewhere.save(served)
    assert elsewhere.load(run.id).steps[0].x0_pred is None


def test_a_disk_that_refuses_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendFailure, match="cannot be written"):
        list(Library(tmp_path / "file").record(make_events()))


def test_a_run_in_a_folder_of_choice(tmp_path):
    folder = tmp_path / "out"
    run = collect(record_into(folder, make_events()))
    assert (folder / "images" / "image_00.png").is_file()
    from diffatlas.library.reader import read_run

    assert_same(read_run(folder).steps, run.steps)


def test_the_folder_of_the_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "mine"))
    assert Library().folder == tmp_path / "mine"
