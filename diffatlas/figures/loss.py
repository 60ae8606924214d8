"""Loss: how the loss of a network in the plane falls, and how far it is from the best, by noise level."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from diffatlas.figures.figure import Figure, figure
from diffatlas.figures.lab_words import percent, target_name
from diffatlas.figures.log_axis import log_axis
from diffatlas.figures.panels import lay_out, say_absent
from diffatlas.figures.template import ground, symbol
from diffatlas.lab2d.floors import Excess, excess, loss_floor
from diffatlas.lab2d.schedules import T
from diffatlas.lab2d.training import Trainer

#: Points of the curve: of more steps each point is a mean over several.
MOST = 400
ROW = 300
PAIRED = "With paired noise the loss has another floor, without a closed form."


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
    trained = trainer.step > 0
    floor = (
        None if paired else loss_floor(trainer.source, trainer.schedule, recipe.objective, recipe.label_drop)
    )
    errors = {} if paired or not trained else _errors(trainer)
    stride = max(1, -(-len(trainer.losses) // MOST))
    made = figure(
        "loss",
        f"Training on {target_name(trainer.target)}, {trainer.step:,} steps",
        _says(trainer, errors, stride),
        _spoken(trainer, floor, errors),
        dark,
    )
    curve, levels = lay_out(made, ["Loss", "Error by noise level"], 2, ROW)
    if trainer.losses:
        _curve(made, curve, trainer, floor, stride, dark)
    else:
        say_absent(
            made, curve, "No losses were kept: they begin where it trains on." if trained else "Not trained."
        )
    if errors:
        _levels(made, levels, errors, dark)
    else:
        say_absent(made, levels, PAIRED if paired else "Measured once a network has been trained.")
    made.update_layout(hovermode="closest")
    return made


def _errors(trainer: Trainer) -> dict[str, Excess]:
    model = trainer.learned()
    return {
        name: excess(model, trainer.target, trainer.schedule, conditional)
        for name, conditional in (("with class", True), ("without class", False))
    }


def _curve(
    made: Figure, axes: dict[str, str], trainer: Trainer, floor: float | None, stride: int, dark: bool
) -> None:
    """Draw the loss, each point at the last of its steps, and its floor."""
    on, losses = ground(dark), np.array(trainer.losses, float)
    first = trainer.step - len(losses)
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
                x=[first + 1, trainer.step],
                y=[floor, floor],
                mode="lines",
                name="Bayes floor of the loss"
                if not trainer.recipe.train_points
                else "Points known by heart",
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


def _levels(made: Figure, axes: dict[str, str], errors: dict[str, Excess], dark: bool) -> None:
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


def _says(trainer: Trainer, errors: dict[str, Excess], stride: int) -> str:
    said = "Loss: mean squared error of what the network predicts, on the batches of training"
    said += f", each point the mean over {stride} steps." if stride > 1 else "."
    if trainer.recipe.pairing == "ot":
        return f"{said} {PAIRED}"
    if trainer.recipe.train_points:
        said += f" Its floor is that of knowing the {trainer.recipe.train_points:,} training points by heart."
    else:
        said += " The Bayes floor is the least that any network can reach."
    if errors:
        said += (
            f" Over all levels the excess is {percent(errors['with class'].relative)} of the floor with class, "
            f"{percent(errors['without class'].relative)} without."
        )
    return said


def _spoken(trainer: Trainer, floor: float | None, errors: dict[str, Excess]) -> str:
    told = [f"{target_name(trainer.target)}, trained for {trainer.step:,} steps."]
    if trainer.losses:
        some = trainer.losses[-200:]
        told.append(
            f"The loss begins at {trainer.losses[0]:.3g}; over the last {len(some)} steps it is {np.mean(some):.3g}."
        )
    told.append(PAIRED if floor is None else f"Its floor is {floor:.3g}.")
    for name, found in errors.items():
        worst = int(np.argmax(found.excess))
        told.append(
            f"Excess {name}: {percent(found.relative)} of the floor, most at level {found.levels[worst]} "
            f"({found.excess[worst]:.3g})."
        )
    return " ".join(told)
