"""Curves: what was measured of each state of a path, a chart for each measure and a line for each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from diffatlas import measured
from diffatlas.errors import InvalidParams
from diffatlas.figures.figure import Figure, figure, text
from diffatlas.figures.layers import layers_of
from diffatlas.figures.panels import READING, lay_out, panel_axes, say_absent
from diffatlas.figures.template import dash, ground
from diffatlas.glossary import term
from diffatlas.measured import State, finite
from diffatlas.run import Run

#: The measures that have a chart, in their order.
CHARTS = (
    "distance_to_end",
    "step_length",
    "guidance_norm",
    "guidance_angle",
    "norm",
    "std",
    "cosine_to_start",
    "cosine_to_end",
)
ACROSS = 4
#: What may be on the horizontal axis: the number of steps, or the share of the run that they are.
ALONG = ("step", "progress")
_METRICS = {metric.name: metric for metric in measured.SHOWN}
_AT_THE_END = {metric.name for metric in measured.FINAL_METRICS}
ABOUT = {
    "step": "By step; step 0 is the initial noise. Gold is the start of a curve, burgundy its end.",
    "progress": "By share of the run; 0% is the initial noise. Gold is the start of a curve, burgundy its end.",
}


@dataclass(frozen=True)
class Line:
    """A run as a line of each chart. ``total``: the steps that it was to take. ``running``: more states will come."""

    run: str
    name: str
    colour: str
    states: Sequence[State]
    total: int
    running: bool = False

    @classmethod
    def of(cls, run: Run, name: str, colour: str) -> Line:
        """Return a run's line."""
        found = measured.states(run)
        return cls(
            run.id, name, colour, found, max(run.total_steps or 0, len(found) - 1), run.status == "running"
        )

    def places(self, along: str) -> list[float]:
        """Return where each state lies on the horizontal axis."""
        steps = [state.step for state in self.states]
        return steps if along == "step" else [100 * step / max(self.total, 1) for step in steps]


def curves(
    runs: Any,
    names: Sequence[str] | None = None,
    colours: Sequence[str] | None = None,
    dark: bool = False,
    across: int = ACROSS,
    along: str = "step",
) -> Figure:
    """Return the charts of `CHARTS` by state: state 0 is the initial noise x_T, state k what step k has made of it.

    runs: a run or several, as `diffatlas.figures.layers.layers_of` takes them with their names and colours. Of a batch
    the first image. The numbers are those of `diffatlas.measured.states`; what a run does not tell is not drawn.
    across: charts in a row.
    along: one of `ALONG`. "progress" lays runs of different lengths over each other: 0 to 100 percent of the steps.

    Raises `InvalidParams` for another ``along``.
    """
    layers = layers_of(runs, names, colours, dark)
    lines = [Line.of(layer.run, layer.name, layer.colour) for layer in layers]
    made = frame(lines, dark, across, along)
    made.add_traces(traces(lines, dark, along))
    return made


def frame(
    lines: Sequence[Line], dark: bool = False, across: int = ACROSS, along: str = "step", readings: int = 0
) -> Figure:
    """Return the figure of `curves` without its `traces`: axes, titles, sentences.

    readings: lines of text that are written beneath each title by who shows it. The layout's ``meta`` has the terms and
        units of the charts, ``panels``, and the pixels of these lines, ``reading``.
    """
    if along not in ALONG:
        raise InvalidParams(f"The axis cannot be {along!r}: choose one of {', '.join(ALONG)}.", field="along")
    title = lines[0].name if len(lines) == 1 else f"Curves of {len(lines)} runs"
    made = figure("curves", title, ABOUT[along], _spoken(lines), dark)
    own = {
        "panels": [{"key": name, "name": term(name).name, "unit": _METRICS[name].unit} for name in CHARTS],
        "along": along,
        "reading": readings * READING,
    }
    made.layout.meta = {**made.layout.meta, **own}
    most = 100 if along == "progress" else max([1, *(line.total for line in lines)])
    titles = [term(name).name + (", degrees" if _METRICS[name].unit else "") for name in CHARTS]
    for name, axes in zip(CHARTS, lay_out(made, titles, across, readings=readings), strict=True):
        axis = made.layout[f"xaxis{axes['xaxis'][1:]}"]
        axis.update(range=[-0.03 * most, 1.03 * most], ticksuffix="%" if along == "progress" else "")
        if not any(_is_drawn(line, name) for line in lines):
            say_absent(made, axes, _absence(lines, name))
    made.update_layout(showlegend=len(lines) > 1)
    return made


def traces(lines: Sequence[Line], dark: bool = False, along: str = "step") -> list[go.Scatter]:
    """Return what `curves` draws: for each chart and run its line, then the two ends of it.

    Of a run that goes on, the lines that its next steps continue are there though they may be empty.
    """
    return [
        trace
        for name, axes in zip(CHARTS, panel_axes(len(CHARTS)), strict=True)
        for place, line in enumerate(lines)
        if _is_drawn(line, name)
        for trace in _traces(line, name, place if len(lines) > 1 else 0, axes, dark, along)
    ]


def _is_drawn(line: Line, name: str) -> bool:
    if line.running:
        return name not in _AT_THE_END
    return any(finite(state.metrics[name]) is not None for state in line.states)


def _absence(lines: Sequence[Line], name: str) -> str:
    if name in _AT_THE_END and any(line.running for line in lines):
        return measured.AT_THE_END
    return _METRICS[name].absent


def _traces(
    line: Line, name: str, place: int, axes: dict[str, str], dark: bool, along: str
) -> list[go.Scatter]:
    values = [finite(state.metrics[name]) for state in line.states]
    places = line.places(along)
    known = [k for k, value in enumerate(values) if value is not None]
    ends = (known[0], known[-1]) if known else ()
    on = ground(dark)
    return [
        go.Scatter(
            x=places,
            y=values,
            mode="lines",
            name=text(line.name),
            legendgroup=str(place),
            showlegend=name == CHARTS[0],
            line={"color": line.colour, "width": 1.6, "dash": dash(place)},
            hovertemplate=f"%{{y:.4g}}{_METRICS[name].unit}<extra>{text(line.name)}</extra>",
            meta={"line": line.run, "measure": name},
            **axes,
        ),
        go.Scatter(
            x=[places[k] for k in ends],
            y=[values[k] for k in ends],
            mode="markers",
            marker={"size": 6, "color": [on.gold, on.burgundy]},
            legendgroup=str(place),
            showlegend=False,
            hoverinfo="skip",
            meta={"line": line.run, "measure": name, "ends": True},
            **axes,
        ),
    ]


def _spoken(lines: Sequence[Line]) -> str:
    """Return how many steps each run has, and the longest of them: what one would read first."""
    told = []
    for line in lines:
        lengths = [finite(state.metrics["step_length"]) for state in line.states]
        found = [(value, k) for k, value in enumerate(lengths) if value is not None]
        count = max(len(line.states) - 1, 0)
        steps = "1 step" if count == 1 else f"{count} steps"
        if found:
            value, k = max(found)
            told.append(f"{line.name}: {steps}, the longest of {value:.3g} at step {line.states[k].step}.")
        else:
            told.append(f"{line.name}: {steps}.")
    return " ".join(told)
