"""What a model is said to need is what its calls have alive; what is free is what the device says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from diffatlas.backends import fitting, loading, memory, model_info
from diffatlas.backends.live_bytes import Live
from diffatlas.backends.memory import Needs, activation_bytes, placed
from diffatlas.backends.model_info import ModelInfo
from diffatlas.backends.parts import PipeParts
from diffatlas.backends.placement import Placement
from diffatlas.errors import NotEnoughMemory
from diffatlas.registry import ModelEntry
from tests import pipelines


def _info(side: int, multiple: int) -> ModelInfo:
    return ModelInfo("x", "X", "X", side, side, multiple, None, None, None, ())


def _unet() -> tuple[Any, Callable[[], Any]]:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        block_out_channels=(32, 64, 128, 128),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    return {"unet": unet}, lambda: unet(torch.randn(2, 4, 32, 32), 1, torch.randn(2, 16, 32))


def _transformer() -> tuple[Any, Callable[[], Any]]:
    from diffusers import FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=32,
        num_attention_heads=4,
        joint_attention_dim=64,
        pooled_projection_dim=64,
        axes_dims_rope=(8, 8, 16),
        guidance_embeds=False,
    )
    # 32 x 32 latents are packed to 256 tokens.
    call = {
        "hidden_states": torch.randn(2, 256, 16),
        "encoder_hidden_states": torch.randn(2, 8, 64),
        "pooled_projections": torch.randn(2, 64),
        "timestep": torch.ones(2),
        "img_ids": torch.zeros(256, 3),
        "txt_ids": torch.zeros(8, 3),
    }
    return {"transformer": transformer}, lambda: transformer(**call)


def _vae(tiles: bool = False) -> tuple[Any, Callable[[], Any]]:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=(32, 64, 128, 128),
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        layers_per_block=2,
        norm_num_groups=8,
        sample_size=128 if tiles else 256,
    )
    if tiles:
        vae.enable_tiling()
    return {"vae": vae}, lambda: vae.decode(torch.randn(1, 4, 32, 32))


@pytest.mark.parametrize(
    ("build", "multiple", "put"),
    [
        (_unet, 8, Placement()),
        (_transformer, 16, Placement()),
        (_vae, 8, Placement()),
        (lambda: _vae(tiles=True), 8, Placement(vae=("tiling",))),
    ],
)
def test_it_is_what_a_call_has_alive(build: Callable[..., Any], multiple: int, put: Placement) -> None:
    torch.manual_seed(0)
    parts, call = build()
    # An image of 256 x 256 pixels is 32 x 32 latents.
    beside = {"vae": _vae()[0]["vae"]} if "vae" not in parts else {"unet": _unet()[0]["unet"]}
    live = Live(SimpleNamespace(**parts))
    with torch.no_grad(), live.counting():
        call()
    counted = max(live.passing, live.decoding)
    # The other part has no share in it.
    asked = PipeParts(SimpleNamespace(config={}, **(parts | beside)))
    rows = 2 if "vae" not in parts else 0
    found = activation_bytes(asked, _info(256, multiple), "fp32", put, rows)
    if rows:
        found = rows * _passing(asked, multiple)
    assert found == pytest.approx(counted, rel=0.25 if put.vae else 0.1)


def _passing(parts: PipeParts, multiple: int) -> int:
    """A pass alone: of so many rows that decoding is less."""
    return activation_bytes(parts, _info(256, multiple), "fp32", Placement(), 1000) // 1000


def test_what_is_on_the_device_by_its_placement() -> None:
    weights, working = {"text_encoder": 5_000, "unet": 9_000, "vae": 400}, 100
    held = int(working * memory.HELD_ON_A_GPU) + memory.WORKSPACE
    assert placed(weights, 700, working, Placement(), "cuda") == Needs(14_400 + held)
    assert placed(weights, 700, working, Placement("model"), "cuda") == Needs(9_400 + held, 14_400)
    assert placed(weights, 700, working, Placement("group"), "cuda") == Needs(1_800 + held, 14_400)
    assert placed(weights, 700, working, Placement(), "cpu") == Needs(14_600)
    # Of a model that does not tell, a share of its weights.
    assert placed(weights, 700, None, Placement(), "cuda") == Needs(int(14_400 * 1.2))


def test_known_models_need_what_is_known_of_them() -> None:
    """Of their configs: SDXL decodes 1024 x 1024 in float32, FLUX has 24 heads of 128 and 2 x 2 latents a token."""
    vae = {"block_out_channels": [128, 256, 512, 512], "force_upcast": True, "sample_size": 1024}
    sdxl = {"vae": vae, "unet": {"block_out_channels": [320, 640, 1280]}}
    flux = {"vae": vae | {"force_upcast": False}}
    flux["transformer"] = {"num_attention_heads": 24, "attention_head_dim": 128}
    for configs, multiple, dtype, gigabytes in ((sdxl, 8, "fp16", 3.2), (flux, 16, "bf16", 1.6)):
        parts = SimpleNamespace(config=lambda name, configs=configs: configs.get(name, {}))
        found = activation_bytes(parts, _info(1024, multiple), dtype, Placement())
        assert found / 1e9 == pytest.approx(gigabytes, abs=0.1)
    assert (
        activation_bytes(SimpleNamespace(config=lambda name: {}), _info(64, 8), "fp32", Placement()) is None
    )


def test_the_largest_tensor_is_that_of_the_file(sd_folder: Path) -> None:
    file = sd_folder / "unet" / "diffusion_pytorch_model.safetensors"
    largest = max(tensor.numel() for tensor in load_file(file).values())
    assert model_info.largest_tensor(file, "fp32") == 4 * largest
    assert model_info.largest_tensor(file, "fp16") == 2 * largest


def test_loading_asks_for_what_the_list_tells(sd_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that says a model fits, and a run that says it does not, would both be believed."""
    source = model_info.find_source(str(sd_folder))
    entry = ModelEntry(str(sd_folder), "Mine")
    monkeypatch.setattr(fitting.model_info, "find_source", lambda model: source)
    told = fitting.needed_bytes(entry, "cpu", "fp32")
    monkeypatch.setattr(memory, "free_memory", lambda device: told - 1)
    with pytest.raises(NotEnoughMemory) as caught:
        loading.load(source, sd_folder, "cpu", "fp32")
    assert caught.value.needed == told
    monkeypatch.setattr(memory, "free_memory", lambda device: told)
    assert loading.load(source, sd_folder, "cpu", "fp32").device == "cpu"


def test_main_memory_is_asked_for_where_parts_wait_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 10_000 if device == "cpu" else 10**12)
    memory.check_fits("X", Needs(20_000), "cuda")
    with pytest.raises(NotEnoughMemory, match="GB of main memory are free"):
        memory.check_fits("X", Needs(20_000, 30_000), "cuda")


def test_a_line_alone_tells_what_it_can() -> None:
    line = ModelEntry("a/b", "AB", mem=10.0, dtype="fp16")
    assert fitting.listed_needs(ModelEntry("a/b", "AB"), "cuda") is None
    assert fitting.listed_needs(line, "cuda") == Needs(12_000_000_000)
    assert fitting.listed_needs(line, "cpu") == Needs(24_000_000_000)
    offloaded = ModelEntry("a/b", "AB", mem=10.0, dtype="fp16", offload="group")
    assert fitting.listed_needs(offloaded, "cuda") == Needs(1_200_000_000, 10_000_000_000)
    with pytest.raises(NotEnoughMemory):
        fitting.check_listed(ModelEntry("a/b", "AB", mem=1e9), "cpu", "auto")


def test_what_is_free_is_what_the_device_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < memory.free_memory("cpu") <= psutil.virtual_memory().total
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5_000, 80_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 900)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 300)
    assert memory.free_memory("cuda:0") == 5_600
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 7_000)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 3_000)
    assert memory.free_memory("mps") == 4_000


def test_what_a_resident_model_holds_is_counted_where_it_is() -> None:
    pipe = pipelines.build_sd()
    whole = sum(p.numel() * 4 for part in (pipe.unet, pipe.vae, pipe.text_encoder) for p in part.parameters())
    assert fitting.held_bytes(pipe, "cpu") == whole
    # Offloaded, nothing of it is on the GPU.
    assert fitting.held_bytes(pipe, "cuda:0") == 0
