"""A bench of two prompts by the embedded model: made, judged, kept, and asked why images fail."""

from dataclasses import replace

import pytest

from diffatlas import bench
from diffatlas.bench.bench import Mark
from diffatlas.bench.why import cases_of, explain, measure, why
from diffatlas.errors import InvalidParams
from diffatlas.library import Library

STEPS, SEEDS = 3, 4


@pytest.fixture(scope="module")
def kept(tmp_path_factory, shapes_backend):
    library = Library(tmp_path_factory.mktemp("library"))
    hard = bench.shipped_pack("shapes-hard", 1)
    pack = replace(hard, tasks=tuple(t for t in hard.tasks if t.tag in ("count_five_six", "negated_colour")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffatlas.bench.session._backend", lambda name: shapes_backend)
        options = {"seeds": SEEDS, "num_inference_steps": STEPS, "keep": "attention", "library": library}
        return bench.run(pack, **options), library


def test_every_number_is_known_of_runs_that_kept_all(kept):
    counting, negated = measure(cases_of(*kept))
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
    assert negated.verdicts("parting").seeds == (0, 1, 2, 3)


def test_the_bench_is_gathered_and_an_image_explained(kept):
    cases = cases_of(*kept)
    found = why(list(measure(cases)), draws=50)
    assert found.failing + found.passing == 2 * SEEDS
    assert all(line.sentence.endswith(".") for line in found.lines)
    told = explain(cases[-1], cases)
    assert {one.measure.key for one in told.numbers if one.value is not None} >= {"parting", "overlap"}
    assert told.openings[0].runs == (cases[-1].run.id,)


def test_cases_are_the_cells_with_the_verdicts_that_count(kept):
    made, library = kept
    cells = made.study.in_lane("a")
    cases = cases_of(made, library)
    assert [case.run.id for case in cases] == [cell.run_id for cell in cells]
    said = [{"pass": False, "fail": True}[made.said["shapes"][cell.key].verdict] for cell in cells]
    assert [case.failed for case in cases] == said
    marked = replace(made, marks={cells[0].key: Mark("cannot judge"), cells[1].key: Mark("pass")})
    assert [case.failed for case in cases_of(marked, library)[:2]] == [None, False]
    assert [case.failed for case in cases_of(marked, library, by_hand=False)] == said
    with pytest.raises(InvalidParams, match="no lane 'z'"):
        cases_of(made, library, lane="z")
    with pytest.raises(InvalidParams, match="not judged by 'clip'"):
        cases_of(made, library, scorer="clip")
    gone = replace(made.study, cells=(replace(cells[0], run_id="20260131-120000-00000000"), *cells[1:]))
    assert len(cases_of(replace(made, study=gone), library)) == len(cells) - 1
