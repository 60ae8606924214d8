"""What the 2D Lab's page asks, read from JSON into what the mathematics takes. Everything wrong is `InvalidParams`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.lab2d.denoisers import QUANTITIES, Bound, Denoiser, bound, exact, guided, widened
from diffatlas.lab2d.samplers import SAMPLERS, Plan
from diffatlas.lab2d.studies import Binder
from diffatlas.ui.lab_sessions import Lab

MOST_SAMPLES = 5000
#: By how much the components of the target are widened to be the exact counterpart of autoguidance's weak model.
WIDENED = 0.3
FIELDS = ("learned", "exact", "empirical")


def number(asked: dict[str, Any], name: str, default: float, low: float, high: float) -> float:
    """Return a number of ``asked``."""
    value = asked.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidParams(f"{name} is a number.", field=name)
    if not low <= value <= high:
        raise InvalidParams(f"{name} is between {low:g} and {high:g}.", field=name)
    return float(value)


def whole(asked: dict[str, Any], name: str, default: int, low: int, high: int) -> int:
    """Return a whole number of ``asked``."""
    value = number(asked, name, default, low, high)
    if value != int(value):
        raise InvalidParams(f"{name} is a whole number.", field=name)
    return int(value)


def choice(asked: dict[str, Any], name: str, allowed: tuple[str, ...], default: str) -> str:
    """Return one of the allowed words."""
    value = asked.get(name, default)
    if value not in allowed:
        raise InvalidParams(f"{name} is one of {', '.join(allowed)}.", field=name)
    return str(value)


def point(asked: dict[str, Any], name: str) -> np.ndarray:
    """Return a point of the plane, (1, 2)."""
    value = asked.get(name)
    if not isinstance(value, list) or len(value) != 2:
        raise InvalidParams(f"{name} is a point: two numbers.", field=name)
    return np.array([[number({"x": part}, "x", 0, -50, 50) for part in value]])


def plan_of(asked: dict[str, Any]) -> Plan:
    """Return the sampler that is asked for."""
    return Plan(
        choice(asked, "sampler", SAMPLERS, "heun"),
        whole(asked, "steps", 18, 1, 1000),
        number(asked, "eta", 0.0, 0, 1),
        number(asked, "churn", 0.0, 0, 100),
    ).validate()


@dataclass(frozen=True)
class Field:
    """Which field, for which class, with what guidance.

    which: of `FIELDS`. classes: "all" (each point its own), "none" (the null token), or the number of a class. kind:
    "cfg" or "auto". interval: noise levels between which guidance acts.
    """

    which: str
    classes: str | int
    weight: float
    kind: str
    interval: tuple[float, float] | None
    empirical: int

    @property
    def label(self) -> int | None:
        """The one class, where there is one."""
        return self.classes if isinstance(self.classes, int) else None

    def labels(self, drawn: np.ndarray) -> np.ndarray | None:
        """Return the classes of points whose own are ``drawn``."""
        if self.classes == "none":
            return None
        return drawn if self.label is None else np.full(len(drawn), self.label)


def field_of(asked: dict[str, Any], lab: Lab) -> Field:
    """Return the field that is asked for."""
    classes = asked.get("classes", "all")
    if classes not in ("all", "none"):
        classes = whole(asked, "classes", 0, 0, len(lab.target.classes) - 1)
    interval = None
    if asked.get("interval"):
        interval = (number(asked, "low", 0.0, 0, 1e6), number(asked, "high", 1e6, 0, 1e6))
        if interval[0] >= interval[1]:
            raise InvalidParams("The interval of guidance begins below its end.", field="interval")
    return Field(
        choice(asked, "field", FIELDS, "learned"),
        classes,
        number(asked, "weight", 0.0, -1, 20),
        choice(asked, "kind", ("cfg", "auto"), "cfg"),
        interval,
        whole(asked, "points", 500, 5, 5000),
    )


def denoiser_of(lab: Lab, which: str, points: int) -> Denoiser:
    """Return the denoiser of a field."""
    if which == "learned":
        return lab.learned()
    return exact(lab.target if which == "exact" else lab.empirical(points))


def bind(lab: Lab, field: Field, which: str | None = None) -> Binder:
    """Return ``classes (n,) -> denoiser`` for a field; ``which`` instead of the field's own.

    The classes are those that points would have of their own; where the field asks for one class, all have that.
    """
    which = which or field.which
    denoise = denoiser_of(lab, which, field.empirical)
    if field.classes == "none":
        return lambda labels: bound(denoise, None)
    weak: Denoiser | None = None
    if field.kind == "auto" and field.weight:
        weak = _weak(lab, which, field)

    def of(labels: np.ndarray) -> Bound:
        return guided(denoise, field.labels(labels), field.weight, field.interval, weak)

    return of


def _weak(lab: Lab, which: str, field: Field) -> Denoiser:
    if which != "learned":
        return exact(widened(lab.target if which == "exact" else lab.empirical(field.empirical), WIDENED))
    early = lab.weak()
    if early is None:
        raise CapabilityError(
            "Autoguidance pushes away from the network as it was at step 300: train it that far first."
        )
    return early


def check_paired(lab: Lab, plan: Plan, field: Field) -> None:
    """Raise `CapabilityError` for a sampler that adds noise to a model whose noise was paired with its data."""
    if lab.trainer.recipe.pairing == "ot" and field.which == "learned" and plan.stochastic:
        raise CapabilityError(
            "A model that was trained with paired noise knows the flow only: choose a deterministic sampler."
        )


def quantity_of(asked: dict[str, Any]) -> str:
    """Return what the field shows."""
    return choice(asked, "quantity", QUANTITIES, "score")
