"""Each measure against its definition, computed another way."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from diffatlas.bench.tasks import Include
from diffatlas.bench.why import MEASURES, measure, measure_prompt
from diffatlas.bench.why.measures import Pairs
from diffatlas.bench.why.paths import PARTED
from diffatlas.library import Library
from diffatlas.measured import totals
from tests.attended_runs import run_of
from tests.bench.why.made_cases import case, task

KEYS = [one.key for one in MEASURES]


def found(key, *cases):
    return measure_prompt(cases).numbers(key)


def test_the_guidance_angle_is_that_between_the_guidance_and_the_prediction():
    angles = []
    one = case(0, True, turn=0.7)
    for step in one.run.steps:
        a, b = (step.cond_pred - step.uncond_pred).ravel(), step.cond_pred.ravel()
        angles.append(np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))))
    assert np.mean(angles) == pytest.approx(np.degrees(0.7))
    assert found("guidance_angle", one) == pytest.approx([np.mean(angles)])
    # A step that was measured as it ran is taken as it is.
    steps = [replace(s, metrics={"guidance_angle": 10.0 * k}) for k, s in enumerate(one.run.steps)]
    told = replace(one, run=replace(one.run, steps=tuple(steps)))
    assert found("guidance_angle", told) == [15.0]
    assert found("largest_guidance_angle", told) == [30.0]


def test_length_and_curvature_are_those_that_the_app_shows():
    one = case(1, True)
    for key in ("path_length", "mean_curvature"):
        assert found(key, one) == [totals(one.run)[key]]


def test_an_image_parts_where_its_estimates_stay_away_from_those_of_the_others():
    def with_estimates(seed, *values):
        one = case(seed, True, number=seed, steps=len(values))
        steps = [
            replace(s, x0_pred=np.full((1, 4, 2, 2), v)) for s, v in zip(one.run.steps, values, strict=True)
        ]
        return replace(one, run=replace(one.run, steps=tuple(steps)))

    # Apart by more than half of the mean of the norms: 1 from 1.5 is not, 1 from 3 is.
    assert PARTED == 0.5
    a = with_estimates(0, 1.0, 1.0, 1.0, 1.0)
    b = with_estimates(1, 1.5, 3.0, 1.5, 3.0)
    c = with_estimates(2, 1.0, 3.0, 3.0, 3.0)
    assert found("parting", a, b) == [4.0, 4.0]
    # b and c are apart at the third step for the last time.
    assert found("parting", a, b, c) == [3.0, 4.0, 2.0]
    same = found("parting", a, replace(a, number=5))
    assert all("parts from no other" in one for one in same)
    assert "one image" in found("parting", a)[0]
    gone = replace(a, run=replace(a.run, steps=tuple(replace(s, x0_pred=None) for s in a.run.steps)))
    assert "not kept" in found("parting", gone, b)[0]


def test_overlap_and_share_are_of_the_maps_of_the_objects_words():
    one = case(3, True)
    kept = measure_prompt([one])
    maps = np.mean(
        [
            # The coarse layer at the fine one's grid.
            np.kron(s.attention[f"cross:{name}"][0].astype(float), np.ones((side, side)))
            for s in one.run.steps
            for name, side in (("down_blocks.0.attn2", 2), ("up_blocks.0.attn2", 1))
        ],
        axis=0,
    )
    red, blue = maps[[2, 3]].mean(0), maps[[6, 7]].mean(0)
    expected = 1 - jensenshannon(red.ravel(), blue.ravel(), 2) ** 2
    assert kept.numbers("overlap") == pytest.approx([expected], abs=1e-4)
    assert kept.numbers("second_share") == pytest.approx(
        [100 * blue.mean() / (red.mean() + blue.mean())], rel=1e-4
    )
    assert kept.looks[0].alike == ("red circle", "blue square")


def test_without_attention_or_a_second_object_it_is_said_why():
    plain = case(4, True)
    plain = replace(plain, run=replace(run_of(4, cross={}), steps=plain.run.steps))
    assert "holds no attention to words" in found("overlap", plain)[0]
    single = case(5, True, task(include=[Include(noun="circle", color="red", count=5)]))
    assert "fewer than two" in found("second_share", single)[0]


def test_an_image_is_held_against_the_passing_ones_of_its_group():
    dark, light = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)

    def shown(number, failed, picture):
        random = np.random.default_rng(number)
        noisy = (picture.astype(int) + random.integers(0, 9, picture.shape)).clip(0, 255).astype(np.uint8)
        return case(number, failed, number=number, images=(noisy,))

    six = [
        shown(k, failed, picture)
        for k, (failed, picture) in enumerate(
            [(False, dark), (False, dark), (True, dark), (True, light), (False, light), (True, light)]
        )
    ]
    kept = measure_prompt(six)
    assert kept.groups.labels == (0, 0, 0, 1, 1, 1)
    assert isinstance(kept.found["basin"], Pairs)
    # Of the three that passed, or of the two others.
    assert kept.numbers("basin") == pytest.approx([50, 50, 200 / 3, 100 / 3, 0, 100 / 3])
    assert kept.verdicts("basin").numbers == pytest.approx(kept.numbers("basin"))
    assert "3 images" in found("basin", *six[:3])[0]
    assert "No other image" in found("basin", *[replace(one, failed=True) for one in six])[0]


def test_what_could_not_be_judged_is_measured_and_left_out_of_the_statistics():
    three = [case(k, failed, number=k) for k, failed in enumerate((True, None, False))]
    kept = measure_prompt(three)
    assert len(kept.numbers("guidance_angle")) == 3
    assert kept.verdicts("guidance_angle").failed.tolist() == [True, False]


def test_a_stored_run_says_what_it_said_in_memory(tmp_path):
    library = Library(tmp_path)
    four = [case(k, k > 1, number=k) for k in range(4)]
    for one in four:
        library.save(one.run)
    stored = [replace(one, run=library.open(one.run.id)) for one in four]
    (kept,), (read,) = list(measure(four)), list(measure(stored))
    for key in KEYS:
        assert read.numbers(key) == pytest.approx(kept.numbers(key), rel=1e-4), key
    # A run that was deleted since says so, and the others stay.
    library.delete(four[0].run.id)
    gone = measure_prompt(stored)
    for key in KEYS:
        assert isinstance(gone.numbers(key)[0], str), key
    assert "missing" in gone.numbers("path_length")[0]
    assert gone.numbers("path_length")[1:] == read.numbers("path_length")[1:]


def test_every_measure_says_what_it_is():
    assert len({*KEYS}) == len(KEYS)
    for one in MEASURES:
        assert one.about.endswith(".")
        assert one.tells.startswith("Larger: ")
