"""Questions that take many samplings: quality against steps, where a sampler's error comes from, and whether a model
has learned its target or its training points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from diffatlas.errors import CapabilityError
from diffatlas.lab2d.denoisers import Bound, bound, exact
from diffatlas.lab2d.floors import excess
from diffatlas.lab2d.metrics import Measures, entropy_of, measure, median_distance
from diffatlas.lab2d.mixtures import Target, draw, draw_labels
from diffatlas.lab2d.samplers import Plan, final, heun, sample
from diffatlas.lab2d.schedules import Schedule, karras_sigmas
from diffatlas.lab2d.training import Recipe, Trainer

#: Classes (n,) -> the denoiser for points of these classes, with its guidance.
Binder = Callable[[np.ndarray], Bound]

STEP_COUNTS = (4, 8, 16, 32, 64, 128)
#: Points from which the entropy and the median distance of a target are measured.
REFERENCE = 20_000
#: Steps of Heun's method that stand for the flow itself.
FINE_STEPS = 256


@dataclass(frozen=True)
class Yardstick:
    """What measurements of one target share: its entropy and the median distance of its points."""

    entropy: float
    median: float


def yardstick(target: Target) -> Yardstick:
    """Measure a target once."""
    points, _ = draw(target, REFERENCE, np.random.default_rng(17))
    return Yardstick(entropy_of(target, points), median_distance(points))


@dataclass(frozen=True)
class Point:
    """One measurement of a chart: which sampler, its steps and calls, which repeat, and what was measured."""

    sampler: str
    steps: int
    calls: int
    repeat: int
    measures: Measures


def noise_floor(target: Target, n: int, repeats: int, stick: Yardstick, seed: int = 0) -> Iterator[Point]:
    """Measure ``n`` points of the target itself, ``repeats`` times: what no sampler can be told from."""
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, 1, repeat])
        yield _measured("floor", 0, 0, repeat, draw(target, n, rng)[0], target, n, stick, rng)


def quality(
    bind: Binder,
    target: Target,
    schedule: Schedule,
    plans: list[Plan],
    n: int,
    repeats: int,
    stick: Yardstick,
    label: int | None = None,
    seed: int = 0,
) -> Iterator[Point]:
    """Measure each plan ``repeats`` times with ``n`` samples, every time with fresh noise, classes and target points.

    label: one class only, else classes are drawn as the target has them. Yields repeat by repeat, so that a chart
    fills evenly.
    """
    aim = target if label is None else target.only(label)
    for repeat in range(repeats):
        for plan in plans:
            rng = np.random.default_rng([seed, 2, repeat, plan.steps, *plan.sampler.encode()])
            labels = np.full(n, label) if label is not None else draw_labels(target, n, rng)
            noise = rng.standard_normal((n, 2))
            x = final(sample(bind(labels), plan, schedule, noise, rng))
            yield _measured(plan.sampler, plan.steps, plan.calls, repeat, x, aim, n, stick, rng)


def _measured(
    name: str, steps: int, calls: int, repeat: int, x: np.ndarray, target: Target, n: int, stick: Yardstick,
    rng: np.random.Generator,
) -> Point:  # fmt: skip
    fresh, _ = draw(target, n, rng)
    return Point(name, steps, calls, repeat, measure(target, x, fresh, stick.entropy, stick.median))


@dataclass(frozen=True)
class Budget:
    """Root mean square distances between ends that began at the same noise, by number of steps.

    steps, calls: (S,). integration: learned field, these steps against the flow itself. exact_integration: the same
    with the exact field. total: learned field in these steps against the exact flow. model: learned flow against exact
    flow, which no number of steps removes.
    """

    steps: np.ndarray
    calls: np.ndarray
    integration: np.ndarray
    exact_integration: np.ndarray
    total: np.ndarray
    model: float

    @property
    def enough(self) -> int | None:
        """The least number of steps whose own error is below that of the learned field; None where none is."""
        below = self.steps[self.integration < self.model]
        return int(below[0]) if len(below) else None


def error_budget(
    learned: Binder,
    reference: Binder,
    target: Target,
    schedule: Schedule,
    plan: Plan,
    n: int = 500,
    seed: int = 0,
) -> Budget:
    """Split the error of a deterministic sampler into that of its steps and that of its field.

    The flow itself is Heun's method in `FINE_STEPS` steps from the sampler's own start. Raises `CapabilityError` where
    the plan adds noise: then a start has no one end.
    """
    if plan.stochastic:
        raise CapabilityError(
            "With noise added on the way a start has no one end to compare: choose a deterministic sampler (DDIM with "
            "eta 0, Heun with churn 0, DPM-Solver++, Euler, midpoint)."
        )
    rng = np.random.default_rng([seed, 3])
    labels, noise = draw_labels(target, n, rng), rng.standard_normal((n, 2))
    fields = {"learned": learned(labels), "exact": reference(labels)}
    # Every step count begins at the same noise level, so there is one flow to compare with.
    start = next(iter(sample(fields["exact"], plan, schedule, noise, rng)))
    flow = {name: flow_end(denoise, start.x, start.sigma) for name, denoise in fields.items()}
    rows: dict[str, list[float]] = {"learned": [], "exact": [], "total": []}
    plans = [replace(plan, steps=steps) for steps in STEP_COUNTS]
    for here in plans:
        ends = {name: final(sample(denoise, here, schedule, noise, rng)) for name, denoise in fields.items()}
        for name, end in ends.items():
            rows[name].append(_apart(end, flow[name]))
        rows["total"].append(_apart(ends["learned"], flow["exact"]))
    return Budget(
        np.array(STEP_COUNTS), np.array([here.calls for here in plans]), np.array(rows["learned"]),
        np.array(rows["exact"]), np.array(rows["total"]), _apart(flow["learned"], flow["exact"]),
    )  # fmt: skip


def flow_end(denoise: Bound, x: np.ndarray, sigma: float, steps: int = FINE_STEPS) -> np.ndarray:
    """Return where the probability-flow ODE takes points ``x`` from noise level ``sigma`` to 0."""
    return final(heun(denoise, x / sigma, karras_sigmas(steps, 0.002, sigma), 0.0, np.random.default_rng(0)))


def _apart(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.sum((x - y) ** 2, axis=1))))


#: A sample is a copy where its nearest training point is this much nearer than the second nearest (Yoon et al. 2023).
COPY_RATIO = 1 / 3


@dataclass(frozen=True)
class Memory:
    """What a model trained on ``n`` points reproduces.

    nearest: name -> distances to the nearest training point, (m,), of samples of the "learned" model, of the
    "empirical" sampler, which knows the training points and nothing else, and of "fresh" points of the target. copies:
    name -> the share of copies. points: the training points; samples: the learned model's. excess: the learned model's
    error over the Bayes floor of the target, with class (`floors.Excess.relative`); heart: that of knowing the training
    points by heart.
    """

    n: int
    nearest: dict[str, np.ndarray]
    copies: dict[str, float]
    points: np.ndarray
    samples: np.ndarray
    excess: float
    heart: float


def memorisation(trainer: Trainer, plan: Plan, m: int = 500) -> Memory:
    """Compare a model with its training points. The trainer has a fixed training set (``train_points``)."""
    source, schedule = trainer.source, trainer.schedule
    rng = np.random.default_rng([trainer.recipe.seed, 4])
    labels, noise = draw_labels(source, m, rng), rng.standard_normal((m, 2))
    points = source.parts.means
    found = {
        "learned": final(sample(bound(trainer.learned(), labels), plan, schedule, noise, rng)),
        "empirical": final(sample(bound(exact(source), labels), plan, schedule, noise, rng)),
        "fresh": draw(trainer.target, m, rng)[0],
    }
    nearest, copies = {}, {}
    for name, x in found.items():
        distance = np.sort(np.linalg.norm(x[:, None] - points[None], axis=2), axis=1)[:, :2]
        nearest[name] = distance[:, 0]
        copies[name] = float(np.mean(distance[:, 0] < COPY_RATIO * distance[:, 1]))
    errors = [
        excess(denoiser, trainer.target, schedule, True).relative
        for denoiser in (trainer.learned(), exact(source))
    ]
    return Memory(len(points), nearest, copies, points, found["learned"], *errors)


def memory_recipe(recipe: Recipe, n: int, steps: int) -> Recipe:
    """Return the recipe that trains on ``n`` points for ``steps`` steps, otherwise as ``recipe`` does."""
    return replace(recipe, train_points=n, steps=steps, pairing="independent").validate()
