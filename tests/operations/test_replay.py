"""A stored run is run again and compared with itself."""

import json
import os
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Picture
from safetensors.numpy import load_file, save_file

from diffatlas.capture.spec import Capture
from diffatlas.errors import DamagedRun, RunNotFound
from diffatlas.events import Failed, Finished, Started, Step
from diffatlas.library import Library
from diffatlas.operations.replay import CLOSE, ReplayReport, environment_difference, replay
from diffatlas.operations.trace import trace


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "library")


@pytest.fixture
def run(library, shapes_asked, shapes_backend):
    return trace(shapes_asked, Capture(previews=2), shapes_backend, library)


@pytest.fixture
def report(library, run, shapes_backend):
    """Replay the stored run and return its report."""

    def last(**options):
        *events, end = replay(library, run.id, shapes_backend, **options)
        assert isinstance(end, ReplayReport)
        assert not any(isinstance(event, ReplayReport) for event in events)
        json.dumps(end.to_dict(), allow_nan=False)
        assert end.sentence.endswith(".")
        return end

    return last


def tamper(library, run, index, change):
    """Change the stored latents of step ``index``."""
    path = library.path(run.id) / "steps" / f"step_{index:04d}.safetensors"
    tensors = load_file(path)
    tensors["latents"] = np.ascontiguousarray(change(tensors["latents"]))
    save_file(tensors, path)


def edit(library, run, change):
    path = library.path(run.id) / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_the_same_machine_gives_the_same_numbers(library, run, shapes_backend, count):
    *events, end = replay(library, run.id, shapes_backend)
    assert count.denoiser == 4  # it runs, though the library could serve it
    assert [event.kind for event in events] == ["started", *["step"] * 4, "image", "finished"]
    assert events[0].cached_from is None
    assert events[0].capture == run.capture
    assert [step.preview is not None for step in events[1:5]] == [True, False, True, True]
    assert end.verdict == "identical"
    assert (end.first_step, end.maximum, end.relative, end.by_step) == (None, 0.0, 0.0, [0.0] * 5)
    assert (end.image_identical, end.image_mean_absolute) == (True, 0.0)
    assert end.environment == {}
    assert end.sentence == "Bit-identical: all 5 states and the image came out the same."
    # It is not recorded.
    assert [info.id for info in library.list()] == [run.id]


def test_it_computes_with_as_many_threads_as_the_run_did(library, shapes_asked, shapes_backend):
    import torch
    from threadpoolctl import threadpool_limits

    cores, before = os.cpu_count() or 1, torch.get_num_threads()
    run = trace(shapes_asked, backend=shapes_backend, library=library, reuse=False)
    assert run.provenance["threads"] == before <= cores
    with threadpool_limits(before + 1, user_api="openmp"):
        *events, report = replay(library, run.id, shapes_backend)
        assert torch.get_num_threads() == before + 1
    assert next(e for e in events if isinstance(e, Started)).provenance["threads"] == before
    assert (report.verdict, report.environment) == ("identical", {})
    # What this machine has not is not asked of it.
    edit(library, run, lambda manifest: manifest["provenance"].update(threads=cores + 1))
    *_, report = replay(library, run.id, shapes_backend)
    assert report.environment == {"threads": (cores + 1, before)}


def test_a_changed_step_is_named(library, run, report):
    then = run.steps[2].latents
    tamper(library, run, 2, lambda latents: latents + np.float32(0.5))
    end = report()
    assert (end.verdict, end.first_step) == ("different", 3)  # the state after step 3
    assert end.maximum == pytest.approx(0.5, rel=1e-5)
    stored = then.astype(np.float64) + 0.5
    expected = np.linalg.norm(stored - then) / np.linalg.norm(stored)
    assert end.by_step == pytest.approx([0, 0, 0, expected, 0], rel=1e-5)
    assert end.relative == pytest.approx(expected, rel=1e-5)
    assert "at step 3 " in end.sentence
    assert "a stored file may have been changed" in end.sentence


def test_one_bit_is_seen(library, run, report):
    def flip(latents):
        bits = latents.copy().view(np.uint32)
        bits.flat[5] ^= 1
        return bits.view(np.float32)

    tamper(library, run, 3, flip)
    end = report()
    assert (end.verdict, end.first_step) == ("close", 4)
    assert 0 < end.relative < 1e-6
    assert end.by_step[:4] == [0.0] * 4
    assert "from step 4 of 4 on" in end.sentence


@pytest.mark.parametrize(("part", "verdict"), [(0.9 * CLOSE, "close"), (1.1 * CLOSE, "different")])
def test_where_close_ends(library, run, report, part, verdict):
    for index in (1, 2, 3):
        tamper(library, run, index, lambda latents: latents / np.float32(1 + part))
    end = report()
    assert (end.verdict, end.first_step) == (verdict, 2)
    assert end.relative == pytest.approx(part, rel=1e-3)
    assert "from step 2 of 4 on" in end.sentence


def test_the_batch_counts_by_its_worst_image(library, shapes_asked, shapes_backend):
    run = trace(shapes_asked.replace(num_images_per_prompt=2), Capture(), shapes_backend, library)

    def second(latents):
        latents = latents.copy()
        latents[1] *= 2
        return latents

    tamper(library, run, 3, second)
    *_, end = replay(library, run.id, shapes_backend)
    assert end.by_step[4] == pytest.approx(0.5)
    assert end.image_identical


def test_a_changed_initial_state(library, run, report):
    path = library.path(run.id) / "initial.safetensors"
    save_file({"initial_latents": -load_file(path)["initial_latents"]}, path)
    end = report()
    assert (end.verdict, end.first_step) == ("different", 0)
    assert end.by_step[0] == pytest.approx(2)


@pytest.mark.parametrize("change", [lambda x: x[:, :, :2], lambda x: x * np.float32("nan")])
def test_states_that_cannot_be_compared_are_different(library, run, report, change):
    tamper(library, run, 1, change)
    end = report()
    assert (end.verdict, end.first_step) == ("different", 2)
    assert end.to_dict()["relative"] is None


def test_a_changed_image(library, run, report):
    path = library.path(run.id) / "images" / "image_00.png"
    Picture.fromarray(255 - run.images[0]).save(path)
    end = report()
    assert (end.verdict, end.first_step, end.image_identical) == ("different", None, False)
    expected = np.abs(255.0 - 2.0 * run.images[0]).mean()
    assert end.image_mean_absolute == pytest.approx(expected)
    assert "latents are bit-identical" in end.sentence

    pixels = run.images[0].copy()
    pixels[0, 0, 0] ^= 1
    Picture.fromarray(pixels).save(path)
    assert report().verdict == "close"


def test_what_differs_in_the_environment_is_listed(library, run, report):
    def other(manifest):
        ran_on = manifest["provenance"]
        ran_on["scheduler"]["config"]["_diffusers_version"] = "0.1.2"
        ran_on["versions"]["torch"] = ran_on["identity"]["versions"]["torch"] = "1.0"
        ran_on["identity"]["versions"]["capture"] = 0
        del ran_on["device_name"]
        ran_on["started"] = "long ago"

    edit(library, run, other)
    now = run.provenance
    end = report()
    assert end.verdict == "identical"
    assert end.environment == {
        "scheduler.config._diffusers_version": ("0.1.2", now["scheduler"]["config"]["_diffusers_version"]),
        "versions.torch": ("1.0", now["versions"]["torch"]),
        "identity.versions.capture": (0, now["identity"]["versions"]["capture"]),
        "device_name": (None, now["device_name"]),
    }
    assert "The environment differs in 4 points." in end.sentence


def test_the_order_of_a_set_is_no_difference():
    a = {"scheduler": {"config": {"_use_default_values": ["x", "y"], "beta": 1}}}
    b = {"scheduler": {"config": {"_use_default_values": ["y", "x"], "beta": 2}}}
    assert environment_difference(a, b) == {"scheduler.config.beta": (1, 2)}


def test_another_dtype_is_compared_and_named(library, run):
    from diffatlas.backends import open_backend

    *_, end = replay(library, run.id, open_backend("local", device="cpu", dtype="bf16"))
    assert end.verdict == "different"
    assert end.environment["dtype"] == ("fp32", "bf16")
    assert end.relative > CLOSE


@pytest.fixture
def slowly(shapes_backend):
    """Steps that take a while, so that what is done between two of them is in time on a busy machine too."""
    hook = shapes_backend.pipeline("shapes").unet.register_forward_pre_hook(lambda *_: time.sleep(0.5))
    yield
    hook.remove()


@pytest.mark.usefixtures("slowly")
def test_stop(library, run, shapes_backend, count):
    stop, events = threading.Event(), []
    for event in replay(library, run.id, shapes_backend, stop):
        events.append(event)
        if isinstance(event, Step) and event.index == 1:
            stop.set()
    end = events[-1]
    assert isinstance(events[-2], Finished)
    assert end.verdict == "stopped"
    assert 2 <= len(end.by_step) - 1 <= 3
    assert count.denoiser < 4
    assert set(end.by_step) == {0.0}
    assert end.image_identical is None
    assert "bit-identical" in end.sentence


def test_stop_before_the_start(report):
    stop = threading.Event()
    stop.set()
    end = report(stop=stop)
    assert (end.verdict, end.by_step, end.first_step) == ("stopped", [], None)
    assert end.sentence == "The replay was stopped after 0 steps."


@pytest.mark.usefixtures("slowly")
def test_closing_ends_the_run(library, run, shapes_backend, count):
    events = replay(library, run.id, shapes_backend)
    assert isinstance(next(events), Started)
    events.close()
    assert count.denoiser < 4
    # The pipeline is free again.
    assert trace(run.params, Capture(), shapes_backend).status == "complete"


def test_a_replay_that_fails(library, run, shapes_backend):
    def throw(module, args):
        raise ZeroDivisionError("by zero")

    hook = shapes_backend.pipeline("shapes").unet.register_forward_pre_hook(throw)
    try:
        *events, end = replay(library, run.id, shapes_backend)
    finally:
        hook.remove()
    assert isinstance(events[-1], Failed)
    assert end.verdict == "failed"
    assert "by zero" in end.sentence


def test_a_model_that_is_gone(library, run, report):
    edit(library, run, lambda manifest: manifest["params"].update(model="no such model"))
    end = report()
    assert end.verdict == "failed"
    assert "no such model" in end.sentence


def test_a_stopped_run_is_compared_as_far_as_it_went(library, run, shapes_backend):
    whole = library.load(run.id)
    library.save(replace(whole, id="half", status="stopped", steps=whole.steps[:2], images=()))
    *_, end = replay(library, "half", shapes_backend)
    assert (end.verdict, end.by_step, end.image_identical) == ("identical", [0.0] * 3, None)
    assert end.sentence == "Bit-identical: all 3 states came out the same."


def test_a_run_of_another_length_is_different(library, run, report):
    edit(library, run, lambda manifest: manifest["params"].update(num_inference_steps=3))
    end = report()
    assert end.verdict == "different"
    assert "took 3 steps, the stored run 4 steps" in end.sentence


def test_a_run_stored_without_latents_is_compared_by_its_image(library, shapes_asked, shapes_backend):
    run = trace(shapes_asked, Capture(latents=False), shapes_backend, library)
    *_, end = replay(library, run.id, shapes_backend)
    assert (end.verdict, end.by_step, end.image_identical) == ("identical", [0.0], True)
    assert end.sentence == "Bit-identical: the initial state and the image came out the same."


def test_what_cannot_be_read_raises_before_anything_runs(library, run, count):
    with pytest.raises(RunNotFound):
        replay(library, "nobody")
    (library.path(run.id) / "manifest.json").write_text("{")
    with pytest.raises(DamagedRun):
        replay(library, run.id)
    assert (count.denoiser, count.loads) == (0, 0)
