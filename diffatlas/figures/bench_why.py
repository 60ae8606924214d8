"""Why did it fail: how failing images of a bench differ from passing ones of the same prompt, measure by measure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from diffatlas.bench.statistics.words import p_words
from diffatlas.bench.why.gathered import Line, Why
from diffatlas.bench.why.measured import MeasuredPrompt
from diffatlas.bench.why.sentences import LEVEL, number
from diffatlas.figures.bench_rows import SHARES, WHOLE, Rows, lay_rows, note, one_chart, write
from diffatlas.figures.figure import Figure, figure, text, wrapped
from diffatlas.figures.log_axis import segments
from diffatlas.figures.panels import AXIS_TITLE, lay_out, say_absent
from diffatlas.figures.template import ground

SIZE, OFTEN = "By how much: right is larger when failing", "How often it is larger when failing"
UNTOLD, NO_SPREAD = "cannot be told", "images of a prompt are not spread"
#: Pixels of the chart of one measure, and letters of a measure's name at most.
ONE, LETTERS = 380, 36
#: Intervals are drawn to so many deviations, or a little beyond the farthest difference.
REACH = 3.0
ABOUT = (
    "By how much: in standard deviations of such images. How often: in how many of all pairs of a failing and a "
    "passing image of a prompt the failing one has the larger number. Lines are intervals over prompts. A whole mark "
    "is more than chance (p ≤ 0.05 after Holm’s adjustment), an open one may be chance."
)
JOINED = (
    "A line is a prompt: the mean of its passing images joined with that of its failing ones. The thick line is the "
    "mean difference. Open marks are prompts with one verdict alone, which tell nothing of it."
)
SIDES = (("passing", False, 0.0), ("failing", True, 1.0))


def bench_why(found: Why, dark: bool = False, across: int = 2) -> Figure:
    """Return the measures of a bench, a row each: how much failing images differ from passing ones, and how often.

    found: of `diffatlas.bench.why.why`. across: charts in a row, 1 or 2::

        figures.bench_why(why(list(measure(cases))))
    """
    told = [f"{found.method} {ABOUT}", found.groups]
    spoken = " ".join((found.method, *(line.sentence for line in found.lines), found.groups))
    title = f"Why did it fail: {found.failing} failing images of {found.failing + found.passing}"
    made = figure("bench_why", title, " ".join(told), spoken, dark)
    write(made, told)
    rows = Rows(tuple(line.measure.name for line in found.lines))
    charts = lay_out(made, [SIZE, OFTEN], across, rows.height, foot=AXIS_TITLE)
    sizes = [line.within.standardised if line.within else None for line in found.lines]
    often = [
        (line.within.larger.value, line.within.larger.low, line.within.larger.high) if line.within else None
        for line in found.lines
    ]
    reach = _reach(sizes)
    step = next(one for one in (0.25, 0.5, 1.0, 2.0, 5.0, reach) if reach <= 4 * one)
    ticks = [k * step for k in range(-int(reach / step), int(reach / step) + 1)]
    lay_rows(made, charts[0], rows, (-reach, reach), ticks, "standard deviations", dark, LETTERS)
    lay_rows(made, charts[1], rows, WHOLE, SHARES, "share of pairs within a prompt", dark, LETTERS)
    for axes, values, middle, key in zip(charts, (sizes, often), (0.0, 0.5), ("size", "often"), strict=True):
        _intervals(made, axes, found.lines, rows, values, middle, key, dark)
    made.update_layout(hovermode="closest", margin_l=12)
    return made


def bench_why_measure(found: Why, key: str, dark: bool = False) -> Figure:
    """Return the numbers of one measure by verdict: a line a prompt, from its passing to its failing images.

    key: of `diffatlas.bench.why.MEASURES`. Raises `InvalidParams` for another::

        figures.bench_why_measure(found, "guidance_angle")
    """
    line = found.line(key)
    means = list(_means(found.measured, key))
    told = [line.sentence, f"{line.measure.about} {line.measure.tells}", JOINED]
    made = figure("bench_why_measure", line.measure.name, " ".join(told), line.sentence, dark)
    write(made, told)
    axes = one_chart(made, ONE, True)
    if not means:
        say_absent(made, axes, "No judged image has this number.")
        return made
    _joined(made, axes, line, [one for one in means if one.both], dark)
    _alone(made, axes, line, [one for one in means if not one.both], dark)
    unit = f", {line.measure.unit}" if line.measure.unit else ""
    made.update_layout(
        margin_l=58,
        xaxis={"range": [-0.45, 1.45], "tickvals": [0, 1], "ticktext": [name for name, _, _ in SIDES]},
        yaxis_title_text=text(f"{line.measure.name}{unit}"),
    )
    return made


@dataclass(frozen=True)
class _Means:
    """The means of a prompt's passing and failing images; None where it has none of a verdict."""

    prompt: str
    passing: float | None
    failing: float | None

    @property
    def both(self) -> bool:
        return self.passing is not None and self.failing is not None


def _means(measured: Iterable[MeasuredPrompt], key: str) -> Iterable[_Means]:
    for one in measured:
        numbers = one.numbers(key)
        sides = [
            [
                value
                for case, value in zip(one.cases, numbers, strict=True)
                if case.failed is failed and not isinstance(value, str)
            ]
            for _, failed, _ in SIDES
        ]
        passing, failing = (float(np.mean(side)) if side else None for side in sides)
        if passing is not None or failing is not None:
            yield _Means(one.cases[0].task.prompt, passing, failing)


def _intervals(
    made: Figure,
    axes: dict[str, str],
    lines: Sequence[Line],
    rows: Rows,
    values: Sequence[tuple[float, float, float] | None],
    middle: float,
    key: str,
    dark: bool,
) -> None:
    """Draw a chart: its middle, an interval and a mark for each line, and words where there is neither."""
    on = ground(dark)
    made.add_shape(
        type="line",
        x0=middle,
        x1=middle,
        y0=0,
        y1=1,
        xref=axes["xaxis"],
        yref=f"{axes['yaxis']} domain",
        line={"color": on.muted, "width": 1.2},
        layer="below",
    )
    known = [(rows.at(row), lines[row], value) for row, value in enumerate(values) if value is not None]
    sure = [_sure(line) for _, line, _ in known]
    made.add_trace(
        go.Scatter(
            x=segments((low, high) for _, _, (_, low, high) in known),
            y=segments((at, at) for at, _, _ in known),
            mode="lines",
            line={"color": on.ink, "width": 1.6},
            showlegend=False,
            hoverinfo="skip",
            meta={"measure": key, "part": "interval"},
            **axes,
        )
    )
    made.add_trace(
        go.Scatter(
            x=[value for _, _, (value, _, _) in known],
            y=[at for at, _, _ in known],
            mode="markers",
            marker={
                "size": 9,
                "color": [on.burgundy if one else on.paper for one in sure],
                "line": {"color": [on.burgundy if one else on.ink for one in sure], "width": 1.6},
            },
            showlegend=False,
            cliponaxis=False,
            customdata=[line.measure.key for _, line, _ in known],
            hovertext=[_told(line) for _, line, _ in known],
            hovertemplate="%{hovertext}<extra></extra>",
            meta={"measure": key, "part": "value"},
            **axes,
        )
    )
    for row, value in enumerate(values):
        if value is None:
            words = UNTOLD if lines[row].within is None else NO_SPREAD
            note(made, axes, rows.at(row), words, on.muted, 11)


def _sure(line: Line) -> bool:
    return line.adjusted is not None and line.adjusted <= LEVEL


def _told(line: Line) -> str:
    """The words of a mark: its sentence, and the numbers that are drawn."""
    within = line.within
    size = within.standardised
    told = [wrapped(line.sentence, 70)]
    if size is not None:
        told.append(f"{size[0]:.2f} deviations ({size[1]:.2f} to {size[2]:.2f})")
    told.append(f"larger when failing in {within.larger.value:.0%} of pairs")
    told.append(f"{p_words(within.p)}, adjusted {p_words(line.adjusted)}")
    return "<br>".join([told[0], *(text(one) for one in told[1:])])


def _reach(sizes: Sequence[tuple[float, float, float] | None]) -> float:
    """How far the axis of deviations reaches either way."""
    known = [size for size in sizes if size is not None]
    ends = max((abs(end) for size in known for end in size), default=1.0)
    marks = max((abs(size[0]) for size in known), default=0.0)
    return max(0.5, min(1.08 * ends, max(REACH, 1.3 * marks)))


def _joined(made: Figure, axes: dict[str, str], line: Line, means: Sequence[_Means], dark: bool) -> None:
    """Draw the prompts with both verdicts, and the mean difference."""
    on = ground(dark)
    made.add_trace(
        go.Scatter(
            x=segments((0, 1) for _ in means),
            y=segments((one.passing, one.failing) for one in means),
            mode="lines",
            line={"color": on.muted, "width": 1},
            opacity=0.7,
            showlegend=False,
            hoverinfo="skip",
            meta={"measure": line.measure.key, "part": "prompts"},
            **axes,
        )
    )
    for name, failed, x in SIDES:
        made.add_trace(
            _marks(
                axes,
                line,
                [x] * len(means),
                [one.failing if failed else one.passing for one in means],
                [one.prompt for one in means],
                {
                    "size": 8,
                    "color": on.burgundy if failed else on.ink,
                    "symbol": "diamond" if failed else "circle",
                },
                f"mean of {name} images",
                f"{name} mean",
            )
        )
    if line.within is not None and means:
        low = float(np.mean([one.passing for one in means]))
        made.add_trace(
            go.Scatter(
                x=[0, 1],
                y=[low, low + line.within.difference],
                mode="lines",
                line={"color": on.gold, "width": 4},
                name="mean difference",
                hoverinfo="skip",
                meta={"measure": line.measure.key, "part": "difference"},
                **axes,
            )
        )


def _alone(made: Figure, axes: dict[str, str], line: Line, means: Sequence[_Means], dark: bool) -> None:
    """Draw the prompts with one verdict alone, a little outside."""
    on = ground(dark)
    for name, failed, x in SIDES:
        own = [one for one in means if (one.failing if failed else one.passing) is not None]
        if own:
            made.add_trace(
                _marks(
                    axes,
                    line,
                    [x + (0.16 if failed else -0.16)] * len(own),
                    [one.failing if failed else one.passing for one in own],
                    [one.prompt for one in own],
                    {
                        "size": 7,
                        "color": on.burgundy if failed else on.ink,
                        "symbol": "diamond-open" if failed else "circle-open",
                        "line": {"width": 1.2},
                    },
                    f"prompt with {name} images alone",
                    f"{name} alone",
                )
            )


def _marks(
    axes: dict[str, str],
    line: Line,
    x: Sequence[float],
    y: Sequence[float | None],
    prompts: Sequence[str],
    marker: dict[str, Any],
    name: str,
    part: str,
) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        marker=marker,
        name=name,
        hovertext=[
            f"{wrapped(prompt, 60)}<br>{text(number(line.measure, v))}"
            for prompt, v in zip(prompts, y, strict=True)
        ],
        hovertemplate=f"%{{hovertext}}<extra>{name}</extra>",
        meta={"measure": line.measure.key, "part": part},
        **axes,
    )
