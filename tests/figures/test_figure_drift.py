"""Drift as a figure: its numbers are those of the measures, each mark is where the measures have it, and it is safe."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffatlas import figures
from diffatlas.errors import InvalidParams
from diffatlas.figures.beside import Beside, Own
from diffatlas.figures.drift_charts import ABSENT, CHARTS, FEATURES
from diffatlas.figures.panels import TITLE, panels
from diffatlas.look import LANES, LAYERS, NIGHT, PAPER
from diffatlas.measured import NO_GUIDANCE
from tests.figures.made_sweeps import BASELINE, SCALES, made_sweep, shared_sweep

HOSTILE = '<a href="x">euler</a></script> \u202eabc %{y}'


@pytest.fixture(scope="module")
def swept():
    return shared_sweep()


@pytest.fixture(scope="module")
def figure(swept):
    return figures.drift(*swept)


def lines(figure, measure: str) -> dict:
    found = [one for one in figure.data if one.meta.get("measure") == measure]
    return {one.meta["lane"]: one for one in found if "lane" in one.meta}


def heads(figure, kind: str) -> dict:
    return {one.meta["lane"]: one for one in figure.data if one.meta.get("mark") == kind}


def mean_of(measures, study, name: str, lane: str, column: int, row: int | None = None) -> float | None:
    """The mean of a number over the cells of a lane's column, by hand."""
    own = [c for c in study.cells if (c.lane, c.column) == (lane, column) and row in (None, c.row)]
    cells = [measures.cells[cell.key] for cell in own if cell.key in measures.cells]
    drift = name.removeprefix("drift_")
    found = [cell.drift.get(drift) if name != drift else getattr(cell, name) for cell in cells]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known else None


@pytest.mark.parametrize("row", [None, 1])
def test_lines_are_means_over_the_seeds_or_those_of_one(swept, row) -> None:
    study, measures = swept
    figure = figures.drift(study, measures, row=row)
    for name in [
        "drift_hash",
        "drift_latent",
        "drift_image",
        *(c.name for c in CHARTS if c.name != "diversity"),
    ]:
        for lane in study.lanes:
            line = lines(figure, name)[lane.key]
            assert list(line.x) == list(SCALES)
            wanted = [mean_of(measures, study, name, lane.key, column, row) for column in range(4)]
            assert [value is None for value in line.y] == [value is None for value in wanted], name
            known = [(y, w) for y, w in zip(line.y, wanted, strict=True) if w is not None]
            assert [y for y, _ in known] == pytest.approx([w for _, w in known]), name
            assert line.meta["columns"] == [0, 1, 2, 3]
            assert line.meta["keys"] == [f"{lane.key}-{row or 0}-{column}" for column in range(4)]
    # Between the seeds it is, whichever is in view.
    for lane in study.lanes:
        assert list(lines(figure, "diversity")[lane.key].y) == list(measures.lanes[lane.key].diversity)
    seed = study.cells[0].params.seed
    words = figure.layout.meta["says"]
    assert (f"of seed {seed + 1}" in words) == (row == 1)
    assert ("the mean over 3 seeds" in words) == (row is None)


def test_of_one_lane_there_is_nothing_of_the_others(swept) -> None:
    study, measures = swept
    one, other = study.lanes
    figure = figures.drift(study, measures, lane=other.key)
    assert {trace.meta["lane"] for trace in figure.data} == {other.key, ""}
    assert one.name not in figure.layout.meta["says"] + figure.layout.meta["spoken"]
    # In the colour that it has among all of them.
    assert lines(figure, "clipped")[other.key].line.color == LANES[1]
    assert not figure.layout.showlegend
    with pytest.raises(InvalidParams, match="has no lane z"):
        figures.drift(study, measures, lane="z")


def test_another_sweep_is_drawn_over_the_same_values_and_holds_its_own_baseline(
    swept, tmp_path: Path
) -> None:
    study, measures = swept
    other, found = made_sweep(tmp_path, values=(2.0, 7.5, 30.0), lanes=("ddim",), rows=2, baseline=1)
    other = replace(other, id="another")
    beside = Beside(other, found.to_dict(), "<b>a blue square</b>", LAYERS[2])
    figure = figures.drift(study, measures, own=Own("a red circle", LAYERS[1]), beside=[beside])
    line = next(
        one
        for one in figure.data
        if one.meta.get("line") == "another a" and one.meta["measure"] == "drift_image"
    )
    assert list(line.x) == [2.0, 7.5, 30.0]
    wanted = [mean_of(found, other, "drift_image", "a", column) for column in range(3)]
    assert list(line.y) == pytest.approx(wanted)
    assert line.y[1] == 0
    assert line.line.color == LAYERS[2]
    assert "keys" not in line.meta
    assert line.name == "&lt;b&gt;a blue square&lt;/b&gt;"
    own = lines(figure, "drift_image")
    assert [one.line.color for one in own.values()] == [LAYERS[1]] * 2
    assert [one.line.dash for one in own.values()] == ["solid", "dash"]
    assert {one.name for one in own.values()} == {
        "a red circle, ddim (in view)",
        "a red circle, euler (in view)",
    }
    axis = figure.layout.xaxis
    assert axis.range[0] < 1
    assert axis.range[1] > 30
    assert all(
        low <= y <= high
        for one in figure.data
        if one.meta.get("measure") == "drift_latent"
        for low, high in [figure.layout.yaxis2.range]
        for y in one.y
    )
    assert "against its own baseline" in figure.layout.meta["told"][-1]


def test_a_sweep_of_something_else_is_named_and_not_drawn(swept, tmp_path: Path) -> None:
    study, measures = swept
    other, found = made_sweep(tmp_path, values=(5, 10, 20, 40), field="num_inference_steps", lanes=("ddim",))
    beside = [Beside(replace(other, id="another"), found.to_dict(), "longer", LAYERS[2])]
    figure = figures.drift(study, measures, own=Own("a red circle", LAYERS[1]), beside=beside)
    assert "another a" not in {one.meta.get("line") for one in figure.data}
    said = "“longer” is not drawn here: it sweeps number of steps, and this one guidance scale."
    assert figure.layout.meta["told"][-1] == said


def test_measures_may_be_plain(swept, figure) -> None:
    study, measures = swept
    assert figures.drift(study, measures.to_dict()).to_json() == figure.to_json()


def test_every_chart_is_there_and_one_without_numbers_says_why(figure, tmp_path: Path) -> None:
    titles = ["Perceptual hash", "Latents", "Image", FEATURES.title, *(chart.title for chart in CHARTS)]
    assert [one.title for one in panels(figure)] == [f"<b>{title}</b>" for title in titles]
    notes = {note.text for note in figure.layout.annotations}
    assert FEATURES.absent in notes
    assert NO_GUIDANCE not in notes
    assert not panels(figure)[3].traces

    alone, found = made_sweep(tmp_path, rows=1, lanes=("ddim",))
    plain = found.to_dict()
    for cell in plain["cells"].values():
        cell |= {"guidance_norm_mean": None, "latent_max": None}
    notes = [note.text for note in figures.drift(alone, plain).layout.annotations]
    assert {"It takes two seeds or more.", NO_GUIDANCE, ABSENT} <= set(notes)
    nothing = figures.drift(alone, {})
    assert nothing.layout.meta["says"] == "Nothing of this sweep is measured yet."
    assert not nothing.data


def test_marks_stand_where_the_measures_have_them(swept, figure) -> None:
    _, measures = swept
    rules = [shape for shape in figure.layout.shapes if shape.type == "line"]
    assert [shape.x0 for shape in rules if shape.line.dash == "dot"] == [SCALES[BASELINE]] * 11
    for place, key in enumerate("ab"):
        own = measures.lanes[key]
        colour = (PAPER.burgundy, LANES[1])[place]
        for kind, onset in (("clipping", own.clipping), ("collapse", own.collapse)):
            assert onset["column"] == BASELINE + 1
            head = heads(figure, kind)[key]
            assert head.x[0] == SCALES[onset["column"]]
            assert head.marker.color == colour
            assert "begins at v 15.0" in head.customdata[0][0]
            assert [s for s in rules if s.x0 == head.x[0] and s.line.color == colour and s.xref == head.xaxis]
        for chart, distance in zip(panels(figure), ("hash", "latent", "image"), strict=False):
            change = own.largest_change[distance]
            (band,) = [s for s in chart.shapes if s.type == "rect" and s.line.color == colour]
            assert (band.x0, band.x1) == (SCALES[change["from"]], SCALES[change["to"]])


def test_heads_of_marks_hide_neither_each_other_nor_the_lines(figure) -> None:
    for chart in panels(figure):
        marks = [one for one in chart.traces if "mark" in one.meta]
        curves = [y for one in chart.traces if "measure" in one.meta for y in one.y if y is not None]
        heights = [one.y[0] for one in marks]
        if curves:
            assert max(curves) < min(heights)
            assert max(heights) < chart.y.range[1]
        begun = [one.y[0] for one in marks if one.meta["lane"]]
        assert len(set(begun)) == len(begun)


def test_what_is_unknown_breaks_the_line_and_a_mean_counts_its_seeds(tmp_path: Path) -> None:
    gone = [(0, row, 1) for row in range(3)] + [(0, 0, 3)]
    study, measures = made_sweep(tmp_path, failed=gone, lanes=("ddim",))
    line = lines(figures.drift(study, measures), "drift_image")["a"]
    assert line.y[1] is None
    assert not line.connectgaps
    assert line.customdata[3][2] == ", mean of 2 seeds"
    drifts = [measures.cells[f"a-{row}-3"].drift["image"] for row in (1, 2)]
    assert line.y[3] == pytest.approx(np.mean(drifts))


def test_values_that_are_no_numbers_lie_in_order_under_their_labels(tmp_path: Path) -> None:
    names = ["ddim", "euler", "a-scheduler-of-a-long-name", "dpm"]
    study, measures = made_sweep(tmp_path, names, "scheduler", ("one",), 1)
    figure = figures.drift(study, measures, across=1)
    assert list(lines(figure, "drift_image")["a"].x) == [0, 1, 2, 3]
    assert figure.layout.xaxis.ticktext == ("v ddim", "v euler", "v a-sc…-name", "v dpm")
    assert not heads(figure, "clipping")
    says = figure.layout.meta["says"]
    assert says.count("The values have no order") == 1
    assert "Bands" not in says


def test_seeds_lie_in_order_though_they_are_numbers(tmp_path: Path) -> None:
    study, measures = made_sweep(tmp_path, [7, 900, 8], "seed", ("one",), 1, baseline=0)
    assert list(lines(figures.drift(study, measures), "drift_image")["a"].x) == [0, 1, 2]


def test_numbers_out_of_order_are_drawn_by_size(tmp_path: Path) -> None:
    study, measures = made_sweep(tmp_path, [7.5, 1.0, 15.0], lanes=("one",), rows=1, baseline=0)
    line = lines(figures.drift(study, measures), "drift_latent")["a"]
    assert list(line.x) == [1.0, 7.5, 15.0]
    assert line.meta["columns"] == [1, 0, 2]
    assert list(line.y) == [measures.lanes["a"].curves["latent"][column] for column in (1, 0, 2)]


def test_it_says_what_happens_in_each_lane_and_how_alike_they_are(swept, figure) -> None:
    study, measures = swept
    meta = figure.layout.meta
    for lane in study.lanes:
        own = measures.lanes[lane.key]
        assert f"{lane.name}: The largest change between neighbouring values is " in meta["says"]
        assert own.clipping["sentence"] in meta["says"]
        assert own.collapse["sentence"] in meta["says"]
    assert meta["says"].count("The paths part from the baseline (v 7.5) of seed 7: ") == 2
    assert measures.agreement[0].sentence in meta["says"]
    top = measures.lanes["a"].curves["latent"][0]
    assert f"Latents from 0 (v 7.5) to {top:.3g} (v 1.0)" in meta["spoken"]


def test_lanes_are_told_apart_by_colour_dash_and_symbol_in_one_legend(swept) -> None:
    study, measures = swept
    for dark, on in ((False, PAPER), (True, NIGHT)):
        figure = figures.drift(study, measures, dark=dark)
        shown = [one for one in figure.data if one.showlegend]
        assert [one.name for one in shown] == ["ddim", "euler"]
        assert [one.line.color for one in shown] == [on.burgundy, LAYERS[0]]
        assert len({one.line.dash for one in shown}) == len({one.marker.symbol for one in shown}) == 2
        assert figure.layout.template.layout.paper_bgcolor == on.paper
        known = {*LANES, *LAYERS, *vars(on).values()}
        used = set(re.findall(r"#[0-9a-f]{6}", str([one.to_plotly_json() for one in figure.data])))
        assert used <= known


def test_names_and_labels_are_never_markup(swept) -> None:
    study, measures = swept
    lanes = (replace(study.lanes[0], name=HOSTILE), study.lanes[1])
    cells = tuple(replace(cell, label=f"{HOSTILE}{cell.column}") for cell in study.cells)
    hostile = replace(study, lanes=lanes, cells=cells, title=HOSTILE)
    figure = figures.drift(hostile, measures)
    drawn = str([one.to_plotly_json() for one in figure.data]) + str(figure.layout.annotations)
    drawn += str(figure.layout.title) + str(figure.layout.xaxis)
    assert "<a " not in drawn
    assert "</script>" not in drawn
    assert "&lt;a href=" in figure.layout.title.text
    assert all(HOSTILE[:8] not in (one.hovertemplate or "") for one in figure.data)


def test_what_it_cannot_draw_it_refuses_in_a_sentence(swept) -> None:
    study, measures = swept
    with pytest.raises(
        InvalidParams, match=r"^Drift is drawn of a sweep, and this study is a neighbourhood\.$"
    ):
        figures.drift(replace(study, operation="neighbourhood"), measures)
    with pytest.raises(InvalidParams, match="A list holds no measures"):
        figures.drift(study, [])
    with pytest.raises(InvalidParams, match="0 charts in a row"):
        figures.drift(study, measures, across=0)


def test_charts_have_names_above_them_only_once(figure) -> None:
    notes = figure.layout.annotations
    assert [note.text for note in notes if note.name == "baseline"] == ["baseline"]
    assert len([note for note in notes if note.name == TITLE]) == 12
