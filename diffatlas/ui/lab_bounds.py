"""What the 2D Lab may be asked: estimates of samplings and trainings held against the bounds, and their end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from diffatlas.backends.bounds import Bounds, bounds_here, duration
from diffatlas.errors import InvalidParams, Overrun
from diffatlas.lab2d.cost import TRIAL_POINTS, sampling_cost, training_cost
from diffatlas.lab2d.samplers import Plan, State
from diffatlas.lab2d.studies import Binder
from diffatlas.ui.lab_asked import Field, bind
from diffatlas.ui.lab_sessions import Lab

SAMPLE_LESS = "choose fewer points, fewer steps or another field"
TRAIN_LESS = "choose fewer steps, or a smaller network or batch"


def check_sampling(
    lab: Lab, what: Field, plan: Plan, labels: np.ndarray, noise: np.ndarray, anyway: bool
) -> float:
    """Return the seconds after which a sampling is ended, by what it is expected to take.

    Raises `OverBound` where that is more than it may; not where it is asked for ``anyway`` on an own machine.
    """
    some = slice(0, TRIAL_POINTS)
    components = 0 if what.which == "learned" else len(_mixture(lab, what).weights)
    cost = sampling_cost(bind(lab, what)(labels[some]), plan, noise[some], len(noise), components)
    _check(bounds := bounds_here(), cost.seconds, cost.memory, SAMPLE_LESS, anyway)
    return bounds.limit(cost.seconds)


def check_training(lab: Lab, steps: int, anyway: bool) -> None:
    """Raise `OverBound` for a training that is expected to take longer than it may; as `check_sampling`."""
    cost = training_cost(lab.target, lab.trainer.recipe, steps)
    # It gives way to the page, can be stopped at any time, and ends with its page.
    _check(bounds_here().in_parts(), cost.seconds, cost.memory, TRAIN_LESS, anyway)


def within(seconds: float, ended: Callable[[], bool]) -> Callable[[], bool]:
    """Return whether something is to end, which raises `Overrun` once it has taken so many seconds from now on."""
    began = time.monotonic()

    def over() -> bool:
        if time.monotonic() - began > seconds:
            raise Overrun(
                f"This was ended after {duration(seconds)}: it took far longer than was expected. "
                f"{SAMPLE_LESS.capitalize()}."
            )
        return ended()

    return over


def until(states: Iterator[State], ended: Callable[[], bool]) -> Iterator[State]:
    """Yield the states of a sampling. Raises `InvalidParams` once ``ended()``."""
    for state in states:
        if ended():
            raise InvalidParams("This sampling was stopped.")
        yield state


def stoppable(call: Callable[..., Any], ended: Callable[[], bool]) -> Callable[..., Any]:
    """Return a field that raises `InvalidParams` when it is called once ``ended()``: what asks it can be stopped."""

    def asked(*args: Any) -> Any:
        if ended():
            raise InvalidParams("This was stopped.")
        return call(*args)

    return asked


def stoppable_of(binder: Binder, ended: Callable[[], bool]) -> Binder:
    """Return `stoppable` fields for classes."""
    return lambda labels: stoppable(binder(labels), ended)


def _mixture(lab: Lab, what: Field) -> Any:
    return lab.target if what.which == "exact" else lab.empirical(what.empirical)


def _check(bounds: Bounds, seconds: float, memory: int, instead: str, anyway: bool) -> None:
    if bounds.shared or not anyway:
        bounds.check_amounts(seconds, memory, instead, None)
