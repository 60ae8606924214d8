"""How a pipeline is put on a device: what a model's line says is done, is told, and changes no observed image.

Offloading is run for real with the CPU as the device that parts are brought to.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import pytest
import torch

from diffatlas.backends import loading, loras, placement
from diffatlas.backends.local import LocalBackend
from diffatlas.backends.model_info import ModelSource
from diffatlas.backends.placement import Placement, plan, put
from diffatlas.capture import preview
from diffatlas.capture.observer import observe
from diffatlas.capture.ran_on import place_of
from diffatlas.capture.spec import Capture
from diffatlas.errors import ModelLoadError
from diffatlas.events import Step
from diffatlas.params import GenerationParams, Lora
from diffatlas.registry import ModelEntry, add_model, remove_model
from diffatlas.run import collect
from tests import pipelines
from tests.backends.test_loras import write_lora

STEPS = 3


def image_of(pipe: Any, **more: Any) -> np.ndarray:
    asked = {"num_inference_steps": STEPS, "width": 64, "height": 64, **more}
    return np.asarray(pipe("a red circle", generator=torch.Generator().manual_seed(7), **asked).images[0])


@pytest.fixture(autouse=True)
def plain_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile to what Python calls: a C compiler is not everywhere."""
    monkeypatch.setattr(placement, "COMPILER", "eager")


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Write a folder into the user's own list, with hints, in place of what was there of it."""
    monkeypatch.setenv("DIFFATLAS_USER_MODELS", str(tmp_path / "models.md"))
    kept: list[str] = []

    def write(folder: Path, **hints: Any) -> None:
        if kept:
            remove_model(kept.pop())
        kept.append(add_model(ModelEntry(str(folder), "Mine", **hints)).id)

    return write


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("sd", Placement("model", compile="blocks")),
        ("sdxl", Placement("group")),
        ("flux", Placement("group", vae=("tiling", "slicing"))),
        ("sd3", Placement("model")),
    ],
)
def test_observed_it_makes_the_image_of_the_plain_call(name: str, how: Placement) -> None:
    pipe = getattr(pipelines, f"build_{name}")()
    whole = image_of(pipe)
    put(pipe, how, "cpu")
    plain = image_of(pipe)
    for decoder in ("linear", "vae"):
        with observe(pipe, Capture(previews="every", preview_decoder=decoder)) as trace:
            seen = image_of(pipe)
        assert np.array_equal(seen, plain)
        assert len(trace.steps) == STEPS
        assert all(step.preview is not None for step in trace.steps)
    if not how.vae:
        assert np.array_equal(plain, whole)


def test_offloaded_it_tells_where_it_computes_and_its_attention_is_read() -> None:
    """The weights rest on another device than the one that computes."""
    pipe = pipelines.build_sd()
    with observe(pipe, Capture(attention="cross")) as trace:
        image_of(pipe)
    maps = trace.steps[1].attention
    pipe = pipelines.build_sd()
    put(pipe, Placement("group"), "cpu")
    with observe(pipe, Capture(attention="cross")) as again:
        image_of(pipe)
    assert maps.keys() == again.steps[1].attention.keys()
    assert all(np.array_equal(maps[key], again.steps[1].attention[key]) for key in maps)
    # No device of another kind is at hand: the meta device computes nothing, but can be told.
    pipe = pipelines.build_sd()
    for part in (pipe.text_encoder, pipe.unet, pipe.vae):
        accelerate.cpu_offload_with_hook(part, torch.device("meta"))
    assert place_of(pipe)[0] == "meta"


def test_a_preview_leaves_an_offloaded_denoiser_where_it_is() -> None:
    """The VAE's own hook would send the denoiser away at each preview, and keep the VAE beside it afterwards."""
    pipe = pipelines.build_sd()
    put(pipe, Placement("model"), "cpu")
    moved, hook = [], pipe.vae._hf_hook
    hook.prev_module_hook.offload = lambda: moved.append("denoiser")
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    expected = preview.decode(pipelines.build_sd(), latents)
    pre_forward, hook.pre_forward = hook.pre_forward, lambda *args, **kwargs: moved.append("vae")
    assert np.array_equal(preview.decode(pipe, latents), expected)
    assert not moved
    hook.pre_forward = pre_forward
    assert pipe.vae._hf_hook is hook
    assert pipe.vae.device.type == "cpu"


@pytest.mark.parametrize("how", ["stop", "fail"])
def test_a_run_that_is_cut_short_sends_its_parts_away(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers does so at the end of a call, which a stopped one never comes to: the denoiser would stay."""
    pipe = pipelines.build_sd()
    put(pipe, Placement("model"), "cpu")
    backend = LocalBackend(pipe=pipe, name="mine")
    given_back = []
    monkeypatch.setattr(placement, "_is_whole", lambda pipe: False)
    offload = type(pipe).maybe_free_model_hooks
    monkeypatch.setattr(
        type(pipe), "maybe_free_model_hooks", lambda self: (given_back.append(1), offload(self))
    )
    stop = threading.Event()
    asked = GenerationParams("mine", "a red circle", num_inference_steps=STEPS, width=64, height=64)
    if how == "fail":
        monkeypatch.setattr(pipe.vae, "decode", None)
    for event in backend.trace(asked, Capture(previews="off"), stop):
        if how == "stop" and isinstance(event, Step):
            stop.set()
    assert given_back


def test_what_a_line_says_is_done_and_told(
    sd_folder: Path, asked: GenerationParams, listed: Callable[..., None]
) -> None:
    backend = LocalBackend("cpu")
    listed(sd_folder)
    plain = collect(backend.trace(asked)).raise_for_error()
    listed(sd_folder, compile="blocks", vae="tiling,slicing", offload="model")
    assert not backend.is_loaded(asked.model)
    expected = backend.identity(backend.resolve(asked))
    run = collect(backend.trace(asked)).raise_for_error()
    pipe = backend.pipeline(asked.model)
    assert pipe.vae.use_tiling
    assert pipe.vae.use_slicing
    compiled = [m for m in pipe.unet.modules() if m._compiled_call_impl is not None]
    assert {type(module).__name__ for module in compiled} == {"BasicTransformerBlock"}
    # Offloading decides no bit and has no effect here, so it is told and is no part of the identity.
    assert run.provenance["identity"] == expected
    assert expected["placement"] == {"vae": ["tiling", "slicing"], "compile": "blocks"}
    assert "On a CPU" in run.provenance["placement"]["without"]["offload"]
    assert "placement" not in plain.provenance
    assert "placement" not in plain.provenance["identity"]
    listed(sd_folder, offload="model")
    again = collect(backend.trace(asked)).raise_for_error()
    assert again.provenance["identity"] == plain.provenance["identity"]
    assert np.array_equal(again.images[0], plain.images[0])


def test_a_compiled_run_can_be_stopped_and_is_not_compiled_anew(
    sd_folder: Path, asked: GenerationParams, listed: Callable[..., None]
) -> None:
    """What looks in between the layers would be compiled with them, and again in each run."""
    from torch._dynamo.utils import counters

    backend, compiled = LocalBackend("cpu"), []
    for how in ("blocks", "default"):
        listed(sd_folder, compile=how)
        collect(backend.trace(asked)).raise_for_error()
        # The first call was compiling, of which nothing is learnt.
        assert backend.estimate(asked) is None
        counters.clear()
        run = collect(backend.trace(asked, Capture(previews="every"))).raise_for_error()
        compiled.append(counters["stats"]["unique_graphs"])
        assert backend.estimate(asked).seconds > 0
        assert len(run.steps) == asked.num_inference_steps
        stop, seen = threading.Event(), []
        for event in backend.trace(asked, stop=stop):
            if isinstance(event, Step):
                seen.append(event)
                stop.set()
        assert len(seen) < asked.num_inference_steps
        assert event.status == "stopped"
    assert compiled == [0, 0]


@pytest.mark.parametrize("how", [Placement("group"), Placement(compile="blocks")])
def test_a_lora_is_put_on_and_taken_off(how: Placement, tmp_path: Path) -> None:
    file = write_lora(tmp_path, seed=1)
    whole = pipelines.build_sd()
    loaded = loading.Loaded(whole, ModelSource("x", None), None, _info(), "cpu", "fp32", {})
    with loras.applied(loaded, (Lora(str(file)),), lambda: None):
        expected = image_of(whole)
    pipe, given_up = pipelines.build_sd(), []
    put(pipe, how, "cpu")
    plain = image_of(pipe)
    loaded = replace(loaded, pipe=pipe, placement=how)
    with loras.applied(loaded, (Lora(str(file)),), lambda: given_up.append(1)):
        with_it = image_of(pipe)
    assert np.array_equal(with_it, expected)
    assert not np.array_equal(with_it, plain)
    assert np.array_equal(image_of(pipe), plain)
    assert not given_up


def _info() -> Any:
    from diffatlas.backends.model_info import describe_parts
    from diffatlas.backends.parts import PipeParts

    return describe_parts("x", "X", PipeParts(pipelines.build_sd()))


@pytest.mark.parametrize(
    ("name", "dtype"), [("sd", "float16"), ("sd3", "bfloat16"), ("flux", "float16"), ("pixart", "bfloat16")]
)
def test_a_float32_vae_beside_a_half_precision_denoiser(name: str, dtype: str) -> None:
    """Most pipelines hand a VAE their latents as they are, which it refuses in another dtype than its own."""
    size = {"use_resolution_binning": False} if name == "pixart" else {}
    pipe = getattr(pipelines, f"build_{name}")().to(getattr(torch, dtype))
    half = image_of(pipe, **size)
    latents = pipe(
        "a red circle",
        generator=torch.Generator().manual_seed(7),
        num_inference_steps=STEPS,
        width=64,
        height=64,
        output_type="latent",
        **size,
    ).images
    assert latents.dtype is getattr(torch, dtype)
    placement.keep_in_float32(pipe.vae)
    whole = image_of(pipe, **size)
    with observe(pipe, Capture(previews="every", preview_decoder="vae")):
        assert np.array_equal(image_of(pipe, **size), whole)
    # The decoder's rounding is gone, and nothing else has changed.
    assert 0 < np.abs(whole.astype(int) - half).max() <= 8


def test_only_what_overflows_is_widened(folders: Callable[[str], Path], tmp_path: Path) -> None:
    """Stable Diffusion's VAE is fine in float16; SDXL's pipelines see to theirs; PixArt has the same and does not."""
    folder = folders("pixart")
    assert plan(None, folder, "cuda", "fp16").vae == ()
    other = tmp_path / "pixart"
    shutil.copytree(folder, other)
    config = other / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"force_upcast": True}))
    assert plan(None, other, "cuda", "fp16").vae == ("fp32",)
    assert plan(None, other, "cuda", "bf16").vae == ()
    assert plan(None, other, "cuda", "fp32").vae == ()
    assert plan(None, folders("sdxl"), "cuda", "fp16").vae == ()
    assert plan(ModelEntry("x", "X", vae="fp32"), folders("sd"), "cuda", "fp16").deciding == {"vae": ["fp32"]}


def test_a_device_has_its_own_ways(folders: Callable[[str], Path]) -> None:
    line = ModelEntry("x", "X", offload="group", vae="slicing", compile="max-autotune")
    sd, flux = folders("sd"), folders("flux")
    on_gpu = plan(line, sd, "cuda:1", "fp16")
    assert (on_gpu.offload, on_gpu.vae, on_gpu.compile) == ("group", ("slicing",), None)
    assert "not compiled" in on_gpu.without["compile"]
    on_mac = plan(line, sd, "mps", "fp32", 16 * 2**30)
    assert (on_mac.offload, on_mac.vae, on_mac.compile) == (None, ("tiling", "slicing"), None)
    assert on_mac.sliced_attention
    assert set(on_mac.without) == {"offload", "compile"}
    assert not plan(line, sd, "mps", "fp32", 128 * 2**30).sliced_attention
    # A transformer's attention is not sliced by diffusers.
    assert not plan(line, flux, "mps", "bf16", 16 * 2**30).sliced_attention
    assert plan(None, sd, "cuda", "fp16") == Placement()
    # Without the files, what the line says.
    assert plan(line, None, "cuda", "fp16").offload == "group"


def test_what_reaches_diffusers_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams are CUDA's; the VAE stays on the device, where it decodes previews between the layers of a step."""
    pipe = pipelines.build_flux()
    asked: dict[str, Any] = {}
    monkeypatch.setattr(type(pipe), "enable_group_offload", lambda self, **how: asked.update(how))
    put(pipe, Placement("group"), "cuda:1")
    assert asked == {
        "onload_device": torch.device("cuda:1"),
        "offload_type": "leaf_level",
        "use_stream": True,
        "exclude_modules": ["vae"],
    }
    monkeypatch.setattr(type(pipe), "enable_model_cpu_offload", lambda self, **how: asked.update(how))
    put(pipe, Placement("model"), "cuda:1")
    assert asked["device"] == "cuda:1"
    modes = []
    monkeypatch.setattr(type(pipe.transformer), "compile", lambda self, **how: modes.append(how))
    monkeypatch.setattr(type(pipe.transformer), "_repeated_blocks", [])
    for how in ("blocks", "default", "max-autotune"):
        put(pipe, Placement(compile=how), "cpu")
    assert [how.get("mode") for how in modes] == [None, None, "max-autotune"]


def test_a_pipeline_that_cannot_be_offloaded_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = pipelines.build_sd()
    monkeypatch.setattr(type(pipe), "model_cpu_offload_seq", None)
    with pytest.raises(ModelLoadError, match="try offload=group"):
        put(pipe, Placement("model"), "cpu")
    monkeypatch.setattr(type(pipe.unet), "_supports_group_offloading", False)
    with pytest.raises(ModelLoadError, match="try offload=model"):
        put(pipe, Placement("group"), "cpu")


def test_a_vae_without_tiles_is_told_of(folders: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "sd"
    shutil.copytree(folders("sd"), folder)
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"vae": ["diffusers", "VQModel"]}))
    found = plan(ModelEntry("x", "X", vae="tiling,slicing"), folder, "cpu", "fp32")
    assert found.vae == ()
    assert "vae=tiling has no effect" in found.without["vae=tiling"]
