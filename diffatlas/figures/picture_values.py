"""Picture values: how the pixels of a picture are spread over the values from 0 to 255."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import plotly.graph_objects as go

from diffatlas.figures.figure import Figure, figure
from diffatlas.figures.log_axis import number
from diffatlas.figures.panels import READING, lay_out
from diffatlas.figures.template import ground
from diffatlas.geometry.image_stats import histogram

#: Equal bins of the values, and pixels of the chart.
BINS, ROW = 64, 190
#: What is counted: its name, and its colour of the ground.
CHANNELS = (("red", "red"), ("green", "green"), ("blue", "blue"), ("luma", "ink"))
#: Lines of text that the counts of a bin take beneath the title.
_READINGS = 2
ABOUT = "Pixels in each bin of the values, by channel. Luma is Rec. 709, rounded to whole values."


def picture_values(pixels: np.ndarray, dark: bool = False, bins: int = BINS) -> Figure:
    """Return how many pixels of a picture have which value: bars of red, green and blue, and the line of luma.

    pixels: (H, W, 3) uint8. The counts are those of `diffatlas.geometry.image_stats.histogram`; their axis is
    linear, or logarithmic where that is chosen.

    Raises `InvalidParams` for pixels of another shape or kind, or bins that are not 1 to 256.
    """
    counts = histogram(pixels, bins)
    height, width = np.asarray(pixels).shape[:2]
    made = figure("picture_values", f"Pixels of {width} × {height}", ABOUT, _spoken(counts, bins), dark)
    (axes,) = lay_out(made, ["Pixels by value"], 1, ROW, _READINGS)
    edges = np.arange(bins + 1) * 256 / bins
    labels = [_label(low, high) for low, high in pairwise(edges)]
    middles = ((edges[1:] + edges[:-1]) / 2).tolist()
    drawn = []
    for (name, ink), values in zip(CHANNELS, counts, strict=True):
        colour = getattr(ground(dark), ink)
        told = {
            "x": middles,
            "y": values.tolist(),
            "name": name,
            "legendgroup": name,
            "customdata": [[label] for label in labels],
            "hovertemplate": f"%{{customdata[0]}}: %{{y}} pixels<extra>{name}</extra>",
            "meta": {"measure": "pixels", "line": name},
            **axes,
        }
        if name == "luma":
            line = {"color": colour, "width": 1.4, "dash": "3px,2px", "shape": "hvh"}
            drawn.append(go.Scatter(mode="lines", line=line, **told))
        else:
            marker = {"color": colour, "line": {"width": 0}}
            drawn.append(go.Bar(width=256 / bins, marker=marker, opacity=0.4, **told))
    made.add_traces(drawn)
    made.update_layout(
        barmode="overlay",
        bargap=0,
        hovermode="closest",
        xaxis={"range": [0, 256], "tickvals": [0, 64, 128, 192, 255]},
        updatemenus=[_scales(int(counts.max()))],
    )
    made.layout.meta = {
        **made.layout.meta,
        "panels": [{"key": None, "name": "Pixels by value", "unit": "", "whole": True}],
        "along": "bin",
        "reading": _READINGS * READING,
    }
    return made


def _scales(most: int) -> dict[str, Any]:
    """Return the buttons that choose the scale of the counts."""
    ticks = [10**power for power in range(math.ceil(math.log10(max(most, 1))) + 1)]
    scales = {
        "linear": {"yaxis.type": "linear", "yaxis.autorange": True, "yaxis.tickvals": None},
        "log": {
            "yaxis.type": "log",
            # One pixel is seen too.
            "yaxis.autorange": False,
            "yaxis.range": [math.log10(0.7), math.log10(1.2 * max(most, 1))],
            "yaxis.tickvals": ticks,
            "yaxis.ticktext": [number(tick) for tick in ticks],
        },
    }
    return {
        "name": "Scale of the counts",
        "type": "buttons",
        "direction": "right",
        "showactive": True,
        "x": 1,
        "xanchor": "right",
        "y": 1.02,
        "yanchor": "bottom",
        "buttons": [{"label": name, "method": "relayout", "args": [axis]} for name, axis in scales.items()],
    }


def _label(low: float, high: float) -> str:
    first, last = math.ceil(low), math.ceil(high) - 1
    return f"{first}" if first == last else f"{first} to {last}"


def _spoken(counts: np.ndarray, bins: int) -> str:
    """Return the bin that most pixels lie in, of each channel."""
    told = [f"{int(counts[0].sum()):,} pixels in {bins} bins."]
    for (name, _), values in zip(CHANNELS, counts, strict=True):
        most = int(values.argmax())
        label = _label(most * 256 / bins, (most + 1) * 256 / bins)
        told.append(f"{name.capitalize()}: most, {int(values[most]):,}, at {label}.")
    return " ".join(told)
