"""How much alike the images of one prompt are judged, and where the verdicts' variance lies."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffatlas.errors import InvalidParams


@dataclass(frozen=True)
class Clusters:
    """Values by prompt: `keys` (P,) in their order, `sums` and `sizes` (P,) of the values of each."""

    keys: tuple[Hashable, ...]
    sums: np.ndarray
    sizes: np.ndarray
    squares: np.ndarray

    @property
    def mean(self) -> float:
        """The mean over all images."""
        return float(self.sums.sum() / self.sizes.sum())


def clusters(values: Any, prompts: Sequence[Hashable]) -> Clusters:
    """Return the values by prompt.

    values: (N,) numbers from 0 to 1. prompts: (N,) the prompt of each. Raises `InvalidParams` where they are none, are
    not as many, or are out of range.
    """
    numbers = checked(values)
    if len(prompts) != len(numbers):
        raise InvalidParams(
            f"There are {len(numbers)} values and {len(prompts)} prompts: give a prompt for each."
        )
    at: dict[Hashable, int] = {}
    index = np.array([at.setdefault(prompt, len(at)) for prompt in prompts])
    count = len(at)
    return Clusters(
        tuple(at),
        np.bincount(index, numbers, count),
        np.bincount(index, minlength=count).astype(np.float64),
        np.bincount(index, numbers**2, count),
    )


def checked(values: Any) -> np.ndarray:
    """Return the values as float64 (N,). Raises `InvalidParams` where there are none, or one is not from 0 to 1."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise InvalidParams("There is nothing to count: give one value an image.")
    if not np.all((numbers >= 0) & (numbers <= 1)):
        raise InvalidParams("A value is not from 0 to 1: leave out what could not be judged.")
    return numbers


def prompt_means(values: Any, prompts: Sequence[Hashable]) -> dict[Hashable, float]:
    """Return the mean value of each prompt's images, in the order in which the prompts come."""
    found = clusters(values, prompts)
    return dict(zip(found.keys, (found.sums / found.sizes).tolist(), strict=True))


def intra_prompt_correlation(values: Any, prompts: Sequence[Hashable]) -> float | None:
    """Return the correlation of two images of one prompt: 0 where they are independent, 1 where they are all alike.

    The estimator by analysis of variance, for prompts of unequal numbers of images (Donner 1986, Int. Stat. Rev. 54,
    eq. 2.2): (MSB - MSW) / (MSB + (n0 - 1) MSW). None where it is not known: each prompt has one image, there is one
    prompt, or all values are equal.
    """
    return correlation_of(clusters(values, prompts))


def correlation_of(found: Clusters) -> float | None:
    """`intra_prompt_correlation` of values that are by prompt already."""
    count, images = len(found.keys), found.sizes.sum()
    if count < 2 or images == count:
        return None
    means = found.sums / found.sizes
    between = (found.sizes * (means - found.mean) ** 2).sum() / (count - 1)
    within = max(0.0, (found.squares - found.sums * means).sum()) / (images - count)
    size = (images - (found.sizes**2).sum() / images) / (count - 1)
    total = between + (size - 1) * within
    return float((between - within) / total) if total > 1e-15 else None


def variance_shares(values: Any, prompts: Sequence[Hashable], seeds: Sequence[Hashable]) -> dict[str, float]:
    """Return the shares of the variance that lie with the prompt, with the seed, and with neither ("rest").

    Components of a two-way layout without replication by analysis of variance (Searle, Casella and McCulloch 1992,
    ch. 4); one below 0 counts as 0. Where the seed's share is large, some seeds are good or bad whatever is asked.

    Raises `InvalidParams` where not every prompt has one image of every seed, there are fewer than two of either, or
    all values are equal.
    """
    table = _two_ways(values, prompts, seeds)
    count, width = table.shape
    by_prompt = width * table.mean(1).var(ddof=1)
    by_seed = count * table.mean(0).var(ddof=1)
    left = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    rest = (left**2).sum() / ((count - 1) * (width - 1))
    parts = {
        "prompt": max(0.0, (by_prompt - rest) / width),
        "seed": max(0.0, (by_seed - rest) / count),
        "rest": float(rest),
    }
    total = sum(parts.values())
    if total < 1e-15:
        raise InvalidParams("All values are equal: there is no variance to share out.")
    return {name: float(part / total) for name, part in parts.items()}


def seed_effect(
    values: Any, prompts: Sequence[Hashable], seeds: Sequence[Hashable], draws: int = 2000, seed: int = 0
) -> float:
    """Return the p-value of the seeds' means lying as far apart as they do, or further, by chance alone.

    The test exchanges the seeds' names within each prompt, ``draws`` times, counted with the one that was seen (Phipson
    and Smyth 2010): the best of several seeds looks good even where all are alike. Raises as `variance_shares`, but for
    equal values, of which it is 1.
    """
    table = _two_ways(values, prompts, seeds)
    random = np.random.default_rng(seed)
    seen = table.mean(0).var() - 1e-12
    above = sum(bool(random.permuted(table, axis=1).mean(0).var() >= seen) for _ in range(draws))
    return (1 + above) / (1 + draws)


def _two_ways(values: Any, prompts: Sequence[Hashable], seeds: Sequence[Hashable]) -> np.ndarray:
    """The values (prompts, seeds). Raises `InvalidParams` where one is missing, or there is only one of either."""
    numbers = checked(values) if len(values) else np.empty(0)
    rows, columns = list(dict.fromkeys(prompts)), list(dict.fromkeys(seeds))
    cells = {(prompt, seed): value for prompt, seed, value in zip(prompts, seeds, numbers, strict=True)}
    if (
        len(cells) != len(numbers)
        or len(numbers) != len(rows) * len(columns)
        or min(len(rows), len(columns)) < 2
    ):
        raise InvalidParams(
            "Shares of the variance want one image of each prompt with each seed, two of each at least."
        )
    return np.array([[cells[prompt, seed] for seed in columns] for prompt in rows])
