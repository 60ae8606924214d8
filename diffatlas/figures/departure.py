"""Departure: how far two paths are apart by state, and where they leave each other."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from diffatlas.figures.figure import Figure, figure
from diffatlas.figures.panels import READING, lay_out
from diffatlas.figures.template import ground
from diffatlas.measured import finite

#: Pixels of the chart.
ROW = 120


def departure(
    values: Sequence[float],
    first: int | None = None,
    name: str = "Distance between the two paths",
    dark: bool = False,
) -> Figure:
    """Return a line from zero with its largest value marked.

    values: a distance for each state, 0 the initial noise, such as those of `diffatlas.library.difference` or of a
    replay's report. first: the state at which they leave each other. name: of the distance, with its unit.
    """
    known = [finite(float(value)) for value in values]
    top = max((value for value in known if value is not None), default=0.0)
    most = known.index(top) if top in known else 0
    says = f"From the first state to the last; at most {top:.4g}, at state {most}."
    made = figure("departure", name, says, f"{name}. {says}", dark)
    (axes,) = lay_out(made, [name], 1, ROW, 1)
    colour = ground(dark).burgundy
    line = go.Scatter(
        x=list(range(len(known))),
        y=known,
        mode="lines",
        line={"color": colour, "width": 1.8},
        showlegend=False,
        hovertemplate="state %{x}: %{y:.4g}<extra></extra>",
        meta={"measure": "distance", "line": "distance"},
        **axes,
    )
    peak = go.Scatter(
        x=[most],
        y=[top],
        mode="markers",
        marker={"color": colour, "size": 6},
        showlegend=False,
        hoverinfo="skip",
        meta={"measure": "peak"},
        **axes,
    )
    made.add_traces([line, peak])
    if first is not None:
        dashed = {"color": ground(dark).gold, "width": 1.5, "dash": "4px,3px"}
        made.add_shape(type="line", x0=first, x1=first, y0=0, y1=1, xref="x", yref="y domain", line=dashed)
    made.layout.yaxis.rangemode = "tozero"
    made.layout.meta = {
        **made.layout.meta,
        "panels": [{"key": None, "name": name, "unit": ""}],
        "along": "step",
        "reading": READING,
    }
    return made
