"""A map of a neighbourhood: its cells where their distances from each other put them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from diffatlas.figures.figure import Figure, figure, text, wrapped
from diffatlas.figures.neighbours import NOTHING, TOO_FEW, Neighbours, distance_word, neighbours_of, one_of
from diffatlas.figures.panels import say_absent
from diffatlas.figures.template import ground
from diffatlas.geometry import clusters
from diffatlas.geometry.hull import hull
from diffatlas.library.study import Study
from diffatlas.look import Ground
from diffatlas.measured import finite

OF = {"image": "images", "latent": "final latents"}
#: Kinds of maps, those first that keep distances best.
KINDS = ("mds", "pca", "umap")
#: Any three points lie in a plane just as far apart as they are.
EXACT = 3
#: UMAP looks at so many of the nearest; of no more points every one is near every other.
FEW_FOR_UMAP = 15
HEIGHT = 640
#: Sides of a dot, that where one looks first before the others.
_SIDES = {
    "top center": (0, 1),
    "middle right": (1, 0),
    "bottom center": (0, -1),
    "middle left": (-1, 0),
}
#: Around the outermost dots, as a share of the map.
_MARGIN = 0.09


def map(
    study: Study,
    measures: Mapping[str, Any],
    lane: str | None = None,
    of: str = "image",
    kind: str | None = None,
    dark: bool = False,
) -> Figure:
    """Return a map of a lane's cells, a dot for each: one unit of distance is as long across as it is up.

    measures: what `diffatlas.studies.measure_neighbourhood` found, as plain JSON types. lane: its key, the first
    unless told. of: "image" or "latent". kind: "mds" or "pca" (or "umap", where the measures hold one); without it the
    first of these that there is. Colours and symbols are basins, those of the whole lane.

    The layout's ``meta`` has ``told``, what it says, by sentences, and ``keeps``: whether the map keeps distances.

    Raises `InvalidParams` for a study that is no neighbourhood, and for an unknown lane, distance or kind.
    """
    own = neighbours_of(study, measures, lane)
    one_of(of, tuple(OF), "map of", "of")
    if kind is not None:
        one_of(kind, KINDS, "kind of map", "kind")
    maps = (own.found.get("maps") or {}).get(of) or {}
    kind = kind or next((one for one in KINDS if (maps.get(one) or {}).get("coords")), KINDS[0])
    drawn = maps.get(kind) or {}
    places = {
        key: (point[0], point[1])
        for key, point in zip(own.cells, drawn.get("coords") or (), strict=False)
        if None not in (finite(point[0]), finite(point[1]))
    }
    told = _told(own, of, kind, drawn, len(places)) if places else [_absence(own, of, kind)]
    says = " ".join(told)
    spoken = " ".join([says, *(own.told(key) for key in places)])
    title = f"{kind.upper()} of the {OF[of]}: {own.title}"
    made = figure("map", title, says, spoken, dark, height=HEIGHT)
    made.layout.meta = {**made.layout.meta, "told": told, "keeps": kind != "umap"}
    axes = {"xaxis": "x", "yaxis": "y"}
    if not places:
        say_absent(made, axes, _absence(own, of, kind))
        return made
    meta = {**own.of(), "measure": f"maps.{of}.{kind}"}
    draw_behind(made, axes, own, places, ground(dark), meta)
    beside = label_sides(places, 500)
    draw_anchors(made, axes, own, places, beside, ground(dark), meta)
    _draw_dots(made, axes, own, places, beside, ground(dark), meta)
    square(made, axes, [*places.values()])
    shares = [*(drawn.get("axes") or ())] if kind == "pca" else []
    for place, name in enumerate(("xaxis", "yaxis")):
        made.layout[name].title.text = text(_axis(of, kind, place, shares))
    made.update_layout(hovermode="closest", margin_b=96, legend_y=-64 / (HEIGHT - made.layout.margin.t - 96))
    return made


def draw_behind(
    made: Figure,
    axes: dict[str, str],
    own: Neighbours,
    places: Mapping[str, Any],
    on: Ground,
    meta: dict[str, Any],
) -> None:
    """Draw what lies under the dots: the outline of each basin, and the way through stops between two anchors."""
    for basin in range(own.several):
        corners = hull(np.array([places[key] for key in own.members(basin) if key in places]).reshape(-1, 2))
        if len(corners) < 2:
            continue
        colour, _ = own.mark(basin, on.muted)
        made.add_trace(
            go.Scatter(
                x=[*corners[:, 0], corners[0, 0]],
                y=[*corners[:, 1], corners[0, 1]],
                mode="lines",
                line={"color": colour, "width": 1},
                fill="toself",
                fillcolor=f"{colour}1c",
                hoverinfo="skip",
                showlegend=False,
                legendgroup=f"basin {basin}",
                meta={**meta, "part": "outline", "basin": basin},
                **axes,
            )
        )
    if own.mode == "slerp" and len(places) > 1:
        order = sorted(places, key=lambda key: own.column(key) or 0)
        made.add_trace(
            go.Scatter(
                x=[places[key][0] for key in order],
                y=[places[key][1] for key in order],
                mode="lines",
                line={"color": on.muted, "width": 1.4, "dash": "dot"},
                hoverinfo="skip",
                name="the way from one anchor to the other",
                meta={**meta, "part": "way"},
                **axes,
            )
        )


def draw_anchors(
    made: Figure,
    axes: dict[str, str],
    own: Neighbours,
    places: Mapping[str, Any],
    beside: Mapping[str, str],
    on: Ground,
    meta: dict[str, Any],
    legend: bool = True,
) -> None:
    """Draw the ring of the anchor in gold, and that of the other one, where there are two, in burgundy."""
    for is_end, colour in ((own.is_anchor, on.gold), (own.is_far_end, on.burgundy)):
        for key in filter(is_end, places):
            made.add_trace(
                go.Scatter(
                    x=[places[key][0]],
                    y=[places[key][1]],
                    mode="markers+text",
                    text=[text(own.tag(key))],
                    textposition=beside[key],
                    textfont={"size": 11, "color": on.ink},
                    marker={"size": 22, "color": on.paper, "line": {"color": colour, "width": 3}},
                    name=text(own.called(key)),
                    showlegend=legend,
                    hoverinfo="skip",
                    customdata=[key],
                    meta={**meta, "part": "anchor"},
                    **axes,
                )
            )


def label_sides(places: Mapping[str, tuple[float, float]], pixels: int) -> dict[str, str]:
    """Return on which side of its dot each label stands: where it is farthest from other dots and their labels.

    pixels: of the longer side of the map, about.
    """
    points = np.array(list(places.values()), float)
    away = 15 * (np.ptp(points, axis=0).max() or 1.0) / pixels
    taken, found = [*points], {}
    for k, (key, point) in enumerate(zip(places, points, strict=True)):
        spots = {side: point + away * np.array(way) for side, way in _SIDES.items()}
        others = np.array([one for i, one in enumerate(taken) if i != k]).reshape(-1, 2)
        # Nothing farther than two labels away matters, so that most stand where one looks first.
        free = {
            side: min(np.hypot(*(others - spot).T).min(initial=np.inf), 2 * away)
            for side, spot in spots.items()
        }
        found[key] = max(free, key=free.__getitem__)
        taken.append(spots[found[key]])
    return found


def square(made: Figure, axes: dict[str, str], points: Sequence[tuple[float, float]]) -> None:
    """Give a map axes on which one unit is as long across as it is up, with room around its points."""
    x, y = np.array(points).T
    room = _MARGIN * (max(np.ptp(x), np.ptp(y)) or 1.0)
    for name, along in (("xaxis", x), ("yaxis", y)):
        made.layout[f"{name}{axes[name][1:]}"].range = [float(along.min() - room), float(along.max() + room)]
    made.layout[f"yaxis{axes['yaxis'][1:]}"].update(scaleanchor=axes["xaxis"], scaleratio=1)


def _draw_dots(
    made: Figure,
    axes: dict[str, str],
    own: Neighbours,
    places: Mapping[str, Any],
    beside: Mapping[str, str],
    on: Ground,
    meta: dict[str, Any],
) -> None:
    """Draw the cells, a trace for each basin."""
    for basin in range(own.several) if own.several else (None,):
        keys = [key for key in places if own.basin(key) == basin]
        colour, shape = own.mark(basin, on.muted)
        one = "a cell, numbered by its column" if own.mode == "perturb" else "a cell"
        name = one if basin is None else own.basin_words(basin)
        made.add_trace(
            go.Scatter(
                x=[places[key][0] for key in keys],
                y=[places[key][1] for key in keys],
                mode="markers+text",
                marker={
                    "size": 12,
                    "color": colour,
                    "symbol": shape,
                    "line": {"color": on.paper, "width": 1},
                },
                text=["" if own.is_end(key) else text(own.tag(key)) for key in keys],
                textposition=[beside[key] for key in keys],
                textfont={"size": 11, "color": on.ink},
                cliponaxis=False,
                name=text(name),
                legendgroup=f"basin {basin}",
                showlegend=True,
                customdata=keys,
                hovertext=[wrapped(own.told(key), 70) for key in keys],
                hovertemplate="%{hovertext}<extra></extra>",
                meta={**meta, "part": "cells", "basin": basin},
                **axes,
            )
        )


def _axis(of: str, kind: str, place: int, shares: Sequence[float | None]) -> str:
    if kind == "pca":
        share = finite(shares[place]) if place < len(shares) else None
        return f"component {place + 1}" + ("" if share is None else f", {share:.0%} of the variance")
    return f"{kind.upper()} {place + 1}" + ("" if kind == "umap" else f", in units of {distance_word(of)}")


def _told(own: Neighbours, of: str, kind: str, drawn: Mapping[str, Any], count: int) -> list[str]:
    things = OF[of]
    if kind == "pca":
        shares = [f"{share:.0%}" for share in drawn.get("axes") or () if finite(share) is not None]
        holds = f"; they hold {' and '.join(shares)} of the variance" if shares else ""
        said = [f"The two directions in which the {things} differ most{holds}."]
    elif kind == "mds":
        stress = finite(drawn.get("stress"))
        kept = "" if stress is None else f" (stress {stress:.2g})"
        said = [f"MDS keeps the distances of the {things} as well as a plane can{kept}."]
        if stress is not None and count > EXACT and (own.measures.get("definitions") or {}).get("stress"):
            said.append(own.measures["definitions"]["stress"])
    else:
        said = [f"UMAP keeps near {things} together; how far apart groups lie means little."]
    if caution := _caution(kind, count):
        said.append(caution)
    if own.basins.get("sentence"):
        said.append(own.basins["sentence"])
    if own.found.get("finding"):
        said.append(own.found["finding"])
    return said


def _caution(kind: str, count: int) -> str:
    """Return what to mind of a map of so few points, or ""."""
    if kind == "umap":
        words = f"Only {count} points: UMAP may show groups that are not there. PCA is the safer view."
        return words if count <= FEW_FOR_UMAP else ""
    if count <= EXACT:
        points = "1 point" if count == 1 else f"{count} points"
        exact = f"Only {points}: a plane always holds so few exactly, so the form of this map says little."
        return f"{exact} {clusters.TOO_FEW}"
    return ""


def _absence(own: Neighbours, of: str, kind: str) -> str:
    """Return why there is no map."""
    if not own.measures:
        return NOTHING
    if not own.cells:
        return TOO_FEW
    if of not in (own.found.get("matrices") or {}):
        return f"The {distance_word(of)}s of this lane are not known."
    return f"The measures of this lane hold no map by {kind.upper()}."
