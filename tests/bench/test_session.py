"""Benches asked for in one call, as in a notebook."""

import html
import re

import pytest

from diffatlas import bench
from diffatlas.bench.judging import Scored
from diffatlas.bench.session import judged_from, scorers_of
from diffatlas.errors import BackendFailure, InvalidParams, RunNotFound, Unreadable
from diffatlas.library import Library
from diffatlas.params import GenerationParams


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "library")


def test_a_bench_in_one_call(library, shapes_backend, monkeypatch):
    monkeypatch.setattr("diffatlas.bench.session._backend", lambda name: shapes_backend)
    told = []
    options = {"each": 1, "seeds": 2, "num_inference_steps": 2, "library": library}
    found = bench.run("shapes", told=told.append, **options)
    assert found.scorers == ("shapes", "hand")
    assert found.study.cells[0].params.guidance_scale == 3.0
    assert sum(len(event.judgements) for event in told if isinstance(event, Scored)) == 12
    assert bench.open_bench(found.id, library) == found
    assert [one.id for one in bench.list_benches(library)] == [found.id]
    # What a notebook shows is what is counted.
    counted = bench.count(bench.judged(found, "shapes"))
    shown = html.unescape(re.sub("<[^>]*>", " ", found._repr_html_()))
    for line in counted.lines:
        assert f"{line.rate.value:.3f} ({line.rate.low:.3f} to {line.rate.high:.3f})" in shown
    assert judged_from(found.id, library=library) == bench.judged(found, "shapes")
    assert judged_from(f"{found.id}@a", "hand", library) == bench.judged(found, "hand")
    again = bench.judge(found, "shapes", again=True, library=library)
    assert again.said == found.said
    # Asked for again, all of it is in the library.
    second = bench.run("shapes", **options)
    assert all(cell.cached for cell in second.study.cells)
    assert second.said == found.said


def test_a_scorer_that_fails_is_not_passed_over(library, shapes_backend, monkeypatch):
    monkeypatch.setattr("diffatlas.bench.session._backend", lambda name: shapes_backend)
    with pytest.warns(UserWarning, match=r"clip:/nowhere: .*`judge`"):
        found = bench.run("smoke", scorers="clip:/nowhere", seeds=1, num_inference_steps=2, library=library)
    assert found.study.status == "complete"
    with pytest.raises(BackendFailure, match="There is no scorer 'clpi'"):
        bench.judge(found, "clpi", library=library)
    with pytest.raises(BackendFailure, match="has no option 'threshold'"):
        bench.judge(found, "shapes", threshold=0.5, library=library)


def test_whoever_can_judge_is_asked(library):
    assert scorers_of(bench.shipped_pack("shapes-hard", 1), None) == ("shapes",)
    assert scorers_of(bench.shipped_pack("lite"), None) == ("hand",)
    assert scorers_of(bench.shipped_pack("lite"), "clip") == ("clip",)


def test_what_is_wrong_is_said(library, tmp_path):
    request = GenerationParams(model="shapes", prompt="", seed=3, num_inference_steps=4)
    asked = bench.ask("smoke", request, library=library)
    assert asked.study.cells[0].params.seed == 3
    assert asked.study.cells[0].params.num_inference_steps == 4
    with pytest.raises(InvalidParams, match="say it in that"):
        bench.ask("smoke", request, seed=4, library=library)
    with pytest.raises(InvalidParams, match="has no images yet"):
        judged_from(asked.id, library=library)
    with pytest.raises(InvalidParams, match="is for a bench"):
        judged_from(str(tmp_path / "a.jsonl"), "shapes", library)
    with pytest.raises(Unreadable, match="There is no file"):
        judged_from(str(tmp_path / "a.jsonl"), library=library)
    with pytest.raises(RunNotFound, match="has no bench"):
        judged_from("nothing", library=library)
    with pytest.raises(InvalidParams, match="a person judges by hand"):
        bench.judge(asked, "hand", library=library)
    with pytest.raises(InvalidParams, match="a file has those that it has"):
        bench.ask(tmp_path / "mine.yaml", each=3, library=library)
    with pytest.raises(AttributeError):
        bench.nothing  # noqa: B018
