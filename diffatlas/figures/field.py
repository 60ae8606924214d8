"""Field: the score, or another quantity, at a noise level: learned, exact, of the training points, and their error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from diffatlas.errors import InvalidParams
from diffatlas.figures.figure import Figure, figure
from diffatlas.figures.lab_words import FIELDS, QUANTITIES, class_name, percent, target_name
from diffatlas.figures.panels import lay_out
from diffatlas.figures.plane import heat, square
from diffatlas.figures.template import ground
from diffatlas.lab2d.denoisers import Bound, Denoiser, bound, exact, guided
from diffatlas.lab2d.fields import SIDE, density, error, grid, on_distribution
from diffatlas.lab2d.fields import field as field_of
from diffatlas.lab2d.mixtures import Target
from diffatlas.lab2d.schedules import Schedule
from diffatlas.lab2d.schedules import schedule as schedule_of
from diffatlas.lab2d.targets import EXTENT
from diffatlas.lab2d.training import Trainer

ROW, CELLS = 300, 48
#: Arrows reach their full length at this share of the lengths, so that a few long ones do not make the rest dots.
LONG = 0.97
#: The angle of an arrow's barbs to its shaft, and their share of it.
BARB, BARB_SHARE = 2.6, 0.35
INKS = {"learned": "burgundy", "exact": "ink", "empirical": "muted"}
ERROR = "Learned less exact"
ARROWS = (
    "Arrows have the direction of the field at their place, and lengths by its square root, on one scale in all "
    "charts. Under them lies the exact density at this noise."
)
DIFFERENCE = "The last is the length of the difference, by its square root, light where it is large."
PAIRED = (
    "Trained with noise paired by optimal transport, the learned field is another than the exact one of unpaired "
    "noise; both lead to the target."
)
FAR = (
    "At little noise most of the grid lies where no point ever comes and nothing was learned; what counts for samples "
    "is the error where points are."
)


@dataclass(frozen=True)
class _Asked:
    """Which field: at which noise, of what, for which class."""

    target: Target
    schedule: Schedule
    sigma: float
    quantity: str
    label: int | None
    weight: float

    def of(self, denoiser: Denoiser, places: np.ndarray) -> np.ndarray:
        """Return the field of a denoiser at places of the plane, (n, 2)."""
        denoise: Bound = bound(denoiser, None)
        if self.label is not None:
            denoise = guided(denoiser, np.full(len(places), self.label), self.weight)
        return field_of(denoise, self.quantity, places, self.sigma, self.schedule)


def field(
    of: Trainer | Target,
    sigma: float = 0.5,
    quantity: str = "score",
    label: int | None = None,
    weight: float = 0.0,
    schedule: str = "cosine",
    side: int = SIDE,
    dark: bool = False,
) -> Figure:
    """Return the field on side x side places, in the coordinates x_t = alpha x of the schedule.

    of: a trainer, whose learned field is drawn beside the exact one, the one of its training points where it has a
    fixed set, and the length of the difference; or a target, of which the exact field is drawn. sigma: the noise level.
    quantity: of `diffatlas.lab2d.denoisers.QUANTITIES`. label: the class; None for the field without class. weight: of
    classifier-free guidance, for a class. schedule: of a target; a trainer has its own. The errors are
    `diffatlas.lab2d.fields.error` on the grid, and `on_distribution` at points of p_t, without guidance.

    Raises `InvalidParams` for anything else::

        figures.field(trainer, sigma=0.3)
        figures.field(target, sigma=1.0, quantity="flow", schedule="straight")
    """
    if not isinstance(of, (Trainer, Target)):
        raise InvalidParams(
            f"A {type(of).__name__} has no field here: give a trainer or a target.", field="of"
        )
    trainer = of if isinstance(of, Trainer) else None
    target = of if isinstance(of, Target) else of.target
    if quantity not in QUANTITIES:
        raise InvalidParams(f"Choose a quantity among {', '.join(QUANTITIES)}.", field="quantity")
    if not (np.isfinite(sigma) and sigma > 0):
        raise InvalidParams("sigma is a noise level: a number above 0.", field="sigma")
    if label is not None and not 0 <= label < len(target.classes):
        raise InvalidParams(f"A class is a number from 0 to {len(target.classes) - 1}.", field="label")
    if label is None and weight:
        raise InvalidParams("Guidance needs a class: choose one by its label.", field="weight")
    if side < 2:
        raise InvalidParams("The grid has at least 2 places a side.", field="side")
    asked = _Asked(
        target, trainer.schedule if trainer else schedule_of(schedule), sigma, quantity, label, weight
    )
    places = grid(side)
    denoisers: dict[str, Denoiser] = {"exact": exact(target)}
    if trainer is not None:
        denoisers = {"learned": trainer.learned(), **denoisers}
        if trainer.source is not target:
            denoisers["empirical"] = exact(trainer.source)
    maps = {name: asked.of(denoiser, places) for name, denoiser in denoisers.items()}
    title = f"{QUANTITIES[quantity]} of {target_name(target)}{class_name(target, label)} at σ = {sigma:.3g}"
    title += f", guidance w {weight:.3g}" if weight else ""
    errors = _errors(asked, maps, trainer)
    says = " ".join([ARROWS, *([DIFFERENCE] if trainer else []), *errors, *_notes(asked, trainer)])
    made = figure("field", title, says, " ".join([*_lengths(maps), *errors]), dark)
    apart = np.linalg.norm(maps["learned"] - maps["exact"], axis=1) if "learned" in maps else None
    titles = [FIELDS[name] for name in maps] + ([ERROR] if apart is not None else [])
    axes = lay_out(made, titles, max(len(titles), 2), ROW if len(titles) > 1 else 460)
    lengths = np.concatenate([np.linalg.norm(values, axis=1) for values in maps.values()])
    longest = float(np.sort(lengths)[int(LONG * len(lengths))]) or 1.0
    for (name, values), own in zip(maps.items(), axes, strict=False):
        _ground(made, own, asked, dark)
        _arrows(made, own, name, places, values, side, longest, dark)
        square(made, own, EXTENT * (1 + 1 / side))
    if apart is not None:
        worst = float(apart.max())
        heat(made, axes[-1], apart.reshape(side, side), worst, "error", {"measure": "error"})
        square(made, axes[-1], EXTENT * (1 + 1 / side))
    made.update_layout(hovermode="closest", showlegend=False)
    return made


def _ground(made: Figure, axes: dict[str, str], asked: _Asked, dark: bool) -> None:
    """Draw the exact density under the arrows, faint."""
    on = ground(dark)
    values = density(asked.target, asked.sigma, float(asked.schedule.alpha(asked.sigma)), asked.label, CELLS)
    scale = [[0, on.paper], [1, on.line]]
    heat(made, axes, values, float(values.max()), "density", {"measure": "density"}, scale, bar=False)
    made.data[-1].hoverinfo, made.data[-1].hovertemplate = "skip", None


def _arrows(
    made: Figure,
    axes: dict[str, str],
    name: str,
    places: np.ndarray,
    values: np.ndarray,
    side: int,
    longest: float,
    dark: bool,
) -> None:
    """Draw the arrows as one broken line, each around its place, and dots that tell the values."""
    colour = getattr(ground(dark), INKS[name])
    room = 0.95 * 2 * EXTENT / (side - 1)
    x: list[float | None] = []
    y: list[float | None] = []
    for (px, py), (u, v) in zip(places, values, strict=True):
        size = math.hypot(u, v)
        if not (math.isfinite(size) and size > 0):
            continue
        length = room * min(1.0, math.sqrt(size / longest))
        dx, dy = u / size * length, v / size * length
        tip = (px + dx / 2, py + dy / 2)
        left, right = (
            (
                tip[0] + BARB_SHARE * (dx * math.cos(turn) - dy * math.sin(turn)),
                tip[1] + BARB_SHARE * (dx * math.sin(turn) + dy * math.cos(turn)),
            )
            for turn in (BARB, -BARB)
        )
        for part in ((px - dx / 2, py - dy / 2), tip, left, None, tip, right, None):
            x.append(None if part is None else float(part[0]))
            y.append(None if part is None else float(part[1]))
    made.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": colour, "width": 1.1},
            hoverinfo="skip",
            meta={"field": name, "arrows": True},
            **axes,
        )
    )
    made.add_trace(
        go.Scatter(
            x=places[:, 0],
            y=places[:, 1],
            mode="markers",
            name=FIELDS[name],
            marker={"color": colour, "size": 2},
            customdata=np.column_stack([values, np.linalg.norm(values, axis=1)]),
            hovertemplate="(%{customdata[0]:.3g}, %{customdata[1]:.3g}), length %{customdata[2]:.3g}<br>"
            f"at (%{{x:.2f}}, %{{y:.2f}})<extra>{FIELDS[name]}</extra>",
            meta={"field": name, "arrows": False},
            **axes,
        )
    )


def _errors(asked: _Asked, maps: dict[str, np.ndarray], trainer: Trainer | None) -> list[str]:
    """Return what is said of the errors: on the grid, and where points are."""
    if trainer is None:
        return []
    found = error(maps["learned"], maps["exact"])
    said = [f"Relative error on the grid {percent(found.relative)}, cosine {found.cosine:.3g}."]
    model, truth = trainer.learned(), exact(asked.target)
    labels = [
        (f"with class {asked.target.classes[asked.label or 0]}", asked.label or 0),
        ("without class", None),
    ]
    for name, label in labels:
        on = on_distribution(model, truth, asked.target, asked.quantity, asked.sigma, asked.schedule, label)
        said.append(f"Where points are, {name}: {percent(on.relative)}, cosine {on.cosine:.3g}.")
    if "empirical" in maps:
        other = error(maps["empirical"], maps["exact"])
        count = len(trainer.source.weights)
        said.append(f"Of the {count:,} training points, on the grid: {percent(other.relative)}.")
    return said


def _notes(asked: _Asked, trainer: Trainer | None) -> list[str]:
    if trainer is None:
        return []
    if trainer.recipe.pairing == "ot":
        return [PAIRED]
    return [FAR] if asked.schedule.level(asked.sigma) < 400 else []


def _lengths(maps: dict[str, np.ndarray]) -> list[str]:
    return [
        f"{FIELDS[name]}: lengths from {np.linalg.norm(values, axis=1).min():.3g} to "
        f"{np.linalg.norm(values, axis=1).max():.3g}."
        for name, values in maps.items()
    ]
