"""What pictures are compared by: encoders that are on this machine, and the names of what they show."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffatlas.backends import placement
from diffatlas.errors import OutOfMemory
from diffatlas.operations import features
from diffatlas.operations.features import (
    CLIP,
    Encoder,
    clip_encoder,
    clip_pixels,
    encoder_for,
    shape_names,
    vae_encoder,
)
from diffatlas.params import GenerationParams
from tests import pipelines
from tests.elsewhere import ElsewhereBackend


def pictures(count: int = 3, side: int = 64) -> list[np.ndarray]:
    rng = np.random.default_rng(side)
    return [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(count)]


def drawn(scene: Any) -> np.ndarray:
    """The picture (64, 64, 3) of a scene."""
    from diffatlas.shapes.render import draw

    return (draw([scene]).images[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


@pytest.fixture
def clip_cache(tmp_path: Path) -> Path:
    """A Hugging Face cache that holds a small random CLIP under the true one's name."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**small, "vocab_size": 32}, vision_config={**small, "image_size": 32, "patch_size": 8}
    )
    repo = tmp_path / f"models--{CLIP.replace('/', '--')}"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("abc")
    CLIPModel(config).save_pretrained(repo / "snapshots" / "abc")
    return tmp_path


def test_clip_gives_what_transformers_own_processor_and_model_give(clip_cache: Path) -> None:
    from transformers import CLIPModel
    from transformers.models.clip import CLIPImageProcessor

    images = [*pictures(9), *pictures(1, 100), pictures(1, 80)[0][:50]]
    encoder = clip_encoder(clip_cache)
    assert encoder is not None
    found = encoder(images)
    assert found.shape[0] == len(images)
    assert found.dtype == np.float64
    folder = clip_cache / f"models--{CLIP.replace('/', '--')}" / "snapshots" / "abc"
    model = CLIPModel.from_pretrained(folder).eval()
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    for image, row in zip(images, found, strict=True):
        pixels = processor([image], return_tensors="pt", input_data_format="channels_last")["pixel_values"]
        assert np.abs(clip_pixels(image, 32) - pixels[0].numpy()).max() < 0.03  # one level of 255
        with torch.no_grad():
            hidden = model.vision_model(pixel_values=pixels).pooler_output
            wanted = model.visual_projection(hidden)[0].double().numpy()
        assert np.abs(row - wanted).max() < 0.02 * np.abs(wanted).max()


def test_without_clip_in_the_cache_nothing_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert clip_encoder(tmp_path) is None


def test_half_a_clip_is_none(clip_cache: Path) -> None:
    for weights in clip_cache.rglob("*.safetensors"):
        weights.unlink()
    assert clip_encoder(clip_cache) is None


def test_the_models_own_encoder_gives_means_and_deviations_of_its_channels(shapes_pipe: Any) -> None:
    images = pictures()
    found = vae_encoder(shapes_pipe)(images)
    stack = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        mean = shapes_pipe.vae.encode(stack).latent_dist.mean.double().numpy()
    wanted = np.concatenate([mean.mean((2, 3)), mean.std((2, 3))], axis=1)
    assert found.shape == (3, 2 * mean.shape[1])
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_encoding_leaves_the_vae_and_the_random_state_alone(shapes_pipe: Any) -> None:
    before = copy.deepcopy(shapes_pipe.vae.state_dict())
    state = torch.get_rng_state()
    vae_encoder(shapes_pipe)(pictures(1))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in shapes_pipe.vae.state_dict().items())


def test_a_vae_in_half_precision_encodes_in_single(shapes_pipe: Any) -> None:
    """And goes on in half: a run may be using it."""
    images = pictures(1)
    wanted = vae_encoder(shapes_pipe)(images)
    half = copy.copy(shapes_pipe)
    half.vae = copy.deepcopy(shapes_pipe.vae).to(torch.float16)
    np.testing.assert_allclose(vae_encoder(half)(images), wanted, rtol=0.05, atol=0.02)
    assert half.vae.dtype == torch.float16


def test_pictures_of_any_size_are_made_to_fit(shapes_pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "LONGEST_SIDE", 64)
    odd = pictures(1, 150)[0][:70, :131]
    assert np.isfinite(vae_encoder(shapes_pipe)([odd, *pictures(1)])).all()


def test_the_own_encoder_is_asked_of_a_loaded_model_only(
    shapes_pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Backend:
        loaded = False

        def is_loaded(self, model: str) -> bool:
            return self.loaded and model == "shapes"

        def pipeline(self, model: str) -> Any:
            assert self.loaded, "it was loaded for this"
            return shapes_pipe

    monkeypatch.setattr(features, "clip_encoder", lambda: None)
    backend = Backend()
    assert encoder_for(backend, "shapes") is None
    assert encoder_for(None, "shapes") is None
    assert encoder_for(object(), "shapes") is None
    backend.loaded = True
    assert encoder_for(backend, "shapes").name == "the model's own encoder"
    assert encoder_for(backend, "another") is None


def test_a_model_that_is_loaded_elsewhere_gives_no_encoder(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(features, "clip_encoder", lambda: None)
    backend = ElsewhereBackend()
    list(backend.trace(GenerationParams(prompt="a red circle", num_inference_steps=1)))
    assert backend.is_loaded("shapes")
    assert encoder_for(backend, "shapes") is None


def test_clip_goes_before_the_own_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = Encoder("CLIP", "", np.stack)
    monkeypatch.setattr(features, "clip_encoder", lambda: clip)
    assert encoder_for(None, "shapes") is clip


def test_a_pipeline_without_an_image_vae_has_no_encoder() -> None:
    class Pipe:
        vae = None

    assert vae_encoder(Pipe()) is None


def test_a_full_device_is_said_in_a_sentence() -> None:
    def full(_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfMemory, match="the encoder"):
        Encoder("the encoder", "", full)(pictures(1))


def test_a_picture_is_named_by_what_was_drawn() -> None:
    from diffatlas.shapes.scenes import Object, Scene

    name = shape_names()
    circle, square = Object("circle", "red", 18, 20, 10), Object("square", "blue", 46, 44, 10)
    pair = [Object("star", "green", x, 32, 9) for x in (16, 46)]
    scenes = {
        "blue square, red circle on black": Scene("two", "black", (circle, square)),
        "red circle on white": Scene("single", "white", (circle,)),
        "two green stars on white": Scene("count", "white", tuple(pair)),
    }
    for wanted, scene in scenes.items():
        assert name(drawn(scene)) == wanted
    assert name(np.full((64, 64, 3), 12, np.uint8)) == "no shape on black"


def test_names_are_for_the_lanes_of_the_shapes_model() -> None:
    from diffatlas.library.study import Cell, Lane, Study
    from diffatlas.params import GenerationParams

    cells = tuple(
        Cell(f"{lane}-0-0", lane, 0, 0, 0, "", "", GenerationParams(model=model, prompt="x"))
        for lane, model in (("a", "shapes"), ("b", "stabilityai/sd-turbo"))
    )
    study = Study("s", "neighbourhood", "", "", {}, (Lane("a", ""), Lane("b", "")), cells)
    assert features.names_for(study).keys() == {"a"}


def test_random_scenes_are_named_alike_wherever_their_objects_lie() -> None:
    from diffatlas.shapes.scenes import sample_scene

    name = shape_names()
    scene = sample_scene(random.Random(4), "two")
    image = drawn(scene)
    assert name(image) == name(image[:, ::-1].copy())


def test_the_encoder_of_an_offloaded_model_is_its_vae_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What moves a VAE between devices holds the denoiser, which is gigabytes."""
    pipe = pipelines.build_sd()
    expected = vae_encoder(pipelines.build_sd())(pictures(1))
    placement.put(pipe, placement.Placement("model"), "cpu")

    def refuse(self: Any, memo: Any) -> Any:
        raise AssertionError("The denoiser was copied.")

    monkeypatch.setattr(type(pipe.unet), "__deepcopy__", refuse, raising=False)
    assert np.array_equal(vae_encoder(pipe)(pictures(1)), expected)
    assert hasattr(pipe.vae, "_hf_hook")
