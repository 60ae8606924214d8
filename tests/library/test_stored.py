"""Reading a run in parts gives what reading it whole gives, at less cost."""

from __future__ import annotations

import json
import math
import tracemalloc
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from diffatlas.errors import CapabilityError, DamagedRun, InvalidParams, RunNotFound
from diffatlas.events import Failed, Finished, Image, Started, Step
from diffatlas.library import Library, StoredRun
from diffatlas.library.reader import read_info, read_run
from diffatlas.params import GenerationParams
from diffatlas.run import collect

RUN_ID = "20260131-120000-1a2b3c4d"


def events_of(run_id: str = RUN_ID, steps: int = 4, side: int = 8, seed: int = 0):
    rng = np.random.default_rng(seed)

    def latents(dtype=np.float32):
        return rng.normal(size=(2, 4, side, side)).astype(dtype)

    params = GenerationParams(prompt="two <b>stars</b>", seed=seed, width=64, height=64, scheduler="ddim")
    yield Started(run_id, params, latents(), 14.6, steps, {"latent_grid": [4, 4]}, {"x0": True})
    for i in range(steps):
        yield Step(
            index=i,
            timestep=999.0 - i / 3,
            sigma=1 / (i + 1) / 3,
            latents=latents(),
            noise_pred=latents(),
            cond_pred=latents(),
            uncond_pred=latents(np.float16) if i % 2 else None,
            x0_pred=latents(),
            metrics={"norm": float(rng.normal()), "cosine": math.inf if i == 1 else 0.1 + 0.2},
            preview=rng.integers(0, 256, (2, 16, 16, 3), np.uint8) if i != 1 else None,
            x0_gain=-14.6 / (i + 3) if i != 2 else None,
        )
    for i in range(2):
        yield Image(i, rng.integers(0, 256, (16, 16, 3), np.uint8))
    yield Finished("complete", 1.25, [0.1 * i for i in range(steps)])


def assert_same_step(a: Step, b: Step) -> None:
    for f in fields(Step):
        x, y = getattr(a, f.name), getattr(b, f.name)
        if isinstance(x, np.ndarray):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)
        else:
            assert x == y, f.name


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "runs")
    library.save(collect(events_of()))
    return library


def test_the_parts_are_those_of_the_whole(library: Library) -> None:
    stored, whole = library.open(RUN_ID), library.load(RUN_ID)
    assert (stored.id, stored.params, stored.status) == (whole.id, whole.params, "complete")
    assert (stored.provenance, stored.capture) == (whole.provenance, whole.capture)
    assert (stored.initial_sigma, stored.total_steps, stored.seconds) == (14.6, 4, 1.25)
    assert stored.info == library.list()[0] == read_info(stored.folder)
    assert stored.step_count == 4
    np.testing.assert_array_equal(stored.latents(), whole.latents)
    np.testing.assert_array_equal(stored.initial_latents(), whole.initial_latents)
    for step, line in zip(whole.steps, stored.step_lines(), strict=True):
        assert_same_step(stored.step(step.index), step)
        for key in ("index", "timestep", "sigma", "metrics", "x0_gain"):
            assert line[key] == getattr(step, key)
        assert line["metrics"]["cosine_to_end"] == 0.1 * step.index
        preview = stored.preview(step.index)
        if step.preview is None:
            assert preview is None
            assert line["previews"] == 0
        else:
            np.testing.assert_array_equal(preview, step.preview)
    np.testing.assert_array_equal(stored.images(), whole.images)
    # And the whole is what went in.
    sent = [e for e in events_of() if isinstance(e, Step)]
    assert [s.x0_gain for s in whole.steps] == [s.x0_gain for s in sent]


def test_the_path_is_read_without_the_predictions(tmp_path: Path) -> None:
    """The memory that reading takes is that of the latents, a fifth of what the files hold."""
    library = Library(tmp_path)
    library.save(collect(events_of(side=64)))
    stored = library.open(RUN_ID)
    stored.latents()  # what a first call imports is not counted
    tracemalloc.start()
    path = stored.latents()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    on_disk = sum(f.stat().st_size for f in (stored.folder / "steps").iterdir())
    assert on_disk > 4 * path.nbytes * 4 / 5
    assert peak < 2.5 * path.nbytes


def test_a_handle_holds_no_arrays(library: Library) -> None:
    stored = library.open(RUN_ID)
    assert not any(isinstance(value, np.ndarray) for value in vars(stored).values())
    assert hash(stored) == hash(library.open(RUN_ID))
    assert "prompt" not in repr(stored)


def test_a_run_is_read_while_it_is_written(tmp_path: Path) -> None:
    library, sent = Library(tmp_path), list(events_of())
    recorded = library.record(iter(sent))
    next(recorded)
    stored = library.open(RUN_ID)
    assert (stored.status, stored.step_count, stored.step_lines()) == ("running", 0, [])
    assert stored.latents().shape == (1, 2, 4, 8, 8)
    for done, step in enumerate(sent[1:5], start=1):
        next(recorded)
        assert stored.step_count == stored.info.steps == len(stored.step_lines()) == done
        np.testing.assert_array_equal(stored.latents()[-1], step.latents)
        assert_same_step(stored.step(done - 1), step)
        assert stored.images() == ()
        with pytest.raises(InvalidParams, match=f"has {done}, from 0"):
            stored.step(done)
    list(recorded)
    # The same handle sees the end.
    assert (stored.status, stored.seconds, len(stored.images())) == ("complete", 1.25, 2)
    assert stored.step_lines()[3]["metrics"]["cosine_to_end"] == stored.step(3).metrics["cosine_to_end"]
    np.testing.assert_array_equal(stored.latents(), library.load(RUN_ID).latents)


def test_a_last_line_cut_short_is_no_step(library: Library) -> None:
    stored = library.open(RUN_ID)
    path, manifest = stored.folder / "steps.jsonl", stored.manifest
    manifest = {**manifest, "status": "running", "writer": {"pid": -1, "started": 0}}
    (stored.folder / "manifest.json").write_text(json.dumps(manifest))
    path.write_bytes(path.read_bytes()[:-9])
    stored = library.open(RUN_ID)
    assert (stored.status, stored.step_count) == ("partial", 3)
    assert stored.latents().shape[0] == 4
    np.testing.assert_array_equal(stored.latents(), read_run(stored.folder).latents)
    with pytest.raises(InvalidParams, match="no step 3"):
        stored.step(3)


def test_a_run_of_an_earlier_version_is_read(library: Library) -> None:
    """Its lines know no `x0_gain`, its provenance no `latent_rgb`."""
    stored = library.open(RUN_ID)
    path = stored.folder / "steps.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert all("x0_gain" in line for line in lines)
    path.write_text("".join(json.dumps({k: v for k, v in x.items() if k != "x0_gain"}) + "\n" for x in lines))
    whole = library.load(RUN_ID)
    assert [s.x0_gain for s in whole.steps] == [line["x0_gain"] for line in stored.step_lines()] == [None] * 4
    assert_same_step(stored.step(3), whole.steps[3])
    assert "latent_rgb" not in stored.provenance


@pytest.mark.parametrize("bad", ["absent", "..", "../other", "a/b", "/etc", "", ".", ".hidden", "x\n", None])
def test_only_runs_of_the_library_are_opened(library: Library, bad: str | None) -> None:
    (library.folder.parent / "other").mkdir()
    with pytest.raises(RunNotFound):
        library.open(bad)


def test_a_link_is_not_opened(library: Library) -> None:
    (library.folder / "link").symlink_to(library.folder / RUN_ID)
    with pytest.raises(RunNotFound):
        library.open("link")


@pytest.mark.parametrize("index", [-1, 4, 10**9, True, "0", 1.0, None])
def test_a_step_that_is_not_there(library: Library, index: object) -> None:
    stored = library.open(RUN_ID)
    for read in (stored.step, stored.preview):
        with pytest.raises(InvalidParams, match="has no step") as caught:
            read(index)
        assert "\n" not in str(caught.value)


def test_damage_is_a_clear_error(library: Library) -> None:
    stored = library.open(RUN_ID)
    file = stored.folder / "steps" / "step_0002.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    (stored.folder / "previews" / "step_0000_01.png").unlink()
    for read in (stored.latents, lambda: stored.step(2), lambda: stored.preview(0)):
        with pytest.raises(DamagedRun) as caught:
            read()
        assert "\n" not in str(caught.value)
    assert stored.step(1).index == 1  # the rest is still there
    (stored.folder / "steps.jsonl").write_text("{}\n[]\n")
    for read in (stored.step_lines, lambda: stored.step(1)):
        with pytest.raises(DamagedRun, match="at line"):
            read()
    (stored.folder / "manifest.json").write_text("{")
    with pytest.raises(DamagedRun):
        library.open(RUN_ID)


def test_lines_out_of_order_are_damage(library: Library) -> None:
    stored = library.open(RUN_ID)
    path = stored.folder / "steps.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(reversed(lines)))
    with pytest.raises(DamagedRun, match="line 1"):
        stored.step(0)


def test_a_run_that_was_deleted_meanwhile(library: Library) -> None:
    stored = library.open(RUN_ID)
    running = replace(stored, _manifest={**stored.manifest, "status": "running"})
    library.delete(RUN_ID)
    for read in (stored.latents, stored.step_lines, stored.images, lambda: stored.step(0)):
        with pytest.raises(RunNotFound):
            read()
    for read in (lambda: running.status, lambda: running.info, lambda: running.step_count):
        with pytest.raises(RunNotFound):
            read()


def test_a_run_without_latents_says_so(tmp_path: Path) -> None:
    library = Library(tmp_path)
    run = collect(replace(e, latents=None) if isinstance(e, Step) else e for e in events_of())
    library.save(run)
    stored = library.open(RUN_ID)
    with pytest.raises(CapabilityError, match="without latents"):
        stored.latents()
    assert stored.initial_latents().shape == (2, 4, 8, 8)
    assert stored.step(0).latents is None


def test_a_failed_run_keeps_its_error(tmp_path: Path) -> None:
    library = Library(tmp_path)
    begun = list(events_of())[:3]
    list(library.record([*begun, Failed("non_finite", "NaN at step 3.")]))
    stored = library.open(RUN_ID)
    assert isinstance(stored, StoredRun)
    assert (stored.status, stored.error["message"]) == ("failed", "NaN at step 3.")
    assert "cosine_to_end" not in stored.step_lines()[0]["metrics"]
