"""What a sampling or a training in the plane takes here, from one call or a few steps that are timed before it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diffatlas.lab2d.denoisers import Bound
from diffatlas.lab2d.mixtures import Target
from diffatlas.lab2d.samplers import Plan
from diffatlas.lab2d.training import Recipe, Trainer

#: Points of a call that is tried out, and how many calls and steps are: their median counts.
TRIAL_POINTS, TRIALS = 100, 9
#: Arrays (points, components) of float64 that a call on a mixture has at once: the terms, their shares, and a part of
#: what is made of them. Of points with a class it has fewer, as each is held against the components of its own.
ARRAYS = 2.5


@dataclass(frozen=True)
class Cost:
    """Seconds in all and bytes at once."""

    seconds: float
    memory: int


def sampling_cost(denoise: Bound, plan: Plan, noise: np.ndarray, points: int, components: int) -> Cost:
    """Return what sampling ``points`` by ``plan`` takes: calls x points x the time of a call for each point.

    denoise: bound to the classes of ``noise`` (n, 2), which it is timed with. components: of the mixture that every
    point is held against; 0 for a network.
    """
    each = _median_seconds(lambda: denoise(noise, 1.0)) / len(noise)
    return Cost(plan.calls * points * each, int(ARRAYS * 8 * points * components))


def training_cost(target: Target, recipe: Recipe, steps: int) -> Cost:
    """Return what training for ``steps`` steps takes: their number times that of one on a network of the same form."""
    trainer = Trainer(target, recipe)
    each = _median_seconds(lambda: trainer.run(1))
    # The weights with their two moments, average and gradient, and the layers of a batch with theirs.
    memory = 8 * (5 * trainer.shape.parameters + 4 * recipe.batch * recipe.width * (recipe.depth + 1))
    return Cost(each * steps, memory)


def _median_seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(TRIALS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
