"""Growth: how far two images are apart against how far apart their noise, or their final latents, are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from diffatlas.figures.beside import Beside, Own
from diffatlas.figures.figure import Figure, figure, text
from diffatlas.figures.neighbours import (
    NOTHING,
    TOO_FEW,
    UNITS,
    Neighbours,
    capital,
    distance_word,
    neighbours_of,
)
from diffatlas.figures.panels import AXIS_TITLE, lay_out, say_absent
from diffatlas.figures.template import dash, ground, symbol
from diffatlas.geometry.growth import FEWEST_CLOSE
from diffatlas.library.study import Study
from diffatlas.look import Ground
from diffatlas.measured import finite
from diffatlas.studies.numbers import lane_measures

#: The two growths: their name in the measures, and the distance that lies across.
WAYS = (("growth", "start"), ("growth_latent", "latent"))
#: What of the pairs can be pointed at on a page; a jump stands out.
_PICKED = {"pair": {"points": True}, "jump": {"points": True, "apart": True}}
#: What is drawn, in the order of the legend.
PARTS = ("pair", "jump", "median", "slope", "interval", "origin")
ROW = 330
#: Jumps that are told in words to who does not see the figure.
TOLD = 5
#: From so many times the usual distance on a ratio is worth saying.
UNUSUAL = 1.5
#: (pairs at most, size of a dot): all pairs are drawn, many of them small.
_SIZES = ((200, 7.0), (800, 5.0), (float("inf"), 3.5))
_MISSING = {
    "start": "These cells keep no noise to hold their distances against.",
    "latent": "These cells keep no final latents to hold their distances against.",
    "image": "The image distances are not known: a picture is missing, or they differ in size.",
}


def growth(
    study: Study,
    measures: Mapping[str, Any],
    lane: str | None = None,
    dark: bool = False,
    *,
    across: int = len(WAYS),
    own: Own | None = None,
    beside: Sequence[Beside] = (),
) -> Figure:
    """Return image distance by start distance and by final latent distance: a dot for each pair of a lane's cells.

    measures: what `diffatlas.studies.measure_neighbourhood` found, as plain JSON types. lane: its key, the first
    unless told. Both axes begin at 0, where a cell is held against itself. All pairs are drawn.

    The line is the slope at 0 and the band its interval, out to twice the lower quartile of the near distances: as far
    as pairs weigh in (`diffatlas.geometry.growth.growth`).

    across: charts in a row. beside: other neighbourhoods, of which the medians are drawn: of the lane that is called as
    this one, else of the first. own: name and colour of this one then. The layout's ``meta`` has ``points``: the pairs
    can be pointed at; ``told``: what it says, by paragraphs; and ``jumps``, {a, b, says} each, the most unusual first.

    Raises `InvalidParams` for a study that is no neighbourhood, and for an unknown lane.
    """
    there = neighbours_of(study, measures, lane)
    jumps = {frozenset((one["a"], one["b"])): one for one in there.found.get("jumps") or ()}
    found = [there.found.get(way) or {} for way, _ in WAYS]
    pairs = [_known(one) for one in found]
    told = _told(there, found, pairs)
    said = " ".join(told)
    made = figure("growth", f"Growth: {there.title}", said, _spoken(there, said, found, pairs), dark)
    made.layout.meta = {
        **made.layout.meta,
        "points": True,
        "told": told,
        "jumps": [
            {"a": one["a"], "b": one["b"], "says": _of_a_jump(there, one)}
            for one in there.found.get("jumps") or ()
        ],
    }
    titles = [f"Image distance by {distance_word(near)}" for _, near in WAYS]
    legend: set[str] = set()
    panels = lay_out(made, titles, across, ROW, foot=AXIS_TITLE if across < len(titles) else 0)
    for (way, near), one, drawn, axes in zip(WAYS, found, pairs, panels, strict=True):
        if not drawn:
            say_absent(made, axes, _absence(there, near, one))
            continue
        others = [(place, other, _curve_beside(other, there, way)) for place, other in enumerate(beside, 1)]
        others = [one for one in others if len(one[2]) > 1]
        reach = [[point[k] for *_, curve in others for point in curve] for k in (0, 1)]
        look = None if own is None else (f"median of {own.called(study, there.lane)}", own.colour)
        _draw(made, axes, there, way, one, drawn, jumps, ground(dark), legend, reach, look)
        for place, other, curve in others:
            _draw_beside(made, axes, way, place, other, curve, legend)
    # Room for the titles of the axes between the panels and the legend.
    made.update_layout(hovermode="closest", margin_b=104, height=made.layout.height + 44, legend_y=-66 / ROW)
    return made


def _known(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the pairs of which both distances are known."""
    return [p for p in found.get("pairs") or () if finite(p["x"]) is not None and finite(p["y"]) is not None]


def _draw(
    made: Figure,
    axes: dict[str, str],
    own: Neighbours,
    way: str,
    found: Mapping[str, Any],
    pairs: Sequence[Mapping[str, Any]],
    jumps: Mapping[frozenset[str], Mapping[str, Any]],
    on: Ground,
    legend: set[str],
    reach: Sequence[Sequence[float]],
    look: tuple[str, str] | None,
) -> None:
    """Draw the pairs of one chart. reach: what else it has room for, by axis. look: name and colour of the median."""
    near, far = str(found.get("near") or "start"), str(found.get("far") or "image")
    curve = [point for point in found.get("curve") or () if None not in map(finite, point)]
    wide, tall = (
        1.04 * (max([*(pair[axis] for pair in pairs), *more]) or 1.0)
        for axis, more in zip("xy", reach, strict=True)
    )
    meta = {**own.of(), "measure": way}

    def add(part: str, name: str, x: Sequence[float], y: Sequence[float], **look: Any) -> None:
        made.add_trace(
            go.Scatter(
                x=x,
                y=y,
                name=name,
                legendgroup=part,
                showlegend=part not in legend,
                legendrank=PARTS.index(part),
                meta={**meta, "part": part, **(_PICKED.get(part) or {})},
                **{"mode": "markers", **look, **axes},
            )
        )
        legend.add(part)

    def dots(part: str, name: str, these: Sequence[Mapping[str, Any]], marker: dict[str, Any]) -> None:
        words = [
            _of_a_pair(own, near, far, pair, jumps.get(frozenset((pair["a"], pair["b"])))) for pair in these
        ]
        add(
            part,
            name,
            [pair["x"] for pair in these],
            [pair["y"] for pair in these],
            marker=marker,
            customdata=[[pair["a"], pair["b"]] for pair in these],
            hovertext=words,
            hovertemplate="%{hovertext}<extra></extra>",
        )

    slope, low, high = (finite(found.get(name)) for name in ("slope", "low", "high"))
    end = min(wide, 2 * float(np.quantile([p["x"] for p in pairs if p["x"] > 0] or [wide], 0.25)))
    # No distance is below 0: of a slope that would lead there the sentence tells.
    if low is not None and high is not None and high > 0:
        x, y = zip(*_wedge(low, high, end, tall), strict=True)
        add(
            "interval",
            "its 95% interval",
            x,
            y,
            mode="lines",
            line={"color": on.gold, "width": 1},
            fill="toself",
            fillcolor=f"{on.gold}38",
            hoverinfo="skip",
        )
    apart = [frozenset((pair["a"], pair["b"])) in jumps for pair in pairs]
    size = next(size for most, size in _SIZES if len(pairs) <= most)
    plain = [pair for pair, jump in zip(pairs, apart, strict=True) if not jump]
    marker = {"size": size, "color": on.muted, "opacity": 0.6, "line": {"width": 0}}
    dots("pair", "a pair", plain, marker)
    if any(apart):
        marker = {"size": size + 4, "color": on.paper, "line": {"color": on.burgundy, "width": 2.5}}
        dots("jump", "a jump", [p for p, jump in zip(pairs, apart, strict=True) if jump], marker)
    if len(curve) > 1:
        name, colour = look or ("median of pairs with like distance", on.ink)
        add(
            "median",
            name,
            [x for x, _ in curve],
            [y for _, y in curve],
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": 6, "color": colour, "symbol": "square"},
            hovertemplate=f"median {text(distance_word(far))} %{{y:.3g}}"
            f"<br>at {text(distance_word(near))} %{{x:.3g}}<extra></extra>",
        )
    if slope is not None and slope >= 0:
        x, y = zip((0.0, 0.0), _reach(slope, end, tall), strict=True)
        said = f"slope at 0: {slope:.3g}"
        said += "" if low is None or high is None else f" ({low:.3g} to {high:.3g})"
        add(
            "slope",
            "slope at 0",
            x,
            y,
            mode="lines",
            line={"color": on.gold_ink, "width": 2.5, "dash": "dash"},
            hovertemplate=f"{said}<extra></extra>",
        )
    add(
        "origin",
        "the origin: a cell held against itself",
        [0.0],
        [0.0],
        marker={"size": 7, "color": on.ink, "symbol": "diamond"},
        cliponaxis=False,
        hovertemplate="%{fullData.name}<extra></extra>",
    )
    for name, key, most in (("xaxis", near, wide), ("yaxis", far, tall)):
        unit = f", {UNITS[key]}" if key in UNITS else ""
        made.layout[f"{name}{axes[name][1:]}"].update(
            title={"text": text(distance_word(key) + unit)},
            range=[0, most],
            zeroline=True,
            zerolinecolor=on.muted,
        )
    made.layout[f"yaxis{axes['yaxis'][1:]}"].ticklabelstandoff = 4


def _curve_beside(other: Beside, own: Neighbours, way: str) -> list[tuple[float, float]]:
    """Return the medians of another neighbourhood: of the lane that is called as the one in view, else of its first."""
    lanes = other.study.lanes
    lane = next((one for one in lanes if one.name == own.lane.name), lanes[0] if lanes else None)
    if lane is None:
        return []
    found = (lane_measures(other.measures, lane.key).get(way) or {}).get("curve") or ()
    return [(point[0], point[1]) for point in found if None not in map(finite, point)]


def _draw_beside(
    made: Figure,
    axes: dict[str, str],
    way: str,
    place: int,
    other: Beside,
    curve: Sequence[tuple[float, float]],
    legend: set[str],
) -> None:
    key = f"beside {other.study.id}"
    name = text(f"median of {other.name}")
    made.add_trace(
        go.Scatter(
            x=[x for x, _ in curve],
            y=[y for _, y in curve],
            mode="lines+markers",
            name=name,
            legendgroup=key,
            showlegend=key not in legend,
            line={"color": other.colour, "width": 2, "dash": dash(place)},
            marker={"size": 6, "color": other.colour, "symbol": symbol(place)},
            hovertemplate=f"{name}: %{{y:.3g}} at %{{x:.3g}}<extra></extra>",
            meta={"study": other.study.id, "measure": way, "part": "beside"},
            **axes,
        )
    )
    legend.add(key)


def _reach(slope: float, end: float, most: float) -> tuple[float, float]:
    """Return where a line from the origin ends: at ``end`` across, or at ``most`` up. A slope below 0 is as 0."""
    slope = max(slope, 0.0)
    return (most / slope, most) if slope * end > most else (end, slope * end)


def _wedge(low: float, high: float, end: float, most: float) -> list[tuple[float, float]]:
    """Return the corners of what lies between two lines from the origin."""
    first, last = _reach(high, end, most), _reach(low, end, most)
    corner = [(end, most)] if first[1] >= most and last[0] >= end else []
    return [(0.0, 0.0), first, *corner, last, (0.0, 0.0)]


def _of_a_pair(
    own: Neighbours, near: str, far: str, pair: Mapping[str, Any], jump: Mapping[str, Any] | None
) -> str:
    """Return what the pointer reads at a pair."""
    a, b = (text(own.called(pair[end])) for end in "ab")
    lines = [
        f"<b>{capital(a)} and {b}</b>{': a jump' if jump else ''}",
        *(
            f"{text(distance_word(key))} {pair[axis]:.3g}{f', {UNITS[key]}' if key in UNITS else ''}"
            for key, axis in ((near, "x"), (far, "y"))
        ),
    ]
    shown = [own.shows(pair[end]) for end in "ab"]
    if all(shown):
        one, other = (text(words) for words in shown)
        lines.append(f"both show {one}" if one == other else f"one shows {one}<br>the other {other}")
    if jump and (ratio := finite(jump.get("ratio"))) is not None and ratio >= UNUSUAL:
        lines.append(f"{ratio:.2g} times the usual for starts so close")
    return "<br>".join(lines)


def _of_a_jump(own: Neighbours, jump: Mapping[str, Any]) -> str:
    """Return a jump in a sentence."""
    a, b = (own.called(jump[end]) for end in "ab")
    ratio = finite(jump.get("ratio"))
    said = (
        f"{capital(a)} and {b} start {jump['near']:.3g} apart, and their images are {jump['far']:.3g} apart"
    )
    if ratio is not None and ratio >= UNUSUAL:
        said += f", {ratio:.2g} times the usual for starts so close"
    one, other = (own.shows(jump[end]) for end in "ab")
    if jump.get("named") and one and other:
        said += f": one shows {one}, the other {other}"
    return f"{said}.{' Both show the same things.' if jump.get('named') is False else ''}"


def _told(own: Neighbours, found: Sequence[Mapping[str, Any]], pairs: Sequence[Sequence[Any]]) -> list[str]:
    """Return the sentences of the measures, and how many jumps there are."""
    said = [one["sentence"] for one in found if one.get("sentence")]
    jumps = own.found.get("jumps") or ()
    if own.measures.get("note"):
        said.append(own.measures["note"])
    elif jumps:
        count = "1 pair jumps" if len(jumps) == 1 else f"{len(jumps)} pairs jump"
        said.append(f"{count}: close in their noise and far apart in their images.")
    elif finite(found[0].get("slope")) is not None and len(pairs[0]) >= FEWEST_CLOSE:
        said.append("No pair jumps: no two cells whose noise is close have images that are far apart.")
    if own.found.get("finding"):
        said.append(own.found["finding"])
    return said or [_absence(own, "start", {})]


def _spoken(
    own: Neighbours, says: str, found: Sequence[Mapping[str, Any]], pairs: Sequence[Sequence[Any]]
) -> str:
    """Return what it says with the numbers of the dots, the medians and the strongest jumps."""
    said = [says]
    for (_, near), one, known in zip(WAYS, found, pairs, strict=True):
        if not known:
            said.append(f"By {distance_word(near)}: {_absence(own, near, one)}")
            continue
        x, y = ([pair[axis] for pair in known] for axis in "xy")
        curve = ", ".join(f"{b:.3g} at {a:.3g}" for a, b in one.get("curve") or ())
        said.append(
            f"By {distance_word(near)}: {len(known)} pairs from {min(x):.3g} to {max(x):.3g}, their images "
            f"{min(y):.3g} to {max(y):.3g} apart{f'; medians of image distance {curve}' if curve else ''}."
        )
        if missing := len(one["pairs"]) - len(known):
            said.append(f"Of {missing} more a distance is not known.")
    jumps = own.found.get("jumps") or ()
    said += [_of_a_jump(own, jump) for jump in jumps[:TOLD]]
    return " ".join(said)


def _absence(own: Neighbours, near: str, found: Mapping[str, Any]) -> str:
    """Return why a chart has no pairs."""
    if not own.measures:
        return NOTHING
    if len(own.cells) < 2:
        return TOO_FEW
    if found.get("pairs"):
        return "Of no pair are both distances known."
    matrices = own.found.get("matrices") or {}
    return next((_MISSING[key] for key in ("image", near) if key not in matrices), NOTHING)
