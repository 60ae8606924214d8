"""How far those who mark the same images agree: scorers with each other, and with people."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffatlas.bench.statistics.rates import DRAWS
from diffatlas.errors import InvalidParams


@dataclass(frozen=True)
class Agreement:
    """Agreement of two or more who gave marks. Beyond chance, 1 is perfect and 0 is what chance alone would give."""

    #: Share of pairs of marks on one image that are alike.
    raw: float
    #: Fleiss' kappa (1971); of two who marked all, nearly Cohen's. None where all marks are equal, so that chance alone
    #: would agree. Near 0 or below where nearly all are, however well they agree.
    kappa: float | None
    #: Gwet's AC1 (2008), which holds where nearly all marks are equal.
    ac1: float
    images: int
    #: Share of each mark among all.
    shares: dict[Any, float]
    #: (low, high) of 95%, prompts drawn again, of raw, kappa and AC1; None where there are no prompts to draw.
    intervals: dict[str, tuple[float, float]] | None


def agreement(
    marks: Sequence[Sequence[Any]],
    prompts: Sequence[Hashable] | None = None,
    draws: int = DRAWS // 10,
    seed: int = 0,
) -> Agreement:
    """Return how far marks agree.

    marks: for each image those that were given, None for one that is missing; any values that are equal or not.
    prompts: that of each image, for intervals. Raises `InvalidParams` where no image has two marks.
    """
    held = [[mark for mark in given if mark is not None] for given in marks]
    kept = [k for k, given in enumerate(held) if len(given) > 1]
    if not kept:
        raise InvalidParams("No image has two marks: there is nothing to agree on.")
    names = sorted({mark for k in kept for mark in held[k]}, key=repr)
    counts = np.array([[held[k].count(name) for name in names] for k in kept], dtype=np.float64)
    alike, shown = _of_images(counts)
    raw, kappa, ac1 = (float(one) for one in _measures(alike.mean(), shown.mean(0)))
    shares = counts.sum(0) / counts.sum()
    intervals = None
    if prompts is not None:
        intervals = _intervals(alike, shown, [prompts[k] for k in kept], draws, seed)
    return Agreement(
        raw=raw,
        kappa=None if math.isnan(kappa) else kappa,
        ac1=ac1,
        images=len(kept),
        shares=dict(zip(names, shares.tolist(), strict=True)),
        intervals=intervals,
    )


def _of_images(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The share of pairs that are alike (N,), and the share of each mark (N, marks), of counts (N, marks)."""
    given = counts.sum(1)
    return ((counts**2).sum(1) - given) / (given * (given - 1)), counts / given[:, None]


def _measures(raw: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw agreement, Fleiss' kappa (NaN where it is undefined) and Gwet's AC1, of means over images.

    raw: (...). shares: (..., marks).
    """
    by_chance = (shares**2).sum(-1)
    known = by_chance < 1 - 1e-12
    kappa = np.where(known, (raw - by_chance) / np.where(known, 1 - by_chance, 1.0), np.nan)
    marks = shares.shape[-1]
    # Of one mark alone there is no other that chance could give.
    gwet = (shares * (1 - shares)).sum(-1) / (marks - 1) if marks > 1 else np.zeros_like(raw)
    return raw, kappa, (raw - gwet) / (1 - gwet)


def _intervals(
    alike: np.ndarray, shown: np.ndarray, prompts: Sequence[Hashable], draws: int, seed: int
) -> dict[str, tuple[float, float]] | None:
    at: dict[Hashable, int] = {}
    index = np.array([at.setdefault(prompt, len(at)) for prompt in prompts])
    count = len(at)
    if count < 2:
        return None
    # Sums over the images of each prompt: alike, each mark, and how many there are.
    columns = [alike, *shown.T, np.ones(len(alike))]
    sums = np.stack([np.bincount(index, column, count) for column in columns], axis=1)
    drawn = np.random.default_rng(seed).integers(0, count, (draws, count))
    totals = np.stack([np.bincount(row, minlength=count) for row in drawn]) @ sums
    means = totals[:, :-1] / totals[:, -1:]
    measures = zip(("raw", "kappa", "ac1"), _measures(means[:, 0], means[:, 1:]), strict=True)
    known = {name: values[np.isfinite(values)] for name, values in measures}
    return {
        name: tuple(np.quantile(values, [0.025, 0.975]).tolist())
        for name, values in known.items()
        if len(values)
    }
