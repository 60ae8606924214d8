"""Pointing at what the server's figures of studies show, and asking for them, in a page that has nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from diffatlas import figures
from diffatlas.figures.page_figure import page_figure
from diffatlas.ui.own_files import base
from tests.figures.made_neighbourhoods import two_lanes
from tests.figures.made_sweeps import SCALES, shared_sweep

pytestmark = pytest.mark.browser

#: Makes ``window.chart`` of a server that answers with ``window.answers``, one after another; what it was asked is in
#: ``window.asked``, what was chosen in ``window.chosen``, and what is pointed at in ``window.pointed``.
CREATE = """async (folder) => {
    const { createDrawn } = await import(folder + "/figures/drawn.js");
    document.body.innerHTML = "";
    window.root = document.createElement("div");
    root.style.cssText = "position: relative; width: 900px";
    document.body.append(root);
    Object.assign(window, { chosen: [], asked: [], answers: [], pointed: null });
    const answer = () => (answers.length > 1 ? answers.shift() : answers[0]);
    const server = { figure: async (question) => (asked.push(question), answer()) };
    const onChoose = (...what) => chosen.push(what);
    window.chart = createDrawn(root, { server, call: "figure", onChoose, onPoint: (what) => (window.pointed = what) });
}"""


@pytest.fixture
def page(bare_page: Any, app_url: str) -> Any:
    bare_page.evaluate(CREATE, f"{app_url}{base()}")
    return bare_page


def show(page: Any, made: Any, across: int = 1, **asked: Any) -> None:
    """Have a figure answered, and drawn."""
    page.evaluate("(figure) => (window.answers = [figure])", page_figure({across: made}))
    page.evaluate("(asked) => chart.show({ id: 'one', ...asked })", asked)
    page.wait_for_selector(".da-figure:visible .js-plotly-plot .main-svg, .da-figure-stage .main-svg")
    page.wait_for_function("document.querySelector('.da-figure-message').hidden")


def test_a_point_of_drift_is_a_cell_and_every_chart_is_marked_at_its_value(page: Any) -> None:
    study, measures = shared_sweep()
    show(page, figures.drift(study, measures, across=3, read=True), 3)
    page.evaluate("chart.choose({ key: 'b-0-3' })")
    drawn = sum(bool(one.y) for one in figures.drift(study, measures).data if one.meta.get("line") == "b")
    assert page.locator(".da-rule").count() == drawn
    readings = page.locator("[data-metric=clipped] .da-readout > span").all_inner_texts()
    wanted = [measures.cells[f"{lane}-{row}-3"].clipped for lane in "ab" for row in range(3)]
    means = [sum(wanted[:3]) / 3, sum(wanted[3:]) / 3]
    assert [float(text) for text in readings] == pytest.approx(means, rel=2e-3)
    # The values are no even steps: the nearest is meant, wherever the pointer is.
    page.focus(".da-figure")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("chosen.at(-1)") == ["b", 2, "b-0-2"]
    assert page.locator("[role=status].da-unseen").text_content().startswith(f"v {SCALES[2]:g}. ")
    box = page.locator(".da-figure-stage").bounding_box()
    page.mouse.move(box["x"] + 120, box["y"] + 100)
    assert "–" not in page.locator("[data-metric=saturation] .da-readout").inner_text()


def test_pairs_are_led_through_by_keys_and_marked_in_both_charts(page: Any) -> None:
    study, measures = two_lanes()
    made = figures.growth(study, measures, across=2)
    show(page, made, 2)
    pairs = [tuple(of) for one in made.data if one.meta.get("points") for of in one.customdata]
    page.focus(".da-figure")
    page.keyboard.press("ArrowRight")
    first = page.evaluate("pointed.of")
    assert tuple(first) in pairs
    known = [
        (x, *of)
        for one in made.data
        if one.meta.get("points") and one.meta["measure"] == "growth"
        for x, of in zip(one.x, one.customdata, strict=True)
    ]
    assert {*first} == {*min(known)[1:]}
    assert page.locator(".da-point-now").count() == 2
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.evaluate("chosen.at(-1)[0].of") == page.evaluate("pointed.of") != first
    page.evaluate("(of) => chart.choose({ id: chart.find(of).id, touching: of[0] })", first)
    touching = sum(first[0] in of for of in pairs) - 2
    assert page.locator(".da-point-touch").count() in (touching, touching - 2)  # without what is pointed at


def test_squares_are_led_through_by_keys_and_the_row_of_a_cell_is_marked(page: Any) -> None:
    study, measures = two_lanes()
    made = figures.distances(study, measures, by="image")
    show(page, made)
    keys = made.data[0].meta["cells"]
    page.focus(".da-figure")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    square = page.evaluate("chosen.at(-1)[0]")
    assert (square["row"], square["column"], square["of"]) == (1, 1, [keys[1], keys[1]])
    assert square["value"] == made.data[0].z[1][1] == 0
    page.evaluate("(key) => chart.choose({ id: key, of: null })", keys[2])
    assert page.locator(".da-cells-chosen").count() == 1
    # The square that the pointer is in.
    at = page.evaluate("""() => {
        const stage = document.querySelector(".da-figure-stage");
        const { xaxis, yaxis } = stage._fullLayout;
        const box = stage.getBoundingClientRect();
        return [box.left + xaxis._offset + xaxis.d2p(0), box.top + yaxis._offset + yaxis.d2p(2)];
    }""")
    page.mouse.move(*at)
    assert page.evaluate("pointed.of") == [keys[2], keys[0]]


def test_what_is_wanted_last_is_drawn_and_a_refusal_can_be_asked_again(page: Any) -> None:
    study, measures = shared_sweep()
    told = page_figure({1: figures.guidance_by_step(study, measures, across=1)})
    page.evaluate("(figure) => (window.answers = [{ error: { message: 'Not now.' } }, figure])", told)
    page.evaluate("chart.show({ id: 'one' })")
    page.wait_for_selector("text=Not now.")
    page.evaluate("chart.show({ id: 'one' })")  # as each look at the page does
    assert page.evaluate("asked.length") == 1
    page.click("text=Try again")
    page.wait_for_selector(".js-line")
    assert page.evaluate("asked.map(({ id }) => id)") == ["one", "one"]
    # Two more, of which the first is overtaken.
    page.evaluate("chart.show({ id: 'two' }); chart.show({ id: 'three' })")
    page.wait_for_function(
        "asked.at(-1).id === 'three' && document.querySelector('.da-figure-message').hidden"
    )
    page.evaluate("chart.show({ id: 'three' })")
    assert page.evaluate("asked.length") <= 4
    page.evaluate("chart.show(null)")
    assert not page.is_visible(".da-figure")
