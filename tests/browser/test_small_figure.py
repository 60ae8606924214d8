"""What draws a figure's JSON without plotly.js (``static/figures/svg_pen.js``), against the figure of Python.

It stands in a page that has no app behind it: its files are answered from the folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from diffatlas import figures, look
from diffatlas.attention.trace import AttentionTrace
from diffatlas.bench.counted import differences
from diffatlas.figures.attended import Attended
from diffatlas.figures.attention_curves import draw_curves
from diffatlas.figures.figure import figure
from diffatlas.figures.page_figure import page_figure
from diffatlas.figures.panels import lay_out
from diffatlas.geometry.image_stats import histogram
from tests.attended_runs import WORDS, run_of
from tests.browser.module_page import HOST, STATIC, module_page
from tests.figures.made_benches import drawn

pytestmark = pytest.mark.browser

PAGE = (
    f"<!doctype html><style>{look.variables()}{(STATIC / 'figures/figure.css').read_text()}</style>"
    '<div id="root" style="position: relative; width: 900px"></div>'
)
#: What is chosen is in ``window.chosen``.
CREATE = """async (host) => {
    const { createSmallFigure } = await import(`${host}/figures/small_figure.js`);
    window.chosen = [];
    const onChoose = (line, at) => chosen.push([line, at]);
    window.chart = createSmallFigure(document.getElementById("root"), { onChoose });
}"""


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    with module_page(chromium, PAGE, viewport={"width": 1000, "height": 900}) as page:
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: message.type == "error" and problems.append(message.text))
        page.evaluate(CREATE, HOST)
        yield page
        assert problems == []


def draw(page: Any, drawn: Any) -> None:
    page.evaluate("(figure) => chart.draw(figure)", page_figure({1: drawn}))


def paths(page: Any) -> list[dict[str, str]]:
    """The lines and bars that are drawn, in their order."""
    names = ("d", "stroke", "stroke-dasharray", "fill")
    return page.eval_on_selector_all(
        ".da-svg-figure g[clip-path] > path",
        """(nodes, names) => nodes.map((node) =>
            Object.fromEntries(names.map((name) => [name, node.getAttribute(name)])))""",
        names,
    )


def points(d: str) -> np.ndarray:
    return np.array([[float(v) for v in pair.split(",")] for pair in re.findall(r"[-\d.]+,[-\d.]+", d)])


def is_affine(values: Any, pixels: np.ndarray) -> bool:
    """Whether pixels go evenly with values, to the tenth of a pixel that is written."""
    return bool(np.abs(np.polyval(np.polyfit(values, pixels, 1), values) - pixels).max() < 0.11)


def test_a_band_beneath_the_marks_hides_none_of_them(page: Any) -> None:
    whole, found = differences(drawn(0.3, 1), drawn(0.8, 2))
    draw(page, figures.bench_compared(whole, found))
    order = page.eval_on_selector_all(
        ".da-svg-figure > rect, .da-svg-figure > g[clip-path]", "(nodes) => nodes.map((node) => node.tagName)"
    )
    assert order.count("rect") == 4
    assert order == sorted(order, reverse=True)


@pytest.mark.parametrize("dark", [False, True])
def test_lines_have_the_places_colours_and_dashes_of_the_figure(page: Any, dark: bool) -> None:
    made = figures.attention_divergence(run_of(1, steps=6), run_of(2, steps=6), dark=dark)
    draw(page, made)
    drawn = paths(page)
    lines = [trace for trace in made.data if trace.type == "scatter"]
    assert len(drawn) == len(lines)
    together: list[Any] = [], []
    for path, line in zip(drawn, lines, strict=True):
        assert path["stroke"] == line.line.color
        assert (path["stroke-dasharray"] is None) == (line.line.dash in (None, "solid"))
        at = points(path["d"])
        assert is_affine(line.x, at[:, 0])
        together[0].extend(line.y)
        together[1].extend(at[:, 1])
    assert is_affine(together[0], np.array(together[1]))  # all on one axis
    dashes = [path["stroke-dasharray"] for path in drawn]
    assert len({(path["stroke"], dash) for path, dash in zip(drawn, dashes, strict=True)}) == len(drawn)


def test_squares_have_the_colours_of_the_scale(page: Any) -> None:
    made = figures.attention_divergence(run_of(1, steps=4), run_of(2, steps=4))
    draw(page, made)
    squares = page.eval_on_selector_all(
        ".da-svg-figure g[clip-path] > rect", "nodes => nodes.map((node) => node.getAttribute('fill'))"
    )
    (matrix,) = (trace for trace in made.data if trace.type == "heatmap")
    shares = np.array(matrix.z, float).ravel() / matrix.zmax
    stops = np.array([[int(colour[k : k + 2], 16) for k in (1, 3, 5)] for _, colour in matrix.colorscale])
    places = [place for place, _ in matrix.colorscale]
    wanted = np.stack([np.interp(shares, places, channel) for channel in stops.T], 1)
    found = np.array([[int(v) for v in re.findall(r"\d+", colour)] for colour in squares])
    assert len(found) == len(WORDS) * 4
    assert np.abs(found - wanted).max() <= 1


def test_squares_of_steps_that_lie_apart_reach_half_way_to_each_other(page: Any) -> None:
    made = figures.attention_words(run_of(1, steps=8, every=3))
    assert list(made.data[0].x) == [1, 4, 7]
    told = "nodes => nodes.map((n) => ['x', 'width'].map((name) => Number(n.getAttribute(name))))"
    draw(page, made)
    cells = np.array(page.eval_on_selector_all(".da-svg-figure g[clip-path] > rect", told))[:3]
    # A square is drawn a hair wider than it is, so that no line is seen between two.
    left, right = cells[:, 0], cells[:, 0] + cells[:, 1] - 0.5
    np.testing.assert_allclose(right[:-1], left[1:], atol=0.01)
    across = (right[-1] - left[0]) / 7
    np.testing.assert_allclose((right - left) / across, [2, 3, 2], atol=0.01)
    # What is pointed at is the square that is seen.
    page.evaluate("chart.choose({ x: 4, lines: ['word 0'], line: 'word 0' })")
    ((x, width),) = page.eval_on_selector_all(".da-figure-marks .da-cells-now", told)
    assert [x, x + width] == pytest.approx([left[1], right[1]], abs=0.01)


def test_a_place_is_read_in_every_chart_and_a_row_of_squares_is_a_line(page: Any) -> None:
    a, b = run_of(1, steps=6), run_of(2, steps=6)
    draw(page, figures.attention_divergence(a, b))
    made = figures.attention_divergence(a, b)
    values = {trace.meta["line"]: trace.y for trace in made.data if trace.type == "scatter"}
    page.evaluate("chart.choose({ x: 3, line: 'word 2', lines: ['word 2'] })")
    heads = page.locator(".da-figure-head")
    told = heads.nth(0).locator(".da-readout > span").all_inner_texts()
    assert [text.split()[0] for text in told] == ["circle", "mean"]
    assert float(told[0].split()[1]) == pytest.approx(values["word 2"][2], rel=1e-3)
    assert float(told[1].split()[-2]) == pytest.approx(values["mean"][2], rel=1e-3)
    assert heads.nth(1).locator(".da-readout > span").all_inner_texts() == [told[0]]
    assert page.locator(".da-cells-chosen").count() == 1
    # Keys go on from there, and a click on a square chooses its word and step.
    page.focus(".da-figure")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("chosen.pop()") == ["word 2", 3]
    row = page.locator(".da-svg-figure g[clip-path] > rect").nth(4 * 6 + 1)
    row.click(force=True)
    assert page.evaluate("chosen.pop()") == ["word 4", 1]


def test_what_is_not_known_breaks_a_line_and_is_said(page: Any) -> None:
    trace = AttentionTrace.of(run_of(1, steps=4))
    draw(page, draw_curves(Attended("one", "1", trace), trace.measures, read=True))
    # Reallocation has no first step.
    page.evaluate("chart.choose({ x: 1, lines: [] })")
    assert page.inner_text("[data-metric=attention_kl] .da-readout").strip() == "–"
    made = figure("gaps", "Gaps", "")
    (axes,) = lay_out(made, ["one"], 1)
    made.add_trace(go.Scatter(x=[1, 2, 3, 4, 5], y=[1, None, 2, 3, None], line={"color": "#123456"}, **axes))
    draw(page, made)
    (path,) = paths(page)
    assert path["d"].count("M") == 2
    draw(page, figures.attention_curves(run_of(1, steps=1)))
    assert "There is one captured step" in page.inner_text(".da-figure-stage")


def test_bars_stand_on_a_linear_and_on_a_logarithmic_axis(page: Any) -> None:
    pixels = (np.random.default_rng(3).random((40, 40, 3)) ** 3 * 255).astype(np.uint8)
    draw(page, figures.picture_values(pixels))
    counts = histogram(pixels)

    def tops(path: dict[str, str]) -> np.ndarray:
        return np.array([float(v) for v in re.findall(r"V([-\d.]+)H", path["d"])])

    for button, scale in (("linear", lambda v: v), ("log", np.log10)):
        page.click(f".da-figure-choices button:has-text('{button}')")
        page.wait_for_selector(f".da-figure-choices [aria-pressed=true]:has-text('{button}')")
        drawn = paths(page)
        assert len(drawn) == 4
        for path, own in zip(drawn[:3], counts, strict=False):
            assert is_affine(scale(own[own > 0].astype(float)), tops(path))
    # A bin is read where one points, in all channels that are shown.
    box = page.locator(".da-figure-stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    told = page.locator(".da-readout > span").all_inner_texts()
    k = int(told[0].split()[0]) // 4
    assert [int(text) for text in told[1:]] == counts[:, k].tolist()
    page.click(".da-figure-entry:has-text('green')")
    assert len(paths(page)) == 3
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2 + 1)
    told = page.locator(".da-readout > span").all_inner_texts()
    assert [int(text) for text in told[1:]] == counts[[0, 2, 3], k].tolist()


def test_titles_and_names_are_text(page: Any) -> None:
    made = figure("plain", "<b>x</b>", "<i>says</i>")
    (axes,) = lay_out(made, ["<img src=x onerror=alert(1)>"], 1)
    for name in ("&lt;b&gt;one", "two"):
        made.add_trace(go.Scatter(x=[1, 2], y=[1, 2], name=name, line={"color": "#123456"}, **axes))
    draw(page, made)
    assert page.locator("img").count() == 0
    assert "<b>one" in page.inner_text(".da-figure-legend")
    assert page.inner_text(".da-figure-head") == "<img src=x onerror=alert(1)>"
