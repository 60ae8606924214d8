"""What draws the server's figures (``static/figures/figure.js``), in a page that has nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from diffatlas import figures
from diffatlas.events import Step
from diffatlas.figures.figure import figure
from diffatlas.figures.page_figure import page_figure
from diffatlas.figures.panels import lay_out
from diffatlas.ui.own_files import base
from tests.library.made_runs import made

pytestmark = pytest.mark.browser

#: Makes a figure in ``window.root``; what is chosen is in ``window.chosen``.
CREATE = """async (folder) => {
    const { createFigure } = await import(folder + "/figures/figure.js");
    document.body.innerHTML = "";
    window.root = document.createElement("div");
    root.style.cssText = "position: relative; width: 900px";
    document.body.append(root);
    window.chosen = [];
    const onChoose = (line, at) => (chosen.push([line, at]), chart.choose({ line, at }));
    window.chart = createFigure(root, { onChoose });
}"""
#: Where the first rule is, and where state 2 lies.
RULE = "Number(document.querySelector('.da-rule').getAttribute('x1'))"
PLACE = (
    "(({ xaxis }) => xaxis._offset + xaxis.d2p(2))(document.querySelector('.da-figure-stage')._fullLayout)"
)
LINES = "document.querySelectorAll('.js-line').length"


@pytest.fixture
def page(bare_page: Any, app_url: str) -> Any:
    bare_page.evaluate(CREATE, f"{app_url}{base()}")
    return bare_page


def run_of(name: str, steps: int) -> Any:
    rng = np.random.default_rng(steps)
    path = np.cumsum(rng.normal(size=(steps + 1, 1, 4, 4, 4)), 0).astype(np.float32)
    taken = tuple(Step(k, 900.0 - k, 1 / (k + 1), path[k + 1]) for k in range(steps))
    return made(1, run_id=name, initial_latents=path[0], steps=taken, total_steps=steps)


@pytest.fixture
def two(page: Any) -> Any:
    """The curves of a run of three steps and of one of six: of six of the charts, as there was no guidance."""
    drawn = figures.curves([run_of("short", 3), run_of("long", 6)])
    page.evaluate("(figure) => chart.draw(figure)", page_figure({4: drawn, 1: drawn}))
    assert page.evaluate(LINES) == 12
    return page


def readings(page: Any, metric: str) -> list[str]:
    return page.locator(f"[data-metric={metric}] .da-readout > span").all_inner_texts()


def test_a_state_is_marked_in_every_chart_and_a_run_that_has_ended_before_has_none(two: Any) -> None:
    two.evaluate("chart.choose({ line: 'long', at: 5 })")
    assert two.locator(".da-rule").count() == 6
    told = readings(two, "norm")
    assert told[0] == "–"
    norms = [float(np.linalg.norm(s.latents)) for s in run_of("long", 6).steps]
    assert float(told[1]) == pytest.approx(norms[4], rel=1e-3)
    assert two.evaluate(RULE) == pytest.approx(two.evaluate(PLACE.replace("d2p(2)", "d2p(5)")))
    two.evaluate("chart.choose(null)")
    assert two.locator(".da-rule").count() == 0
    assert all(float(value) > 0 for value in readings(two, "norm"))  # each at its end


def test_keys_lead_from_state_to_state_and_from_run_to_run(two: Any) -> None:
    two.focus(".da-figure")
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "ArrowRight", "ArrowRight", "ArrowLeft", "Escape"):
        two.keyboard.press(key)
    assert two.evaluate("chosen") == [
        ["long", 1],
        ["long", 2],
        ["short", 2],
        ["short", 3],
        ["short", 3],
        ["short", 2],
    ]
    assert two.locator("[role=status]").text_content().startswith("Step 2. Distance to end: ")


def test_a_click_chooses_the_nearest_line_and_a_drag_none(two: Any) -> None:
    at = two.evaluate(
        """() => {
            const stage = document.querySelector(".da-figure-stage");
            const { x, y } = stage.data.find(({ meta, mode }) => mode === "lines" && meta.line === "short");
            const { xaxis, yaxis } = stage._fullLayout;
            const box = stage.getBoundingClientRect();
            return [box.left + xaxis._offset + xaxis.d2p(x[2]), box.top + yaxis._offset + yaxis.d2p(y[2])];
        }"""
    )
    two.mouse.click(*at)
    assert two.evaluate("chosen") == [["short", 2]]
    two.mouse.move(*at)
    two.mouse.down()
    two.mouse.move(at[0] + 40, at[1], steps=4)
    two.mouse.up()
    assert two.evaluate("chosen") == [["short", 2]]
    # It has zoomed; what was out of sight comes back by a button, or by a double click.
    ranges = "document.querySelector('.da-figure-stage')._fullLayout.xaxis.range"
    before = [-0.18, 6.18]
    button = "document.querySelector('.da-figure-whole').click()"
    for back in (lambda: two.evaluate(button), lambda: two.mouse.dblclick(at[0] + 60, at[1])):
        two.wait_for_selector(".da-figure-whole")
        assert two.evaluate(ranges) != pytest.approx(before)
        # What lies over the charts goes along.
        two.evaluate("chart.choose({ line: 'short', at: 2 })")
        assert two.evaluate(RULE) == pytest.approx(two.evaluate(PLACE))
        back()
        two.wait_for_selector(".da-figure-whole", state="hidden")
        assert two.evaluate(ranges) == pytest.approx(before)
        two.mouse.move(*at)
        two.mouse.down()
        two.mouse.move(at[0] + 40, at[1], steps=4)
        two.mouse.up()


def test_nothing_is_kept_of_what_is_not_drawn(page: Any) -> None:
    assert (
        page.evaluate("chart.save('svg').catch((error) => error.message)") == "There is nothing to keep yet."
    )


def test_what_the_legend_hides_stays_hidden_and_titles_are_text(page: Any) -> None:
    drawn = figure("plain", "Two lines", "One and another.")
    (axes,) = lay_out(drawn, ["<img src=x onerror=alert(1)>"], 1)
    for number, name in enumerate(("one <b>", "two")):
        drawn.add_trace(
            go.Scatter(x=[0, 1], y=[number, 2], name=name.replace("<", "&lt;"), mode="lines", **axes)
        )
    told = page_figure({1: drawn})
    page.evaluate("(figure) => chart.draw(figure)", told)
    assert page.inner_text(".da-figure-head") == "<img src=x onerror=alert(1)>"
    assert page.locator(".da-figure-entry").all_inner_texts() == ["one <b>", "two"]
    page.click(".da-figure-entry >> nth=0")
    page.wait_for_function(f"{LINES} === 1")
    page.evaluate("(figure) => chart.draw(figure)", told)
    assert page.evaluate(LINES) == 1
    assert page.get_attribute(".da-figure-entry >> nth=0", "aria-pressed") == "false"
    assert page.locator(".da-figure").get_attribute("tabindex") is None


def test_a_figure_waits_for_room_and_takes_the_columns_that_there_is_room_for(page: Any) -> None:
    run = run_of("short", 3)
    told = page_figure({across: figures.curves(run, across=across) for across in (1, 2, 4)})
    page.evaluate("root.style.display = 'none'")
    page.evaluate("(figure) => chart.draw(figure)", told)
    assert page.evaluate(LINES) == 0
    page.evaluate("root.style.display = ''")
    page.wait_for_function(f"{LINES} === 6")
    lefts = "new Set([...document.querySelectorAll('.da-figure-head')].map((head) => head.style.left)).size"
    assert page.evaluate(lefts) == 2
    page.evaluate("root.style.width = '400px'")
    page.wait_for_function(f"{lefts} === 1")
    page.evaluate("root.style.width = '960px'")
    page.wait_for_function(f"{lefts} === 4")
