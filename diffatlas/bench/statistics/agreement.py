"""How far those who mark the same images agree: scorers with each other, and with people."""

from __future__ import annotations

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
    raw, kappa, ac1 = _measures(counts)
    shares = counts.sum(0) / counts.sum()
    intervals = None
    if prompts is not None:
        intervals = _intervals(counts, [prompts[k] for k in kept], draws, seed)
    return Agreement(
        raw=raw,
        kappa=kappa,
        ac1=ac1,
        images=len(kept),
        shares=dict(zip(names, shares.tolist(), strict=True)),
        intervals=intervals,
    )


def _measures(counts: np.ndarray) -> tuple[float, float | None, float]:
    """Raw agreement, Fleiss' kappa and Gwet's AC1 of counts (images, marks)."""
    given = counts.sum(1)
    # The mean over images of the share of pairs that are alike.
    raw = float((((counts**2).sum(1) - given) / (given * (given - 1))).mean())
    shares = (counts / given[:, None]).mean(0)
    by_chance = float((shares**2).sum())
    kappa = (raw - by_chance) / (1 - by_chance) if by_chance < 1 - 1e-12 else None
    marks = counts.shape[1]
    # Of one mark alone there is no other that chance could give.
    gwet = float((shares * (1 - shares)).sum() / (marks - 1)) if marks > 1 else 0.0
    return raw, kappa, (raw - gwet) / (1 - gwet)


def _intervals(
    counts: np.ndarray, prompts: Sequence[Hashable], draws: int, seed: int
) -> dict[str, tuple[float, float]] | None:
    at: dict[Hashable, list[int]] = {}
    for k, prompt in enumerate(prompts):
        at.setdefault(prompt, []).append(k)
    groups = list(at.values())
    if len(groups) < 2:
        return None
    random = np.random.default_rng(seed)
    found: dict[str, list[float]] = {"raw": [], "kappa": [], "ac1": []}
    for _ in range(draws):
        drawn = [k for group in random.integers(0, len(groups), len(groups)) for k in groups[group]]
        for name, value in zip(found, _measures(counts[drawn]), strict=True):
            if value is not None:
                found[name].append(value)
    return {
        name: tuple(np.quantile(values, [0.025, 0.975]).tolist()) for name, values in found.items() if values
    }
