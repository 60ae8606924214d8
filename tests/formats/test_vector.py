"""Figures as vectors in the report: what is drawn is what the figure says."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from reportlab.graphics import renderPDF
from reportlab.graphics.shapes import Circle, Drawing, Polygon, PolyLine, Rect, String

from diffatlas import look
from diffatlas.figures.figure import Figure, figure
from diffatlas.figures.panels import lay_out, say_absent
from diffatlas.formats.report.vector import LEFT, RIGHT, draw
from diffatlas.formats.report.vector_axes import ticks
from diffatlas.formats.report.vector_ink import ink, scaled, words_of

WIDE, TALL = 200.0, 100.0


def made(*traces: Any, **layout: Any) -> Figure:
    """Return a figure of one chart."""
    one = figure("test", "A chart", "")
    for axes in lay_out(one, ["<i>Chart</i> & more"], 1):
        one.add_traces([trace.update(**axes) for trace in traces])
    one.update_layout(**layout)
    return one


def drawn(one: Figure, kind: type) -> list[Any]:
    return [shape for shape in draw(one, WIDE, TALL, 1).contents if isinstance(shape, kind)]


def strings(one: Figure) -> list[str]:
    return [shape.text for shape in drawn(one, String)]


def test_a_line_lies_where_its_values_are() -> None:
    x, y = [0.0, 1.0, 3.0], [2.0, 4.0, 3.0]
    (line,) = drawn(
        made(go.Scatter(x=x, y=y, mode="lines", line={"color": "#123456", "dash": "dash"})), PolyLine
    )
    points = np.reshape(line.points, (-1, 2))
    assert np.ptp(np.diff(points[:, 0]) / np.diff(x)) < 1e-9
    assert np.ptp(np.diff(points[:, 1]) / np.diff(y)) < 1e-9
    assert points[:, 0].min() > LEFT
    assert points[:, 0].max() < WIDE - RIGHT
    assert line.strokeColor.hexval() == "0x123456"
    assert line.strokeDashArray


def test_a_line_breaks_where_a_value_is_missing() -> None:
    trace = go.Scatter(x=[0, 1, 2, 3, 4], y=[1.0, 2.0, None, 3.0, float("nan")], mode="lines")
    assert [len(line.points) // 2 for line in drawn(made(trace), PolyLine)] == [2]


def test_points_have_their_own_colours_sizes_and_symbols() -> None:
    marker = {
        "color": ["#aa0000", "#00aa00", "#0000aa"],
        "size": [4, 8, 8],
        "symbol": ["circle", "square", "circle-open"],
    }
    one = made(go.Scatter(x=[0, 1, 2], y=[0, 1, 2], mode="markers", marker=marker))
    filled, hollow = drawn(one, Circle)
    assert filled.fillColor.hexval() == "0xaa0000"
    assert hollow.fillColor is None
    assert hollow.strokeColor.hexval() == "0x0000aa"
    assert hollow.r == 2 * filled.r
    assert [square.fillColor.hexval() for square in drawn(one, Polygon)] == ["0x00aa00"]


def test_a_map_keeps_the_proportions_of_distances() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=8) * 5, rng.normal(size=8)
    one = made(go.Scatter(x=x, y=y, mode="markers"))
    one.update_yaxes(scaleanchor="x")
    dots = drawn(one, Circle)
    across, up = np.array([dot.cx for dot in dots]), np.array([dot.cy for dot in dots])
    assert np.ptp(across) / np.ptp(x) == pytest.approx(np.ptp(up) / np.ptp(y))


def test_a_heat_map_has_a_cell_for_each_known_value_in_the_colour_of_its_scale() -> None:
    z = [[0.0, 1.0, None], [0.25, 0.5, 1.0]]
    one = made(go.Heatmap(z=z, x=["a", "b", "c"], y=["first", "second"]))
    cells = drawn(one, Rect)
    assert [cell.fillColor.hexval() for cell in cells] == [
        ink(scaled(None, value)).colour.hexval() for value in (0, 1, 0.25, 0.5, 1)
    ]
    assert cells[0].fillColor.hexval() == "0x" + look.RAMP[0][1:]
    assert {"a", "b", "c", "first", "second"} <= set(strings(one))
    assert cells[0].y < cells[3].y
    one.update_yaxes(autorange="reversed")
    cells = drawn(one, Rect)
    assert cells[0].y > cells[3].y


def test_a_bar_stands_on_zero() -> None:
    bars = drawn(made(go.Bar(x=[0, 1, 2], y=[1.0, -2.0, 3.0])), Rect)
    assert bars[0].y == pytest.approx(bars[1].y + bars[1].height) == pytest.approx(bars[2].y)
    assert bars[2].height == pytest.approx(3 * bars[0].height)
    assert bars[0].x + bars[0].width < bars[1].x


def test_texts_are_what_they_say() -> None:
    one = made(go.Scatter(x=[0, 1], y=[0, 1]))
    assert "<i>Chart</i> & more" in strings(one)
    assert words_of("<b>a &lt;b&gt; &amp; c</b><br>d") == "a <b> & c d"
    absent = figure("test", "t", "")
    for axes in lay_out(absent, ["Empty"], 1):
        say_absent(absent, axes, "Guidance was <off>.")
    assert strings(absent) == ["Empty", "Guidance was <off>."]


def test_marks_lie_on_their_axes() -> None:
    one = made(go.Scatter(x=[0, 10], y=[0, 1], mode="markers"))
    one.add_shape(type="line", xref="x", yref="y domain", x0=5, x1=5, y0=0, y1=1, line={"color": "#ff0000"})
    one.add_shape(
        type="rect", xref="x", yref="y domain", x0=0, x1=10, y0=0, y1=1, fillcolor="rgba(0, 255, 0, 0.25)"
    )
    left, right = sorted(dot.cx for dot in drawn(one, Circle))
    (band,) = drawn(one, Rect)
    assert (band.x, band.x + band.width) == pytest.approx((left, right))
    assert band.fillOpacity == 0.25
    (rule,) = [
        s
        for s in draw(one, WIDE, TALL, 1).contents
        if getattr(s, "strokeColor", None) == ink("#ff0000").colour
    ]
    assert rule.x1 == rule.x2 == pytest.approx((left + right) / 2)


def test_what_is_behind_a_band_is_seen_in_the_pdf_too() -> None:
    one = made(go.Scatter(x=[0, 1, 1], y=[0, 0, 1], fill="toself", fillcolor="#ff000040", mode="lines"))
    data = io.BytesIO()
    renderPDF.drawToFile(draw(one, WIDE, TALL, 1), data)
    assert re.search(rb"/ca \.25", data.getvalue())


def test_words_stand_on_the_side_that_the_figure_says() -> None:
    sides = ["middle left", "middle right", "top center", "bottom center"]
    trace = go.Scatter(x=[1] * 4, y=[1] * 4, text=list("abcd"), textposition=sides, mode="markers+text")
    one = made(trace)
    dot = drawn(one, Circle)[0]
    at = {shape.text: shape for shape in drawn(one, String) if shape.text in "abcd"}
    assert at["a"].x < dot.cx - dot.r < dot.cx + dot.r < at["b"].x
    assert (at["a"].textAnchor, at["b"].textAnchor, at["c"].textAnchor) == ("end", "start", "middle")
    assert at["d"].y < dot.cy - dot.r < dot.cy + dot.r < at["c"].y


def test_a_logarithmic_axis_is_even_in_powers_of_ten() -> None:
    one = made(go.Scatter(x=[1, 2, 3, 4], y=[0.1, 1.0, 100.0, 0.0], mode="markers"))
    one.update_yaxes(type="log", range=[-2, 3], tickvals=[0.01, 1, 100], ticktext=["0.01", "1", "100"])
    ups = [dot.cy for dot in drawn(one, Circle)]
    assert len(ups) == 3, "0 has no place on it"
    assert ups[2] - ups[1] == pytest.approx(2 * (ups[1] - ups[0]))
    assert {"0.01", "1", "100"} <= set(strings(one))


def test_a_legend_has_each_name_once_and_fits() -> None:
    traces = [go.Scatter(x=[0, 1], y=[k, k], name=f"the name of line {k}", mode="lines") for k in range(9)]
    one = made(*traces)
    found = [shape for shape in drawn(one, String) if shape.text.startswith("the name")]
    assert [shape.text for shape in found] == [f"the name of line {k}" for k in range(9)]
    assert max(shape.x + 3.75 * len(shape.text) for shape in found) < WIDE
    tall = draw(one, WIDE, TALL, 1)
    assert isinstance(tall, Drawing)
    assert max(shape.y for shape in found) < tall.height
    assert "the name" not in " ".join(strings(made(*traces, showlegend=False)))


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 1, [0, 0.5, 1]),
        (26.1, 32.2, [28, 30, 32]),
        (-3.0, 4.5, [-2, 0, 2, 4]),
        (2, 2, [2]),
        (0, 30, [0, 10, 20, 30]),
    ],
)
def test_ticks_are_round(low: float, high: float, wanted: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(wanted)
