"""Curves: what was measured of each state of a path, a chart for each measure and a line for each run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from diffatlas import measured
from diffatlas.figures.figure import Figure, figure, text
from diffatlas.figures.layers import Layer, layers_of
from diffatlas.figures.panels import lay_out, say_absent
from diffatlas.figures.template import dash, ground
from diffatlas.glossary import term
from diffatlas.measured import State, finite

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
_METRICS = {metric.name: metric for metric in measured.SHOWN}
ABOUT = "By step; step 0 is the initial noise. Gold is the start of a curve, burgundy its end."


def curves(
    runs: Any,
    names: Sequence[str] | None = None,
    colours: Sequence[str] | None = None,
    dark: bool = False,
    across: int = ACROSS,
) -> Figure:
    """Return the charts of `CHARTS` by state: state 0 is the initial noise x_T, state k what step k has made of it.

    runs: a run or several, as `diffatlas.figures.layers.layers_of` takes them with their names and colours. Of a batch
    the first image. The numbers are those of `diffatlas.measured.states`; what a run does not tell is not drawn.
    across: charts in a row.
    """
    layers = layers_of(runs, names, colours, dark)
    states = [measured.states(layer.run) for layer in layers]
    title = layers[0].name if len(layers) == 1 else f"Curves of {len(layers)} runs"
    made = figure("curves", title, ABOUT, _spoken(layers, states), dark)
    titles = [term(name).name + (", degrees" if _METRICS[name].unit else "") for name in CHARTS]
    for name, axes in zip(CHARTS, lay_out(made, titles, across), strict=True):
        drawn = [
            _draw(made, axes, layer, own, name, place if len(layers) > 1 else 0, dark)
            for place, (layer, own) in enumerate(zip(layers, states, strict=True))
        ]
        if not any(drawn):
            say_absent(made, axes, _METRICS[name].absent)
    made.update_layout(showlegend=len(layers) > 1)
    return made


def _draw(
    made: Figure,
    axes: dict[str, str],
    layer: Layer,
    states: Sequence[State],
    name: str,
    place: int,
    dark: bool,
) -> bool:
    """Draw one run's line, and its ends; return whether anything of it is known."""
    values = [finite(state.metrics[name]) for state in states]
    known = [k for k, value in enumerate(values) if value is not None]
    if not known:
        return False
    steps = [state.step for state in states]
    unit = _METRICS[name].unit
    made.add_trace(
        go.Scatter(
            x=steps,
            y=values,
            mode="lines",
            name=text(layer.name),
            legendgroup=str(place),
            showlegend=name == CHARTS[0],
            line={"color": layer.colour, "width": 1.6, "dash": dash(place)},
            hovertemplate=f"%{{y:.4g}}{unit}<extra>{text(layer.name)}</extra>",
            meta={"run": layer.run.id, "metric": name},
            **axes,
        )
    )
    on = ground(dark)
    ends = (known[0], known[-1])
    made.add_trace(
        go.Scatter(
            x=[steps[k] for k in ends],
            y=[values[k] for k in ends],
            mode="markers",
            marker={"size": 6, "color": [on.gold, on.burgundy]},
            legendgroup=str(place),
            showlegend=False,
            hoverinfo="skip",
            meta={"run": layer.run.id, "metric": name, "ends": True},
            **axes,
        )
    )
    return True


def _spoken(layers: Sequence[Layer], states: Sequence[Sequence[State]]) -> str:
    """Return where each run's distance to its end begins, and how long its steps are: what one would read first."""
    told = []
    for layer, own in zip(layers, states, strict=True):
        lengths = [finite(state.metrics["step_length"]) for state in own]
        found = [(value, k) for k, value in enumerate(lengths) if value is not None]
        if found:
            value, step = max(found)
            told.append(
                f"{layer.name}: {len(own) - 1} steps, the longest of {value:.3g} at step {own[step].step}."
            )
        else:
            told.append(f"{layer.name}: {len(own) - 1} steps.")
    return " ".join(told)
