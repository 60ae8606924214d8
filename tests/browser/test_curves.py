"""The curves on the page: the server's figure, drawn by plotly.js, with what is pointed at and chosen laid over it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from diffatlas import measured
from diffatlas.library import Library
from tests.browser.visiting import CURVES, STATUS, lock, press_run, run

pytestmark = pytest.mark.browser

FIGURE = ".da-page-trajectory .da-curves .da-figure"
STAGE = f"{FIGURE} .da-figure-stage"
#: The lines that are on screen: {run: {metric: {x, y}}}.
DRAWN = f"""(() => {{
    const found = {{}};
    for (const {{ mode, meta, x, y }} of document.querySelector('{STAGE}').data ?? [])
        if (mode === 'lines') (found[meta.line] ??= {{}})[meta.measure] = {{ x, y }};
    return found;
}})()"""
#: The pixel of a state in a chart, at the height of a run's line.
PLACE = """([stage, run, metric, at]) => {
    const node = document.querySelector(stage);
    const line = node.data.find(({ meta, mode }) => mode === "lines" && meta.measure === metric && meta.line === run);
    const [x, y] = ["xaxis", "yaxis"].map((axis) => node._fullLayout[`${axis}${line[axis].slice(1)}`]);
    const box = node.getBoundingClientRect();
    return [box.left + x._offset + x.d2p(line.x[at]), box.top + y._offset + y.d2p(line.y[at])];
}"""
#: Counts from now on how often plotly.js has drawn.
COUNT = f"""() => {{
    window.drawings = 0;
    document.querySelector('{STAGE}').on("plotly_afterplot", () => (drawings += 1));
}}"""
#: How many dots are on the lines, and where the rules are.
RULES = f"[...document.querySelectorAll('{FIGURE} .da-rule')].map((rule) => Number(rule.getAttribute('x1')))"


def look_at_curves(page: Any, lines: int) -> None:
    page.click(".da-page-trajectory .da-tab[data-view=curves]")
    page.wait_for_function(f"{CURVES} == {lines}")


def place_of(page: Any, run_id: str, metric: str, at: int) -> tuple[float, float]:
    page.locator(
        f".da-page-trajectory .da-curves .da-figure-head[data-metric={metric}]"
    ).scroll_into_view_if_needed()
    return tuple(page.evaluate(PLACE, [STAGE, run_id, metric, at]))


def readings(page: Any, metric: str) -> list[str]:
    return page.locator(f".da-page-trajectory [data-metric={metric}] .da-readout > span").all_inner_texts()


def settled(page: Any, *runs: str) -> dict[str, Any]:
    """Wait for the whole of the curves of runs that have ended, and return them."""
    page.wait_for_function(
        f"""runs => {{
            const drawn = {DRAWN};
            return Object.keys(drawn).join() === runs.join() && runs.every((run) => drawn[run].distance_to_end);
        }}""",
        arg=list(runs),
    )
    return page.evaluate(DRAWN)


def test_its_numbers_and_sentences_are_those_of_the_run(open_page: Any, app_folder: Path) -> None:
    page = open_page()
    look_at_curves(page, 8)  # of the example
    run_id = run(page, prompt="a red circle", seed=21, num_inference_steps=6)
    found = settled(page, run_id)[run_id]
    states = measured.states(Library(app_folder / "runs").load(run_id))
    assert len(found) == 8
    for metric, line in found.items():
        assert line["x"] == list(range(7)), metric
        assert line["y"] == [state.metrics[metric] for state in states], metric
    assert page.inner_text(f"{FIGURE} .da-figure-says").startswith("By step; step 0 is the initial noise.")
    assert "6 steps, the longest of" in page.locator(f"{FIGURE} .da-unseen").first.text_content()
    (angle,) = readings(page, "guidance_angle")
    assert re.fullmatch(r"6: [\d.]+°", angle)
    assert float(angle[3:-1]) == pytest.approx(found["guidance_angle"]["y"][6], rel=1e-3)
    page.click(".da-page-trajectory .da-switch label:has-text('by progress')")
    page.wait_for_function(f"Math.abs({DRAWN}[{run_id!r}].norm.x[3] - 50) < 1e-9")
    assert page.problems == []


def test_a_run_that_goes_on_continues_its_lines(open_page: Any) -> None:
    page = open_page()
    look_at_curves(page, 8)
    press_run(page, prompt="a red circle", seed=22, num_inference_steps=900)
    count = f"Object.values({DRAWN})[0]?.norm?.x.length"
    page.wait_for_function(f"{STATUS} === 'running' && {CURVES} === 6")
    page.wait_for_function(f"{count} > 3")
    first = page.evaluate(count)
    page.wait_for_function(f"{count} > {first + 3}")
    (line,) = page.evaluate(DRAWN).values()
    assert "Known once the run has ended." in page.inner_text(STAGE)
    assert line["norm"]["x"] == list(range(len(line["norm"]["y"])))
    assert line["norm"]["y"][0] is not None
    page.click("#field-stop")
    page.wait_for_function(f"{STATUS} === 'stopped'")
    run_id = page.evaluate("document.querySelector('.da-layer.da-temporary').dataset.id")
    whole = settled(page, run_id)[run_id]
    assert whole["norm"]["y"][: len(line["norm"]["y"])] == pytest.approx(line["norm"]["y"], rel=1e-5)
    assert page.problems == []


def test_a_click_and_keys_choose_a_step_and_nothing_is_drawn_anew(open_page: Any) -> None:
    page = open_page()
    look_at_curves(page, 8)
    one = run(page, prompt="a red circle", seed=23, num_inference_steps=8)
    lock(page)
    two = run(page, prompt="a blue star", seed=24, num_inference_steps=8)
    found = settled(page, one, two)
    page.wait_for_timeout(500)
    page.evaluate(COUNT)

    x, y = place_of(page, two, "norm", 3)
    page.mouse.move(x, y)
    page.wait_for_function("document.querySelector('.da-curves-at').innerText === 'Step 3'")
    assert len(page.evaluate(RULES)) == 8
    spreads = [found[each]["std"]["y"][3] for each in (one, two)]
    assert [float(value) for value in readings(page, "std")] == pytest.approx(spreads, rel=1e-3)
    page.mouse.click(x, y)
    page.mouse.move(2, 2)
    page.click(".da-page-trajectory .da-tab[data-view=film]")
    page.wait_for_selector(f".da-sheet[data-layer='{two}'] [data-index='2'] .da-frame[aria-pressed=true]")
    page.click(".da-page-trajectory .da-tab[data-view=curves]")

    page.focus(FIGURE)
    page.keyboard.press("ArrowRight")
    told = page.locator(f"{FIGURE} [role=status]")
    told.filter(has_text="Step 4.").wait_for(state="attached")
    assert f"Norm: {found[two]['norm']['y'][4]:.4g}" in told.text_content()
    page.keyboard.press("ArrowUp")
    told.filter(has_text=f"Norm: {found[one]['norm']['y'][4]:.4g}").wait_for(state="attached")
    assert page.evaluate("drawings") == 0
    assert page.problems == []


def test_names_are_text_and_nothing_is_offered_to_be_sent(open_page: Any, tmp_path: Path) -> None:
    page = open_page()
    look_at_curves(page, 8)
    hostile = "<a href='https://foreign.example'>x</a> <b>a red circle</b>"
    run_id = run(page, prompt=hostile, seed=25, num_inference_steps=2)
    lock(page)
    other = run(page, prompt="a red circle", seed=25, num_inference_steps=2)
    settled(page, run_id, other)
    assert hostile in page.inner_text(".da-page-trajectory .da-legend")
    assert page.locator(f"{FIGURE} a").count() == 0
    assert page.locator(".da-page-trajectory .modebar-btn").count() == 0
    assert page.evaluate(f"document.querySelector('{STAGE}')._context.showSendToCloud") is False
    with page.expect_download() as kept:
        page.click(".da-page-trajectory .da-curves .da-figure-files button:has-text('SVG')")
    kept.value.save_as(tmp_path / "curves.svg")
    words = (tmp_path / "curves.svg").read_text()
    assert "Curves of 2 runs" in words
    assert "By step; step 0 is the initial noise" in words
    assert "&#60;a href" in words
    assert not re.search(r"<a\b", words)
    assert page.problems == []


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("**/plotly.min.js", "What draws the charts could not be fetched"),
        ("**/component_server/**", "did not answer"),
    ],
)
def test_what_cannot_be_had_is_said_and_comes_with_the_next_look(
    open_page: Any, address: str, words: str
) -> None:
    page = open_page()
    run_id = run(page, prompt="a red circle", seed=26, num_inference_steps=2)
    page.route(address, lambda route: route.abort())
    page.click(".da-page-trajectory .da-tab[data-view=curves]")
    page.locator(".da-page-trajectory .da-curves-message", has_text=words).wait_for()
    page.unroute(address)
    page.click(".da-page-trajectory .da-tab[data-view=film]")
    page.click(".da-page-trajectory .da-tab[data-view=curves]")
    settled(page, run_id)
    assert page.locator(".da-page-trajectory .da-curves-message").is_hidden()
