"""The curves of runs, as a figure: its numbers, names and colours, and that it leaks nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from diffatlas import figures, look, measured
from diffatlas.errors import InvalidParams
from diffatlas.figures.curves import CHARTS
from diffatlas.figures.panels import panels
from diffatlas.library import Library
from diffatlas.run import Run
from tests.library.made_runs import made

HOSTILE = 'a <a href="https://foreign.example">circle</a> </script><script>alert(1)</script> & "x"'


@pytest.fixture(scope="module")
def run() -> Run:
    return made(3)


def traces(figure: figures.Figure, metric: str) -> list:
    """Return the lines of a measure, a run each."""
    return [one for one in figure.data if one.meta["measure"] == metric and not one.meta.get("ends")]


def test_its_numbers_are_those_of_the_states(run: Run) -> None:
    figure = figures.curves(run)
    states = measured.states(run)
    assert [panel.title for panel in panels(figure)][:2] == ["<b>Distance to end</b>", "<b>Step length</b>"]
    drawn = 0
    for name in CHARTS:
        wanted = [state.metrics[name] for state in states]
        for line in traces(figure, name):
            assert list(line.x) == [state.step for state in states]
            assert list(line.y) == wanted, name
            drawn += 1
    assert drawn >= 5
    # Against NumPy, not against the same function.
    spreads = [state[0].astype(np.float64).std() for state in run.latents]
    (line,) = traces(figure, "std")
    np.testing.assert_allclose(line.y, spreads, rtol=1e-12)


def test_what_was_not_measured_is_said_in_its_chart(run: Run) -> None:
    steps = tuple(replace(step, cond_pred=None, uncond_pred=None, metrics={}) for step in run.steps)
    figure = figures.curves(replace(run, steps=steps))
    assert traces(figure, "guidance_norm") == []
    chart = panels(figure)[CHARTS.index("guidance_norm")]
    assert [note.text for note in chart.notes] == [measured.NO_GUIDANCE]


def test_several_runs_are_told_apart_by_name_colour_and_dash(run: Run) -> None:
    other = replace(run, id="other", params=run.params.replace(guidance_scale=run.params.guidance_scale + 1))
    figure = figures.curves([run, other])
    first, second = traces(figure, "norm")
    assert first.name != second.name
    assert "guidance" in first.name
    assert (first.line.color, second.line.color) == look.LAYERS[:2]
    assert first.line.dash != second.line.dash
    named = figures.curves([run, other], ["one", "two"], ["#112233", "#445566"])
    assert [(line.name, line.line.color) for line in traces(named, "norm")] == [
        ("one", "#112233"),
        ("two", "#445566"),
    ]
    assert figures.curves(run).data[0].line.color == look.PAPER.burgundy
    assert figures.curves(run, dark=True).data[0].line.color == look.NIGHT.burgundy
    assert figures.curves(run, dark=True).layout.template.layout.paper_bgcolor == look.NIGHT.paper


def test_a_stored_run_is_drawn_as_the_run_itself(run: Run, tmp_path) -> None:
    library = Library(tmp_path)
    library.save(run)
    assert figures.curves(library.open(run.id)).to_json() == figures.curves(run).to_json()


@pytest.mark.parametrize(
    ("runs", "names", "said"),
    [
        ([], None, "no run to draw"),
        ("a run", None, "is no run"),
        (None, None, "is no run"),
        (0, ["a", "b"], "2 names"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(run: Run, runs, names, said: str) -> None:
    with pytest.raises(InvalidParams, match=said):
        figures.curves(run if runs == 0 else runs, names)


def test_text_from_outside_is_text(run: Run) -> None:
    hostile = replace(run, params=run.params.replace(prompt=HOSTILE))
    figure = figures.curves([hostile, replace(hostile, id="b", params=hostile.params.replace(seed=9))])
    for said in (
        figure.data[0].name,
        figure.data[0].hovertemplate,
        figures.curves(hostile).layout.title.text,
    ):
        assert not re.search(r"<(a|script|img)\b", said)
        assert "&lt;a href=" in said or "&lt;/script&gt;" in said
    page = figures.page(figures.curves(hostile))
    assert "<script>alert(1)" not in page
    assert '<a href="https://foreign.example"' not in page


def test_it_offers_to_send_nothing_anywhere(run: Run) -> None:
    figure = figures.curves(run)
    for written in (
        figures.page(figure),
        figure.to_html(),
        figure.to_html(config={"showSendToCloud": True}),
        figure._repr_html_(),
    ):
        given = re.search(
            r"Plotly\.newPlot\(.*?(\{[^{}]*\"showSendToCloud\"[^{}]*\{[^{}]*\}[^{}]*\})", written, re.S
        )
        config = json.loads(given[1])
        assert config["showSendToCloud"] is False
        assert config["displaylogo"] is False
        assert "plotlyServerURL" not in config
        # plotly.js is in the page itself.
        assert not re.search(r"<script[^>]+src=", written)


def test_it_says_what_it_shows(run: Run) -> None:
    meta = figures.curves(run).layout.meta
    assert meta["figure"] == "curves"
    assert meta["title"] == run.params.prompt
    assert "step 0 is the initial noise" in meta["says"]
    lengths = {k: state.metrics["step_length"] for k, state in enumerate(measured.states(run)) if k}
    assert f"at step {max(lengths, key=lengths.get)}." in meta["spoken"]


def test_by_progress_runs_of_different_lengths_lie_over_each_other(run: Run) -> None:
    longer = replace(run, id="longer", total_steps=2 * len(run.steps))
    figure = figures.curves([run, longer], along="progress")
    whole, half = traces(figure, "norm")
    count = len(run.steps)
    np.testing.assert_allclose(whole.x, [100 * k / count for k in range(count + 1)])
    np.testing.assert_allclose(half.x, [50 * k / count for k in range(count + 1)])
    assert list(whole.y) == list(half.y)
    assert figure.layout.xaxis.ticksuffix == "%"
    assert figure.layout.meta["says"].startswith("By share of the run")
    with pytest.raises(InvalidParams, match="step, progress"):
        figures.curves(run, along="time")


def test_all_charts_end_where_the_longest_run_does(run: Run) -> None:
    figure = figures.curves([run, replace(run, id="longer", total_steps=40)])
    assert {tuple(panel.x.range) for panel in panels(figure)} == {(-1.2, 41.2)}
