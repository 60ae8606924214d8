"""The plan of a neighbourhood: whose noise each cell has."""

import json

import numpy as np
import pytest

from diffatlas.errors import InvalidParams
from diffatlas.geometry.noise import derived_seeds
from diffatlas.library.studies import Studies
from diffatlas.params import GenerationParams, Noise
from diffatlas.request import MAX_SEED
from diffatlas.studies.plan_neighbourhood import other_anchor, plan_neighbourhood

BASE = GenerationParams(prompt="a red circle", seed=40, num_inference_steps=20)


def plan(mode="perturb", base=BASE, **options):
    return plan_neighbourhood(base, mode, **options)


def test_the_anchor_comes_first_and_radii_go_out_evenly():
    study = plan(k=4, radius=0.6)
    assert [cell.key for cell in study.cells] == ["a-0-0", "a-0-1", "a-0-2", "a-0-3", "a-0-4"]
    assert study.cells[0].params == BASE
    noises = [cell.params.noise for cell in study.cells[1:]]
    np.testing.assert_allclose([noise.amount for noise in noises], [0.15, 0.3, 0.45, 0.6], rtol=1e-12)
    assert noises[-1].amount == 0.6
    assert [noise.seed for noise in noises] == [*derived_seeds(40, 4)]
    assert [cell.value for cell in study.cells] == [0.0, *(noise.amount for noise in noises)]
    assert {cell.params.replace(noise=None) for cell in study.cells} == {BASE}


def test_a_shell_has_one_radius_and_labels_that_differ():
    study = plan(k=5, radius=0.4, spread="shell")
    assert {cell.params.noise.amount for cell in study.cells[1:]} == {0.4}
    assert len({cell.params.noise.seed for cell in study.cells[1:]}) == 5
    assert len({cell.label for cell in study.cells}) == 6


def test_plans_are_the_same_again_and_differ_by_anchor():
    assert [c.params for c in plan().cells] == [c.params for c in plan().cells]
    other = plan(base=BASE.replace(seed=41))
    assert {c.params.noise.seed for c in plan().cells[1:]} != {c.params.noise.seed for c in other.cells[1:]}
    # More neighbours on the same shell leave the first ones as they are, so the library has them already.
    few, many = plan(k=3, spread="shell"), plan(k=6, spread="shell")
    assert [c.params for c in few.cells] == [c.params for c in many.cells[:4]]


def test_noise_may_be_perturbed_at_a_later_step():
    study = plan(step=5)
    assert study.cells[0].params.noise is None
    assert {cell.params.noise.step for cell in study.cells[1:]} == {5}
    assert "after 5 steps" in study.cells[1].caption
    assert "after 5 steps" in study.title


def test_captions_tell_the_cosine():
    caption = plan(k=1, radius=0.6).cells[1].caption
    # sqrt(1 - 0.36)
    assert "usually about 0.800" in caption


def test_a_path_goes_from_one_plain_anchor_to_the_other():
    study = plan("slerp", to_seed=7, stops=5)
    first, *between, last = [cell.params for cell in study.cells]
    assert first == BASE
    assert last == BASE.replace(seed=7)
    assert [params.noise for params in between] == [Noise("slerp", 7, t) for t in (0.25, 0.5, 0.75)]
    assert [cell.value for cell in study.cells] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert [cell.label for cell in study.cells] == ["seed 40", "t 0.25", "t 0.50", "t 0.75", "seed 7"]


def test_a_path_of_two_stops_has_the_anchors_alone():
    assert [cell.params.seed for cell in plan("slerp", to_seed=7, stops=2).cells] == [40, 7]


def test_other_seeds_are_near_in_number_and_say_that_it_means_nothing():
    study = plan("offset", k=12, offset=30)
    seeds = [cell.params.seed for cell in study.cells]
    assert seeds[0] == 40
    assert len(set(seeds)) == 13
    assert all(10 <= seed <= 70 for seed in seeds)
    assert all(cell.params.noise is None for cell in study.cells)
    assert all("no geometry" in cell.caption for cell in study.cells[1:])


def test_other_seeds_are_never_negative():
    seeds = [c.params.seed for c in plan("offset", BASE.replace(seed=0), k=5, offset=5).cells]
    assert sorted(seeds) == [0, 1, 2, 3, 4, 5]


def test_a_radius_of_zero_gives_copies():
    assert {cell.params.noise.amount for cell in plan(radius=0).cells[1:]} == {0.0}


def test_noise_of_the_form_is_left_out():
    base = BASE.replace(noise=Noise("perturb", 1, 0.5))
    assert plan(base=base).cells[0].params == BASE


def test_lanes_run_the_same_noise():
    study = plan(k=3, lanes=[{"scheduler": "euler"}])
    a, b = study.in_lane("a"), study.in_lane("b")
    assert [c.params.noise for c in a] == [c.params.noise for c in b]
    assert {c.params.scheduler for c in b} == {"euler"}


@pytest.mark.parametrize("mode", ["perturb", "slerp", "offset"])
def test_a_plan_comes_back_from_the_disk(mode, tmp_path):
    study = plan(mode, to_seed=7, exact=True)
    assert study.spec["mode"] == mode
    assert study.spec["exact"] is True
    assert json.loads(json.dumps(study.spec)) == study.spec
    Studies(tmp_path).save(study)
    assert Studies(tmp_path).open(study.id) == study


@pytest.mark.parametrize(
    ("mode", "options", "at"),
    [
        ("walk", {}, "mode"),
        (None, {}, "mode"),
        ("perturb", {"k": 0}, "k"),
        ("perturb", {"k": 65}, "k"),
        ("perturb", {"k": 2.5}, "k"),
        ("perturb", {"k": "3"}, "k"),
        ("perturb", {"k": True}, "k"),
        ("perturb", {"k": None}, "k"),
        ("perturb", {"radius": -0.1}, "radius"),
        ("perturb", {"radius": 1.1}, "radius"),
        ("perturb", {"radius": float("nan")}, "radius"),
        ("perturb", {"radius": "wide"}, "radius"),
        ("perturb", {"radius": None}, "radius"),
        ("perturb", {"spread": "odd"}, "spread"),
        ("perturb", {"step": 20}, "step"),
        ("perturb", {"step": -1}, "step"),
        ("perturb", {"step": 1.5}, "step"),
        ("slerp", {}, "to_seed"),
        ("slerp", {"to_seed": 40}, "to_seed"),
        ("slerp", {"to_seed": -1}, "to_seed"),
        ("slerp", {"to_seed": MAX_SEED + 1}, "to_seed"),
        ("slerp", {"to_seed": 7, "stops": 1}, "stops"),
        ("slerp", {"to_seed": 7, "stops": 65}, "stops"),
        ("offset", {"offset": 0}, "offset"),
        ("offset", {"offset": -5}, "offset"),
        ("offset", {"offset": 1, "k": 3}, "offset"),
        ("offset", {"k": 0}, "k"),
        ("perturb", {"k": 60, "lanes": [{"scheduler": "euler"}, {"scheduler": "lms"}]}, "k"),
        (
            "slerp",
            {"to_seed": 7, "stops": 64, "lanes": [{"scheduler": n} for n in ("euler", "lms")]},
            "stops",
        ),
        ("perturb", {"lanes": [{}]}, "lanes"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_field(mode, options, at):
    with pytest.raises(InvalidParams) as caught:
        plan(mode, **options)
    assert caught.value.field == at


def test_what_the_mode_does_not_use_is_not_looked_at():
    assert len(plan("offset", k=2, radius=9, to_seed=-3, stops=0, step=99).cells) == 3
    assert len(plan("slerp", to_seed=7, stops=3, k=0, offset=0).cells) == 3


def test_whole_numbers_of_a_form_may_be_floats():
    assert len(plan(k=3.0, step=2.0).cells) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "other"}, "model"),
        ({"height": 96}, "height"),
        ({"noise": Noise("perturb", 1, 0.2)}, "its seed alone"),
        ({"seed": BASE.seed}, "seed"),
    ],
)
def test_two_runs_between_which_there_is_no_way(changes, words):
    with pytest.raises(InvalidParams, match=words) as caught:
        other_anchor(BASE, BASE.replace(**({"seed": 9} | changes)))
    assert caught.value.field == "to_seed"


def test_the_other_end_is_the_seed_of_the_other_run():
    assert other_anchor(BASE, BASE.replace(seed=9, prompt="another")) == 9
