"""What a notebook shows of a run, a stored run, the trace of a call and a study."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import pytest

from diffatlas.capture.trace import Trace
from diffatlas.library import Library
from diffatlas.library.study import Cell, Lane, Study
from diffatlas.measured import totals
from diffatlas.run import Run

HOSTILE = '<img src="https://foreign.example/x" onerror=alert(1)> </div><script>alert(1)</script>'


def words(shown: str) -> str:
    """Return what one reads."""
    return html.unescape(re.sub(r"<[^>]*>", " ", shown))


def test_a_run_shows_its_film_its_numbers_and_what_it_ran_on(run: Run) -> None:
    shown = run._repr_html_()
    said = words(shown)
    assert run.params.prompt in said
    assert run.provenance["dtype"] in said
    assert f"{totals(run)['straightness']:.5g}" in said
    (picture,) = re.findall(r'src="([^"]*)"', shown)
    assert picture.startswith("data:image/png;base64,")


def test_a_stored_run_shows_the_same_and_a_damaged_one_says_why(run: Run, tmp_path: Path) -> None:
    library = Library(tmp_path)
    library.save(run)
    stored = library.open(run.id)
    assert stored._repr_html_() == run._repr_html_()
    next((tmp_path / run.id / "steps").iterdir()).write_bytes(b"no tensors")
    said = words(stored._repr_html_())
    assert run.id in said
    assert "not readable" in said


def test_the_trace_of_a_call_that_was_not_kept_says_so() -> None:
    said = words(Trace()._repr_html_())
    assert "0 steps" in said
    assert "is not kept with this trace" in said


@pytest.fixture
def study(run: Run) -> Study:
    cells = tuple(
        Cell(f"a-0-{k}", "a", 0, k, float(k), f"g {k}", "What it means.", run.params, status)
        for k, status in enumerate(("complete", "failed", "waiting"))
    )
    return Study(
        "s1",
        "sweep",
        HOSTILE,
        "2026-01-31T12:00:00",
        {"field": "guidance_scale"},
        (Lane("a", HOSTILE),),
        cells,
    )


def test_a_study_shows_what_became_of_each_cell(study: Study) -> None:
    said = words(study._repr_html_())
    for label, status in (("g 0", "complete"), ("g 1", "failed"), ("g 2", "waiting")):
        assert re.search(rf"{label}\s+{status}", said)
    assert "1 of 3 complete" in said


def test_text_from_outside_is_text(run: Run, study: Study) -> None:
    hostile = replace(
        run,
        params=run.params.replace(prompt=HOSTILE, negative_prompt=HOSTILE),
        error={"code": "failed", "message": HOSTILE},
        provenance={**run.provenance, "device": HOSTILE},
    )
    for shown in (hostile._repr_html_(), study._repr_html_()):
        assert not re.search(r"<script|<img src|onerror=alert\(1\)>", shown)
        assert "onerror=alert(1)" in words(shown)
