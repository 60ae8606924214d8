"""Comparison: how far apart two paths are, in what direction, and from which step on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from diffatlas.errors import CapabilityError
from diffatlas.figures.figure import Figure, figure
from diffatlas.figures.layers import layers_of
from diffatlas.figures.panels import AXIS_TITLE, READING, lay_out
from diffatlas.figures.template import ground
from diffatlas.geometry.compare import Comparison, compare
from diffatlas.glossary import term
from diffatlas.measured import finite, first_path

ROW, ACROSS = 190, 2


def comparison(
    a: Any,
    b: Any,
    names: Sequence[str] | None = None,
    align: str = "auto",
    dark: bool = False,
    across: int = ACROSS,
) -> Figure:
    """Return the distance and the angle of two runs' latents by step, and where the runs part.

    a, b: each as `diffatlas.figures.layers.run_of` takes it; of a batch the first image. names: what they are called;
    without them their prompts. align: "auto", "step", "dtw" or "procrustes", as
    `diffatlas.geometry.compare.compare` has them, whose numbers these are. across: charts in a row.

    Raises `CapabilityError` where latents were not kept, `InvalidParams` for paths that cannot be aligned so.
    """
    layers = layers_of([a, b], names, dark=dark)
    paths = [first_path(layer.run) for layer in layers]
    for layer, path in zip(layers, paths, strict=True):
        if path is None:
            raise CapabilityError(
                f"The latents of {layer.name} were not kept, or change their shape on the way: there is no path."
            )
    found = compare(*(path[:, 0] for path in paths), align=align)
    return draw_comparison(*(layer.name for layer in layers), found, dark, across)


def draw_comparison(
    a: str, b: str, found: Comparison, dark: bool = False, across: int = ACROSS, read: bool = False
) -> Figure:
    """Return `comparison` of what was measured already; read: see `diffatlas.figures.attention_curves.draw_curves`."""
    charts = [("distance", "", found.distance)]
    if found.angle is not None:
        charts.append(("angle", "°", found.angle))
    made = figure("comparison", f"“{a}” and “{b}”", _says(a, b, found), _spoken(a, b, found), dark)
    titles = [term(key).name + (", degrees" if unit else "") for key, unit, _ in charts]
    readings = 1 if read else 0
    across = max(1, min(across, len(charts)))
    last = max(1.0, float(found.x.max()))
    # A place between two states is one of Procrustes.
    places = [round(float(x), 3) for x in found.x]
    for (key, unit, values), axes in zip(
        charts, lay_out(made, titles, across, ROW, readings, AXIS_TITLE), strict=True
    ):
        made.add_trace(
            go.Scatter(
                x=places,
                y=[finite(float(v)) for v in values],
                mode="lines",
                line={"color": ground(dark).burgundy, "width": 1.8},
                showlegend=False,
                hovertemplate=f"step %{{x}}: %{{y:.4g}}{unit}<extra></extra>",
                meta={"measure": key, "line": "path"},
                **axes,
            )
        )
        made.layout[f"xaxis{axes['xaxis'][1:]}"].update(_along(last))
        made.layout[f"yaxis{axes['yaxis'][1:]}"].rangemode = "tozero"
        if found.parting is not None:
            _part(made, axes, found.parting, last, dark)
    made.layout.meta = {
        **made.layout.meta,
        "panels": [{"key": key, "name": term(key).name, "unit": unit} for key, unit, _ in charts],
        "along": "step",
        "titled": True,
        "reading": readings * READING,
    }
    return made


def _along(last: float) -> dict[str, Any]:
    ticks = sorted({0, round(last / 2), round(last)})
    return {
        "range": [-0.02 * last, 1.02 * last],
        "tickvals": ticks,
        "ticktext": ["noise" if tick == 0 else str(tick) for tick in ticks],
        "title": {"text": "step"},
    }


def _part(made: Figure, axes: dict[str, str], step: int, last: float, dark: bool) -> None:
    """Mark the step at which the paths part."""
    x, y = axes["xaxis"], f"{axes['yaxis']} domain"
    line = {"color": ground(dark).gold, "width": 1.5, "dash": "4px,3px"}
    made.add_shape(type="line", x0=step, x1=step, y0=0, y1=1, xref=x, yref=y, line=line)
    near_end = step > 0.7 * last
    made.add_annotation(
        text="apart" if step == 0 else f"part at {step}",
        x=step,
        y=1,
        xref=x,
        yref=y,
        xanchor="right" if near_end else "left",
        yanchor="top",
        xshift=-5 if near_end else 5,
        font={"size": 12, "color": ground(dark).muted},
    )


def _says(a: str, b: str, found: Comparison) -> str:
    share = f"{100 * found.threshold:g}%"
    if found.align == "procrustes":
        return (
            f"Turned and shifted onto “{a}”, “{b}” leaves {100 * found.disparity:.3g}% of its spread unexplained. "
            "Little says that the paths have one form, not that they take one route."
        )
    if found.align == "dtw":
        return (
            f"Each state of “{a}” is held against the states of “{b}” that dynamic time warping gives it. "
            f"The distances come to {found.total:.4g}."
        )
    if found.parting is None:
        return f"“{a}” and “{b}” stay together: their distance is never lastingly over {share} of their norm."
    if found.parting == 0:
        return f"“{a}” and “{b}” begin apart: their noise differs by more than {share} of its norm."
    return f"“{a}” and “{b}” part at step {found.parting}: from there their distance is over {share} of their norm."


def _spoken(a: str, b: str, found: Comparison) -> str:
    told = [_says(a, b, found)]
    for name, values, unit in (("Distance", found.distance, ""), ("Angle", found.angle, " degrees")):
        known = [] if values is None else values[np.isfinite(values)]
        if len(known):
            told.append(f"{name}: {known[0]:.3g} at first, {known[-1]:.3g} in the end{unit}.")
    return " ".join(told)
