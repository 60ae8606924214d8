"""A call of one's own pipeline is a run: kept, exported, replayed, and recorded as it happens."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffatlas import Capture, Library, observe, open_backend, open_run
from diffatlas.capture.asked import asked_of
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.events import from_bytes, to_bytes
from diffatlas.formats.kinds import KINDS, export
from diffatlas.formats.named import Named
from diffatlas.operations.replay import replay
from diffatlas.run import Run
from tests import copied
from tests.pipelines import arguments, build_sd


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


@pytest.fixture
def sd() -> Any:
    return build_sd()


def seeded(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def call(pipe: Any, prompt: Any = "a red circle", **more: Any) -> Any:
    asked = {"num_inference_steps": 4, "guidance_scale": 4.0, "generator": seeded(), **more}
    return pipe(prompt, **asked)


def same(a: Run, b: Run) -> bool:
    states = [(x.latents, y.latents) for x, y in zip(a.steps, b.steps, strict=True)]
    images = list(zip(a.images, b.images, strict=True))
    return a.params == b.params and all(np.array_equal(x, y) for x, y in (*states, *images))


def test_a_trace_is_a_run(sd: Any) -> None:
    with observe(sd, Capture(previews="every", attention="cross"), name="my fine-tune") as trace:
        image = call(sd, negative_prompt="blue", eta=0.5).images[0]
    run, asked = trace.run, trace.run.params
    assert (run.status, run.error, len(run.steps), run.total_steps) == ("complete", None, 4, 4)
    assert run.seconds > 0
    np.testing.assert_array_equal(run.images[0], np.asarray(image))
    assert (asked.model, asked.prompt, asked.negative_prompt) == ("my fine-tune", "a red circle", "blue")
    assert (asked.seed, asked.num_inference_steps, asked.guidance_scale) == (7, 4, 4.0)
    assert (asked.width, asked.height, asked.extra) == (64, 64, {"eta": 0.5})
    assert run.provenance["source"] == "memory"
    assert run.provenance["pipeline"] == "StableDiffusionPipeline"
    assert run.provenance["scheduler"]["class"] == asked.scheduler == "DDIMScheduler"
    assert set(run.provenance["components"]) == {"scheduler", "text_encoder", "tokenizer", "unet", "vae"}
    assert run.provenance["call"] == {}
    assert Capture.from_dict(run.capture) == Capture(previews="every", attention="cross")
    assert "cosine_to_end" in run.steps[0].metrics


def test_a_library_keeps_it_and_every_export_takes_it(sd: Any, library: Library) -> None:
    with observe(sd, Capture(previews="every", attention="cross")) as trace:
        call(sd)
    run_id = library.save(trace)
    assert run_id == trace.run.id == library.list()[0].id
    assert same(library.load(run_id), trace.run)
    for kind in KINDS:
        assert export(kind, [Named("mine", trace.run)]), kind
    library.export_dataset(library.folder.parent / "dataset", [run_id])
    other = Library(library.folder.parent / "other")
    (imported,) = other.import_dataset(library.folder.parent / "dataset")
    assert same(other.load(imported), trace.run)


@pytest.mark.parametrize("how", ["library", "folder", "default"])
def test_it_is_recorded_as_it_happens(
    sd: Any, library: Library, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(library.folder))
    seen = []

    def look(step: Any) -> None:
        (info,) = Library(library.folder).list()
        seen.append((info.status, info.steps))

    record = {"library": library, "folder": str(library.folder), "default": True}[how]
    with observe(sd, Capture(previews="every"), record=record, on_step=look) as trace:
        call(sd)
    assert seen == [("running", n) for n in (1, 2, 3, 4)]
    stored = open_run(library.folder / trace.run.id)
    assert stored.status == "complete"
    assert same(stored, trace.run)
    assert stored.provenance == trace.run.provenance


def test_each_call_is_a_run_of_its_own(sd: Any, library: Library) -> None:
    with observe(sd, record=library) as trace:
        call(sd, "a red circle")
        call(sd, "a blue square", generator=seeded(8))
    assert [(i.prompt, i.seed, i.status) for i in library.list()][::-1] == [
        ("a red circle", 7, "complete"),
        ("a blue square", 8, "complete"),
    ]
    assert trace.run.params.prompt == "a blue square"


def test_a_killed_process_leaves_its_steps(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"""
import time
from tests.pipelines import build_sd
from diffatlas import observe
pipe = build_sd()
def slow(step):
    print(step.index, flush=True)
    if step.index == 2:
        time.sleep(60)
with observe(pipe, record={str(tmp_path / "library")!r}, on_step=slow):
    pipe("a red circle", num_inference_steps=5)
""")
    said = tmp_path / "said"
    process = copied.start(str(script), folder=tmp_path, environment=os.environ, out=said)
    while not (said.exists() and "\n2\n" in said.read_text()):
        assert process.is_alive(), "the process ended before its third step"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    library = Library(tmp_path / "library")
    (info,) = library.list()
    assert (info.status, info.steps, info.prompt) == ("partial", 3, "a red circle")
    assert len(library.load(info.id).steps) == 3


def test_a_call_that_fails_is_a_failed_run(sd: Any, library: Library) -> None:
    def fail(*args: Any) -> dict[str, Any]:
        if args[1] == 1:
            raise RuntimeError("the adapter does not fit")
        return {}

    with pytest.raises(RuntimeError, match="does not fit"), observe(sd, record=library) as trace:
        call(sd, callback_on_step_end=fail)
    stored = library.load(trace.run.id)
    for run in (trace.run, stored):
        assert (run.status, len(run.steps)) == ("failed", 2)
        assert run.error["message"] == "The pipeline failed with RuntimeError: the adapter does not fit."
        assert set(run.provenance["call"]["left_out"]) == {"callback_on_step_end"}


def test_ctrl_c_is_a_stop(sd: Any, library: Library) -> None:
    def interrupt(step: Any) -> None:
        if step.index == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), observe(sd, record=library, on_step=interrupt) as trace:
        call(sd)
    assert trace.run.status == library.load(trace.run.id).status == "stopped"
    assert len(trace.run.steps) == 2


def test_a_library_that_refuses_loses_nothing(
    sd: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "full").write_text("a file where the folder should be")
    with observe(sd, record=tmp_path / "full") as trace:
        image = call(sd).images[0]
    np.testing.assert_array_equal(trace.run.images[0], np.asarray(image))
    assert (trace.run.status, len(trace.run.steps)) == ("complete", 4)
    assert "not in the library" in trace.run.provenance["missing"]["record"]
    assert "\n" not in trace.run.provenance["missing"]["record"]
    assert "Recording has ended" in caplog.text
    elsewhere = Library(tmp_path / "elsewhere")
    assert same(elsewhere.load(elsewhere.save(trace)), trace.run)


def test_a_disk_that_fills_up_on_the_way_ends_the_recording_alone(
    sd: Any, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from diffatlas.library import format as layout

    write = layout.write_atomically

    def fills_up(path: Path, data: bytes) -> None:
        if path.name == "step_0002.safetensors":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(layout, "write_atomically", fills_up)
    with observe(sd, record=library) as trace:
        call(sd)
    assert len(trace.run.steps) == 4
    assert "the disk is full" in trace.run.provenance["missing"]["record"]
    (info,) = library.list()
    assert (info.status, info.steps) == ("failed", 2)


def test_two_calls_at_once_are_told(sd: Any) -> None:
    began, second_done = threading.Event(), threading.Event()

    def wait(step: Any) -> None:
        if step.index == 0:
            began.set()
            assert second_done.wait(30)

    def second() -> None:
        assert began.wait(30)
        call(other)
        second_done.set()

    import copy

    # The same pipeline with parts of its own, as two threads need them.
    other = sd
    sd.scheduler, spare = copy.deepcopy(sd.scheduler), sd.scheduler
    thread = threading.Thread(target=second)
    thread.start()
    with observe(sd, on_step=wait) as trace:
        try:
            call(sd)
        except Exception:
            pass  # Two calls share a scheduler: what comes of it is not ours.
        finally:
            second_done.set()
            thread.join()
    del spare
    assert "second thread" in trace.missing["calls"]


def test_a_trace_of_no_call_says_so(sd: Any, library: Library) -> None:
    with observe(sd, record=library) as trace:
        pass
    for use in (lambda: trace.run, lambda: library.save(trace)):
        with pytest.raises(CapabilityError, match="of no call yet"):
            use()
    assert library.list() == []


@pytest.mark.parametrize("record", [5, object(), ["x"]])
def test_a_wrong_place_to_record_is_refused(sd: Any, record: Any) -> None:
    with pytest.raises(InvalidParams, match="give True, a library"), observe(sd, record=record):
        pass


def test_a_loop_of_ones_own_is_a_run(sd: Any, library: Library) -> None:
    with observe(sd, record=library, name="by hand") as trace:
        sd.scheduler.set_timesteps(3)
        x = torch.randn(1, 4, 16, 16, generator=seeded())
        for t in sd.scheduler.timesteps:
            with torch.no_grad():
                noise = sd.unet(x, t, torch.zeros(1, 77, 32)).sample
            x = sd.scheduler.step(noise, t, x).prev_sample
    run = trace.run
    assert (run.status, len(run.steps), run.params.seed, run.params.prompt) == ("complete", 3, None, "")
    assert "loop of its own" in run.provenance["call"]["left_out"]["call"]
    assert same(library.load(run.id), run)


IMG = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))


def _img2img(sd: Any) -> tuple[Any, dict[str, Any]]:
    from diffusers import StableDiffusionImg2ImgPipeline

    pipe = StableDiffusionImg2ImgPipeline(**sd.components, requires_safety_checker=False)
    return pipe, {"image": IMG, "strength": 0.5}


def _inpaint(sd: Any) -> tuple[Any, dict[str, Any]]:
    from diffusers import StableDiffusionInpaintPipeline

    pipe = StableDiffusionInpaintPipeline(**sd.components, requires_safety_checker=False)
    mask = Image.fromarray((np.arange(64)[:, None] < np.arange(64)).astype(np.uint8) * 255)
    return pipe, {"image": IMG, "mask_image": mask, "strength": 0.75, "width": 64, "height": 64}


def _controlnet(sd: Any) -> tuple[Any, dict[str, Any]]:
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline

    net = ControlNetModel.from_unet(sd.unet, conditioning_embedding_out_channels=(16, 32, 96))
    pipe = StableDiffusionControlNetPipeline(**sd.components, controlnet=net, requires_safety_checker=False)
    return pipe, {"image": [IMG], "controlnet_conditioning_scale": 0.7}


@pytest.mark.parametrize("made", [_img2img, _inpaint, _controlnet])
def test_pictures_are_kept_with_the_run_and_it_can_be_replayed(sd: Any, library: Library, made: Any) -> None:
    pipe, more = made(sd)
    pipe.set_progress_bar_config(disable=True)
    with observe(pipe, record=library) as trace:
        call(pipe, **more)
    stored = library.load(trace.run.id)
    given = {name: value for name, value in more.items() if isinstance(value, (Image.Image, list))}
    assert [one.name for one in stored.params.inputs] == list(given)
    for one, (_, value) in zip(stored.params.inputs, given.items(), strict=True):
        picture = value[0] if isinstance(value, list) else value
        np.testing.assert_array_equal(one.pixels, np.asarray(picture))
        assert one.place == ((0,) if isinstance(value, list) else ())
    assert len(stored.steps) == stored.total_steps
    *_, report = replay(library, stored.id, open_backend("local", pipe=pipe, name="again"))
    assert report.verdict == "identical", report.sentence
    assert report.same_pipeline
    assert report.environment == {}
    pipe.unet.conv_in.weight.data[0] += 0.1
    *_, report = replay(library, stored.id, open_backend("local", pipe=pipe))
    assert (report.verdict, report.same_pipeline) == ("different", False)


def test_what_cannot_be_made_again_says_so(sd: Any, library: Library) -> None:
    with observe(sd, record=library) as trace:
        call(sd)
    with pytest.raises(CapabilityError, match="pipeline in memory"):
        replay(library, trace.run.id)
    backend = open_backend("local", pipe=sd)
    for more, name in (
        ({"latents": torch.zeros(1, 4, 16, 16)}, "latents"),
        ({"prompt": None, "prompt_embeds": torch.zeros(1, 77, 32), "guidance_scale": 1.0}, "prompt_embeds"),
        ({"generator": None}, "generator"),
    ):
        torch.rand(1)
        with observe(sd, record=library) as trace:
            call(sd, **more)
        assert list(trace.run.provenance["call"]["left_out"]) == [name]
        with pytest.raises(CapabilityError, match=name):
            replay(library, trace.run.id, backend)


def test_a_picture_that_was_changed_in_its_folder_is_damage(sd: Any, library: Library) -> None:
    from diffatlas.errors import DamagedRun

    pipe, more = _img2img(sd)
    with observe(pipe, record=library) as trace:
        call(pipe, **more)
    IMG.rotate(90).save(library.folder / trace.run.id / "inputs" / "input_00.png")
    with pytest.raises(DamagedRun, match="another picture"):
        library.load(trace.run.id)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "1", "P", "CMYK"])
def test_events_carry_pictures(mode: str) -> None:
    from diffatlas import GenerationParams, ImageInput
    from diffatlas.events import Started

    one = ImageInput.of("image", IMG.convert(mode))
    assert one.picture().mode == (mode if mode in ("RGB", "L", "RGBA", "1") else "RGB")
    if one.mode == mode:
        np.testing.assert_array_equal(np.asarray(one.picture()), np.asarray(IMG.convert(mode)))
    params = GenerationParams(prompt="a", inputs=(one,))
    started = Started("r", params, np.zeros((1, 4, 2, 2), np.float32), 1.0, 4)
    back = from_bytes(to_bytes(started)).params
    assert back == params
    np.testing.assert_array_equal(back.inputs[0].pixels, one.pixels)


def _parameters() -> Any:
    import inspect

    from diffusers import StableDiffusionPipeline

    return dict(list(inspect.signature(StableDiffusionPipeline.__call__).parameters.items())[1:])


@pytest.mark.parametrize(
    ("given", "seed", "left_out"),
    [
        ({"generator": seeded(3)}, 3, None),
        ({"generator": [seeded(3), seeded(4)], "num_images_per_prompt": 2}, 3, None),
        ({"generator": [seeded(3), seeded(9)], "num_images_per_prompt": 2}, 3, "3, 9"),
        ({"generator": seeded(3), "num_images_per_prompt": 2}, 3, "2 images"),
        ({"generator": seeded(3), "prompt": ["a", "b"]}, 3, "2 images"),
        ({"generator": "x"}, None, "a str"),
    ],
)
def test_seeds(given: dict[str, Any], seed: int | None, left_out: str | None) -> None:
    asked = asked_of(_parameters(), {"prompt": "a", **given}, "mine", "cpu")
    assert asked.params.seed == seed
    assert (left_out is None) == ("generator" not in asked.left_out)
    assert left_out is None or left_out in asked.left_out["generator"]


def test_a_generator_that_was_used_gives_no_seed() -> None:
    used = seeded(3)
    torch.randn(2, generator=used)
    asked = asked_of(_parameters(), {"prompt": "a", "generator": used}, "mine", "cpu")
    assert asked.params.seed is None
    assert "had been used" in asked.left_out["generator"]
    torch.manual_seed(11)
    assert asked_of(_parameters(), {"prompt": "a"}, "mine", "cpu").params.seed == 11


def test_arguments_of_every_kind_are_told(sd: Any) -> None:
    with observe(sd) as trace:
        call(
            sd,
            ["a red circle", "a blue square"],
            negative_prompt=["x", "y"],
            generator=[seeded(1), seeded(2)],
            guidance_rescale=0.3,
            cross_attention_kwargs={"scale": 0.5},
            callback_on_step_end_tensor_inputs=["latents"],
        )
    params, left_out = trace.run.params, trace.run.provenance["call"]["left_out"]
    assert (params.prompt, params.negative_prompt, params.seed) == ("a red circle", "x", 1)
    assert params.num_inference_steps == len(trace.run.steps) == 4
    assert params.extra == {
        "prompt": ["a red circle", "a blue square"],
        "negative_prompt": ["x", "y"],
        "guidance_rescale": 0.3,
        "cross_attention_kwargs": {"scale": 0.5},
    }
    assert set(left_out) == {"callback_on_step_end_tensor_inputs"}
    assert len(trace.run.images) == 2


@pytest.mark.parametrize("output", ["pil", "np", "pt", "latent"])
def test_images_in_every_form(sd: Any, output: str) -> None:
    expected = np.asarray(call(sd).images[0])
    with observe(sd) as trace:
        call(sd, output_type=output)
    if output == "latent":
        assert trace.run.images == ()
        assert "no pictures" in trace.run.provenance["missing"]["images"]
    else:
        np.testing.assert_array_equal(trace.run.images[0], expected)
    with observe(sd) as trace:
        call(sd, output_type=output, return_dict=False)
    assert len(trace.run.images) == (output != "latent")


def test_looking_costs_no_more_than_a_digest(sd: Any) -> None:
    """What is kept holds no tensor of the call: the pipeline's memory is free when it has ended."""
    import gc
    import weakref

    latents = torch.zeros(1, 4, 16, 16)
    held = weakref.ref(latents)
    with observe(sd) as trace:
        call(sd, latents=latents)
    del latents
    gc.collect()
    assert held() is None
    assert trace.run.status == "complete"


def test_it_waits_for_nobody(sd: Any) -> None:
    began = time.perf_counter()
    with observe(sd) as trace:
        call(sd, **{k: v for k, v in arguments(sd).items() if k == "eta"})
    assert trace.run.seconds <= time.perf_counter() - began


def test_a_class_that_hands_its_arguments_on_is_read_as_the_one_below(sd: Any, library: Library) -> None:
    class Mine(type(sd)):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return super().__call__(*args, **kwargs)

    pipe = Mine(**sd.components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    with observe(pipe, record=library) as trace:
        call(pipe, eta=0.5)
    assert (trace.run.params.prompt, trace.run.params.extra) == ("a red circle", {"eta": 0.5})
    assert trace.run.provenance["call"] == {}
    *_, report = replay(library, trace.run.id, open_backend("local", pipe=pipe))
    assert report.verdict == "identical", report.sentence


def test_a_call_that_cannot_be_read_is_a_run_that_says_so(sd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffatlas.capture import keeper

    def fail(*args: Any) -> None:
        raise CapabilityError("It is of a kind that nobody knows.")

    monkeypatch.setattr(keeper, "asked_of", fail)
    with observe(sd) as trace:
        image = call(sd).images[0]
    np.testing.assert_array_equal(trace.run.images[0], np.asarray(image))
    assert trace.run.provenance["call"]["left_out"] == {"call": "It is of a kind that nobody knows."}


def test_the_digest_is_that_of_the_pipeline_that_made_the_call(sd: Any) -> None:
    from diffatlas.capture.digest import digest_of

    with observe(sd) as trace:
        call(sd)
    assert trace.run.provenance["revision"] == {"digest": digest_of(sd)}
    told = trace.run.provenance["revision"]
    with observe(sd) as later:
        call(sd)
    with torch.no_grad():
        sd.unet.conv_in.weight.mul_(1.5)
    assert "was changed" in later.run.provenance["revision"]["no_digest"]
    assert later.run.provenance == later.run.provenance
    assert trace.run.provenance["revision"] == told
