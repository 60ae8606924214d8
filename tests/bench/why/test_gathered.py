"""Measures gathered over prompts: what is found, what cannot be told, and the words for both."""

import json
from dataclasses import replace

import numpy as np
import pytest

from diffatlas.bench.statistics import holm, within_prompts
from diffatlas.bench.why import MEASURES, measure, why
from diffatlas.errors import InvalidParams
from tests.bench.why.made_cases import case, cases, task


@pytest.fixture(scope="module")
def planted():
    return why(list(measure(cases(10, planted=0.2))), draws=500)


def test_a_planted_turn_of_the_guidance_is_found_and_said(planted):
    line = planted.line("guidance_angle")
    assert line.within.difference == pytest.approx(np.degrees(0.2), abs=1)
    assert line.within.low > 0
    assert line.within.larger.value == 1.0
    assert line.adjusted < 0.05
    assert line.sentence.startswith("Failing images had a mean guidance angle 11")
    assert "° larger than passing images of the same prompt (95% interval 1" in line.sentence
    assert "10 prompts; p = 0.0" in line.sentence
    assert "chance" not in line.sentence


def test_what_may_be_chance_is_called_so_with_both_ends_of_its_interval(planted):
    line = planted.line("overlap")
    assert line.within.low < 0 < line.within.high
    assert "smaller to" in line.sentence
    assert line.sentence.endswith("adjustment for 6 measures, so it may be chance).")


def test_p_values_are_adjusted_for_the_measures_that_could_be_tested(planted):
    tested = {line.measure.key: line.within.p for line in planted.lines if line.within}
    adjusted = {line.measure.key: line.adjusted for line in planted.lines if line.within}
    assert adjusted == holm(tested)
    groups = [one.verdicts("path_length") for one in planted.measured]
    assert planted.line("path_length").within == within_prompts(groups, draws=500)


def test_the_prompts_and_images_are_counted(planted):
    assert (planted.prompts, planted.mixed, planted.failing, planted.passing) == (10, 10, 20, 20)


def test_it_is_plain_json_with_the_numbers_of_every_image(planted):
    told = json.loads(json.dumps(planted.to_dict(), allow_nan=False))
    assert [one["key"] for one in told["measures"]] == [one.key for one in MEASURES]
    assert len(told["images"]) == 40
    first = planted.measured[0]
    assert told["images"][0]["guidance_angle"] == first.numbers("guidance_angle")[0]
    assert told["images"][0]["run"] == first.cases[0].run.id
    assert told["measures"][0]["within"]["standardised"][0] == planted.lines[0].within.standardised[0]


def test_without_both_verdicts_in_a_prompt_there_is_a_sentence_and_no_number():
    found = why(list(measure([replace(one, failed=one.task.id == "p0") for one in cases(3)])), draws=10)
    line = found.line("guidance_angle")
    assert (line.within, line.adjusted, found.mixed) == (None, None, 0)
    assert "cannot be compared. No prompt has both" in line.sentence
    # Over all images there is a difference, of easy prompts from a hard one.
    assert line.overall.failing == 4
    one_mixed = [replace(one, failed=one.failed and one.task.id == "p0") for one in cases(3)]
    assert "One prompt has both" in why(list(measure(one_mixed)), draws=10).line("overlap").sentence


def test_a_number_that_no_image_has_is_said_with_the_reason():
    plain = [
        replace(one, run=replace(one.run, steps=tuple(replace(s, uncond_pred=None) for s in one.run.steps)))
        for one in cases(2)
    ]
    line = why(list(measure(plain)), draws=10).line("guidance_angle")
    assert line.sentence.startswith("Mean guidance angle: not known of any image")
    assert "Guidance was off" in line.sentence
    assert line.missing == {"Guidance was off, or its two predictions are not known.": 8}


def test_a_number_that_is_the_same_for_all_tells_nothing():
    same = [case(5, number < 2, task(f"p{p}"), number) for p in range(2) for number in range(4)]
    line = why(list(measure(same)), draws=10).line("path_length")
    assert line.within is None
    assert "for all images, so that it tells nothing" in line.sentence
    by_prompt = [case(p, number < 2, task(f"p{p}"), number) for p in range(2) for number in range(4)]
    line = why(list(measure(by_prompt)), draws=10).line("path_length")
    assert line.within is None
    assert line.sentence.endswith(
        "Prompts and seeds alone decide this number: it tells nothing of the verdicts."
    )


def test_what_is_not_there_is_refused(planted):
    with pytest.raises(InvalidParams, match="there are guidance_angle"):
        planted.line("luck")
    with pytest.raises(InvalidParams, match="nothing to explain"):
        why([])
