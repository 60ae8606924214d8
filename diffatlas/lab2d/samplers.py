"""Samplers: from noise to points along falling noise levels.

Each is a generator of `State`, the first before any step, over a denoiser D(x; sigma) whose classes and guidance are
settled. x = x0 + sigma eps throughout, in which the probability-flow ODE of every schedule is the same one (Karras et
al. 2022, eq. 4 and 81)::

    dx/dsigma = (x - D(x; sigma)) / sigma = eps
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from diffatlas.errors import InvalidParams
from diffatlas.lab2d.denoisers import Bound
from diffatlas.lab2d.schedules import SIGMA_MAX, SIGMA_MIN, Schedule, T, even_levels, karras_sigmas

#: Most noise from which the straight path starts: at t = 1 itself x says nothing about x0.
STRAIGHT_MAX = 999.0
MOST_STEPS = 1000


class State(NamedTuple):
    """Points x (n, 2) at noise level sigma, and the denoiser calls made so far."""

    x: np.ndarray
    sigma: float
    calls: int


def ddpm(denoise: Bound, noise: np.ndarray, schedule: Schedule, rng: np.random.Generator) -> Iterator[State]:
    """The full chain (Ho et al. 2020, eq. 6 and 7, with the posterior's variance), T steps."""
    a = 1 / np.sqrt(1 + schedule.sigmas**2)
    x = noise
    yield State(x / a[-1], float(schedule.sigmas[-1]), 0)
    for t in range(len(a) - 1, -1, -1):
        before = a[t - 1] ** 2 if t else 1.0
        step = a[t] ** 2 / before  # alpha_t; beta_t = 1 - alpha_t
        x0 = denoise(x / a[t], float(schedule.sigmas[t]))
        left, whole = 1 - before, 1 - a[t] ** 2
        x = (np.sqrt(before) * (1 - step) * x0 + np.sqrt(step) * left * x) / whole
        if t:
            x = x + np.sqrt(left / whole * (1 - step)) * rng.standard_normal(x.shape)
        sigma = float(schedule.sigmas[t - 1]) if t else 0.0
        yield State(x / np.sqrt(before), sigma, len(a) - t)


def ddim(
    denoise: Bound, noise: np.ndarray, schedule: Schedule, steps: int, eta: float, rng: np.random.Generator
) -> Iterator[State]:
    """Song et al. 2021, eq. 12 and 16: eta 0 is deterministic, eta 1 over all levels is `ddpm`."""
    sigmas = np.append(schedule.sigmas[even_levels(steps)], 0.0)
    a = 1 / np.sqrt(1 + sigmas**2)
    x = noise
    yield State(x / a[0], float(sigmas[0]), 0)
    for k in range(steps):
        s, after = np.sqrt(1 - a[k] ** 2), 1 - a[k + 1] ** 2
        x0 = denoise(x / a[k], float(sigmas[k]))
        eps = (x - a[k] * x0) / s
        fresh = eta * np.sqrt(after) / s * np.sqrt(max(1 - a[k] ** 2 / a[k + 1] ** 2, 0.0))
        x = a[k + 1] * x0 + np.sqrt(max(after - fresh**2, 0.0)) * eps
        if fresh > 0:
            x = x + fresh * rng.standard_normal(x.shape)
        yield State(x / a[k + 1], float(sigmas[k + 1]), k + 1)


def heun(
    denoise: Bound,
    noise: np.ndarray,
    sigmas: np.ndarray,
    churn: float,
    rng: np.random.Generator,
    churn_range: tuple[float, float] = (0.05, 50.0),
    churn_noise: float = 1.003,
) -> Iterator[State]:
    """Karras et al. 2022, algorithm 2 (algorithm 1 with churn 0): 2 steps - 1 calls."""
    steps, calls = len(sigmas) - 1, 0
    x = noise * sigmas[0]
    yield State(x, float(sigmas[0]), 0)
    for now, after in zip(map(float, sigmas[:-1]), map(float, sigmas[1:]), strict=True):
        # Increase noise temporarily.
        gamma = min(churn / steps, np.sqrt(2) - 1) if churn_range[0] <= now <= churn_range[1] else 0.0
        raised = now * (1 + gamma)
        if gamma > 0:
            x = x + np.sqrt(raised**2 - now**2) * churn_noise * rng.standard_normal(x.shape)
        # Euler step.
        slope = (x - denoise(x, raised)) / raised
        ahead = x + (after - raised) * slope
        calls += 1
        # Second-order correction.
        if after > 0:
            ahead = x + (after - raised) * 0.5 * (slope + (ahead - denoise(ahead, after)) / after)
            calls += 1
        x = ahead
        yield State(x, after, calls)


def dpmpp_2m(denoise: Bound, noise: np.ndarray, sigmas: np.ndarray) -> Iterator[State]:
    """Lu et al. 2022, DPM-Solver++(2M), algorithm 2, in lambda = -log sigma: one call a step."""
    x = noise * sigmas[0]
    yield State(x, float(sigmas[0]), 0)
    previous, width = None, 0.0
    for k, (now, after) in enumerate(zip(map(float, sigmas[:-1]), map(float, sigmas[1:]), strict=True)):
        estimate = denoise(x, now)
        if after == 0:
            x = estimate
        else:
            h = np.log(now / after)
            mixed = estimate if previous is None else estimate + (estimate - previous) * h / (2 * width)
            x = after / now * x - np.expm1(-h) * mixed
            width = h
        previous = estimate
        yield State(x, after, k + 1)


def euler(denoise: Bound, noise: np.ndarray, steps: int, top: float) -> Iterator[State]:
    """Euler's rule on the straight path z = (1 - t) x0 + t eps: dz/dt = eps - E[x0 | z], from t near 1 to 0."""
    t = np.linspace(top / (1 + top), 0, steps + 1)
    z = noise
    yield State(z / (1 - t[0]), top, 0)
    for k in range(steps):
        z = z + (t[k + 1] - t[k]) * _velocity(denoise, z, float(t[k]))
        yield State(z / (1 - t[k + 1]), float(t[k + 1] / (1 - t[k + 1])), k + 1)


def midpoint(denoise: Bound, noise: np.ndarray, steps: int, top: float) -> Iterator[State]:
    """The midpoint rule on the straight path: two calls a step."""
    t = np.linspace(top / (1 + top), 0, steps + 1)
    z = noise
    yield State(z / (1 - t[0]), top, 0)
    for k in range(steps):
        width = t[k + 1] - t[k]
        half = z + width / 2 * _velocity(denoise, z, float(t[k]))
        z = z + width * _velocity(denoise, half, float(t[k] + width / 2))
        yield State(z / (1 - t[k + 1]), float(t[k + 1] / (1 - t[k + 1])), 2 * (k + 1))


def _velocity(denoise: Bound, z: np.ndarray, t: float) -> np.ndarray:
    """eps - x0 at z = (1 - t) x0 + t eps, which is (z - x0) / t."""
    return (z - denoise(z / (1 - t), t / (1 - t))) / t


SAMPLERS = ("ddpm", "ddim", "heun", "dpmpp_2m", "euler", "midpoint")
#: Those whose own path is the straight one.
STRAIGHT = ("euler", "midpoint")


@dataclass(frozen=True)
class Plan:
    """A sampler with its settings. steps: ignored by ddpm. eta: of ddim. churn: of heun."""

    sampler: str = "heun"
    steps: int = 18
    eta: float = 0.0
    churn: float = 0.0

    def validate(self) -> Plan:
        """Return self. Raises `InvalidParams` naming the field that is wrong."""
        if self.sampler not in SAMPLERS:
            raise InvalidParams(
                f"There is no sampler {self.sampler!r}: choose {', '.join(SAMPLERS)}.", field="sampler"
            )
        least = 2 if self.sampler in ("heun", "dpmpp_2m") else 1
        if (
            isinstance(self.steps, bool)
            or self.steps != int(self.steps)
            or not least <= self.steps <= MOST_STEPS
        ):
            raise InvalidParams(f"This sampler takes {least} to {MOST_STEPS} steps.", field="steps")
        if not 0 <= self.eta <= 1:
            raise InvalidParams("eta is between 0 and 1.", field="eta")
        if not 0 <= self.churn <= 100:
            raise InvalidParams("churn is between 0 and 100.", field="churn")
        return self

    @property
    def calls(self) -> int:
        """How often the denoiser is called for a batch."""
        return {"ddpm": T, "heun": 2 * self.steps - 1, "midpoint": 2 * self.steps}.get(
            self.sampler, self.steps
        )

    @property
    def straight(self) -> bool:
        """Whether its frames are scaled as the straight path is."""
        return self.sampler in STRAIGHT

    @property
    def stochastic(self) -> bool:
        """Whether noise is added on the way, so that the start does not decide the end."""
        return (
            self.sampler == "ddpm"
            or (self.sampler == "ddim" and self.eta > 0)
            or (self.sampler == "heun" and self.churn > 0)
        )


def sample(
    denoise: Bound, plan: Plan, schedule: Schedule, noise: np.ndarray, rng: np.random.Generator
) -> Iterator[State]:
    """Run a plan from ``noise`` (n, 2), standard normal, and yield its states.

    schedule: whose levels ddpm and ddim take, and whose range bounds those of the others.
    """
    top = float(schedule.sigmas[-1])
    low, high = max(SIGMA_MIN, float(schedule.sigmas[0])), min(SIGMA_MAX, top)
    match plan.sampler:
        case "ddpm":
            return ddpm(denoise, noise, schedule, rng)
        case "ddim":
            return ddim(denoise, noise, schedule, plan.steps, plan.eta, rng)
        case "heun":
            return heun(denoise, noise, karras_sigmas(plan.steps, low, high), plan.churn, rng)
        case "dpmpp_2m":
            return dpmpp_2m(denoise, noise, karras_sigmas(plan.steps, low, high))
        case "euler":
            return euler(denoise, noise, plan.steps, min(STRAIGHT_MAX, top))
        case _:
            return midpoint(denoise, noise, plan.steps, min(STRAIGHT_MAX, top))


def final(states: Iterator[State]) -> np.ndarray:
    """Return the points at the end, (n, 2)."""
    x = None
    for state in states:
        x = state.x
    return x


@dataclass(frozen=True)
class Frames:
    """What is shown of a sampling: points (F, n, 2) at levels sigmas (F,), scaled to the plane; calls in all.

    The scale is that of the sampler's own path: alpha = 1 / sqrt(1 + sigma^2), under which noise has variance 1, or
    alpha = 1 / (1 + sigma) on the straight path.
    """

    points: np.ndarray
    sigmas: np.ndarray
    steps: np.ndarray
    calls: int
    straight: bool


def scale(sigma: float, straight: bool) -> float:
    """Return alpha, by which x is multiplied to be shown."""
    return 1 / (1 + sigma) if straight else float(1 / np.sqrt(1 + sigma**2))


def record(states: Iterator[State], straight: bool, total: int, most: int = 65) -> Frames:
    """Collect the states of a sampling of ``total`` steps, at most ``most`` of them evenly, the ends always."""
    keep = set(np.unique(np.linspace(0, total, min(most, total + 1)).round().astype(int)).tolist())
    points, sigmas, steps, calls = [], [], [], 0
    for number, state in enumerate(states):
        calls = state.calls
        if number in keep:
            points.append(state.x * scale(state.sigma, straight))
            sigmas.append(state.sigma)
            steps.append(number)
    return Frames(np.array(points), np.array(sigmas), np.array(steps), calls, straight)
