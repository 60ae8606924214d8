"""Quality: how near samples come to the target, by the steps or evaluations that they take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import plotly.graph_objects as go

from diffatlas.errors import InvalidParams
from diffatlas.figures.figure import Figure, figure, text
from diffatlas.figures.lab_words import MEASURES, sampler_look, sampler_name, target_name
from diffatlas.figures.log_axis import log_axis, number, segments
from diffatlas.figures.panels import ROW, lay_out, say_absent
from diffatlas.figures.template import ground
from diffatlas.lab2d.mixtures import Target
from diffatlas.lab2d.studies import Point
from diffatlas.lab2d.summaries import FLOOR, Measured, Spread, by_steps, chance

ACROSS = 4
AXES = {"steps": "steps", "calls": "evaluations of the field"}
SCALES = ("log", "linear")
#: The measure of which more is better.
RISING = "covered"


def quality(
    points: Iterable[Point],
    by: str = "steps",
    measures: Sequence[str] = tuple(MEASURES),
    scale: str = "log",
    target: Target | None = None,
    dark: bool = False,
    across: int = ACROSS,
    row: int = ROW,
) -> Figure:
    """Return a chart for each measure: a line for each sampler, and a band for what chance alone gives.

    points: of `diffatlas.lab2d.studies.quality`, with those of `noise_floor` for the band. by: "steps", or "calls"
    for evaluations of the field. measures: of `MEASURES`, in the order in which they are drawn. scale: "log" or
    "linear" for the values; the share of covered modes is always linear. target: named in the title, where given.
    across: charts in a row. row: its height in pixels.
    Marks are means over the repeats, bars one standard deviation. Raises `InvalidParams` for other names, and where no
    sampler was measured::

        points = [*noise_floor(target, n, 6, stick), *studies.quality(bind, target, schedule, plans, n, 3, stick)]
        figures.quality(points, by="calls")
    """
    points, unknown = list(points), [name for name in measures if name not in MEASURES]
    if unknown or not measures:
        raise InvalidParams(f"Choose measures among {', '.join(MEASURES)}.", field="measures")
    if by not in AXES:
        raise InvalidParams(f"Choose what it is drawn by: {' or '.join(AXES)}.", field="by")
    if scale not in SCALES:
        raise InvalidParams(f"The scale is {' or '.join(SCALES)}.", field="scale")
    found = {name: by_steps(points, name) for name in measures}
    samplers = list(dict.fromkeys(point.sampler for point in points if point.sampler != FLOOR))
    if not samplers:
        raise InvalidParams("No sampler was measured: give the points of a study of quality.", field="points")
    floors = {name: chance(points, name) for name in measures}
    of = "" if target is None else f" on {target_name(target)}"
    title = f"Quality by {AXES[by]}{of}"
    says = _says(floors, scale, samplers)
    made = figure("quality", title, says, _spoken(found, floors), dark)
    titles = [MEASURES[name] for name in measures]
    every = [_at(row, by) for rows in found.values() for own in rows.values() for row in own]
    shown: set[str] = set()
    for name, axes in zip(measures, lay_out(made, titles, across, row), strict=True):
        if not found[name]:
            say_absent(made, axes, "No finite values.")
            continue
        foot = _foot(found[name], floors[name]) if scale == "log" and name != RISING else None
        _band(made, axes, name, floors[name], foot, every, FLOOR not in shown, dark)
        shown |= {FLOOR} if floors[name] else set()
        for sampler in samplers:
            rows = found[name].get(sampler, [])
            if rows:
                _draw(made, axes, name, sampler, rows, by, foot, sampler not in shown, dark)
                shown.add(sampler)
        _axes(made, axes, name, found[name], floors[name], foot, every, by)
    # Only where no chart lies below is there room to say what the axis is.
    for place in range(max(len(measures) - across, 0), len(measures)):
        made.update_layout({f"xaxis{'' if place == 0 else place + 1}": {"title_text": AXES[by]}})
    made.update_layout(hovermode="closest", showlegend=True)
    return made


def _at(row: Measured, by: str) -> int:
    """Return where a row lies: the full chain of DDPM has as many steps as calls, whatever was asked."""
    return row.calls if by == "calls" or row.sampler == "ddpm" else row.steps


def _foot(rows: dict[str, list[Measured]], floor: Spread | None) -> float | None:
    """Return where a logarithmic scale begins: below what the noise floor lets be seen, or at the least value."""
    means = [row.spread.mean for own in rows.values() for row in own]
    high = floor.high if floor is not None else 0
    seen = [value for value in means if value > max(high, 0)]
    return min([*seen, *([high / 3] if high > 0 else [])], default=None)


def _draw(
    made: Figure,
    axes: dict[str, str],
    name: str,
    sampler: str,
    rows: Sequence[Measured],
    by: str,
    foot: float | None,
    first: bool,
    dark: bool,
) -> None:
    """Draw one sampler: its bars, then its line. A mark that lies below the scale is open and at its foot."""
    colour, dash, symbol = sampler_look(sampler, dark)
    at = [_at(row, by) for row in rows]
    least = float("-inf") if foot is None else foot
    ends = [(max(row.spread.mean - row.spread.sd, least), row.spread.mean + row.spread.sd) for row in rows]
    meta = {"sampler": sampler, "measure": name}
    bars = [(x, end) for x, end in zip(at, ends, strict=True) if end[1] > max(end[0], least)]
    if bars:
        made.add_trace(
            go.Scatter(
                x=segments((x, x) for x, _ in bars),
                y=segments(end for _, end in bars),
                mode="lines",
                line={"color": colour, "width": 1.2},
                legendgroup=sampler,
                showlegend=False,
                hoverinfo="skip",
                meta={**meta, "bars": True},
                **axes,
            )
        )
    label = text(sampler_name(sampler))
    made.add_trace(
        go.Scatter(
            x=at,
            y=[max(row.spread.mean, least) for row in rows],
            mode="lines+markers",
            name=label,
            legendgroup=sampler,
            showlegend=first,
            line={"color": colour, "width": 1.6, "dash": dash},
            marker={
                "color": colour,
                "size": 7,
                "symbol": [symbol + ("-open" if row.spread.mean < least else "") for row in rows],
            },
            customdata=[[row.steps, row.calls, row.spread.mean, row.spread.sd, row.spread.n] for row in rows],
            hovertemplate="%{customdata[2]:.4g} ± %{customdata[3]:.2g}<br>%{customdata[0]:,} steps, "
            f"%{{customdata[1]:,}} evaluations, %{{customdata[4]}} repeats<extra>{label}</extra>",
            meta=meta,
            **axes,
        )
    )


def _band(
    made: Figure,
    axes: dict[str, str],
    name: str,
    floor: Spread | None,
    foot: float | None,
    every: Sequence[int],
    first: bool,
    dark: bool,
) -> None:
    """Draw what chance explains: a band of two deviations either way, and the edge beyond which a sampler is told."""
    if floor is None:
        return
    on = ground(dark)
    edge = floor.low if name == RISING else floor.high
    if foot is not None and floor.high <= foot:
        return
    made.add_shape(
        type="rect",
        name=FLOOR,
        xref=f"{axes['xaxis']} domain",
        yref=axes["yaxis"],
        x0=0,
        x1=1,
        y0=floor.low if foot is None else max(floor.low, foot),
        y1=floor.high,
        fillcolor=on.gold,
        opacity=0.22,
        line_width=0,
        layer="below",
    )
    made.add_trace(
        go.Scatter(
            x=[min(every), max(every)],
            y=[edge, edge],
            mode="lines",
            name="noise floor",
            legendgroup=FLOOR,
            showlegend=first,
            line={"color": on.gold, "width": 1.4, "dash": "dash"},
            hovertemplate=f"{floor.mean:.3g} ± {floor.sd:.2g} over {floor.n}<extra>noise floor</extra>",
            meta={"sampler": FLOOR, "measure": name},
            **axes,
        )
    )


def _axes(
    made: Figure,
    axes: dict[str, str],
    name: str,
    rows: dict[str, list[Measured]],
    floor: Spread | None,
    foot: float | None,
    every: Sequence[int],
    by: str,
) -> None:
    suffix = axes["xaxis"][1:]
    ticks = sorted(set(every))
    kept = [tick for tick in ticks if by == "steps" or tick in _powers(ticks)]
    along = log_axis(min(every) * 0.87, max(every) * 1.15, kept)
    made.update_layout({f"xaxis{suffix}": along})
    spreads = [row.spread for own in rows.values() for row in own]
    top = max(one.mean + one.sd for one in spreads)
    if floor is not None:
        top = max(top, floor.high)
    if foot is not None:
        made.update_layout({f"yaxis{suffix}": log_axis(foot * 0.8, top * 1.25)})
    elif name == RISING:
        low = min([one.mean - one.sd for one in spreads] + ([floor.low] if floor else []))
        made.update_layout({f"yaxis{suffix}": {"range": [min(0, low), max(1.03, top)]}})


def _powers(ticks: Sequence[int]) -> set[int]:
    """Return the ticks that have room: each at least 1.7 times the one before."""
    kept: list[int] = []
    for tick in ticks:
        if not kept or tick >= 1.7 * kept[-1]:
            kept.append(tick)
    return set(kept)


def _says(floors: dict[str, Spread | None], scale: str, samplers: Sequence[str]) -> str:
    said = "Mean over the repeats, each with fresh noise, classes and target points; bars are one standard deviation. "
    if any(floors.values()):
        said += (
            "The gold band is the noise floor: the target measured against itself with as many points, mean and two "
            "standard deviations."
        )
        said += (
            " What lies below the logarithmic scale is an open mark at its foot." if scale == "log" else ""
        )
    else:
        said += "The noise floor was not measured: nothing here says what chance alone gives."
    if {"heun", "dpmpp_2m"} & set(samplers) and "ddim" in samplers:
        said += (
            " Which sampler wins at few steps depends on the grid of noise levels too: Heun and DPM++ take Karras’s "
            "between σ 0.02 and 80, DDIM the model’s schedule."
        )
    return said


def _spoken(found: dict[str, dict[str, list[Measured]]], floors: dict[str, Spread | None]) -> str:
    told = []
    for name, rows in found.items():
        floor = floors[name]
        parts = [
            f"{sampler_name(sampler)} {number(own[0].spread.mean)} at {own[0].steps} steps, "
            f"{number(own[-1].spread.mean)} at {own[-1].steps}"
            for sampler, own in rows.items()
        ]
        if floor is not None:
            parts.append(f"noise floor {number(floor.mean)} ± {number(2 * floor.sd)}")
        told.append(f"{MEASURES[name]}: {'; '.join(parts) or 'nothing finite'}.")
    return " ".join(told)
