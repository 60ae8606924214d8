"""Memory: whether networks have learned their target or their training points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from diffatlas.errors import InvalidParams
from diffatlas.figures.figure import Figure, figure
from diffatlas.figures.lab_words import percent
from diffatlas.figures.log_axis import log_axis
from diffatlas.figures.panels import AXIS_TITLE, lay_out
from diffatlas.figures.plane import outside, square
from diffatlas.figures.template import ground, symbol
from diffatlas.lab2d.studies import Memory
from diffatlas.lab2d.summaries import LEAST, MOST, shares

#: Whose samples are compared: the name in `Memory.nearest`, what it is called, its colour of the ground, its dash.
LINES = (
    ("learned", "the network", "burgundy", "solid"),
    ("empirical", "the sampler that knows the training points and nothing else", "gold", "dash"),
    ("fresh", "fresh points of the target", "muted", "dot"),
)
ACROSS, ROW = 3, 330
ABOUT = (
    "The share of samples that are copies: the nearest training point is less than a third as far away as the second "
    "nearest. The sampler that knows the training points and nothing else ends on them; who has learned the target "
    "keeps away as far as fresh points do, which are near a training point by chance."
)


def memory(
    found: Memory | Sequence[Memory], n: int | None = None, dark: bool = False, across: int = ACROSS
) -> Figure:
    """Return the copies by the size of the training set, and of one size the distances and the samples themselves.

    found: of `diffatlas.lab2d.studies.memorisation`, one or several sizes. n: the size whose distances to the nearest
    training point (in the plane's units, binned by `diffatlas.lab2d.summaries.shares`) and samples are drawn; without
    it the largest. across: charts in a row. Raises `InvalidParams`, where there is none of that size::

        trainer.run(2000)  # of Trainer(target, memory_recipe(Recipe(), 20, 2000))
        figures.memory(memorisation(trainer, Plan("heun", 24)))
    """
    rows = sorted([found] if isinstance(found, Memory) else found, key=lambda row: row.n)
    if not rows:
        raise InvalidParams(
            "There is nothing to draw: give what was measured of a training set.", field="found"
        )
    by_size = {row.n: row for row in rows}
    chosen = rows[-1] if n is None else by_size.get(n)
    if chosen is None:
        sizes = ", ".join(f"{size:,}" for size in by_size)
        raise InvalidParams(f"No network was trained on {n:,} points: choose among {sizes}.", field="n")
    title = f"Memory of {len(rows)} networks" if len(rows) > 1 else "Memory of a network"
    made = figure(
        "memory", title, f"{ABOUT} {_told(chosen)}{_missing(chosen)}", " ".join(map(_told, rows)), dark
    )
    titles = [
        "Copies",
        f"Nearest of {chosen.n:,} training points",
        f"Samples, {chosen.n:,} training points",
    ]
    copies, nearest, plane = lay_out(made, titles, across, ROW, foot=AXIS_TITLE)
    _copies(made, copies, rows, dark)
    _nearest(made, nearest, chosen, dark)
    _plane(made, plane, chosen, dark)
    made.update_layout(hovermode="closest", showlegend=True)
    return made


def _copies(made: Figure, axes: dict[str, str], rows: Sequence[Memory], dark: bool) -> None:
    sizes = [row.n for row in rows]
    for place, (name, label, ink, dash) in enumerate(LINES):
        colour = getattr(ground(dark), ink)
        made.add_trace(
            go.Scatter(
                x=sizes,
                y=[row.copies[name] for row in rows],
                mode="lines+markers",
                name=label,
                legendgroup=name,
                line={"color": colour, "width": 1.6, "dash": dash},
                marker={"color": colour, "size": 7, "symbol": symbol(place)},
                hovertemplate=f"%{{y:.1%}} copies, %{{x:,}} training points<extra>{label}</extra>",
                meta={"measure": "copies", "of": name},
                **axes,
            )
        )
    ticks = [size for k, size in enumerate(sizes) if k == 0 or size >= 1.3 * sizes[k - 1]]
    made.update_layout(
        xaxis={**log_axis(min(sizes) * 0.8, max(sizes) * 1.3, ticks), "title_text": "training points"},
        yaxis={"title_text": "share of copies", "range": [-0.03, 1.03], "tickvals": [0, 0.25, 0.5, 0.75, 1]},
    )


def _nearest(made: Figure, axes: dict[str, str], row: Memory, dark: bool) -> None:
    # Who has learned nothing but the points lies behind: its peak is the highest.
    for name, label, ink, dash in (LINES[1], LINES[2], LINES[0]):
        middles, values = shares(row.nearest[name])
        made.add_trace(
            go.Scatter(
                x=middles,
                y=values,
                mode="lines",
                name=label,
                legendgroup=name,
                showlegend=False,
                line={"color": getattr(ground(dark), ink), "width": 1.8, "dash": dash},
                hovertemplate=f"%{{y:.1%}} at about %{{x:.2g}}<extra>{label}</extra>",
                meta={"measure": "nearest", "of": name, "n": row.n},
                **axes,
            )
        )
    ticks = [10.0**power for power in range(LEAST, MOST + 1)]
    along = {**log_axis(10.0**LEAST, 10.0**MOST, ticks), "title_text": "distance"}
    made.update_layout(xaxis2=along, yaxis2={"title_text": "share of samples", "rangemode": "tozero"})


def _plane(made: Figure, axes: dict[str, str], row: Memory, dark: bool) -> None:
    on = ground(dark)
    looks = (
        ("samples", "samples of the network", row.samples, {"color": on.burgundy, "size": 4, "opacity": 0.6}),
        (
            "points",
            "training points",
            row.points,
            {"color": on.ink, "size": 9 if row.n <= 500 else 6, "symbol": "circle-open", "line_width": 1.2},
        ),
    )
    for name, label, x, marker in looks:
        made.add_trace(
            go.Scatter(
                x=x[:, 0],
                y=x[:, 1],
                mode="markers",
                name=label,
                marker=marker,
                hovertemplate=f"(%{{x:.3f}}, %{{y:.3f}})<extra>{label}</extra>",
                meta={"measure": name, "n": row.n},
                **axes,
            )
        )
    square(made, axes)


def _missing(row: Memory) -> str:
    out = outside(row.samples)
    return f" {out:,} of {len(row.samples):,} samples lie outside of what is drawn." if out else ""


def _told(row: Memory) -> str:
    middle = {name: f"{np.median(distances):.2g}" for name, distances in row.nearest.items()}
    return (
        f"{row.n:,} points: {percent(row.copies['learned'])} copies, {percent(row.copies['fresh'])} by chance; the "
        f"median distance is {middle['learned']}, that of fresh points {middle['fresh']}. Error above the floor "
        f"{percent(row.excess)}, that of knowing the points by heart {percent(row.heart)}."
    )
