"""Two models on the same prompts: the difference, whether it may be chance, and what could have been seen at all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffatlas.bench.statistics.clusters import prompt_means
from diffatlas.bench.statistics.rates import DRAWS, check_level, students_t
from diffatlas.errors import InvalidParams

#: Up to so many prompts that differ all their signs are tried.
EXACT = 16
POWER = 0.8


@dataclass(frozen=True)
class Compared:
    """The second's mean over prompts minus the first's, on the prompts that both have."""

    difference: float
    low: float
    high: float
    level: float
    #: Of a difference as large or larger, either way, if the names of the two were exchanged prompt by prompt.
    p: float
    prompts: int
    #: Prompts where the two differ.
    differ: int
    #: The smallest difference that would have been found with a probability of `POWER`, at the same level; 1 where none
    #: would.
    detectable: float


def compare(
    first: tuple[Any, Sequence[Hashable]],
    second: tuple[Any, Sequence[Hashable]],
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Compared:
    """Compare two models by the paired differences of their prompts' means.

    The p-value is of the sign-flip test over prompts (Fisher 1935, ch. 3): all signs where at most `EXACT` prompts
    differ, else ``draws`` of them, counted with the one that was seen (Phipson and Smyth 2010). The interval is
    Student's of the mean difference, the detectable difference ``(t + t_power) * standard error``.

    first, second: (values, prompts) of each, as `rate` takes them. Raises `InvalidParams` where fewer than two prompts
    are in both.
    """
    check_level(level)
    left, right = prompt_means(*first), prompt_means(*second)
    shared = [prompt for prompt in left if prompt in right]
    if len(shared) < 2:
        raise InvalidParams(
            f"The two have {'1 prompt' if shared else '0 prompts'} in common: a comparison wants two at least, of the"
            " same pack."
        )
    differences = np.array([right[prompt] - left[prompt] for prompt in shared])
    mean, count = float(differences.mean()), len(differences)
    error = float(differences.std(ddof=1)) / math.sqrt(count)
    quantile, power = (students_t(share, count - 1) for share in (0.5 + level / 2, POWER))
    return Compared(
        difference=mean,
        low=max(-1.0, mean - quantile * error),
        high=min(1.0, mean + quantile * error),
        level=level,
        p=sign_flip(differences, draws, seed),
        prompts=count,
        differ=int(np.count_nonzero(np.abs(differences) > 1e-12)),
        detectable=min(1.0, (quantile + power) * error),
    )


def sign_flip(differences: np.ndarray, draws: int = DRAWS, seed: int = 0) -> float:
    """Return the two-sided p-value of a mean of paired differences (P,), if each sign might as well be the other."""
    told = differences[np.abs(differences) > 1e-12]
    if not len(told):
        return 1.0
    seen = abs(told.sum()) - 1e-9
    if len(told) <= EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(told))))
        return float((np.abs(signs @ told) >= seen).mean())
    random = np.random.default_rng(seed)
    signs = 1.0 - 2.0 * random.integers(0, 2, (draws, len(told)))
    return float((1 + (np.abs(signs @ told) >= seen).sum()) / (1 + draws))


def holm(p_values: Mapping[Hashable, float]) -> dict[Hashable, float]:
    """Return p-values adjusted for how many there are (Holm 1979): reject what is below the level, and no more than the
    level of all true nulls is ever rejected."""
    ordered = sorted(p_values, key=lambda name: p_values[name])
    adjusted, most = {}, 0.0
    for rank, name in enumerate(ordered):
        most = max(most, min(1.0, (len(ordered) - rank) * p_values[name]))
        adjusted[name] = most
    return {name: adjusted[name] for name in p_values}


def mcnemar(first: tuple[Any, Sequence[Hashable]], second: tuple[Any, Sequence[Hashable]]) -> float:
    """Return the exact two-sided p-value of McNemar's test (1947): binomial, over prompts that only one passes.

    Raises `InvalidParams` where a prompt has more than one image, because images of one prompt are not independent (on
    GenEval's own marks it would reject 19% of true nulls at 5%), and where values are not 0 and 1.
    """
    from scipy.stats import binomtest

    tables = []
    for values, prompts in (first, second):
        if len(set(prompts)) != len(prompts):
            raise InvalidParams(
                "McNemar's test wants one image a prompt: images of one prompt are not independent. Use `compare`."
            )
        tables.append(prompt_means(values, prompts))
    left, right = tables
    if not {*left.values(), *right.values()} <= {0.0, 1.0}:
        raise InvalidParams("McNemar's test wants verdicts, 0 or 1: use `compare` for graded scores.")
    shared = [prompt for prompt in left if prompt in right]
    only = [sum(a[prompt] > b[prompt] for prompt in shared) for a, b in ((left, right), (right, left))]
    return float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0
