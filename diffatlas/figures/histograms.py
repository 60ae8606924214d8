"""Histograms: how the values of the latents are distributed at some states of a path, beside a normal distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.figures.figure import Figure, figure
from diffatlas.figures.layers import Layer, layers_of
from diffatlas.figures.panels import lay_out, say_absent
from diffatlas.figures.template import ground
from diffatlas.geometry.path import mean, std
from diffatlas.geometry.values import densities, normal_density, value_counts

#: States that are shown unless others are asked for, at most.
SHOWN = 6
ACROSS = 3
#: Equal bins of a chart, and points of the curve over them.
BINS, POINTS = 48, 97
ABOUT = (
    "How the values of the latents are distributed, all channels and places together. Dashed is the normal density of "
    "the same mean and standard deviation. Each chart has its own axes."
)
NOT_KEPT = "The latents of this state were not kept."
NO_NUMBERS = "These latents are no numbers (NaN or infinity)."


def histograms(run: Any, steps: Sequence[int] | None = None, dark: bool = False) -> Figure:
    """Return a chart for each of some states: 0 is the initial noise x_T, k what step k has made of it.

    run: as `diffatlas.figures.layers.run_of` takes it; of a batch the first image. steps: the states; without them the
    first, the last, and up to four evenly between. Bars are densities, whose area is 1, of `BINS` equal bins
    (`diffatlas.geometry.values.value_counts`); each says its count.

    Raises `InvalidParams` for a state that the run has not, and `CapabilityError` where no latents were kept.
    """
    (layer,) = layers_of(run, dark=dark)
    states = {0: layer.run.initial_latents, **{s.index + 1: s.latents for s in layer.run.steps}}
    if all(state is None for state in states.values()):
        raise CapabilityError(
            f"The latents of {layer.name} were not kept: capture it again with Capture(latents=True)."
        )
    chosen = _chosen(list(states), steps)
    spoken = " ".join(_spoken(step, states[step]) for step in chosen)
    made = figure("histograms", layer.name, ABOUT, spoken, dark)
    titles = [_title(step, states[step]) for step in chosen]
    listed = False
    for step, axes in zip(chosen, lay_out(made, titles, min(ACROSS, len(chosen))), strict=True):
        state = states[step]
        if state is None or not np.isfinite(state[0]).all():
            say_absent(made, axes, NOT_KEPT if state is None else NO_NUMBERS)
            continue
        _draw(made, axes, layer, step, state[:1], max(states), not listed, dark)
        listed = True
    made.update_layout(bargap=0, hovermode="closest")
    return made


def _chosen(there: Sequence[int], steps: Sequence[int] | None) -> list[int]:
    if steps is None:
        places = np.linspace(0, len(there) - 1, min(SHOWN, len(there)))
        return [there[round(place)] for place in places]
    if not len(steps):
        raise InvalidParams("No state was chosen: give at least one.", field="steps")
    for step in steps:
        if step not in there:
            raise InvalidParams(
                f"This run has no state {step!r}: its states are 0, the noise, to {there[-1]}.", field="steps"
            )
    return list(dict.fromkeys(steps))


def _draw(
    made: Figure,
    axes: dict[str, str],
    layer: Layer,
    step: int,
    state: np.ndarray,
    last: int,
    listed: bool,
    dark: bool,
) -> None:
    """Draw the bars of a state (1, ...), and the normal density over them."""
    on = ground(dark)
    counts, edges = value_counts(state, BINS)
    heights = densities(counts, edges)
    name = _name(step)
    meta = {"run": layer.run.id, "step": step}
    made.add_trace(
        go.Bar(
            x=((edges[1:] + edges[:-1]) / 2).tolist(),
            y=heights.tolist(),
            width=np.diff(edges).tolist(),
            name="values of the latents",
            legendgroup="values",
            showlegend=listed,
            marker={"color": {0: on.gold, last: on.burgundy}.get(step, on.muted), "line": {"width": 0}},
            opacity=0.6,
            customdata=[
                [int(n), float(a), float(b)] for n, a, b in zip(counts, edges[:-1], edges[1:], strict=True)
            ],
            hovertemplate=(
                "%{customdata[1]:.3g} to %{customdata[2]:.3g}: %{customdata[0]} values<br>density %{y:.3g}"
                f"<extra>{name}</extra>"
            ),
            meta={**meta, "measure": "values"},
            **axes,
        )
    )
    middle, spread = _moments(state)
    tallest = float(heights.max())
    if spread > 0:
        x = np.linspace(edges[0], edges[-1], POINTS)
        curve = normal_density(x, middle, spread)
        tallest = max(tallest, float(curve.max()))
        made.add_trace(
            go.Scatter(
                x=x.tolist(),
                y=curve.tolist(),
                mode="lines",
                name="normal density of the same mean and standard deviation",
                legendgroup="normal",
                showlegend=listed,
                line={"color": on.ink, "width": 1.4, "dash": "dash"},
                hoverinfo="skip",
                meta={**meta, "measure": "normal"},
                **axes,
            )
        )
    made.layout[f"xaxis{axes['xaxis'][1:]}"].range = [float(edges[0]), float(edges[-1])]
    made.layout[f"yaxis{axes['yaxis'][1:]}"].range = [0, 1.06 * tallest]


def _moments(state: np.ndarray) -> tuple[float, float]:
    return float(mean(state)[0]), float(std(state)[0])


def _name(step: int) -> str:
    return f"step {step}" if step else "noise"


def _title(step: int, state: np.ndarray | None) -> str:
    name = _name(step).capitalize()
    if state is None or not np.isfinite(state[0]).all():
        return name
    middle, spread = _moments(state[:1])
    return f"{name}: mean {middle:.2g}, std {spread:.3g}"


def _spoken(step: int, state: np.ndarray | None) -> str:
    if state is None or not np.isfinite(state[0]).all():
        return f"{_name(step).capitalize()}: {NOT_KEPT if state is None else NO_NUMBERS}"
    return f"{_title(step, state)}, from {state[0].min():.3g} to {state[0].max():.3g}."
