"""Density: that of a target at a noise level, or that of a network beside it, with points over it."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffatlas.errors import InvalidParams
from diffatlas.figures.figure import Figure, figure
from diffatlas.figures.lab_words import class_name, target_name
from diffatlas.figures.panels import lay_out
from diffatlas.figures.plane import checked_points, cloud, heat, outside, square
from diffatlas.lab2d.densities import CELLS, Densities
from diffatlas.lab2d.fields import density as density_of
from diffatlas.lab2d.mixtures import Target
from diffatlas.lab2d.samplers import scale

#: Pixels of a chart, which is square.
SIZE = 500
ROOT = "The colour goes by the square root of the density, so that thin places show."


def density(
    of: Target | Densities,
    points: Any = None,
    labels: Any = None,
    sigma: float = 0.0,
    straight: bool = False,
    label: int | None = None,
    cells: int = CELLS,
    dark: bool = False,
) -> Figure:
    """Return the density of a target, or of a network and its target side by side on one scale.

    of: a target, whose density is that of x_t = alpha x at noise level ``sigma`` on the path of a sampler (straight or
    not, as `diffatlas.lab2d.samplers.Frames` say); or the `Densities` of a network, which have their noise and class
    themselves. points: (n, 2), drawn over it, such as a frame of a sampling. labels: their classes, (n,). label: the
    one class whose density is drawn; None for all. cells: places a side.

    Raises `InvalidParams` for what is neither, for points of another form, and for a class that is not there::

        frames = record(sample(field, plan, schedule, noise, rng), plan.straight, plan.steps)
        figures.density(target, points=frames.points[-1])
    """
    if not isinstance(of, (Target, Densities)):
        raise InvalidParams(
            f"A {type(of).__name__} has no density here: give a target or the densities of a network."
        )
    target = of if isinstance(of, Target) else of.target
    label = label if isinstance(of, Target) else of.label
    if label is not None and not 0 <= label < len(target.classes):
        raise InvalidParams(f"A class is a number from 0 to {len(target.classes) - 1}.", field="label")
    if not (np.isfinite(sigma) and sigma >= 0):
        raise InvalidParams("sigma is a noise level: a number from 0.", field="sigma")
    x, given = (None, None) if points is None else checked_points(points, labels, len(target.classes))
    if isinstance(of, Densities):
        maps = {"Of the network": of.model, "Of the target": of.exact}
        title = f"Density of a network on {target_name(target)}{class_name(target, label)}"
        says = (
            "Every place is carried back to noise along the flow, and the change of volume on the way gives its "
            f"density. {ROOT} KL divergence of the network from the target: {of.divergence:.3g} ± {of.error:.2g} nats. "
            f"The network’s density sums to {of.mass:.3g} over the square."
        )
    else:
        maps = {"Density": density_of(target, sigma, scale(sigma, straight), label, cells)}
        noise = f" at σ = {sigma:.3g}" if sigma else ""
        title = f"Density of {target_name(target)}{class_name(target, label)}{noise}"
        says = ROOT
    if x is not None:
        says += _said(x)
    made = figure("density", title, says, _spoken(says, maps), dark)
    top = max(float(np.max(values)) for values in list(maps.values())[-1:])
    places = lay_out(made, list(maps), 2, SIZE)
    for (name, values), axes in zip(maps.items(), places, strict=True):
        last = name == list(maps)[-1]
        heat(
            made,
            axes,
            values,
            top,
            "density",
            {"measure": name},
            bar=last,
            at=None if len(maps) > 1 else 0.47,
        )
        if x is not None and name != "Of the target":
            cloud(made, axes, x, given, target.classes)
        square(made, axes)
    made.update_layout(hovermode="closest", showlegend=given is not None)
    return made


def _said(x: np.ndarray) -> str:
    out = outside(x)
    return f" {len(x):,} points" + (f", {out:,} of them outside of what is drawn." if out else ".")


def _spoken(says: str, maps: dict[str, np.ndarray]) -> str:
    tops = "; ".join(f"{name.lower()} at most {np.max(values):.3g}" for name, values in maps.items())
    return f"{says} Density {tops}."
