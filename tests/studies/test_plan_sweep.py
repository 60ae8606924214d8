"""The plan of a sweep: what is read, what each cell asks of the model, and what is refused."""

import json

import pytest

from diffatlas.backends.schedulers import SCHEDULERS
from diffatlas.errors import InvalidParams
from diffatlas.guidance import METHODS
from diffatlas.library.studies import Studies
from diffatlas.library.study import FIELDS
from diffatlas.params import GenerationParams, Noise
from diffatlas.request import MAX_SEED
from diffatlas.studies.plan_sweep import (
    GUIDANCE_OFF,
    SCHEDULER_CAPTIONS,
    caption_of,
    parse_values,
    plan_sweep,
)

BASE = GenerationParams(prompt="a red circle", seed=40, guidance_scale=3.0)
SD = "stable-diffusion-v1-5/stable-diffusion-v1-5"


def test_the_default_values_are_those_of_the_page():
    study = plan_sweep(BASE, "guidance_scale")
    assert [cell.value for cell in study.cells] == [1, 4, 7.5, 12, 18]
    assert [cell.params.guidance_scale for cell in study.cells] == [1, 4, 7.5, 12, 18]
    assert [cell.label for cell in study.cells] == ["g 1", "g 4", "g 7.5", "g 12", "g 18"]
    assert {(cell.status, cell.row, cell.params.seed) for cell in study.cells} == {("waiting", 0, 40)}


def test_nothing_changes_but_what_is_swept():
    base = BASE.replace(negative_prompt="blue", noise=Noise("perturb", 3, 0.5), scheduler="euler")
    for cell in plan_sweep(base, "guidance_scale", "2, 3").cells:
        assert cell.params == base.replace(guidance_scale=cell.value)


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_has_values_labels_and_captions_of_its_own(field, tmp_path):
    study = plan_sweep(BASE, field)
    assert len({cell.label for cell in study.cells}) == len(study.cells) >= 4
    for cell in study.cells:
        assert getattr(cell.params, field) == cell.value
        assert cell.caption.endswith(".")
        assert "—" not in cell.caption
    # What was asked is plain JSON, and comes back from the disk.
    assert json.loads(json.dumps(study.spec)) == study.spec
    Studies(tmp_path).save(study)
    assert Studies(tmp_path).open(study.id) == study


def test_rows_are_seeds_and_lanes_come_first():
    study = plan_sweep(BASE, "num_inference_steps", "10 20", seeds=3, lanes=[{"scheduler": "euler"}])
    assert [(c.key, c.params.seed, c.params.num_inference_steps, c.params.scheduler) for c in study.cells][
        :7
    ] == [
        ("a-0-0", 40, 10, None),
        ("a-0-1", 40, 20, None),
        ("a-1-0", 41, 10, None),
        ("a-1-1", 41, 20, None),
        ("a-2-0", 42, 10, None),
        ("a-2-1", 42, 20, None),
        ("b-0-0", 40, 10, "euler"),
    ]
    assert study.in_lane("b") == study.cells[6:]


def test_guidance_at_or_below_one_is_off_and_says_so():
    cells = plan_sweep(BASE, "guidance_scale", "0, 0.5, 1, 1.01").cells
    assert [cell.caption == GUIDANCE_OFF for cell in cells] == [True, True, True, False]
    assert [cell.params.guided for cell in cells] == [False, False, False, True]


def test_methods_that_act_without_guidance_do_not_say_that_it_is_off():
    lanes = [{"guidance_method": "pag"}, {"guidance_method": "apg"}]
    plain, pag, apg = (cell.caption for cell in plan_sweep(BASE, "guidance_scale", "1", lanes=lanes).cells)
    assert (plain, apg) == (GUIDANCE_OFF, GUIDANCE_OFF)
    assert "acts all the same" in pag
    study = plan_sweep(BASE.replace(guidance_scale=1), "guidance_method", "plain, pag, apg")
    assert [cell.caption == GUIDANCE_OFF for cell in study.cells] == [True, False, True]


def test_captions_of_guidance_go_by_what_the_model_is_used_with():
    def said(model, scale):
        return plan_sweep(BASE.replace(model=model), "guidance_scale", [scale]).cells[0].caption

    # The registry says 3 for the embedded model, 7.5 for Stable Diffusion, 0 for SD-Turbo.
    assert "the usual value" in said("shapes", 3)
    assert "far more than the usual 3" in said("shapes", 9)
    assert "near the usual 7.5" in said(SD, 9)
    assert "less than the usual 7.5" in said(SD, 3)
    assert "without guidance" in said("stabilityai/sd-turbo", 3)
    assert "usual 7.5" in said("/a/folder", 7)


def test_the_baseline_is_the_value_nearest_the_models_own_guidance():
    def baseline(model, values):
        return plan_sweep(BASE.replace(model=model), "guidance_scale", values).spec["baseline"]

    assert baseline("shapes", "1, 4, 7.5") == 1
    assert baseline(SD, "1, 4, 7.5, 12") == 2
    assert baseline("stabilityai/sd-turbo", "4, 1, 7.5") == 1
    assert baseline("/a/folder", "1, 7, 9") == 1
    assert baseline("shapes", "4, 2") == 1
    assert plan_sweep(BASE, "num_inference_steps", "30, 10").spec["baseline"] == 0


def test_options_stay_with_the_method_they_were_given_for():
    base = BASE.replace(guidance_method="apg", guidance_options={"eta": 0.5})
    plain, apg, rescale = plan_sweep(base, "guidance_method", "plain, apg, rescale").cells
    assert (plain.params.guidance_method, plain.params.guidance_options) == (None, None)
    assert apg.params.guidance_options == {"eta": 0.5}
    assert rescale.params.guidance_options is None


def test_a_method_is_not_described_as_the_plain_formula():
    cells = plan_sweep(BASE, "guidance_scale", "4", lanes=[{"guidance_method": "apg"}]).cells
    assert "cond - uncond" in cells[0].caption
    assert "cond - uncond" not in cells[1].caption


def test_every_scheduler_is_described():
    assert set(SCHEDULER_CAPTIONS) == set(SCHEDULERS)
    study = plan_sweep(BASE, "scheduler", [None, "euler", "DEISMultistepScheduler"])
    assert [cell.label for cell in study.cells] == ["own scheduler", "euler", "DEISMultistepScheduler"]


def test_the_title_says_what_is_swept():
    assert plan_sweep(BASE, "guidance_scale").title == "Guidance scale 1, 4, 7.5, 12, 18: a red circle"
    assert plan_sweep(BASE, "seed", list(range(9))).title == "Seed 0 to 8: a red circle"
    assert (
        plan_sweep(BASE, "guidance_method").title
        == f"Guidance method plain and {len(METHODS)} others: a red circle"
    )
    long = plan_sweep(BASE.replace(prompt="a red circle " * 50), "guidance_scale").title
    assert len(long) <= 100
    assert long.endswith("…")


@pytest.mark.parametrize(
    ("field", "text", "values"),
    [
        ("guidance_scale", "1,4 ;7.5\n12,", (1.0, 4.0, 7.5, 12.0)),
        ("guidance_scale", [1, "4"], (1.0, 4.0)),
        ("guidance_scale", ".5 1e1", (0.5, 10.0)),
        ("num_inference_steps", "5;10", (5, 10)),
        ("num_inference_steps", [5.0, 10], (5, 10)),
        ("seed", f"0 {MAX_SEED}", (0, MAX_SEED)),
        ("scheduler", "own, ddim", (None, "ddim")),
        ("guidance_method", "plain apg", (None, "apg")),
        ("guidance_method", [None, "apg"], (None, "apg")),
    ],
)
def test_values_are_read_as_they_are_typed(field, text, values):
    read = parse_values(field, text)
    assert read == values
    assert [type(v) for v in read] == [type(v) for v in values]


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("guidance_scale", "", "there are none"),
        ("guidance_scale", " ,; ", "there are none"),
        ("guidance_scale", [], "there are none"),
        ("guidance_scale", "1, four", "'four' is not a number"),
        ("guidance_scale", "nan", "out of range"),
        ("guidance_scale", "inf", "out of range"),
        ("guidance_scale", "-1", "out of range"),
        ("guidance_scale", "100.5", "0 to 100"),
        ("guidance_scale", [True], "not a number"),
        ("guidance_scale", [{}], "not a number"),
        ("guidance_scale", [10**400], "not a number"),
        ("guidance_scale", "7.5, 7.50", "7.5 is given twice"),
        ("guidance_scale", " ".join(map(str, range(200))), "200 were given"),
        ("guidance_scale", " ".join(map(str, range(33))), "1 to 32 values"),
        ("guidance_scale", 7.5, "must be a list"),
        ("guidance_scale", None, "must be a list"),
        ("num_inference_steps", "10, 20.5", "not a whole number"),
        ("num_inference_steps", "0", "from 1 to 1000"),
        ("num_inference_steps", [True], "from 1 to 1000"),
        ("num_inference_steps", "9" * 5000, "not a whole number"),
        ("seed", "-1", "from 0 to"),
        ("seed", "seven", "not a whole number"),
        ("scheduler", "eulr", "no scheduler 'eulr'"),
        ("scheduler", "own, own", "own is given twice"),
        ("guidance_method", "plain, magic", "no guidance method 'magic'"),
        ("guidance_method", [None, "plain"], "plain is given twice"),
    ],
)
def test_values_that_cannot_be_swept_are_refused_at_their_field(field, text, words):
    with pytest.raises(InvalidParams, match=words) as caught:
        parse_values(field, text)
    assert caught.value.field == "values"
    assert len(caught.value.message) < 400


def test_thirty_two_values_are_not_too_many():
    assert len(plan_sweep(BASE, "guidance_scale", list(range(32))).cells) == 32


@pytest.mark.parametrize(
    ("field", "options", "at"),
    [
        ("prompt", {}, "field"),
        (None, {}, "field"),
        ("guidance_scale", {"seeds": 0}, "seeds"),
        ("guidance_scale", {"seeds": 9}, "seeds"),
        ("guidance_scale", {"seeds": 1.5}, "seeds"),
        ("guidance_scale", {"seeds": None}, "seeds"),
        ("seed", {"seeds": 2}, "seeds"),
        ("guidance_scale", {"values": list(range(32)), "seeds": 5}, "seeds"),
        ("scheduler", {"lanes": [{"scheduler": "euler"}]}, "lanes"),
        ("guidance_method", {"lanes": [{"guidance_method": "apg"}]}, "lanes"),
        ("guidance_scale", {"lanes": [{}]}, "lanes"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_at_its_field(field, options, at):
    with pytest.raises(InvalidParams) as caught:
        plan_sweep(BASE, field, options.pop("values", None), **options)
    assert caught.value.field == at


def test_what_is_wrong_with_the_request_is_said_at_its_own_field():
    for change, at in (
        ({"prompt": ""}, "prompt"),
        ({"seed": -1}, "seed"),
        ({"guidance_scale": 1e6}, "guidance_scale"),
    ):
        with pytest.raises(InvalidParams) as caught:
            plan_sweep(BASE.replace(**change), "num_inference_steps")
        assert caught.value.field == at


def test_seeds_do_not_run_beyond_the_last():
    with pytest.raises(InvalidParams) as caught:
        plan_sweep(BASE.replace(seed=MAX_SEED), "guidance_scale", seeds=2)
    assert caught.value.field == "seed"
    assert len(plan_sweep(BASE.replace(seed=MAX_SEED), "seed").cells) == 5


def test_what_a_hosted_model_does_not_take_is_said_in_the_caption():
    params = GenerationParams(model="black-forest-labs/flux-schnell", prompt="a red circle")
    assert caption_of("guidance_scale", 5.0, params, "replicate") == (
        "It is not sent: FLUX.1 schnell takes no guidance scale."
    )
    assert "usual number" in caption_of("num_inference_steps", 4, params, "replicate")
    # Of what a provider does with a scale nothing is known: diffusers' rule for 1 and below is not its.
    dev = params.replace(model="black-forest-labs/flux-dev")
    assert caption_of("guidance_scale", 1.0, dev, "replicate") == (
        "A guidance scale of 1 is sent; what it does is the provider's own. The model's usual value is 3."
    )
    assert "x_T" not in caption_of("seed", 3, params, "replicate")
