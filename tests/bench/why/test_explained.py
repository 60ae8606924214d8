"""One image beside the passing ones of its prompt, and what to open next."""

from dataclasses import replace

import numpy as np
import pytest

from diffatlas.bench.why import explain, explained, measure_prompt
from diffatlas.errors import InvalidParams
from diffatlas.params import GenerationParams
from tests.attended_runs import run_of
from tests.bench.why.made_cases import case, task

FOUR = [case(k, failed, number=k, turn=0.2 * k) for k, failed in enumerate((True, False, False, True))]


def beside(found, key):
    (one,) = [one for one in found.numbers if one.measure.key == key]
    return one


def test_a_number_stands_beside_the_median_of_the_passing_images():
    one = beside(explain(FOUR[3], FOUR), "guidance_angle")
    assert one.value == pytest.approx(np.degrees(0.6))
    assert one.median == pytest.approx(np.degrees(0.3))
    assert one.sentence == (
        "Mean guidance angle: 34.4°, 17.2° larger than the median of the prompt's passing images (17.2°)."
    )
    # A passing image is held against the others.
    assert beside(explain(FOUR[1], FOUR), "guidance_angle").median == pytest.approx(np.degrees(0.4))


def test_images_of_other_prompts_are_left_out():
    strange = replace(FOUR[1], task=task("other"), number=9)
    assert explain(FOUR[3], [*FOUR, strange]).numbers == explain(FOUR[3], FOUR).numbers


def test_its_company_its_words_and_its_group_are_said():
    company, words, group = explain(FOUR[0], FOUR).notes
    assert company == "Of the 3 other images of its prompt 2 passed and 1 failed."
    assert "“red circle” and “blue square” look at the same places most (overlap 0." in words
    assert "“blue square” " in words
    assert "images of its prompt" in group


def test_what_to_open_next_is_told_as_data():
    found = {one.kind: one for one in explain(FOUR[3], FOUR).openings}
    run = FOUR[3].run
    assert found["trajectory"].runs == (run.id,)
    assert found["comparison"].runs == (run.id, FOUR[1].run.id)
    assert found["neighbourhood"].params == run.params
    assert found["neighbourhood"].options == {"mode": "perturb"}
    assert found["attention"].options == {"words": ["blue square", "red circle"]}


def test_without_attention_it_is_offered_again_with_it():
    plain = replace(FOUR[0], run=replace(run_of(9, cross={}), steps=FOUR[0].run.steps))
    found = explain(plain, [])
    (opening,) = [one for one in found.openings if one.kind == "attention"]
    assert opening.options == {"attention": "cross"}
    assert isinstance(opening.params, GenerationParams)
    assert beside(found, "overlap").sentence.startswith("Overlap of attention: not known. Its run holds no")
    assert beside(found, "guidance_angle").median is None
    assert found.notes == ("It is the only image of its prompt: there is nothing to compare it with.",)
    assert [one.kind for one in found.openings] == ["trajectory", "neighbourhood", "attention"]


def test_an_image_that_is_not_there_is_refused():
    with pytest.raises(InvalidParams, match="no image 7"):
        explained(measure_prompt(FOUR), 7)
