"""Loss: how the loss of a network in the plane falls, and how far it is from the best, by noise level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from diffatlas.figures.figure import Figure, figure
from diffatlas.figures.lab_words import percent, target_name
from diffatlas.figures.log_axis import log_axis
from diffatlas.figures.panels import AXIS_TITLE, lay_out, say_absent
from diffatlas.figures.template import ground, symbol
from diffatlas.lab2d.floors import Excess, excess, loss_floor
from diffatlas.lab2d.mixtures import Target
from diffatlas.lab2d.schedules import Schedule, T
from diffatlas.lab2d.training import Learned, Recipe, Trainer

#: Points of the curve: of more steps each point is a mean over several.
MOST = 400
ROW = 300
PAIRED = "With paired noise the loss has another floor, without a closed form."


@dataclass(frozen=True)
class Losses:
    """What is known of a training by ``step``: its losses, their ``floor`` where it has one, and the errors by level.

    errors: of `errors_of`, empty where they are not known.
    """

    target: str
    recipe: Recipe
    step: int
    losses: Sequence[float]
    floor: float | None
    errors: Mapping[str, Excess]


def loss(trainer: Trainer, dark: bool = False) -> Figure:
    """Return the training loss by step beside the Bayes floor, and the error by noise level beside its floor.

    The loss is that of what the network predicts, a mean over points and both coordinates; of more than `MOST` steps
    each point is the mean over as many steps as the figure says. Its floor is `diffatlas.lab2d.floors.loss_floor` of
    what is trained on. The error is `diffatlas.lab2d.floors.excess`, E|.|² of the noise, of the averaged weights.
    With noise paired by optimal transport neither floor is known, and the figure says so::

        trainer.run(500)
        figures.loss(trainer)
    """
    recipe, paired = trainer.recipe, trainer.recipe.pairing == "ot"
    floor = (
        None if paired else loss_floor(trainer.source, trainer.schedule, recipe.objective, recipe.label_drop)
    )
    known = trainer.step and not paired
    errors = errors_of(trainer.learned(), trainer.target, trainer.schedule) if known else {}
    told = Losses(target_name(trainer.target), recipe, trainer.step, trainer.losses, floor, errors)
    return draw_loss(told, dark)


def errors_of(model: Learned, target: Target, schedule: Schedule) -> dict[str, Excess]:
    """Return a network's error above its floor, by level: with the class, and without."""
    return {
        name: excess(model, target, schedule, conditional)
        for name, conditional in (("with class", True), ("without class", False))
    }


def draw_loss(told: Losses, dark: bool = False, across: int = 2, row: int = ROW) -> Figure:
    """Return `loss` of what was measured already; row: pixels of a chart."""
    paired, trained = told.recipe.pairing == "ot", told.step > 0
    stride = max(1, -(-len(told.losses) // MOST))
    title = f"Training on {told.target}, {told.step:,} steps"
    made = figure("loss", title, _says(told, stride), _spoken(told), dark)
    curve, levels = lay_out(made, ["Loss", "Error by noise level"], across, row, foot=AXIS_TITLE)
    if len(told.losses):
        _curve(made, curve, told, stride, dark)
    else:
        say_absent(
            made, curve, "No losses were kept: they begin where it trains on." if trained else "Not trained."
        )
    if told.errors:
        _levels(made, levels, told.errors, dark)
    else:
        say_absent(made, levels, PAIRED if paired else "Measured once a network has been trained.")
    made.update_layout(hovermode="closest")
    return made


def _curve(made: Figure, axes: dict[str, str], told: Losses, stride: int, dark: bool) -> None:
    """Draw the loss, each point at the last of its steps, and its floor."""
    on, losses, floor = ground(dark), np.array(told.losses, float), told.floor
    first = told.step - len(losses)
    starts = np.arange(0, len(losses), stride)
    ends = np.minimum(starts + stride, len(losses))
    values = np.add.reduceat(losses, starts) / (ends - starts)
    seen = [float(value) for value in values if np.isfinite(value) and value > 0]
    made.add_trace(
        go.Scatter(
            x=first + ends,
            y=values,
            mode="lines" if len(values) > 1 else "markers",
            name="Loss",
            line={"color": on.burgundy, "width": 1.6},
            marker={"color": on.burgundy},
            customdata=first + starts + 1,
            hovertemplate="loss %{y:.4g}<br>"
            + ("step %{x:,}" if stride == 1 else "steps %{customdata:,} to %{x:,}")
            + "<extra></extra>",
            meta={"measure": "loss", "stride": stride},
            **axes,
        )
    )
    if floor is not None:
        made.add_trace(
            go.Scatter(
                x=[first + 1, told.step],
                y=[floor, floor],
                mode="lines",
                name="Bayes floor of the loss" if not told.recipe.train_points else "Points known by heart",
                line={"color": on.gold, "width": 1.6, "dash": "dash"},
                hovertemplate="floor %{y:.4g}<extra></extra>",
                meta={"measure": "floor"},
                **axes,
            )
        )
    known = [*seen, *([floor] if floor else [])]
    if known:
        made.update_layout({_key(axes, "y"): log_axis(min(known) * 0.95, max(known) * 1.05)})
    made.update_layout({_key(axes, "x"): {"title_text": "step"}, _key(axes, "y"): {"title_text": "loss"}})


def _levels(made: Figure, axes: dict[str, str], errors: Mapping[str, Excess], dark: bool) -> None:
    """Draw the excess with class and without, and the floor with class, as the page does."""
    on, known = ground(dark), []
    looks = {"with class": on.burgundy, "without class": on.muted}
    drawn: list[tuple[str, np.ndarray, dict[str, Any]]] = [
        (
            "Floor of the error, with class",
            errors["with class"].floor,
            {"mode": "lines", "line": {"color": on.gold, "width": 1.6, "dash": "longdashdot"}},
        )
    ]
    for place, (name, found) in enumerate(errors.items()):
        line = {"color": looks[name], "width": 1.6, "dash": "solid" if place == 0 else "dot"}
        marker = {"color": looks[name], "size": 6, "symbol": symbol(place)}
        drawn.append(
            (f"Excess, {name}", found.excess, {"mode": "lines+markers", "line": line, "marker": marker})
        )
    at = next(iter(errors.values()))
    for name, values, look in drawn:
        known += [float(value) for value in values if value > 0]
        made.add_trace(
            go.Scatter(
                x=at.levels,
                y=[float(value) if value > 0 else None for value in values],
                name=name,
                customdata=at.sigmas,
                hovertemplate="%{y:.3g} at t = %{x}, σ = %{customdata:.3g}<extra>" + name + "</extra>",
                meta={"measure": name},
                **look,
                **axes,
            )
        )
    ticks = [0, 200, 400, 600, 800, 1000]
    made.update_layout(
        {
            _key(axes, "x"): {"title_text": "noise level t", "range": [0, T], "tickvals": ticks},
            _key(axes, "y"): log_axis(min(known) / 1.2, max(known) * 1.2) if known else {},
        }
    )
    made.update_layout({_key(axes, "y"): {"title_text": "error of the noise, squared"}})


def _key(axes: dict[str, str], which: str) -> str:
    """Return the name of an axis in the layout: "xaxis2" of "x2"."""
    return f"{which}axis{axes[f'{which}axis'][1:]}"


def _says(told: Losses, stride: int) -> str:
    recipe, errors = told.recipe, told.errors
    said = "Loss: mean squared error of what the network predicts, on the batches of training"
    said += f", each point the mean over {stride} steps." if stride > 1 else "."
    if recipe.pairing == "ot":
        return f"{said} {PAIRED}"
    if recipe.train_points:
        said += f" Its floor is that of knowing the {recipe.train_points:,} training points by heart."
    else:
        said += " The Bayes floor is the least that any network can reach."
    if errors:
        said += (
            f" Over all levels the excess is {percent(errors['with class'].relative)} of the floor with class, "
            f"{percent(errors['without class'].relative)} without."
        )
    return said


def _spoken(told: Losses) -> str:
    said = [f"{told.target}, trained for {told.step:,} steps."]
    if len(told.losses):
        some = told.losses[-200:]
        said.append(
            f"The loss begins at {told.losses[0]:.3g}; over the last {len(some)} steps it is {np.mean(some):.3g}."
        )
    if told.recipe.pairing == "ot":
        said.append(PAIRED)
    elif told.floor is not None:
        said.append(f"Its floor is {told.floor:.3g}.")
    for name, found in told.errors.items():
        worst = int(np.argmax(found.excess))
        said.append(
            f"Excess {name}: {percent(found.relative)} of the floor, most at level {found.levels[worst]} "
            f"({found.excess[worst]:.3g})."
        )
    return " ".join(said)
