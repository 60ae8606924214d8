"""How a figure of this project looks: the paper, ink, rules and families of `diffatlas.look`, on paper and at night."""

from __future__ import annotations

from functools import lru_cache

import plotly.graph_objects as go

from diffatlas.look import DASHES, LANES, LAYERS, MONO, NIGHT, PAPER, RAMP, SANS, SERIF, SYMBOLS, TYPE, Ground

#: A map from its least to its most, as Plotly wants it.
RAMP_SCALE = [[k / (len(RAMP) - 1), colour] for k, colour in enumerate(RAMP)]


def ground(dark: bool) -> Ground:
    """Return what a figure is drawn on."""
    return NIGHT if dark else PAPER


def lane_colour(place: int, dark: bool = False) -> str:
    """Return the colour of a lane of a study by its place: the first is the accent of the ground."""
    colours = (ground(dark).burgundy, *LANES[1:])
    return colours[place % len(colours)]


def layer_colour(place: int) -> str:
    """Return the colour of a layer by its place."""
    return LAYERS[place % len(LAYERS)]


def dash(place: int) -> str:
    """Return the dash of the line at a place."""
    return DASHES[place % len(DASHES)]


def symbol(place: int) -> str:
    """Return the symbol of the points at a place."""
    return SYMBOLS[place % len(SYMBOLS)]


@lru_cache(maxsize=2)
def template(dark: bool) -> go.layout.Template:
    """Return the template of all figures."""
    on = ground(dark)
    axis = {
        "gridcolor": on.rule,
        "linecolor": on.muted,
        "zeroline": False,
        "showline": False,
        "tickcolor": on.muted,
        "tickfont": {"family": MONO, "size": TYPE["fine"], "color": on.muted},
        "title": {
            "font": {"family": f"{SANS}, sans-serif", "size": TYPE["small"], "color": on.muted},
            "standoff": 6,
        },
        "automargin": True,
    }
    space = {
        "backgroundcolor": on.paper,
        "gridcolor": on.rule,
        "zerolinecolor": on.rule,
        "showbackground": False,
    }
    return go.layout.Template(
        layout={
            "font": {"family": f"{SANS}, sans-serif", "size": TYPE["note"], "color": on.ink},
            "title": {
                "font": {"family": SERIF, "size": 20, "color": on.ink},
                "subtitle": {
                    "font": {"family": f"{SANS}, sans-serif", "size": TYPE["note"], "color": on.muted}
                },
                "x": 0.0,
                "xref": "paper",
                "xanchor": "left",
                "y": 1.0,
                "yref": "container",
                "yanchor": "top",
                "pad": {"t": 14},
            },
            "paper_bgcolor": on.paper,
            "plot_bgcolor": on.paper,
            "colorway": [on.burgundy, *LAYERS],
            "colorscale": {"sequential": RAMP_SCALE},
            "xaxis": {**axis, "showgrid": False, "ticks": "outside", "ticklen": 4, "showline": True},
            "yaxis": axis,
            "scene": {"xaxis": space, "yaxis": space, "zaxis": space},
            "legend": {"orientation": "h", "x": 0.0, "xanchor": "left", "y": -0.12, "yanchor": "top"},
            "margin": {"l": 56, "r": 20, "t": 74, "b": 48},
            "hoverlabel": {
                "bgcolor": on.sheet,
                "bordercolor": on.ink,
                "font": {"family": MONO, "size": TYPE["small"], "color": on.ink},
            },
            "annotationdefaults": {"font": {"color": on.ink}, "showarrow": False},
            "hovermode": "x",
        },
        data={"heatmap": [{"colorscale": RAMP_SCALE, "colorbar": {"outlinewidth": 0, "thickness": 12}}]},
    )
