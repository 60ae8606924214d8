"""Two prompts drawn by the embedded model, kept, judged, measured and explained."""

import pytest

from diffatlas.bench.judgements import judge_all
from diffatlas.bench.packs.shapes import hard_pack
from diffatlas.bench.scorers.shapes import ShapesScorer
from diffatlas.bench.why import Case, explain, measure, why
from diffatlas.capture.spec import Capture
from diffatlas.library import Library
from diffatlas.operations.trace import shared_local_backend, stream_batch
from diffatlas.params import GenerationParams
from diffatlas.run import extend

STEPS, SEEDS = 5, 4


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    library, scorer, found = Library(tmp_path_factory.mktemp("library")), ShapesScorer(), []
    for task in [one for one in hard_pack(2).tasks if one.tag in ("negated_colour", "count_five_six")][1:3]:
        asked = [
            GenerationParams(prompt=task.prompt, seed=seed, num_inference_steps=STEPS, guidance_scale=3.0)
            for seed in range(SEEDS)
        ]
        runs = {}
        for place, event in stream_batch(asked, Capture(attention="cross"), shared_local_backend(), library):
            runs[place] = extend(runs.get(place), event)
        images = [runs[k].images[0] for k in range(SEEDS)]
        for one in judge_all(scorer, images, [task] * SEEDS, list(range(SEEDS))):
            verdict = {"pass": False, "fail": True}[one.judgement.verdict]
            stored = library.open(runs[one.number].id)
            found.append(Case(task, one.number, stored, verdict, one.judgement.value))
    return found


def test_every_number_is_known_of_runs_that_kept_all(cases):
    counting, negated = measure(cases)
    for key in ("guidance_angle", "largest_guidance_angle", "path_length", "mean_curvature", "parting"):
        for one in (counting, negated):
            assert all(isinstance(value, float) for value in one.numbers(key)), key
    assert all(1 <= value <= STEPS for value in negated.numbers("parting"))
    assert all(0 < value < 1 for value in negated.numbers("overlap"))
    assert all(0 < value < 100 for value in negated.numbers("second_share"))
    # "five circles" has one object.
    assert all("fewer than two" in value for value in counting.numbers("overlap"))
    shapes = [one.noun for one in negated.cases[0].task.include]
    assert [words.split()[-1] for words in negated.looks[0].words] == shapes


def test_the_bench_is_gathered_and_an_image_explained(cases):
    found = why(list(measure(cases)), draws=50)
    assert found.failing + found.passing == 2 * SEEDS
    assert all(line.sentence.endswith((".", ").")) for line in found.lines)
    told = explain(cases[-1], cases)
    assert {one.measure.key for one in told.numbers if one.value is not None} >= {"parting", "overlap"}
    assert told.openings[0].runs == (cases[-1].run.id,)
