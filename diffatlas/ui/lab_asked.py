"""What the 2D Lab's page asks, as what the mathematics takes. Everything wrong is `InvalidParams`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.lab2d.denoisers import Bound, Denoiser, bound, exact, guided, widened
from diffatlas.lab2d.samplers import Plan
from diffatlas.lab2d.studies import Binder
from diffatlas.ui.lab_sessions import Lab
from diffatlas.ui.wire.lab import FieldAsked, Sampling

#: Noise level up to which guidance acts where no end of its interval is given.
HIGHEST = 1e6
#: By how much the components of the target are widened to be the exact counterpart of autoguidance's weak model.
WIDENED = 0.3


def plan_of(asked: Sampling) -> Plan:
    """Return the sampler that is asked for."""
    return Plan(asked.sampler, asked.steps, asked.eta, asked.churn).validate()


@dataclass(frozen=True)
class Field:
    """Which field, for which class, with what guidance.

    which: of `diffatlas.ui.wire.lab.FIELDS`. classes: "all" (each point its own), "none" (the null token), or the
    number of a class. kind: "cfg" or "auto". interval: noise levels between which guidance acts.
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


def field_of(asked: FieldAsked, lab: Lab) -> Field:
    """Return the field that is asked for. Raises `InvalidParams` where the lab has no such class."""
    most = len(lab.target.classes) - 1
    if isinstance(asked.classes, int) and asked.classes > most:
        raise InvalidParams(f"classes is between 0 and {most}.", field="classes")
    interval = None
    if asked.interval:
        interval = (0.0 if asked.low is None else asked.low, HIGHEST if asked.high is None else asked.high)
        if interval[0] >= interval[1]:
            raise InvalidParams("The interval of guidance begins below its end.", field="interval")
    return Field(asked.field, asked.classes, asked.weight, asked.kind, interval, asked.points)


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
