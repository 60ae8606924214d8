"""Training a denoiser in the plane, a few steps at a time."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from diffatlas.errors import InvalidParams
from diffatlas.lab2d import objectives
from diffatlas.lab2d.mixtures import Target, draw, points_target
from diffatlas.lab2d.network import Backward, Network, Shape, begin, fill_inputs, time_features
from diffatlas.lab2d.schedules import SCHEDULES, Schedule, T, schedule

#: Steps whose batches are drawn together; a batch depends on the seed and its step alone.
CHUNK = 32
WARM_UP = 100
#: The learning rate ends at this share of where it began.
LAST = 0.02
#: The step whose weights are kept as the weak model of autoguidance.
EARLY = 300
BETAS, TINY = (0.9, 0.999), 1e-8
PAIRINGS = ("independent", "ot")

_BOUNDS: dict[str, tuple[float, float]] = {
    "width": (8, 256),
    "depth": (1, 5),
    "batch": (16, 1024),
    "learning_rate": (1e-5, 0.05),
    "label_drop": (0, 0.9),
    "ema": (0, 0.9999),
    "steps": (100, 100_000),
    "seed": (0, 2**31 - 1),
    "train_points": (0, 5_000),
}


@dataclass(frozen=True)
class Recipe:
    """How to train.

    objective: a name of `objectives.OBJECTIVES`. schedule: of `schedules.SCHEDULES`. label_drop: the share of points
    whose class is hidden. ema: decay of the moving average of the weights, which is what samples. fourier: Fourier
    features of the point. steps: over which the learning rate falls. train_points: the size of a fixed training set;
    0 draws fresh points for every batch. pairing: "independent", or "ot" for the optimal assignment of noise to data
    within each batch and class (Tong et al. 2024; Pooladian et al. 2023).
    """

    objective: str = "v"
    schedule: str = "cosine"
    width: int = 128
    depth: int = 3
    batch: int = 256
    learning_rate: float = 3e-3
    label_drop: float = 0.2
    ema: float = 0.998
    fourier: bool = True
    steps: int = 8000
    seed: int = 0
    train_points: int = 0
    pairing: str = "independent"

    def validate(self) -> Recipe:
        """Return self. Raises `InvalidParams` naming the field that is wrong."""
        choices = {"objective": objectives.OBJECTIVES, "schedule": tuple(SCHEDULES), "pairing": PAIRINGS}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InvalidParams(f"{name} is one of {', '.join(allowed)}.", field=name)
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            whole = name not in ("learning_rate", "label_drop", "ema")
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            if not number or not low <= value <= high or (whole and value != int(value)):
                kind = "a whole number" if whole else "a number"
                raise InvalidParams(f"{name} is {kind} from {low:g} to {high:g}.", field=name)
        if not isinstance(self.fourier, bool):
            raise InvalidParams("fourier is true or false.", field="fourier")
        if self.pairing == "ot" and (self.objective != "flow" or self.schedule != "straight"):
            raise InvalidParams(
                "Pairing by optimal transport goes with flow matching: choose objective flow and schedule straight.",
                field="pairing",
            )
        if 0 < self.train_points < 2:
            raise InvalidParams(
                "A training set has at least 2 points; 0 draws fresh ones.", field="train_points"
            )
        return self

    @classmethod
    def of(cls, values: Any) -> Recipe:
        """Return the recipe of a JSON object. Raises `InvalidParams` for unknown names and wrong values."""
        known = {field.name: field.type for field in fields(cls)}
        if not isinstance(values, dict) or set(values) - set(known):
            extra = sorted(set(values) - set(known)) if isinstance(values, dict) else []
            raise InvalidParams(
                f"A recipe has no field {extra[0]!r}." if extra else "A recipe is an object of fields."
            )
        recipe = cls(**values).validate()
        whole = {name: int(getattr(recipe, name)) for name, kind in known.items() if kind == "int"}
        return cls(**{**asdict(recipe), **whole})


@dataclass(frozen=True)
class Learned:
    """A trained network with what is needed to read it: its objective and its schedule."""

    network: Network
    objective: str
    schedule: Schedule

    def inputs(
        self, x: np.ndarray, sigma: float, labels: np.ndarray | None
    ) -> tuple[np.ndarray, float, float]:
        """Return (inputs, x_t's alpha, its s) for points x = x0 + sigma eps."""
        a = float(self.schedule.alpha(sigma))
        time = time_features(np.array([self.schedule.level(sigma)]), T)
        classes = np.array([self.network.shape.classes]) if labels is None else labels
        return self.network.inputs(x * a, time, np.broadcast_to(classes, len(x))), a, a * sigma

    def __call__(self, x: np.ndarray, sigma: float, labels: np.ndarray | None = None) -> np.ndarray:
        """Return the estimate of E[x0 | x], (n, 2)."""
        inputs, a, s = self.inputs(x, sigma, labels)
        return objectives.x0_from(self.objective, self.network(inputs).astype(float), x * a, a, s)

    def divergence(self, x: np.ndarray, sigma: float, labels: np.ndarray | None = None) -> np.ndarray:
        """Return the divergence of `__call__` by x, (n,), from two directional derivatives."""
        inputs, a, s = self.inputs(x, sigma, labels)
        total = np.zeros(len(x))
        for axis in (0, 1):
            slope = self.network.derivative(inputs, self.network.directions(inputs[:, :2], axis))[:, axis]
            unit = np.array([1.0])
            # x0 is linear in (prediction, x_t), so its derivative is the same map applied to theirs.
            total += a * objectives.x0_from(self.objective, slope.astype(float), unit, a, s)
        return total


class Trainer:
    """A network in training. ``step`` is how many steps it has been trained, ``losses`` their losses.

    Everything follows from the target, the recipe and the step: two trainers agree to the bit on one machine.
    """

    def __init__(self, target: Target, recipe: Recipe) -> None:
        self.target = target
        self.recipe = recipe.validate()
        self.shape = Shape(len(target.classes), recipe.width, recipe.depth, recipe.fourier)
        self.schedule = schedule(recipe.schedule)
        #: What the batches are drawn from: the target, or a training set drawn from it once.
        self.source = target if not recipe.train_points else _training_set(target, recipe)
        self.step = 0
        self.losses: list[float] = []
        self.early: np.ndarray | None = None
        self._backward = Backward(self.shape, recipe.batch)
        self._backward.vector[:] = begin(self.shape, np.random.default_rng([recipe.seed, 0]))
        self.average = self._backward.vector.copy()
        self.moments = np.zeros((2, self.shape.parameters), np.float32)
        self._spare = np.empty_like(self.average)
        self._inputs = np.empty((recipe.batch, self.shape.inputs), np.float32)
        self._times = time_features(np.arange(T), T)
        self._chunk: tuple[int, tuple[np.ndarray, ...]] | None = None

    @property
    def vector(self) -> np.ndarray:
        """The weights as trained last, not their average; writable."""
        return self._backward.vector

    def run(self, steps: int) -> None:
        """Train for so many steps."""
        for _ in range(steps):
            self._one()

    def learned(self, vector: np.ndarray | None = None) -> Learned:
        """Return the model of the averaged weights as they are now, or of other weights."""
        weights = (self.average if vector is None else vector).copy()
        return Learned(Network(self.shape, weights), self.recipe.objective, self.schedule)

    def rate(self, step: int) -> float:
        """Return the learning rate at a step: a short rise, then half a cosine down to its last share."""
        fall = min(1.0, step / self.recipe.steps)
        share = LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * fall))
        return self.recipe.learning_rate * min(1.0, (step + 1) / WARM_UP) * share

    def _one(self) -> None:
        x, levels, classes, wanted = self._batch(self.step)
        fill_inputs(self.shape, self._inputs, x, self._times[levels], classes)
        self.losses.append(self._backward(self._inputs, wanted))
        self._adam()
        self.step += 1
        if self.step == EARLY:
            self.early = self.average.copy()

    def _adam(self) -> None:
        """Adam (Kingma & Ba 2015, algorithm 1), then the moving average of the weights."""
        k, (b1, b2) = self.step + 1, BETAS
        weights, gradient, spare = self.vector, self._backward.gradient, self._spare
        first, second = self.moments
        first *= b1
        np.multiply(gradient, 1 - b1, out=spare)
        first += spare
        second *= b2
        np.multiply(gradient, gradient, out=spare)
        spare *= 1 - b2
        second += spare
        np.sqrt(second, out=spare)
        spare *= 1 / math.sqrt(1 - b2**k)
        spare += TINY
        np.divide(first, spare, out=spare)
        spare *= self.rate(self.step) / (1 - b1**k)
        weights -= spare
        np.subtract(weights, self.average, out=spare)
        # Early on the average forgets faster, or it would remember the random start.
        spare *= 1 - min(self.recipe.ema, (1 + k) / (10 + k))
        self.average += spare

    def _batch(self, step: int) -> tuple[np.ndarray, ...]:
        """Return (x_t, levels, classes, what to predict) of a step."""
        number, row = divmod(step, CHUNK)
        if self._chunk is None or self._chunk[0] != number:
            self._chunk = (number, self._draw(number))
        return tuple(part[row] for part in self._chunk[1])

    def _draw(self, chunk: int) -> tuple[np.ndarray, ...]:
        recipe = self.recipe
        rng = np.random.default_rng([recipe.seed, 1, chunk])
        n = CHUNK * recipe.batch
        x0, classes = draw(self.source, n, rng)
        eps = rng.standard_normal((n, 2))
        if recipe.pairing == "ot":
            for start in range(0, n, recipe.batch):
                _pair(x0, eps, classes, slice(start, start + recipe.batch))
        levels = rng.integers(0, T, n)
        sigma = self.schedule.sigmas[levels][:, None]
        a = self.schedule.alpha(sigma)
        wanted = objectives.target_of(recipe.objective, x0, eps, a, a * sigma)
        shown = np.where(rng.random(n) < recipe.label_drop, self.shape.classes, classes)
        parts = (a * x0 + a * sigma * eps, levels, shown, wanted)
        kinds = (np.float32, int, int, np.float32)
        return tuple(
            part.astype(kind).reshape(CHUNK, recipe.batch, *part.shape[1:])
            for part, kind in zip(parts, kinds, strict=True)
        )


def _training_set(target: Target, recipe: Recipe) -> Target:
    points, labels = draw(target, recipe.train_points, np.random.default_rng([recipe.seed, 2]))
    return points_target(target.name, points, labels, target.classes)


def _pair(x0: np.ndarray, eps: np.ndarray, classes: np.ndarray, batch: slice) -> None:
    """Reorder the noise of a batch so that the squared distances to the data sum to the least, within each class."""
    from scipy.optimize import linear_sum_assignment

    for label in np.unique(classes[batch]):
        at = batch.start + np.flatnonzero(classes[batch] == label)
        cost = np.sum((x0[at][:, None] - eps[at][None]) ** 2, axis=2)
        eps[at] = eps[at][linear_sum_assignment(cost)[1]]
