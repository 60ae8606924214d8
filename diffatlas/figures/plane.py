"""The plane of the 2D Lab: its square axes, a density under it, and points over that."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from diffatlas.errors import InvalidParams
from diffatlas.figures.figure import Figure, text
from diffatlas.figures.template import RAMP_SCALE, layer_colour, symbol
from diffatlas.lab2d.targets import EXTENT
from diffatlas.look import MONO, PAPER

TICKS = [-2, -1, 0, 1, 2]


def square(made: Figure, axes: dict[str, str], extent: float = EXTENT) -> None:
    """Make the axes of a chart those of the plane: from -extent to extent both ways, one unit as long as the other."""
    suffix = axes["xaxis"][1:]
    axis = {"range": [-extent, extent], "tickvals": TICKS, "showgrid": False, "constrain": "domain"}
    made.update_layout(
        {
            f"xaxis{suffix}": axis,
            f"yaxis{suffix}": {**axis, "scaleanchor": axes["xaxis"], "showline": True, "ticks": "outside"},
        }
    )


def heat(
    made: Figure,
    axes: dict[str, str],
    values: np.ndarray,
    top: float,
    name: str,
    meta: dict[str, Any],
    scale: list[list[Any]] = RAMP_SCALE,
    bar: bool = True,
    at: float | None = None,
) -> None:
    """Draw values (side, side), rows from the lowest y, by their square roots, so that small ones show.

    top: the value at the end of the scale, for charts beside each other to share one. bar: whether the scale is drawn,
    at: where, in shares of the figure's width; without it at its right.
    """
    side = len(values)
    places = np.linspace(-EXTENT, EXTENT, side)
    ticks = [share * top for share in (0, 0.04, 0.16, 0.36, 0.64, 1)]
    made.add_trace(
        go.Heatmap(
            x=places,
            y=places,
            z=np.sqrt(np.maximum(values, 0)),
            zmin=0,
            zmax=float(np.sqrt(top)) or 1.0,
            customdata=values,
            colorscale=scale,
            showscale=bar,
            colorbar={
                "title": {"text": text(name), "side": "top", "font": {"size": 12}},
                "tickfont": {"family": MONO, "size": 11},
                "x": at,
                "tickvals": [float(np.sqrt(tick)) for tick in ticks],
                "ticktext": [f"{tick:.2g}" for tick in ticks],
                "thickness": 12,
                "outlinewidth": 0,
            },
            hovertemplate="%{customdata:.3g} at (%{x:.2f}, %{y:.2f})<extra>" + text(name) + "</extra>",
            meta=meta,
            **axes,
        )
    )


def cloud(
    made: Figure,
    axes: dict[str, str],
    points: np.ndarray,
    labels: np.ndarray | None = None,
    classes: tuple[str, ...] = (),
    name: str = "samples",
) -> None:
    """Draw points (n, 2) over a density, with a rim so that they show on all of it.

    labels: their classes (n,), which have the colours and symbols of layers; without them they are light.
    """
    groups: list[tuple[str, np.ndarray, int | None]] = [(name, np.ones(len(points), bool), None)]
    if labels is not None:
        groups = [(classes[k], labels == k, k) for k in range(len(classes)) if np.any(labels == k)]
    for label, own, k in groups:
        made.add_trace(
            go.Scatter(
                x=points[own, 0],
                y=points[own, 1],
                mode="markers",
                name=text(label),
                marker={
                    "color": PAPER.sheet if k is None else layer_colour(k),
                    "symbol": symbol(k or 0),
                    "size": 5 if len(points) <= 2500 else 3.5,
                    "line": {"color": PAPER.ink if k is None else PAPER.sheet, "width": 0.6},
                },
                hovertemplate="(%{x:.3f}, %{y:.3f})<extra>" + text(label) + "</extra>",
                meta={"points": name, "class": k},
                **axes,
            )
        )


def checked_points(points: Any, labels: Any = None, classes: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Return points (n, 2) and their classes (n,). Raises `InvalidParams` for other forms and unknown classes."""
    x = np.asarray(points, float)
    if x.ndim != 2 or x.shape[1] != 2:
        raise InvalidParams(
            f"Points have the form (n, 2), not {x.shape}: give one frame of them.", field="points"
        )
    if labels is None:
        return x, None
    given = np.asarray(labels)
    if given.shape != (len(x),):
        raise InvalidParams(f"There are {len(x)} points: give as many classes.", field="labels")
    if len(given) and not (given.min() >= 0 and given.max() < classes):
        raise InvalidParams(f"A class is a number from 0 to {classes - 1}.", field="labels")
    return x, given


def outside(points: np.ndarray) -> int:
    """Return how many of the points do not lie in the square that is drawn."""
    return int(np.sum(~(np.abs(points) <= EXTENT).all(axis=1)))
