"""The share of images that pass, with an interval that holds though the images of a prompt are alike."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffatlas.bench.statistics.clusters import Clusters, clusters, correlation_of
from diffatlas.errors import InvalidParams
from diffatlas.geometry.shares import wilson

DRAWS = 10_000


@dataclass(frozen=True)
class Rate:
    """A mean over images from 0 to 1, and how well it is known."""

    value: float
    low: float
    high: float
    level: float
    images: int
    prompts: int
    #: Correlation of two images of one prompt; None where it is not known.
    correlation: float | None
    #: By what the variance is larger than that of as many independent images.
    design_effect: float
    #: Independent images that would be worth as much.
    effective: float
    #: Share of prompts of which at least one image has a value of 1.
    any_correct: float


def rate(values: Any, prompts: Sequence[Hashable], level: float = 0.95) -> Rate:
    """Return the mean of the values and its interval at a confidence ``level``.

    The standard error is that of a ratio of prompts' sums (linearised, robust to any correlation within a prompt). It
    gives the number of independent images that would be as good, between the number of prompts and that of images for
    values of 0 and 1, and Wilson's interval is of that many, with Student's t for the number of prompts (Dean and
    Pagano 2015, J. Surv. Stat. Methodol. 3). Resampling prompts covers less where few prompts fail or pass: of 95%, 70
    to 91 with 20 prompts at a rate of 0.05, where this covers 96 to 98.

    values: (N,) from 0 to 1. prompts: (N,) the prompt of each. Raises `InvalidParams` as `clusters` does, and for a
    level that is not between 0 and 1.
    """
    check_level(level)
    found = clusters(values, prompts)
    images, count, mean = int(found.sizes.sum()), len(found.keys), found.mean
    graded = bool(np.any(np.abs(found.squares - found.sums) > 1e-9))
    effective = _effective(found, graded)
    quantile = students_t(0.5 + level / 2, count - 1)
    low, high = wilson(mean, effective, quantile)
    best = _best(values, prompts)
    return Rate(
        value=mean,
        low=low,
        high=high,
        level=level,
        images=images,
        prompts=count,
        correlation=correlation_of(found),
        design_effect=images / effective,
        effective=effective,
        any_correct=best,
    )


def mean_rate(
    values: Any, prompts: Sequence[Hashable], tags: Sequence[Hashable], level: float = 0.95
) -> Rate:
    """Return the mean of the tags' rates, as GenEval's overall score is one, and its interval.

    The interval is that of `rate` for as many independent images as give the standard error that the tags' rates have
    together. tags: (N,) the tag of each image.
    """
    whole = rate(values, prompts, level)
    each = {tag: [k for k, own in enumerate(tags) if own == tag] for tag in dict.fromkeys(tags)}
    numbers = np.asarray(values, dtype=np.float64)
    rates = [rate(numbers[at], [prompts[k] for k in at], level) for at in each.values()]
    mean = float(np.mean([one.value for one in rates]))
    # Variance of each tag's rate, at a mean that is not 0 or 1 (Wilson's centre).
    variance = sum(_spread(one) for one in rates) / len(rates) ** 2
    shrunk = (mean * whole.effective + 2) / (whole.effective + 4)
    effective = max(float(whole.prompts), shrunk * (1 - shrunk) / variance)
    low, high = wilson(mean, effective, students_t(0.5 + level / 2, whole.prompts - len(rates)))
    return Rate(
        value=mean,
        low=low,
        high=high,
        level=level,
        images=whole.images,
        prompts=whole.prompts,
        correlation=whole.correlation,
        design_effect=whole.images / effective,
        effective=effective,
        any_correct=float(np.mean([one.any_correct for one in rates])),
    )


def resample(
    groups: Mapping[Hashable, Any],
    statistic: Any,
    draws: int = DRAWS,
    seed: int = 0,
) -> np.ndarray:
    """Return (draws,) values of a statistic over prompts drawn again with replacement.

    groups: what belongs to each prompt. statistic: of a list of those, a number.
    """
    if len(groups) < 2:
        raise InvalidParams(
            "Prompts cannot be drawn again: there is only one. Judge images of two prompts at least."
        )
    held = list(groups.values())
    random = np.random.default_rng(seed)
    return np.array(
        [statistic([held[k] for k in random.integers(0, len(held), len(held))]) for _ in range(draws)]
    )


def students_t(share: float, freedom: int) -> float:
    """Return the value below which this share of Student's t lies, with 1 degree of freedom at least."""
    # `scipy.stats` has the same, and takes a second to import.
    from scipy.special import stdtrit

    return float(stdtrit(max(1, freedom), share))


def check_level(level: float) -> None:
    """Raise `InvalidParams` for a level of confidence that is not between 0 and 1."""
    if not 0 < level < 1:
        raise InvalidParams(f"The level of confidence is {level:g}: give one between 0 and 1, such as 0.95.")


def _effective(found: Clusters, graded: bool) -> float:
    """The number of independent images whose mean would have the variance that was found."""
    count, images, mean = len(found.keys), found.sizes.sum(), found.mean
    if count < 2:
        return 1.0
    # Residuals of the ratio sum(sums) / sum(sizes), one a prompt.
    residuals = found.sums - mean * found.sizes
    variance = count / (count - 1) * (residuals**2).sum() / images**2
    alone = mean * (1 - mean)
    if variance <= 1e-15 or alone <= 1e-15:
        return float(count)
    wanted = alone / variance
    return float(max(count, wanted if graded else min(images, wanted)))


def _spread(one: Rate) -> float:
    """Variance of a rate, at Wilson's centre: not 0 where all images passed."""
    middle = (one.value * one.effective + 2) / (one.effective + 4)
    return middle * (1 - middle) / one.effective


def _best(values: Any, prompts: Sequence[Hashable]) -> float:
    best: dict[Hashable, float] = {}
    for value, prompt in zip(np.asarray(values, dtype=np.float64).tolist(), prompts, strict=True):
        best[prompt] = max(value, best.get(prompt, 0.0))
    return sum(value >= 1 for value in best.values()) / len(best)
