"""Error budget: how much of a sampler's error is due to its steps, and how much to the field."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from diffatlas.errors import InvalidParams
from diffatlas.figures.figure import Figure, figure
from diffatlas.figures.lab_words import sampler_name
from diffatlas.figures.log_axis import log_axis
from diffatlas.figures.panels import lay_out, say_absent
from diffatlas.figures.template import dash, ground, symbol
from diffatlas.lab2d.studies import Budget

#: What is drawn: the field of `Budget`, its name, and its colour of the ground.
LINES = (
    ("total", "in all: learned field, these steps", "ink"),
    ("integration", "of the steps, learned field", "burgundy"),
    ("exact_integration", "of the steps, exact field", "gold"),
)
MODEL = "of the field"
AXES = {"steps": "steps", "calls": "evaluations of the field"}
ACROSS, ROW = 3, 300
ABOUT = (
    "Root mean square distance between ends that began at the same noise. Where the line of the error in all leaves "
    "that of the steps, more steps no longer help: what remains is the error of the field (dashed)."
)


def budget(budgets: Budget | Mapping[str, Budget], by: str = "steps", dark: bool = False) -> Figure:
    """Return a chart for each sampler: its error in all, of its steps, and of its field, in the plane's units.

    budgets: one of `diffatlas.lab2d.studies.error_budget`, or several by the name of their sampler; all on one scale.
    by: "steps", or "calls" for evaluations of the field, by which samplers can be compared. Raises `InvalidParams`
    for another axis, and where there is no budget::

        found = {name: error_budget(learned, exact, target, schedule, Plan(name)) for name in ("heun", "ddim")}
        figures.budget(found, by="calls")
    """
    found = {"": budgets} if isinstance(budgets, Budget) else dict(budgets)
    if not found:
        raise InvalidParams("There is no error budget to draw: give one.", field="budgets")
    if by not in AXES:
        raise InvalidParams(f"Choose what it is drawn by: {' or '.join(AXES)}.", field="by")
    names = [sampler_name(name) or "Error by " + AXES[by] for name in found]
    title = "Error budget" if len(found) > 1 or "" in found else f"Error budget of {names[0]}"
    made = figure("budget", title, ABOUT, _spoken(found), dark)
    drawn = [
        float(value)
        for one in found.values()
        for value in (*one.total, *one.integration, *one.exact_integration, one.model)
        if value > 0
    ]
    at = [int(value) for one in found.values() for value in getattr(one, by)]
    shown: set[str] = set()
    places = lay_out(made, names, min(ACROSS, len(found)), ROW)
    for (name, one), axes in zip(found.items(), places, strict=True):
        _draw(made, axes, name, one, by, (min(at), max(at)), shown, dark)
        if not any(value > 0 for line, _, _ in LINES for value in getattr(one, line)):
            say_absent(made, axes, "No error at all: it cannot be drawn on this scale.")
        suffix = axes["xaxis"][1:]
        ticks = [int(value) for value in getattr(one, by)]
        along = log_axis(min(at) * 0.87, max(at) * 1.15, ticks)
        up = log_axis(min(drawn) / 1.2, max(drawn) * 1.2) if drawn else {}
        made.update_layout({f"xaxis{suffix}": {**along, "title_text": AXES[by]}, f"yaxis{suffix}": up})
    made.update_layout(hovermode="closest", showlegend=True, yaxis_title_text="distance")
    return made


def _draw(
    made: Figure,
    axes: dict[str, str],
    name: str,
    one: Budget,
    by: str,
    ends: tuple[int, int],
    shown: set[str],
    dark: bool,
) -> None:
    """Draw one budget. What is 0 has no place on a logarithmic axis and is left out."""
    on = ground(dark)
    x = [int(value) for value in getattr(one, by)]
    taken = [[int(steps), int(calls)] for steps, calls in zip(one.steps, one.calls, strict=True)]
    for place, (line, label, ink) in enumerate(LINES):
        values = [float(value) if value > 0 else None for value in getattr(one, line)]
        colour = getattr(on, ink)
        made.add_trace(
            go.Scatter(
                x=x,
                y=values,
                mode="lines+markers",
                name=label,
                legendgroup=line,
                showlegend=line not in shown,
                line={"color": colour, "width": 1.7, "dash": ("solid", "longdash", "dot")[place]},
                marker={"color": colour, "size": 7, "symbol": symbol(place)},
                customdata=taken,
                hovertemplate="%{y:.3g}<br>%{customdata[0]:,} steps, %{customdata[1]:,} evaluations"
                f"<extra>{label}</extra>",
                meta={"sampler": name, "measure": line},
                **axes,
            )
        )
        shown.add(line)
    if one.model > 0:
        made.add_trace(
            go.Scatter(
                x=list(ends),
                y=[one.model, one.model],
                mode="lines",
                name=MODEL,
                legendgroup="model",
                showlegend="model" not in shown,
                line={"color": on.muted, "width": 1.5, "dash": dash(1)},
                hovertemplate=f"%{{y:.3g}}, whatever the steps<extra>{MODEL}</extra>",
                meta={"sampler": name, "measure": "model"},
                **axes,
            )
        )
        shown.add("model")


def _spoken(found: Mapping[str, Budget]) -> str:
    return " ".join(
        f"{sampler_name(name) or 'The sampler'}: the field’s own error is {one.model:.3g}, whatever the steps; "
        f"in all it is {one.total[0]:.3g} at {one.steps[0]} steps and {one.total[-1]:.3g} at {one.steps[-1]}."
        for name, one in found.items()
    )
