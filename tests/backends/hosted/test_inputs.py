"""What a hosted model can do with a request, and what of it is said not to be heeded."""

from __future__ import annotations

from typing import Any

import pytest

from diffatlas.backends.hosted import adapter_of, inputs
from diffatlas.errors import CapabilityError
from diffatlas.params import GenerationParams, Lora, Noise
from diffatlas.registry import HOSTED, HostedModel, hosted_model, list_models, parse_hosted_line

ALL = HostedModel(
    "a/b",
    "Model",
    size=512,
    takes=("negative_prompt", "seed", "steps", "guidance", "size"),
    steps_range=(1, 50),
    guidance_range=(1, 10),
    sides=(256, 1024, 32),
)
NONE = HostedModel("a/c", "Bare", takes=())
REPLICATE = adapter_of("replicate").provider


def asked(**changes: Any) -> GenerationParams:
    return GenerationParams(model="a/b", prompt="a red circle", seed=7, guidance_scale=5.0).replace(**changes)


def test_a_model_that_takes_all_is_sent_all() -> None:
    params, ignored = inputs.fit(asked(negative_prompt="blue"), ALL, REPLICATE)
    assert not ignored
    assert inputs.arguments(ALL, params, {"guidance": "guidance_scale"}) == {
        "prompt": "a red circle",
        "negative_prompt": "blue",
        "seed": 7,
        "steps": 30,
        "guidance_scale": 5.0,
        "width": 512,
        "height": 512,
    }


def test_what_a_model_does_not_take_is_said_and_not_sent() -> None:
    params, ignored = inputs.fit(asked(negative_prompt="blue", width=512, height=512), NONE, REPLICATE)
    assert set(ignored) == {"seed", "num_inference_steps", "guidance_scale", "negative_prompt", "size"}
    assert all(text.endswith(".") for text in ignored.values())
    assert inputs.arguments(NONE, params, {}) == {"prompt": "a red circle"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"guidance_scale": 12.0}, "guidance_scale"),
        ({"guidance_scale": 0.5}, "guidance_scale"),
        ({"num_inference_steps": 51}, "num_inference_steps"),
        ({"width": 250, "height": 512}, "width"),
        ({"width": 512, "height": 2048}, "height"),
        ({"width": 300, "height": 512}, "width"),
        ({"scheduler": "ddim"}, "scheduler"),
        ({"guidance_method": "rescale"}, "guidance_method"),
        ({"noise": Noise("perturb", 3, 0.5)}, "noise"),
        ({"loras": (Lora("a/b"),)}, "loras"),
        ({"num_images_per_prompt": 2}, "num_images_per_prompt"),
        ({"variant": "fp16"}, "variant"),
        ({"subfolder": "a"}, "subfolder"),
    ],
)
def test_what_a_model_cannot_do_is_a_finding_at_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(CapabilityError) as refused:
        inputs.fit(asked(**changes), ALL, REPLICATE)
    assert refused.value.field == field
    assert refused.value.message.endswith(".")


def test_a_shape_is_the_nearest_by_a_brute_force_search() -> None:
    for width in range(256, 2049, 128):
        for height in range(256, 2049, 128):
            off = {
                one: max(r := width / height / (int(w) / int(h)), 1 / r)
                for one in inputs.ASPECTS
                for w, h in [one.split(":")]
            }
            assert off[inputs.nearest_aspect(width, height)] == pytest.approx(min(off.values()))


def test_a_model_that_is_not_listed_is_sent_what_is_asked() -> None:
    model = hosted_model("somebody/a-model", "replicate")
    params, ignored = inputs.fit(asked(width=640, height=512), model, REPLICATE)
    sent = inputs.arguments(model, params, {"steps": "num_inference_steps", "aspect": "aspect_ratio"})
    assert not ignored
    assert sent == {
        "prompt": "a red circle",
        "seed": 7,
        "num_inference_steps": 30,
        "guidance": 5.0,
        "width": 640,
        "height": 512,
    }


@pytest.mark.parametrize("provider", HOSTED)
def test_every_listed_model_can_be_asked_with_its_first_values(provider: str) -> None:
    adapter = adapter_of(provider)
    for model in list_models(provider):
        assert isinstance(model, HostedModel)
        params = GenerationParams(
            model=model.id,
            prompt="a red circle",
            seed=7,
            num_inference_steps=model.steps or 30,
            guidance_scale=1.0 if model.guidance is None else model.guidance,
        )
        fitted, _ = inputs.fit(params, model, adapter.provider)
        assert adapter.arguments(model, fitted)
        assert model.steps is not None or not model.has("steps")
        assert model.guidance is not None or not model.has("guidance")


@pytest.mark.parametrize(
    "line",
    [
        "a/b | B | takes=seed,colour",
        "a/b | B | steps_range=5",
        "a/b | B | steps_range=9-5",
        "a/b | B | names=guidance",
        "a/b | B | price=cheap",
        "a/b | B | sides=big",
    ],
)
def test_a_line_that_cannot_be_read_is_told(line: str) -> None:
    with pytest.raises(ValueError, match="hint"):
        parse_hosted_line(line)


def test_megapixels_that_are_begun_count_whole() -> None:
    begun = HostedModel("a", "A", size=1024, price_begun_mp=0.01)
    assert begun.dollars() == pytest.approx(0.01)
    assert begun.dollars(1088, 1024) == pytest.approx(0.02)
    assert begun.dollars(512, 512) == pytest.approx(0.01)
    assert HostedModel("a", "A", price_mp=0.01).dollars(500, 500) == pytest.approx(0.0025)
    assert HostedModel("a", "A", price=0.04).dollars(500, 500) == 0.04
    assert HostedModel("a", "A").dollars() is None
