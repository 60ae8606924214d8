"""Failing images against passing ones of the same prompt: how far a number differs, how surely, and how often.

A prompt that is easy differs from a hard one in much besides its images, so the two verdicts are compared within
prompts: each prompt's own mean is taken away. A prompt with one verdict alone tells nothing here.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from diffatlas.bench.statistics.rates import DRAWS, Rate, check_level, rate
from diffatlas.errors import InvalidParams

#: Prompts with both verdicts that a difference and its interval want.
FEWEST = 2


@dataclass(frozen=True)
class Verdicts:
    """What was measured of the judged images of one prompt.

    failed: (n,) booleans. values: (n,) a number of each image; or (n, n) a number of every two, and then an image's
    number is its mean over the other images that passed, NaN where there is none. NaN where a number is missing.
    """

    prompt: Hashable
    failed: np.ndarray
    values: np.ndarray

    @cached_property
    def known(self) -> Verdicts:
        """The same without the images whose number is missing."""
        if self.values.ndim == 1:
            kept = np.isfinite(self.values)
            return Verdicts(self.prompt, self.failed[kept], self.values[kept])
        others = self.values.astype(np.float64, copy=True)
        np.fill_diagonal(others, np.nan)
        kept = np.isfinite(others).any(1)
        return Verdicts(self.prompt, self.failed[kept], self.values[np.ix_(kept, kept)])

    @property
    def tells(self) -> bool:
        """Whether images of both verdicts have a number."""
        failed = self.known.failed
        passing = int((~failed).sum())
        return bool(failed.any()) and passing >= (1 if self.values.ndim == 1 else 2)

    @property
    def numbers(self) -> np.ndarray:
        """The number of each image, (n,)."""
        return numbers(self.values, self.failed[None])[0]


@dataclass(frozen=True)
class Within:
    """Failing minus passing images of the same prompt.

    difference: the mean difference once each prompt's own mean is taken away, in the number's unit, and its interval
    ``low`` to ``high`` at ``level``. deviation: how far images of one prompt and one verdict are spread, and
    ``standardised`` the difference in such deviations; None where they are not spread, or no prompt has two of one
    verdict. larger: how often the failing one of two images of a prompt has the larger number, ties counted half, with
    its interval: 0.5 says nothing. p: of a difference as large either way, if the verdicts were dealt to each prompt's
    images at random. prompts: those with both verdicts; failing, passing: their images.
    """

    difference: float
    low: float
    high: float
    level: float
    deviation: float | None
    larger: Rate
    p: float
    prompts: int
    failing: int
    passing: int

    @property
    def standardised(self) -> tuple[float, float, float] | None:
        """(difference, low, high) in deviations."""
        if not self.deviation:
            return None
        return self.difference / self.deviation, self.low / self.deviation, self.high / self.deviation


@dataclass(frozen=True)
class OverAll:
    """The mean of all failing images minus that of all passing ones, whatever their prompts: easy prompts are compared
    with hard ones here. The interval is robust to what the images of a prompt have in common."""

    difference: float
    low: float
    high: float
    level: float
    prompts: int
    failing: int
    passing: int


def within_prompts(
    groups: Sequence[Verdicts], level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Within:
    """Compare the failing images of each prompt with its passing ones.

    The difference is that of least squares with a mean for each prompt: the prompts' differences, each weighted by
    ``f g / (f + g)`` for f failing and g passing images. Its interval is Student's of the prompts' differences
    (linearised over prompts, robust to whatever images of a prompt have in common), or that of the spread of images
    within prompts where it is wider: few prompts may agree by chance. ``larger`` is the Mann-Whitney statistic over the
    pairs within prompts, its interval that of `rate` over prompts. p is by permutation of the verdicts within prompts,
    ``draws`` times, counted with the one that was seen (Phipson and Smyth 2010); where the numbers are of pairs, they
    are taken anew each time.

    Raises `InvalidParams` where fewer than `FEWEST` prompts have images of both verdicts, or a level is out of range.
    """
    from scipy.stats import t

    check_level(level)
    told = [one.known for one in groups if one.tells]
    if len(told) < FEWEST:
        raise InvalidParams(
            f"{len(told)} {'prompt has' if len(told) == 1 else 'prompts have'} both a failing and a passing image"
            f" with this number: a comparison wants {FEWEST} at least."
        )
    failing = np.array([one.failed.sum() for one in told], dtype=np.float64)
    passing = np.array([(~one.failed).sum() for one in told], dtype=np.float64)
    weights = failing * passing / (failing + passing)
    apart = np.array([_differences(one.values, one.failed[None])[0] for one in told])
    mean = float((weights * apart).sum() / weights.sum())
    count = len(told)
    residuals = weights * (apart - mean)
    between = math.sqrt(count / (count - 1) * float((residuals**2).sum())) / float(weights.sum())
    deviation, freedom = _deviation([one.known for one in groups])
    half = float(t.ppf(0.5 + level / 2, count - 1)) * between
    if deviation is not None:
        inside = deviation / math.sqrt(float(weights.sum()))
        half = max(half, float(t.ppf(0.5 + level / 2, freedom)) * inside)
    return Within(
        difference=mean,
        low=mean - half,
        high=mean + half,
        level=level,
        deviation=deviation,
        larger=_larger(told, level),
        p=_permuted(told, weights, mean, draws, seed),
        prompts=count,
        failing=int(failing.sum()),
        passing=int(passing.sum()),
    )


def over_all(groups: Sequence[Verdicts], level: float = 0.95) -> OverAll:
    """Compare all failing images with all passing ones, whatever their prompts.

    Raises `InvalidParams` where a verdict has no image with this number, or all are of one prompt.
    """
    from scipy.stats import t

    check_level(level)
    told = [one.known for one in groups]
    told = [(one.failed, one.numbers) for one in told if len(one.failed)]
    told = [(failed[np.isfinite(x)], x[np.isfinite(x)]) for failed, x in told]
    told = [(failed, x) for failed, x in told if len(x)]
    failed, values = (
        np.concatenate([np.zeros(0), *parts]) for parts in (zip(*told, strict=True) if told else ((), ()))
    )
    failed = failed.astype(bool)
    if not failed.any() or failed.all() or len(told) < 2:
        raise InvalidParams(
            f"{int(failed.sum())} failing and {int((~failed).sum())} passing images of {len(told)} prompts have this"
            " number: a comparison wants one of each at least, and two prompts."
        )
    means = float(values[failed].mean()), float(values[~failed].mean())
    parts = np.array(
        [(x[f] - means[0]).sum() / failed.sum() - (x[~f] - means[1]).sum() / (~failed).sum() for f, x in told]
    )
    count = len(told)
    error = math.sqrt(count / (count - 1) * float((parts**2).sum()))
    difference, half = means[0] - means[1], float(t.ppf(0.5 + level / 2, count - 1)) * error
    return OverAll(
        difference,
        difference - half,
        difference + half,
        level,
        count,
        int(failed.sum()),
        int((~failed).sum()),
    )


def numbers(values: np.ndarray, failed: np.ndarray) -> np.ndarray:
    """Return the number of each image under several deals of verdicts: (draws, n).

    values: as those of `Verdicts`. failed: (draws, n).
    """
    if values.ndim == 1:
        return np.broadcast_to(values.astype(np.float64), failed.shape)
    others = values.astype(np.float64, copy=True)
    np.fill_diagonal(others, 0.0)
    passed = (~failed).astype(np.float64)
    count = passed.sum(1, keepdims=True) - passed
    return np.divide(passed @ others, count, out=np.full(count.shape, np.nan), where=count > 0)


def _differences(values: np.ndarray, failed: np.ndarray) -> np.ndarray:
    """Mean of the failing minus mean of the passing images of a prompt, by deal of verdicts: (draws,)."""
    found = numbers(values, failed)
    return (found * failed).sum(1) / failed.sum(1) - (found * ~failed).sum(1) / (~failed).sum(1)


def _permuted(told: Sequence[Verdicts], weights: np.ndarray, seen: float, draws: int, seed: int) -> float:
    """Share of deals of the verdicts within prompts that give as large a difference, that which was seen among them."""
    random = np.random.default_rng(seed)
    total = np.zeros(draws)
    for one, weight in zip(told, weights, strict=True):
        dealt = one.failed[random.random((draws, len(one.failed))).argsort(1)]
        total += weight * _differences(one.values, dealt)
    size = abs(seen) * float(weights.sum())
    # Sums of the same numbers in another order are equal but for rounding.
    return float((1 + (np.abs(total) >= size * (1 - 1e-9) - 1e-12).sum()) / (1 + draws))


def _deviation(groups: Sequence[Verdicts]) -> tuple[float | None, int]:
    """The standard deviation of images about the mean of their prompt and verdict, and its degrees of freedom."""
    squares, freedom = 0.0, 0
    for one in groups:
        found = one.numbers
        for side in (found[one.failed], found[~one.failed]):
            side = side[np.isfinite(side)]
            if len(side) > 1:
                squares += float(((side - side.mean()) ** 2).sum())
                freedom += len(side) - 1
    return (math.sqrt(squares / freedom) if freedom and squares > 1e-24 else None), freedom


def _larger(told: Sequence[Verdicts], level: float) -> Rate:
    """How often the failing one of two images of a prompt has the larger number."""
    values, prompts = [], []
    for place, one in enumerate(told):
        found = one.numbers
        apart = np.sign(found[one.failed][:, None] - found[~one.failed][None]).ravel()
        values.append((apart + 1) / 2)
        prompts += [place] * len(apart)
    return rate(np.concatenate(values), prompts, level)
