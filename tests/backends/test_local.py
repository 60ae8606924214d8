import shutil
import threading
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from diffatlas.backends import open_backend
from diffatlas.backends.base import Backend
from diffatlas.capture.spec import Capture
from diffatlas.errors import CapabilityError, InvalidParams, NotEnoughMemory
from diffatlas.events import Failed, Finished, Image, Started, Step
from diffatlas.run import collect

FAMILIES = ("sd", "sdxl", "sd3", "flux", "pixart")


def kinds(events):
    return [event.kind for event in events]


def test_the_stream(backend, asked):
    events = list(backend.trace(asked, Capture(previews="every")))
    assert kinds(events) == ["started", *["step"] * 4, "image", "finished"]
    started = events[0]
    assert started.params.scheduler == "ddim"
    assert [e.index for e in events[1:5]] == [0, 1, 2, 3]
    assert all(e.preview is not None for e in events[1:5])
    assert events[-1].status == "complete"
    assert len(events[-1].cosine_to_end) == 4
    ran_on = started.provenance
    assert ran_on["pipeline"] == "StableDiffusionPipeline"
    assert ran_on["scheduler"]["class"] == "DDIMScheduler"
    assert (ran_on["dtype"], ran_on["device"]) == ("fp32", "cpu")
    assert len(ran_on["revision"]["sha256"]) == 64
    assert isinstance(backend, Backend)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_image_is_that_of_the_plain_call(backend, folders, asked, name):
    from diffusers import DiffusionPipeline

    params = asked.replace(model=str(folders(name)), guidance_scale=4.0)
    run = collect(backend.trace(params, Capture(previews=2))).raise_for_error()
    pipe = DiffusionPipeline.from_pretrained(folders(name), local_files_only=True)
    call = {"use_resolution_binning": False} if name == "pixart" else {}
    plain = pipe(
        "a red circle",
        num_inference_steps=4,
        guidance_scale=4.0,
        width=64,
        height=64,
        generator=torch.Generator().manual_seed(7),
        **call,
    )
    assert np.array_equal(run.images[0], np.asarray(plain.images[0]))


@pytest.mark.parametrize("name", ["sd", "sd3", "flux"])
def test_every_scheduler_that_is_said_to_fit_runs(backend, folders, asked, name):
    params = asked.replace(model=str(folders(name)))
    for scheduler in backend.info(params.model).schedulers:
        run = collect(backend.trace(params.replace(scheduler=scheduler))).raise_for_error()
        assert run.status == "complete", scheduler
        assert run.params.scheduler == scheduler
        # What a run stores can be asked again.
        assert backend.resolve(run.params) == run.params


def test_the_resident_pipeline_keeps_its_scheduler(backend, asked):
    pipe = backend.pipeline(asked.model)
    own, config = pipe.scheduler, dict(pipe.scheduler.config)
    collect(backend.trace(asked.replace(scheduler="euler")))
    assert backend.pipeline(asked.model) is pipe
    assert pipe.scheduler is own
    assert dict(own.config) == config
    assert "step" not in vars(own)


def test_image_i_of_a_batch_is_what_seed_plus_i_gives(backend, asked):
    batch = collect(backend.trace(asked.replace(num_images_per_prompt=2, scheduler="euler_a")))
    alone = collect(backend.trace(asked.replace(seed=asked.seed + 1, scheduler="euler_a")))
    assert batch.initial_latents.shape[0] == 2
    assert np.array_equal(batch.initial_latents[1], alone.initial_latents[0])
    assert np.allclose(batch.steps[-1].latents[1], alone.steps[-1].latents[0], atol=1e-4)


def test_latents_are_left_out_when_not_asked_for(backend, asked):
    run = collect(backend.trace(asked, Capture(latents=False, predictions=False)))
    assert all(s.latents is None and s.noise_pred is None and s.metrics for s in run.steps)


class Denoiser:
    """Counts the calls of a pipeline's denoiser, and can do something at one of them."""

    def __init__(self, pipe, at=None, action=None):
        self.calls = 0
        self._at, self._action = at, action
        self._hook = pipe.unet.register_forward_pre_hook(self._called)

    def _called(self, module, args):
        self.calls += 1
        if self.calls == self._at:
            self._action()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._hook.remove()


def test_closing_stops_the_denoiser_within_one_step(backend, asked):
    reached, released = threading.Event(), threading.Event()

    def third_call():
        reached.set()
        released.wait(30)

    pipe = backend.pipeline(asked.model)
    with Denoiser(pipe, at=3, action=third_call) as denoiser:
        events = backend.trace(asked.replace(num_inference_steps=200))
        next(events)
        reached.wait(30)
        # Close while the third call is in progress: it may end, the fourth must not begin.
        closing = threading.Thread(target=events.close)
        closing.start()
        time.sleep(0.2)
        assert closing.is_alive()  # it waits for the call in progress
        released.set()
        closing.join(30)
        assert not closing.is_alive()
        assert denoiser.calls <= 4
    after = list(backend.trace(asked))
    assert kinds(after)[-1] == "finished"


def test_stop_keeps_what_has_arrived(backend, asked):
    stop = threading.Event()
    pipe = backend.pipeline(asked.model)
    with Denoiser(pipe, at=3, action=stop.set) as denoiser:
        run = collect(backend.trace(asked.replace(num_inference_steps=200), stop=stop))
    assert denoiser.calls == 3
    assert (run.status, len(run.steps), run.images) == ("stopped", 3, ())
    assert run.seconds > 0
    assert run.steps[-1].metrics["cosine_to_end"] == pytest.approx(1)


def test_a_stop_before_the_start_stands_alone(backend, asked):
    stop = threading.Event()
    stop.set()
    events = list(backend.trace(asked, stop=stop))
    assert kinds(events) == ["finished"]
    assert events[0].status == "stopped"


def test_a_stop_after_the_last_step_leaves_no_image(backend, asked):
    stop = threading.Event()
    with Denoiser(backend.pipeline(asked.model), at=4, action=stop.set):
        events = list(backend.trace(asked, stop=stop))
    assert kinds(events) == ["started", *["step"] * 4, "finished"]


def test_two_runs_do_not_interleave(backend, asked):
    """Each denoiser call must belong to the run that holds the pipeline."""
    order, pipe = [], backend.pipeline(asked.model)
    hook = pipe.unet.register_forward_pre_hook(lambda *_: order.append(threading.get_ident()))
    runs = {}

    def go(seed):
        runs[seed] = collect(backend.trace(asked.replace(seed=seed, num_inference_steps=8)))

    threads = [threading.Thread(target=go, args=(seed,)) for seed in range(3)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        hook.remove()
    changes = sum(a != b for a, b in pairwise(order))
    assert (len(order), changes) == (24, 2)
    for seed, run in runs.items():
        alone = collect(backend.trace(asked.replace(seed=seed, num_inference_steps=8)))
        assert np.array_equal(run.images[0], alone.images[0])


def test_a_waiting_run_can_be_stopped(backend, asked):
    reached, released, stop = threading.Event(), threading.Event(), threading.Event()

    def hold():
        reached.set()
        released.wait(30)

    with Denoiser(backend.pipeline(asked.model), at=1, action=hold):
        first = threading.Thread(target=lambda: list(backend.trace(asked)))
        first.start()
        reached.wait(30)
        waiting = backend.trace(asked, stop=stop)
        threading.Timer(0.2, stop.set).start()
        assert kinds(waiting) == ["finished"]
        assert first.is_alive()
        released.set()
        first.join(30)


def test_another_model_takes_the_place_of_the_first(folders, asked):
    import gc
    import weakref

    backend = open_backend("local", device="cpu")
    first = weakref.ref(backend.pipeline(asked.model).unet)
    collect(backend.trace(asked.replace(model=str(folders("sd3")))))
    gc.collect()
    assert first() is None
    backend.close()


def break_weights(sd_folder, tmp_path, part, change):
    folder = tmp_path / "broken"
    shutil.copytree(sd_folder, folder)
    path = folder / part / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})
    return str(folder)


def failed(events):
    events = list(events)
    assert isinstance(events[-1], Failed)
    assert "\n" not in events[-1].message
    assert sum(isinstance(e, (Failed, Finished)) for e in events) == 1
    return events


def test_nan_in_the_latents(sd_folder, tmp_path, asked):
    def nan(weights):
        weights["conv_out.bias"][0] = float("nan")

    backend = open_backend("local", device="cpu")
    events = failed(backend.trace(asked.replace(model=break_weights(sd_folder, tmp_path, "unet", nan))))
    assert events[-1].code == "non_finite"
    assert "step 1 " in events[-1].message
    # The sick step is not passed on, and the denoiser is not called again.
    assert kinds(events) == ["started", "failed"]


def test_a_black_image(sd_folder, tmp_path, asked):
    def black(weights):
        weights["decoder.conv_out.weight"].zero_()
        weights["decoder.conv_out.bias"].fill_(-2)

    backend = open_backend("local", device="cpu")
    events = failed(backend.trace(asked.replace(model=break_weights(sd_folder, tmp_path, "vae", black))))
    assert events[-1].code == "black_image"
    assert [type(e) for e in events] == [Started, *[Step] * 4, Image, Failed]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory"),
        (ZeroDivisionError("some\ntwo lines"), "backend_failure"),
    ],
)
def test_what_the_denoiser_raises(backend, asked, error, code):
    def throw():
        raise error

    with Denoiser(backend.pipeline(asked.model), at=2, action=throw):
        events = failed(backend.trace(asked))
    assert events[-1].code == code
    assert kinds(events) == ["started", "step", "failed"]
    assert kinds(backend.trace(asked))[-1] == "finished"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"prompt": "  "}, "invalid_params"),
        ({"width": 66}, "invalid_params"),
        ({"height": 63}, "invalid_params"),
        ({"num_inference_steps": 0}, "invalid_params"),
        ({"num_inference_steps": 1000}, "invalid_params"),
        ({"guidance_scale": -1.0}, "invalid_params"),
        ({"model": "no such model"}, "unknown_model"),
        ({"scheduler": "flow_euler"}, "scheduler_mismatch"),
    ],
)
def test_a_wrong_request_fails_before_it_starts(backend, asked, change, code):
    events = failed(backend.trace(asked.replace(**change)))
    assert len(events) == 1
    assert (events[0].code, events[0].field) == (code, next(iter(change)))


def test_the_most_steps_that_are_allowed_run(save_pipeline, backend, asked):
    from tests import pipelines

    asked = asked.replace(model=str(save_pipeline("short", pipelines.build_sd(num_train_timesteps=20))))
    limit = backend.info(asked.model).max_steps
    assert limit == 19  # one less than the timesteps, for steps_offset=1
    assert collect(backend.trace(asked.replace(num_inference_steps=limit))).status == "complete"
    assert (
        failed(backend.trace(asked.replace(num_inference_steps=limit + 1)))[0].field == "num_inference_steps"
    )


def test_steps_that_only_the_scheduler_refuses(backend, asked):
    events = failed(backend.trace(asked.replace(scheduler="lcm", num_inference_steps=60)))
    assert events[0].code == "scheduler_mismatch"
    assert "number of steps" in events[0].message


def test_collect_raises_what_fails_before_the_start(backend, asked):
    with pytest.raises(InvalidParams, match="multiple of 4, such as 64 or 68") as caught:
        collect(backend.trace(asked.replace(width=66)))
    assert caught.value.field == "width"


def test_too_little_memory(asked, monkeypatch):
    from diffatlas.backends import memory

    monkeypatch.setattr(memory, "free_memory", lambda device: 10)
    with pytest.raises(NotEnoughMemory):
        collect(open_backend("local", device="cpu").trace(asked))
    run = collect(open_backend("local", device="cpu", ignore_memory=True).trace(asked))
    assert run.status == "complete"


def test_a_negative_prompt_that_the_pipeline_would_drop(backend, folders, asked):
    params = asked.replace(model=str(folders("flux")), negative_prompt="a blue square")
    with pytest.raises(CapabilityError, match="no negative prompt"):
        collect(backend.trace(params))


def test_a_long_prompt_says_what_is_cut_off(backend, asked):
    run = collect(backend.trace(asked.replace(prompt="a" * 75 + "bcd")))
    (cut,) = run.provenance["prompt"]["cut"]
    assert (cut["of"], cut["tokens"], cut["text"]) == ("prompt", 77, "bcd")
    assert "prompt" not in collect(backend.trace(asked)).provenance
    runs = [event for _, event in backend.trace_batch([run.params, run.params.replace(seed=8)])]
    started = [event for event in runs if isinstance(event, Started)]
    assert [event.provenance["prompt"] for event in started] == [run.provenance["prompt"]] * 2


def test_backends_by_name():
    with pytest.raises(InvalidParams, match="known are local"):
        open_backend("nowhere")
    with pytest.raises(InvalidParams, match="speed"):
        open_backend("local", speed=11)


def test_the_settings_choose_where_the_caller_does_not(monkeypatch, asked):
    monkeypatch.setenv("DIFFATLAS_DTYPE", "bf16")
    run = collect(open_backend("local", device="cpu").trace(asked))
    assert run.provenance["dtype"] == "bf16"
    monkeypatch.setenv("DIFFATLAS_DTYPE", "int4")
    with pytest.raises(InvalidParams, match="DIFFATLAS_DTYPE"):
        open_backend("local")


def test_a_wrong_device_is_a_clear_error(asked):
    with pytest.raises(InvalidParams, match="'warp'"):
        collect(open_backend("local", device="warp").trace(asked))


def test_steps_are_alike_whether_or_not_the_capture_changes(backend, asked):
    plain = collect(backend.trace(asked))
    full = collect(backend.trace(asked, Capture(previews="every", preview_decoder="vae")))
    assert np.array_equal(plain.images[0], full.images[0])
    assert np.array_equal(plain.latents, full.latents)
    assert replace(full, steps=()).params == plain.params
