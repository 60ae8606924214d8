"""What a run asked beyond the plain fields, in words."""

from __future__ import annotations

import pytest

from diffatlas.backends.listed import refuse_server_files
from diffatlas.errors import InvalidParams
from diffatlas.params import GenerationParams, Lora, Noise
from diffatlas.ui.asked_words import also_told, noise_text, to_noise

PLAIN = GenerationParams(prompt="a red circle")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, {}),
        ({"guidance_method": "apg", "guidance_options": {"eta": 0.0, "norm": 15.0}},
         {"method": "adaptive projected, eta 0, norm 15"}),
        ({"noise": Noise("perturb", 8, 0.3, step=2)}, {"noise": "perturbed by 0.3 with seed 8 after step 2"}),
        ({"noise": Noise("slerp", 8, 0.25)}, {"noise": "25% of the way to that of seed 8"}),
        ({"num_images_per_prompt": 2}, {"images": "2"}),
        ({"loras": (Lora("/a/style.safetensors", 0.5), Lora("user/name"))},
         {"LoRA": "style.safetensors at 0.5, user/name at 1"}),
        ({"variant": "fp16", "revision": "main", "subfolder": "a/b"},
         {"variant": "fp16", "revision": "main", "subfolder": "a/b"}),
    ],
)  # fmt: skip
def test_settings_are_told_where_they_are_set(changes, told):
    assert {name: words for name, words, _ in also_told(PLAIN.replace(**changes))} == told


def test_terms_are_in_the_glossary():
    from diffatlas.glossary import term

    asked = PLAIN.replace(guidance_method="apg", noise=Noise("slerp", 8, 0.25))
    keys = [key for _, _, key in also_told(asked) if key]
    assert len(keys) == 2
    assert all(term(key).text for key in keys)


@pytest.mark.parametrize(
    "noise", [Noise("perturb", 0, 0.1 + 0.2), Noise("perturb", 2**63 - 1, 1, 7), Noise("slerp", 3, 0)]
)
def test_noise_is_read_as_it_is_written(noise):
    assert to_noise(noise_text(noise)) == noise
    assert to_noise("") is None
    assert to_noise(None) is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"loras": (Lora("/etc/style.safetensors"),)}, "loras"),
        ({"loras": (Lora("user/name"),)}, "loras"),
        ({"subfolder": "a"}, "subfolder"),
        ({"variant": "fp16"}, "variant"),
        ({"revision": "refs/pr/1"}, "revision"),
        ({"model": "/srv/models/private"}, "model"),
    ],
)
def test_a_visitor_of_a_shared_server_names_none_of_its_files(changes, field):
    refuse_server_files(PLAIN)
    with pytest.raises(InvalidParams, match="shared server") as caught:
        refuse_server_files(PLAIN.replace(**changes))
    assert caught.value.field == field
    assert "/" not in str(caught.value)
