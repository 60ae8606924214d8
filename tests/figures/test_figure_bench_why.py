"""Why images fail: the marks are the numbers of the statistics, and what cannot be told is written."""

from dataclasses import replace

import numpy as np
import pytest

from diffatlas import figures
from diffatlas.bench.why import MEASURES, measure, why
from diffatlas.errors import InvalidParams
from diffatlas.figures.bench_rows import Rows
from diffatlas.look import NIGHT, PAPER
from tests.bench.why.made_cases import case, cases, task
from tests.figures.lab_made import HOSTILE, trace, traces, unescaped


@pytest.fixture(scope="module")
def found():
    return why(list(measure(cases(8, planted=0.2))), draws=200)


def test_marks_and_intervals_are_those_of_the_statistics(found):
    made = figures.bench_why(found)
    rows = Rows(tuple(one.name for one in MEASURES))
    told = [(rows.at(row), line) for row, line in enumerate(found.lines) if line.within is not None]
    sizes, often = (trace(made, measure=key, part="value") for key in ("size", "often"))
    assert sizes.y == often.y == tuple(place for place, _ in told)
    assert sizes.x == tuple(line.within.standardised[0] for _, line in told)
    assert often.x == tuple(line.within.larger.value for _, line in told)
    assert sizes.customdata == tuple(line.measure.key for _, line in told)
    ends = trace(made, measure="size", part="interval").x
    assert ends[:3] == (*told[0][1].within.standardised[1:], None)
    written = [note.text for note in made.layout.annotations]
    assert all(written.count(one.name) == 2 for one in MEASURES)


def test_what_is_more_than_chance_is_a_whole_mark_and_what_cannot_be_told_is_said(found):
    for dark, on in ((False, PAPER), (True, NIGHT)):
        marks = trace(figures.bench_why(found, dark=dark), measure="size", part="value")
        sure = [found.line(key).adjusted <= 0.05 for key in marks.customdata]
        assert sure[0]
        assert not all(sure)
        assert list(marks.marker.color) == [on.burgundy if one else on.paper for one in sure]
    # The estimates of random runs are apart from the first step on, in all of them.
    assert found.line("parting").within is None
    told = [note.text for note in figures.bench_why(found).layout.annotations]
    assert told.count("cannot be told") == 2 * sum(line.within is None for line in found.lines)


def test_a_measure_joins_the_means_of_each_prompt(found):
    made = figures.bench_why_measure(found, "guidance_angle")
    passing = trace(made, part="passing mean")
    means = []
    for one in found.measured:
        numbers = one.numbers("guidance_angle")
        means.append(np.mean([v for v, c in zip(numbers, one.cases, strict=True) if not c.failed]))
    assert passing.y == pytest.approx(means)
    difference = trace(made, part="difference").y
    assert difference[1] - difference[0] == pytest.approx(found.line("guidance_angle").within.difference)
    assert passing.marker.symbol != trace(made, part="failing mean").marker.symbol
    assert made.layout.meta["spoken"] == found.line("guidance_angle").sentence


def test_prompts_with_one_verdict_are_open_marks_without_a_line():
    some = [replace(one, failed=one.failed or one.task.id == "p0") for one in cases(3)]
    made = figures.bench_why_measure(why(list(measure(some)), draws=10), "guidance_angle")
    assert len(trace(made, part="failing alone").y) == 1
    assert not traces(made, part="passing alone")
    assert len(trace(made, part="passing mean").y) == 2


def test_a_measure_without_numbers_says_so_and_one_that_is_not_is_refused(found):
    one_image = why(list(measure([case(1, True)])), draws=10)
    made = figures.bench_why_measure(one_image, "parting")
    assert any("No judged image" in note.text for note in made.layout.annotations)
    assert "not known of any image" in made.layout.title.subtitle.text.replace("<br>", " ")
    with pytest.raises(InvalidParams, match="no measure 'luck'"):
        figures.bench_why_measure(found, "luck")


def test_prompts_from_outside_are_words():
    own = [replace(one, task=task(one.task.id, prompt=HOSTILE)) for one in cases(2)]
    found = why(list(measure(own)), draws=10)
    for made in (figures.bench_why(found), figures.bench_why_measure(found, "path_length")):
        assert not unescaped(made)
        assert not any("<a" in word for one in made.data for word in one.hovertext or ())
