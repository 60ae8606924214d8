"""What differs between two strange runs, in words that a reader takes in: nothing as JSON, nothing as None."""

from __future__ import annotations

import itertools
import re

import pytest

from diffatlas.formats import compared
from diffatlas.inputs import ImageInput
from diffatlas.library import Library
from diffatlas.library.difference import difference
from diffatlas.params import GenerationParams, Lora, Noise
from diffatlas.spelled import leaves, name_of, spelled
from tests.library.made_runs import made

MODELS = {"shapes": "Shapes"}
DDIM = {
    "class": "DDIMScheduler",
    "config": {
        "beta_start": 0.00085, "clip_sample": False, "set_alpha_to_one": True, "thresholding": False,
        "clip_sample_range": 1.0, "sample_max_value": 1.0, "trained_betas": None, "_class_name": "DDIMScheduler",
        "dynamic_thresholding_ratio": 0.995, "steps_offset": 1,
    },
}  # fmt: skip
EULER = {
    "class": "EulerDiscreteScheduler",
    "config": {
        "beta_start": 0.001, "use_karras_sigmas": False, "use_beta_sigmas": False, "timestep_type": "discrete",
        "interpolation_type": "linear", "final_sigmas_type": "zero", "_class_name": "EulerDiscreteScheduler",
        "sigma_min": None, "steps_offset": 1,
    },
}  # fmt: skip
HERE = {
    "dtype": "fp32", "device": "cpu", "threads": 2, "pipeline": "StableDiffusionPipeline",
    "versions": {"torch": "2.13.0", "diffusers": "0.42.1"}, "revision": {"sha256": "ab" * 32},
}  # fmt: skip
ATTENTION = {
    "layers": [
        {"name": "down.0", "kind": "cross", "grid": [16, 16]},
        {"name": "up.1", "kind": "cross", "grid": [8, 8]},
    ],
    "text": [],
}

#: Runs that are nothing alike: a batch, an imported one, one with everything that a request can have.
STRANGE = {
    "plain": {"provenance": {**HERE, "scheduler": DDIM}},
    "batch": {"num_images_per_prompt": 3, "negative_prompt": "a star", "provenance": {**HERE, "scheduler": EULER}},
    "imported": {"seed": None, "width": None, "height": None, "provenance": {}, "capture": {}},
    "adorned": {
        "loras": (Lora("/somewhere/style.safetensors", 0.5),),
        "guidance_method": "apg",
        "guidance_options": {"eta": 0.5, "momentum": -0.5},
        "noise": Noise("perturb", 8, 0.3, step=1),
        "extra": {"eta": 0.4, "cross_attention_kwargs": {"scale": 0.5, "flags": [True, None]}, "sigmas": [1.0, 0.5]},
        "scheduler": "euler",
        "provenance": {**HERE, "scheduler": EULER, "attention": ATTENTION, "adapters": {"unet": {"style": 0.5}}},
    },
    "elsewhere": {
        "model": "user/other",
        "prompt": "",
        "variant": "fp16",
        "revision": "main",
        "guidance_scale": 0.0,
        "provenance": {"model": "user/other", "device": "cuda", "dtype": "fp16", "pipeline": "FluxPipeline"},
    },
}  # fmt: skip


def texts(told: compared.Told, settings: list[compared.Row]) -> list[str]:
    return [*told.sentences, *(part for row in (*settings, *told.rows) for part in (row.name, row.a, row.b))]


@pytest.mark.parametrize("pair", [*itertools.permutations(STRANGE, 2)], ids="-".join)
def test_two_strange_runs_are_compared_in_words(tmp_path, pair) -> None:
    library = Library(tmp_path)
    a, b = (library.open(library.save(made(1, run_id=f"run-{name}", **STRANGE[name]))) for name in pair)
    found = difference(a, b)
    settings = compared.settings(a.params, b.params, MODELS)
    machine = compared.machine(found.environment)
    assert settings
    for text in texts(machine, settings):
        assert text.strip()
        assert not re.search(r"None|null|nan\b|True|False|[{}\[\]]|_|object", text), text
    assert len(machine.rows) <= 6, "what belongs together is one sentence"
    # The other way round it is the same, exchanged.
    back = compared.settings(b.params, a.params, MODELS)
    assert {(row.name, row.a, row.b) for row in back} == {(row.name, row.b, row.a) for row in settings}


def test_a_setting_reads_as_it_does_elsewhere() -> None:
    plain = GenerationParams(prompt="a", seed=1)
    other = GenerationParams(
        **{k: v for k, v in STRANGE["adorned"].items() if k != "provenance"}, prompt="a", seed=1
    )
    rows = {row.name: (row.a, row.b) for row in compared.settings(plain, other, MODELS)}
    assert rows == {
        "guidance method": ("plain", "Adaptive projected"),
        "guidance: eta": ("not given", "0.5"),
        "guidance: momentum": ("not given", "-0.5"),
        "noise": ("that of its seed alone", "perturbed by 0.3 with seed 8 after step 1"),
        "scheduler": ("the model’s own", "euler"),
        "LoRA": ("none", "style.safetensors at 0.5"),
        "eta": ("not given", "0.4"),
        "cross attention kwargs: scale": ("not given", "0.5"),
        "cross attention kwargs: flags": ("not given", "yes, none"),
        "sigmas": ("not given", "1, 0.5"),
    }


def test_pictures_are_told_by_size_and_digest() -> None:
    from PIL import Image

    one = ImageInput.of("image", Image.new("RGB", (8, 6)))
    (row,) = compared.settings(GenerationParams(), GenerationParams(inputs=(one,)), MODELS)
    assert (row.name, row.a, row.b) == ("picture image", "not given", f"8 × 6, {one.sha256[:8]}")


def test_what_follows_from_another_scheduler_is_one_sentence() -> None:
    names = {*DDIM["config"], *EULER["config"]} - {"_class_name"}
    environment = {
        f"scheduler.config.{name}": (DDIM["config"].get(name), EULER["config"].get(name)) for name in names
    }
    told = compared.machine(
        {"scheduler.class": (DDIM["class"], EULER["class"]), **environment} | {"threads": (1, 2)}
    )
    assert len(environment) > 13
    assert told.rows == [compared.Row("threads", "1", "2")]
    (sentence,) = told.sentences
    assert sentence.startswith(
        "The schedulers, DDIMScheduler and EulerDiscreteScheduler, have settings of their own"
    )
    assert "beta start is 0.00085 and 0.001" in sentence
    # One scheduler that is set otherwise is another matter: each setting is told.
    told = compared.machine({"scheduler.config.timestep_spacing": ("leading", "trailing")})
    assert told.rows == [compared.Row("scheduler: timestep spacing", "leading", "trailing")]


def test_a_run_without_a_record_is_told_in_one_sentence() -> None:
    environment = {"device": ("cpu", None), "dtype": ("fp32", None), "versions.torch": ("2.13", None)}
    assert compared.machine(environment) == compared.Told([], ["What run B ran on is not recorded."])
    attention = {"attention.layers": (None, [{"name": "a"}]), "attention.text": (None, [{"id": 1}])}
    assert compared.machine(attention, "A", "B") == compared.Told([], ["Attention was captured of B only."])


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "none"), ("", "none"), ([], "none"), (True, "yes"), (2.0, "2"), (0.1, "0.1"),
        (float("nan"), "not a number"), ([1, 2.5, None], "1, 2.5, none"), ({"a_b": {"c": False}}, "a b (c no)"),
        ([{"name": "x"}, {"name": "y"}], "x, y"), ([[1, 2], [3, 4], [5, 6]], "3 × 2 numbers"), ([{"id": 3}], "1 entry"),
        (["a"] * 14, "a, " * 12 + "and 2 more"),
    ],
)  # fmt: skip
def test_values_in_words(value, told) -> None:
    assert spelled(value) == told


def test_records_by_name() -> None:
    assert leaves({"x0": True, "previews": None, "attention_every": 2}, "capture.") == [
        ("estimates x0 kept", "yes"),
        ("capture: attention every", "2"),
    ]
    assert name_of("identity.versions.steering") == "version of steering"
    assert name_of("a.b_c") == "a: b c"
