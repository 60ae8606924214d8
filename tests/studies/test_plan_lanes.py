"""Lanes: what each changes, how it is named, and which are refused."""

import pytest

from diffatlas.errors import InvalidParams
from diffatlas.library.study import Lane
from diffatlas.params import GenerationParams, Lora
from diffatlas.studies.plan_lanes import lanes_of, method_name, number, params_of

BASE = GenerationParams(prompt="a red circle", width=64, height=64)
SD = "stable-diffusion-v1-5/stable-diffusion-v1-5"


def names(*asked, base=BASE):
    return [lane.name for lane in lanes_of(base, asked)]


def test_without_others_there_is_the_form_itself():
    assert lanes_of(BASE) == (Lane("a", "Shapes (embedded)", "local", {}),)


def test_a_study_may_run_elsewhere_and_a_lane_takes_a_model_that_is_there():
    flux = GenerationParams(model="black-forest-labs/flux-dev", prompt="a red circle")
    first, other, same = lanes_of(
        flux, [{"backend": "local"}, {"model": "black-forest-labs/flux-schnell"}], "replicate"
    )
    assert (first.backend, first.changes) == ("replicate", {})
    assert (other.backend, other.changes) == ("local", {"model": "shapes", "width": None, "height": None})
    assert same.backend == "replicate"
    (_, hosted) = lanes_of(BASE, [{"backend": "replicate"}])
    assert hosted.changes["model"] == "black-forest-labs/flux-schnell"


def test_lanes_are_named_by_what_tells_them_apart():
    # The model's own scheduler has a name as well.
    assert names({"scheduler": "euler"}) == ["ddim", "euler"]
    assert names({"guidance_method": "apg"}) == ["plain", "adaptive projected"]
    assert names({"guidance_method": "cfg_zero_star"}) == ["plain", "CFG-Zero*"]
    assert names({"model": SD}) == ["Shapes (embedded)", "Stable Diffusion 1.5"]
    assert names({"backend": "elsewhere"}) == ["local", "elsewhere"]
    assert names({"scheduler": "euler"}, {"scheduler": "euler", "guidance_method": "apg"}) == [
        "ddim, plain",
        "euler, plain",
        "euler, adaptive projected",
    ]
    assert names(
        {"guidance_method": "apg"}, {"guidance_method": "apg", "guidance_options": {"eta": 0.5}}
    ) == [
        "plain",
        "adaptive projected",
        "adaptive projected, eta 0.5",
    ]


def test_models_of_one_name_are_still_told_apart():
    assert names({"model": "/there/model"}, {"model": "/elsewhere/model"})[1:] == ["model (b)", "model (c)"]


def test_a_lane_says_what_it_sets_and_keeps_the_rest():
    base = BASE.replace(seed=5, negative_prompt="blue")
    _, lane = lanes_of(base, [{"scheduler": "euler", "guidance_method": "rescale", "backend": "local"}])
    assert lane.key == "b"
    assert params_of(base, lane) == base.replace(scheduler="euler", guidance_method="rescale")


def test_another_model_has_neither_the_files_nor_the_loras_of_the_first():
    base = BASE.replace(variant="fp16", revision="main", loras=(Lora("style.safetensors", 0.5),))
    same, other = lanes_of(base, [{"scheduler": "euler"}, {"model": "shapes-dit"}])[1:]
    assert params_of(base, same) == base.replace(scheduler="euler")
    params = params_of(base, other)
    assert (params.variant, params.revision, params.loras) == (None, None, ())


def test_a_lane_may_ask_for_the_models_own_and_for_plain_guidance():
    base = BASE.replace(scheduler="euler", guidance_method="apg", guidance_options={"eta": 0.5})
    lanes = lanes_of(base, [{"scheduler": "own"}, {"guidance_method": "plain"}])
    assert params_of(base, lanes[1]).scheduler is None
    plain = params_of(base, lanes[2])
    assert (plain.guidance_method, plain.guidance_options) == (None, None)


def test_another_method_does_not_inherit_options():
    base = BASE.replace(guidance_method="apg", guidance_options={"eta": 0.5})
    _, lane = lanes_of(base, [{"guidance_method": "rescale"}])
    assert params_of(base, lane).guidance_options is None
    _, lane = lanes_of(base, [{"guidance_options": {"eta": 0.1}}])
    assert params_of(base, lane).guidance_options == {"eta": 0.1}
    _, lane = lanes_of(base, [{"guidance_method": "apg", "scheduler": "euler"}])
    assert params_of(base, lane).guidance_options == {"eta": 0.5}


def test_another_model_has_its_own_size_unless_one_was_chosen():
    _, lane = lanes_of(BASE, [{"model": SD}])
    assert (params_of(BASE, lane).width, params_of(BASE, lane).height) == (None, None)
    chosen = BASE.replace(width=128, height=64)
    _, lane = lanes_of(chosen, [{"model": SD}])
    assert (params_of(chosen, lane).width, params_of(chosen, lane).height) == (128, 64)


def test_cells_are_single_images():
    base = BASE.replace(num_images_per_prompt=4)
    assert params_of(base, lanes_of(base)[0]).num_images_per_prompt == 1


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ([{}], "are the same"),
        ([{"scheduler": "euler"}, {"scheduler": "euler"}], "Lanes b and c are the same"),
        # The embedded model's own scheduler is DDIM.
        ([{"scheduler": "ddim"}], "Lanes a and b are the same"),
        ([{"guidance_method": "plain"}], "are the same"),
        ([{"model": "shapes"}], "are the same"),
        ([{"scheduler": n} for n in ("euler", "ddpm", "lms", "heun")], "at most 4"),
        ([{"prompt": "a blue circle"}], "cannot change 'prompt'"),
        ([{"scheduler": "eulr"}], "no scheduler 'eulr'"),
        ([{"scheduler": 5}], "no scheduler 5"),
        ([{"guidance_method": "magic"}], "no guidance method 'magic'"),
        ([{"guidance_method": ["apg"]}], "no guidance method"),
        ([{"guidance_method": "apg", "guidance_options": {"eta": 7}}], "from 0 to 1"),
        ([{"guidance_options": {"eta": 0.5}}], "need a guidance method"),
        ([{"model": ""}], "model of a lane"),
        ([{"model": None}], "model of a lane"),
        ([{"backend": 3}], "backend of a lane"),
        (["scheduler=euler"], "must say what it changes"),
        ("euler", "must say what it changes"),
    ],
)
def test_lanes_that_make_no_sense_are_refused_at_their_field(asked, words):
    with pytest.raises(InvalidParams, match=words) as caught:
        lanes_of(BASE, asked)
    assert caught.value.field == "lanes"


def test_what_is_wrong_with_the_form_is_said_at_its_own_field():
    with pytest.raises(InvalidParams) as caught:
        lanes_of(BASE.replace(prompt=" "), [{"scheduler": "euler"}])
    assert caught.value.field == "prompt"


def test_numbers_have_the_digits_they_need():
    assert [number(v) for v in (7.5, 12.0, 0.1, 1.23456789, 1e-9)] == [
        "7.5",
        "12",
        "0.1",
        "1.23456789",
        "1e-09",
    ]


def test_a_method_in_words():
    assert method_name(None) == "plain"
    assert method_name("pag", {"scale": 2.0}) == "perturbed attention, scale 2"
