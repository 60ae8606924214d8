import json
import math
from dataclasses import fields
from pathlib import Path

import pytest
from PIL import Image

from diffatlas.errors import InvalidParams, NotEnoughMemory, error_for
from diffatlas.inputs import ImageInput
from diffatlas.params import GenerationParams, Lora, Noise

GOOD = GenerationParams(prompt="a red circle")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", " "),
        ("prompt", ""),
        ("prompt", " \n"),
        ("prompt", None),
        ("negative_prompt", None),
        ("seed", -1),
        ("seed", 2**63),
        ("seed", 1.0),
        ("seed", True),
        ("num_inference_steps", 0),
        ("num_inference_steps", 1001),
        ("num_images_per_prompt", 0),
        ("guidance_scale", -0.1),
        ("guidance_scale", 101),
        ("guidance_scale", math.nan),
        ("guidance_scale", math.inf),
        ("guidance_scale", "5"),
        ("width", 0),
        ("height", 4097),
        ("guidance_method", "cfg++"),
        ("guidance_options", {"eta": 0.5}),
        ("noise", {"kind": "perturb"}),
        ("noise", Noise("shake", 1, 0.5)),
        ("noise", Noise("perturb", -1, 0.5)),
        ("noise", Noise("perturb", 1, 1.01)),
        ("noise", Noise("perturb", 1, math.nan)),
        ("noise", Noise("perturb", 1, 0.5, step=30)),
        ("noise", Noise("slerp", 1, 0.5, step=1)),
        ("variant", ""),
        ("variant", "fp16.safetensors"),
        ("variant", "../x"),
        ("variant", 16),
        ("revision", "a b"),
        ("revision", "../main"),
        ("subfolder", "/etc"),
        ("subfolder", "a/../../b"),
        ("subfolder", "a//b"),
        ("loras", ("a.safetensors",)),
        ("loras", Lora("a.safetensors")),
        ("loras", (Lora(""),)),
        ("loras", (Lora("a.bin"),)),
        ("loras", (Lora("user/name:a.pt"),)),
        ("loras", (Lora("a.safetensors", math.nan),)),
        ("loras", (Lora("a.safetensors", math.inf),)),
        ("loras", (Lora("a.safetensors", "1"),)),
        ("loras", (Lora("a.safetensors", True),)),
        ("loras", (Lora("a.safetensors"),) * 17),
    ],
)
def test_a_wrong_field_is_named(field, value):
    with pytest.raises(InvalidParams) as caught:
        GOOD.replace(**{field: value}).validate()
    assert caught.value.field == field
    assert "\n" not in str(caught.value).strip()


def test_equal_requests_have_equal_keys_whatever_the_number_type():
    assert GOOD.replace(guidance_scale=5).key() == GOOD.replace(guidance_scale=5.0).key()
    assert GOOD.key() != GOOD.replace(seed=1).key()


def test_every_field_decides_the_key():
    changed = {
        "model": "other",
        "prompt": "b",
        "negative_prompt": "c",
        "seed": 1,
        "num_inference_steps": 31,
        "guidance_scale": 4.0,
        "width": 64,
        "height": 64,
        "scheduler": "ddim",
        "num_images_per_prompt": 2,
        "guidance_method": "apg",
        "noise": Noise("perturb", 3, 0.25),
        "variant": "fp16",
        "revision": "main",
        "subfolder": "a/b",
        "loras": (Lora("a.safetensors"),),
        "extra": {"eta": 0.5},
        "inputs": (ImageInput.of("image", Image.new("RGB", (2, 2))),),
    }
    assert set(changed) | {"guidance_options"} == {f.name for f in fields(GenerationParams)}
    assert len({GOOD.replace(**{k: v}).key() for k, v in changed.items()} | {GOOD.key()}) == len(changed) + 1


def test_round_trip_and_unknown_fields():
    assert GenerationParams.from_dict(GOOD.to_dict()) == GOOD
    with pytest.raises(InvalidParams, match="'steps'"):
        GenerationParams.from_dict({"steps": 3})


def test_a_stored_code_gives_back_its_class():
    assert type(error_for("invalid_params", "m")) is InvalidParams
    assert type(error_for("not_enough_memory", "m")) is NotEnoughMemory
    assert str(error_for("from a newer version", "m")) == "m"


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("apg", {"etta": 0.5}),
        ("apg", {"eta": 1.5}),
        ("apg", {"eta": "1"}),
        ("apg", [0.5]),
        ("tangential", {"eta": 0.5}),
        ("interval", {"start": 0.9}),
        ("cfg_zero_star", {"zero_steps": 1.5}),
    ],
)
def test_an_option_that_a_method_has_not_is_refused(method, options):
    with pytest.raises(InvalidParams) as caught:
        GOOD.replace(guidance_method=method, guidance_options=options).validate()
    assert caught.value.field == "guidance_options"


def test_method_and_noise_travel_and_old_requests_keep_their_key():
    asked = GOOD.replace(
        guidance_method="apg", guidance_options={"eta": 1}, noise=Noise("perturb", 4, 1, step=2)
    ).validate()
    assert GenerationParams.from_dict(json.loads(json.dumps(asked.to_dict()))).key() == asked.key()
    assert asked.key() != asked.replace(guidance_options={"eta": 0.5}).key()
    assert asked.key() != asked.replace(noise=Noise("perturb", 4, 1, step=3)).key()
    assert "noise" not in GOOD.to_dict()
    # SHA-256 of the canonical JSON of a request as it was before these fields: stored runs are still found.
    assert GOOD.key() == "6220614ea1deb0390e4e5a2c8fbc2ef741ab8b8fd75e1b54ee11f019921e9438"
    with pytest.raises(InvalidParams, match="noise"):
        GenerationParams.from_dict({"noise": {"kind": "perturb", "amount": 0.5}})


def test_loras_travel_and_their_weight_and_order_decide():
    asked = GOOD.replace(
        loras=(Lora(Path("a/b.safetensors"), 1), Lora("user/name:c.safetensors", 0.5))
    ).validate()
    data = json.loads(json.dumps(asked.to_dict()))
    assert data["loras"] == [
        {"path": str(Path("a/b.safetensors")), "weight": 1},
        {"path": "user/name:c.safetensors", "weight": 0.5},
    ]
    again = GenerationParams.from_dict(data)
    assert (again, again.key()) == (asked, asked.key())
    assert asked.replace(loras=asked.loras[::-1]).key() != asked.key()
    assert asked.replace(loras=(Lora("a/b.safetensors", 1.0), asked.loras[1])).key() == asked.key()
    assert not {"loras", "variant", "revision", "subfolder"} & set(GOOD.to_dict())
    for wrong in ("a.safetensors", [{"weight": 1}], [{"path": "a", "size": 3}], [3]):
        with pytest.raises(InvalidParams, match="LoRA"):
            GenerationParams.from_dict({"loras": wrong})


@pytest.mark.parametrize(
    ("path", "on_hub", "name"),
    [
        ("style.safetensors", False, "style.safetensors"),
        ("loras/style.safetensors", False, "style.safetensors"),
        ("C:\\loras\\style.safetensors", False, "style.safetensors"),
        ("/home/me/loras/style", False, "style"),
        ("user/style", True, "user/style"),
        ("user/style:a/b.safetensors", True, "user/style:a/b.safetensors"),
    ],
)
def test_what_a_lora_is_called(path, on_hub, name):
    assert (Lora(path).on_hub, Lora(path).name) == (on_hub, name)


def test_a_picture_under_the_sha_of_another_is_refused():
    one, other = (ImageInput.of("image", Image.new("RGB", (2, 2), colour)) for colour in ("red", "blue"))
    forged = ImageInput("image", one.sha256, "RGB", 2, 2, pixels=other.pixels)
    with pytest.raises(InvalidParams, match="has been changed"):
        GOOD.replace(inputs=(forged,)).validate()
    assert GOOD.replace(inputs=(one,)).validate().inputs == (one,)
