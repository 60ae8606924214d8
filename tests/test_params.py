import math

import pytest

from diffatlas.errors import InvalidParams, NotEnoughMemory, error_for
from diffatlas.params import GenerationParams

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
    }
    assert set(changed) == set(GOOD.to_dict())
    assert len({GOOD.replace(**{k: v}).key() for k, v in changed.items()} | {GOOD.key()}) == len(changed) + 1


def test_round_trip_and_unknown_fields():
    assert GenerationParams.from_dict(GOOD.to_dict()) == GOOD
    with pytest.raises(InvalidParams, match="'steps'"):
        GenerationParams.from_dict({"steps": 3})


def test_a_stored_code_gives_back_its_class():
    assert type(error_for("invalid_params", "m")) is InvalidParams
    assert type(error_for("not_enough_memory", "m")) is NotEnoughMemory
    assert str(error_for("from a newer version", "m")) == "m"
