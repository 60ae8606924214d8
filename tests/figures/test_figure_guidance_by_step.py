"""Guidance by step as a figure: a line for each value of the first seed, from gold to burgundy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from diffatlas import figures
from diffatlas.errors import InvalidParams
from diffatlas.figures.guidance_by_step import ABSENT
from diffatlas.figures.panels import panels
from diffatlas.look import NIGHT, PAPER
from tests.figures.made_sweeps import STEPS, made_sweep, shared_sweep


@pytest.fixture(scope="module")
def swept():
    study, measures = shared_sweep()
    return study.with_cell("b-0-2", status="failed"), measures


def test_a_line_for_each_value_has_the_numbers_of_its_cell(swept) -> None:
    study, measures = swept
    figure = figures.guidance_by_step(study, measures)
    norm, angle = panels(figure)
    for chart, name in ((norm, "guidance_norm"), (angle, "guidance_angle")):
        assert [one.meta["line"] for one in chart.traces] == ["a-0-1", "a-0-2", "a-0-3"]
        for line in chart.traces:
            assert line.meta["run"] == study.cell(line.meta["line"]).run_id
            assert list(line.x) == list(range(1, STEPS + 1))
            assert list(line.y) == getattr(measures.cells[line.meta["line"]], name)
        assert chart.x.title.text == "step"
        assert chart.x.tickvals[0] == 1
        assert chart.x.tickvals[-1] == STEPS
    assert "degrees" in angle.title
    assert "°" in angle.traces[0].hovertemplate


def test_it_says_which_seed_and_lane_it_is_of_and_which_values_have_no_line(swept) -> None:
    study, measures = swept
    meta = figures.guidance_by_step(study, measures, lane="b").layout.meta
    assert meta["title"] == f"Guidance by step · euler · seed 7 · {study.title}"
    assert "No line for v 1.0: guidance was off, or no steps are shown." in meta["says"]
    assert "Not complete: v 7.5 (failed)." in meta["says"]
    assert "v 15.0: guidance norm 3 at step 1 and 8 at step 6; guidance angle 0° at step 1" in meta["spoken"]


def test_values_go_from_gold_to_burgundy_and_are_told_apart_without_colour(swept) -> None:
    study, measures = swept
    every = measures.to_dict()
    every["cells"]["a-0-0"] |= {
        key: every["cells"]["a-0-1"][key] for key in ("guidance_norm", "guidance_angle")
    }
    for dark, on in ((False, PAPER), (True, NIGHT)):
        figure = figures.guidance_by_step(study, every, dark=dark)
        shown = [one for one in figure.data if one.showlegend]
        assert [one.name for one in shown] == ["v 1.0", "v 3.0", "v 7.5", "v 15.0"]
        assert (shown[0].line.color, shown[-1].line.color) == (on.gold, on.burgundy)
        assert len({(one.line.dash, one.marker.symbol) for one in shown}) == 4
        assert figure.layout.template.layout.paper_bgcolor == on.paper
    # A value has its colour whether or not the others have lines.
    assert figures.guidance_by_step(study, measures).data[0].line.color not in (PAPER.gold, PAPER.burgundy)


def test_of_a_long_run_every_step_is_drawn(tmp_path: Path) -> None:
    study, measures = made_sweep(tmp_path, lanes=("one",), rows=1)
    plain = measures.to_dict()
    plain["cells"]["a-0-1"]["guidance_norm"] = [float(k) for k in range(1000)]
    figure = figures.guidance_by_step(study, plain)
    assert len(figure.data[0].x) == 1000
    assert 3 < len(figure.layout.xaxis.tickvals) < 12


def test_without_guidance_it_says_so(tmp_path: Path) -> None:
    study, _ = made_sweep(tmp_path, lanes=("one",), rows=1)
    figure = figures.guidance_by_step(study, {})
    assert figure.layout.meta["says"] == ABSENT
    assert [note.text for note in figure.layout.annotations].count(ABSENT) == 2
    assert not figure.data


def test_labels_are_never_markup(swept) -> None:
    study, measures = swept
    hostile = '<a href="x">7</a></script> \u202e%{y}'
    cells = tuple(replace(cell, label=hostile) for cell in study.cells)
    figure = figures.guidance_by_step(replace(study, cells=cells, title=hostile), measures)
    drawn = str([one.to_plotly_json() for one in figure.data]) + str(figure.layout.title)
    assert "<a " not in drawn
    assert "</script>" not in drawn
    assert all("%{y}" not in one.hovertemplate.partition("<extra>")[2] for one in figure.data)


def test_what_it_cannot_draw_it_refuses_in_a_sentence(swept) -> None:
    study, measures = swept
    with pytest.raises(InvalidParams, match=r"^This sweep has no lane z: its lanes are a and b\.$"):
        figures.guidance_by_step(study, measures, lane="z")
    with pytest.raises(
        InvalidParams, match=r"^Guidance by step is drawn of a sweep, and this study is a neighbourhood\.$"
    ):
        figures.guidance_by_step(replace(study, operation="neighbourhood"), measures)
