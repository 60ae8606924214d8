"""Paths: the states of one run or several in three axes that all share, a line and a point for each state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from diffatlas import measured
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.figures.figure import Figure, figure, text
from diffatlas.figures.layers import Layer, layers_of
from diffatlas.figures.template import dash, ground
from diffatlas.geometry import embedding
from diffatlas.geometry import path as measures
from diffatlas.geometry.broken import first_broken
from diffatlas.geometry.common_basis import CommonBasis, common_pca, distances, gram
from diffatlas.look import MONO

SPACES = ("pca", "umap")
#: Whence the axes are seen, and how far from their middle, in diagonals of their box.
SEEN_FROM = (0.55, 0.45, 1.0)
AWAY = 1.25
#: How far below the middle it looks, so that the axes' titles have room.
BELOW = 0.06
#: UMAP looks at the 15 nearest of each point: of fewer than that, every point is near every other.
FEW = 15
ABOUT_ONE = (
    "The latents after every step, along the three directions in which they vary most (PCA), with one scale on all "
    "axes; the line joins these states, whatever happened between them."
)
ABOUT_SEVERAL = (
    "All paths in one basis, fitted on them together (PCA): how near they are here is how near their latents are, as "
    "far as three axes can tell."
)
ABOUT_FITTED = (
    "The axes are those of {name} (PCA). The others are projected into them, and what they do outside of them is not "
    "seen."
)
ABOUT_UMAP = (
    "UMAP keeps neighbours together; its distances and directions are not to scale. Its seed is fixed."
)
ENDS = "Gold is the noise, burgundy the last state."


def path(
    runs: Any,
    space: str = "pca",
    names: Sequence[str] | None = None,
    colours: Sequence[str] | None = None,
    dark: bool = False,
    fit: int | None = None,
) -> Figure:
    """Return the paths of runs in three common axes: state 0 is the initial noise x_T, state k what step k has made.

    runs: a run or several, as `diffatlas.figures.layers.layers_of` takes them with their names and colours. Of a batch
    the first image. space: "pca", principal components of all states together, which keep distances
    (`diffatlas.geometry.common_basis.common_pca`), or "umap" (`diffatlas.geometry.embedding.umap`, which takes
    seconds, and many more the first time). fit: the place of the run on which alone the components are fitted; None
    for all together. The share of a point is that of the path's length that lies behind it.

    Raises `CapabilityError` where latents were not kept, are no numbers or differ in shape, and `InvalidParams` for
    another space, a run to fit on that there is not, or too few states for UMAP.
    """
    if space not in SPACES:
        raise InvalidParams(f"space is {space!r}: give one of {', '.join(SPACES)}.", field="space")
    layers = layers_of(runs, names, colours, dark)
    paths = [_states(layer) for layer in layers]
    _check_shapes(paths)
    blocks = [[gram(a, b) for b in paths] for a in paths]
    if space == "umap":
        counts = [len(one) for one in paths]
        if sum(counts) < embedding.FEWEST:
            raise InvalidParams(
                f"UMAP needs at least {embedding.FEWEST} states, and here are {sum(counts)}: run more steps."
            )
        coords = np.split(embedding.umap(distances(blocks)), np.cumsum(counts)[:-1])
        axes = ["UMAP 1", "UMAP 2", "UMAP 3"]
        basis = None
    else:
        basis = common_pca(blocks, 3, fit)
        coords = basis.coords
        axes = [f"PC{k + 1} {_percent(share)}" for k, share in enumerate(basis.explained_variance_ratio)]
    title = layers[0].name if len(layers) == 1 else f"Paths of {len(layers)} runs"
    says = f"{_about(layers, space, fit)} {ENDS}"
    if space == "umap" and sum(len(one) for one in paths) <= FEW:
        says += (
            f" Only {sum(len(one) for one in paths)} points: UMAP may show groups that are not there. PCA is the safer"
            " view."
        )
    made = figure("path", title, says, _spoken(layers, paths, basis), dark, height=680)
    for place, (layer, one, xyz) in enumerate(zip(layers, paths, coords, strict=True)):
        _draw(made, layer, one, xyz, place, len(layers) > 1, dark)
    made.update_layout(
        showlegend=len(layers) > 1,
        legend_y=0,
        margin_b=36,
        hovermode="closest",
        scene=_scene(coords, axes, dark),
    )
    return made


def _states(layer: Layer) -> np.ndarray:
    """Return the states of a layer's first image, (T + 1, ...)."""
    found = measured.first_path(layer.run)
    if found is None:
        raise CapabilityError(
            f"The latents of {layer.name} were not captured, or change their shape on the way, so there is no path to "
            "draw."
        )
    if (step := first_broken(found)) is not None:
        raise CapabilityError(
            f"The latents of {layer.name} are no numbers (NaN or infinity) from step {step} on, so there is no path to "
            "draw: leave that run out."
        )
    return found[:, 0]


def _check_shapes(paths: Sequence[np.ndarray]) -> None:
    shapes = {one.shape[1:] for one in paths}
    if len(shapes) > 1:
        words = " and ".join(sorted(" × ".join(map(str, shape)) for shape in shapes))
        raise CapabilityError(
            f"The runs have latents of different shapes ({words}), so no basis is common to them: leave those of one "
            "shape out."
        )


def _scene(coords: Sequence[np.ndarray], titles: Sequence[str], dark: bool) -> dict[str, Any]:
    """Return the axes around some points with one scale, and an eye that sees all of them."""
    points = np.concatenate(coords)
    low, high = points.min(0), points.max(0)
    margin = 0.06 * max(float((high - low).max()), 1e-9)
    low, high = low - margin, high + margin
    # Plotly makes the product of the three sides 1.
    sides = (high - low) / np.prod(high - low) ** (1 / 3)
    eye = AWAY * np.linalg.norm(sides) * np.array(SEEN_FROM) / np.linalg.norm(SEEN_FROM)
    muted = ground(dark).muted
    axes = {
        f"{name}axis": {
            "title": {"text": title, "font": {"size": 13}},
            "tickfont": {"family": MONO, "size": 10, "color": muted},
            "nticks": 6,
            "range": [float(a), float(b)],
        }
        for name, title, a, b in zip("xyz", titles, low, high, strict=True)
    }
    # The second component points up, as the first two are those that a flat picture would have.
    below = -BELOW * float(np.linalg.norm(sides))
    camera = {
        "up": {"x": 0, "y": 1, "z": 0},
        "center": {"x": 0, "y": below, "z": 0},
        "eye": dict(zip("xyz", eye.tolist(), strict=True)),
    }
    return {"aspectmode": "data", "camera": camera, **axes}


def _draw(
    made: Figure, layer: Layer, states: np.ndarray, xyz: np.ndarray, place: int, several: bool, dark: bool
) -> None:
    """Draw a path, its ends, and beside them what they are: one alone runs from gold to burgundy."""
    on = ground(dark)
    steps = [0, *(step.index + 1 for step in layer.run.steps)]
    x, y, z = xyz.T.tolist()
    tint = {
        "color": steps,
        "colorscale": [[0, on.gold], [1, on.burgundy]],
        "cmin": 0,
        "cmax": max(layer.run.total_steps or 0, steps[-1], 1),
    }
    if several:
        tint = {"color": layer.colour}
    made.add_trace(
        go.Scatter3d(
            x=x,
            y=y,
            z=z,
            mode="lines+markers",
            name=text(layer.name),
            legendgroup=str(place),
            line={"width": 4, "dash": dash(place) if several else "solid", **tint},
            marker={"size": 3, **tint},
            customdata=[
                [_state(step), f"{100 * share:.0f}%"]
                for step, share in zip(steps, _shares(layer, states), strict=True)
            ],
            hovertemplate=f"%{{customdata[0]}} · %{{customdata[1]}} of the way<extra>{text(layer.name)}</extra>",
            meta={"run": layer.run.id},
        )
    )
    ends = sorted({0, len(steps) - 1})
    words = ["noise", "image" if layer.run.status == "complete" else _state(steps[-1])][: len(ends)]
    made.add_trace(
        go.Scatter3d(
            x=[x[k] for k in ends],
            y=[y[k] for k in ends],
            z=[z[k] for k in ends],
            mode="markers" if several else "markers+text",
            text=words,
            textposition="top center",
            textfont={"color": on.ink, "size": 12},
            marker={"size": 7, "color": [on.gold, on.burgundy][: len(ends)]},
            legendgroup=str(place),
            showlegend=False,
            hoverinfo="skip",
            meta={"run": layer.run.id, "ends": True},
        )
    )


def _shares(layer: Layer, states: np.ndarray) -> list[float]:
    """Return the share of the path's length behind each state; 1 everywhere of a path that never moves."""
    if len(states) < 2:
        return [0.0] * len(states)
    lengths = measures.step_lengths(states[:, None], measured.first_starts(layer.run))[:, 0]
    behind = np.concatenate([[0.0], lengths.cumsum()])
    return (behind / behind[-1] if behind[-1] > 0 else np.ones(len(behind))).tolist()


def _state(step: int) -> str:
    return f"step {step}" if step else "noise"


def _about(layers: Sequence[Layer], space: str, fit: int | None) -> str:
    if space == "umap":
        return ABOUT_UMAP
    if len(layers) == 1:
        return ABOUT_ONE
    return ABOUT_SEVERAL if fit is None else ABOUT_FITTED.format(name=layers[fit].name)


def _spoken(layers: Sequence[Layer], paths: Sequence[np.ndarray], basis: CommonBasis | None) -> str:
    """Return what the axes hold of the variance, of all and of each path."""
    counts = [f"{layer.name}: {len(one) - 1} steps" for layer, one in zip(layers, paths, strict=True)]
    if basis is None:
        return f"Three UMAP dimensions. {'. '.join(counts)}."
    shares = ", ".join(_percent(share) for share in basis.explained_variance_ratio)
    each = [
        f"{words}, of whose own variance {_percent(share)} lies in the three axes."
        for words, share in zip(counts, basis.captured, strict=True)
    ]
    return f"Three principal components, which hold {shares} of the variance. {' '.join(each)}"


def _percent(share: float) -> str:
    return f"{100 * share:.{0 if share >= 0.1 else 1}f}%"
