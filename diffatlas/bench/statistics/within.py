"""Failing images against passing ones of the same prompt: how far a number differs, how surely, and how often.

A prompt that is easy differs from a hard one in much besides its images, so the two verdicts are compared within
prompts: each prompt's own mean is taken away. Where prompts share their seeds, so is what a seed does to all of them: a
seed whose images have another ground, say, and that also fails a little more often by chance, would otherwise be taken
for a cause, the surer the more prompts there are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from diffatlas.bench.statistics.rates import DRAWS, Rate, check_level, rate, students_t
from diffatlas.errors import InvalidParams

#: Prompts with both verdicts that a difference and its interval want.
FEWEST = 2
#: Numbers that differ by less, as a share of the largest, are equal but for rounding.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Verdicts:
    """What was measured of the judged images of one prompt.

    failed: (n,) booleans. values: (n,) a number of each image; or (n, n) a number of every two, and then an image's
    number is its mean over the other images that passed, NaN where there is none. NaN where a number is missing.
    seeds: of each image, None where it is not known; empty where none is.
    """

    prompt: Hashable
    failed: np.ndarray
    values: np.ndarray
    seeds: tuple[Hashable, ...] = ()

    @property
    def paired(self) -> bool:
        """Whether the numbers are of every two images."""
        return self.values.ndim == 2

    @cached_property
    def known(self) -> Verdicts:
        """The same without the images whose number is missing."""
        others = self.values.astype(np.float64, copy=True)
        if self.paired:
            np.fill_diagonal(others, np.nan)
            kept = np.isfinite(others).any(1)
        else:
            kept = np.isfinite(others)
        values = self.values[np.ix_(kept, kept)] if self.paired else self.values[kept]
        seeds = tuple(seed for seed, there in zip(self.seeds, kept, strict=False) if there)
        return Verdicts(self.prompt, self.failed[kept], values, seeds)

    @property
    def tells(self) -> bool:
        """Whether images of both verdicts have a number."""
        failed = self.known.failed
        return bool(failed.any()) and int((~failed).sum()) >= (2 if self.paired else 1)

    @property
    def numbers(self) -> np.ndarray:
        """The number of each image, (n,)."""
        return _numbers(self.values, self.failed[None])[0]


@dataclass(frozen=True)
class Within:
    """Failing minus passing images of the same prompt.

    difference: that of the means once each prompt's own mean, and what each of ``seeds`` shared seeds does to all
    prompts, is taken away, in the number's unit; its interval is ``low`` to ``high`` at ``level``. deviation: how far
    images are spread about that; None where they are not. larger: how often the failing one of two images of a prompt
    has the larger number, ties counted half, with its interval: 0.5 says nothing. p: of a difference as large either
    way, if the verdicts were dealt to each prompt's images at random. prompts: those with both verdicts; failing,
    passing: their images.
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
    seeds: int

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

    The difference is that of least squares with a mean for each prompt, and one for each seed that several prompts
    share. Its interval is Student's with the error of these residuals summed by prompt (robust to whatever images of a
    prompt have in common), or with that of least squares where it is wider: few prompts may agree by chance.
    ``larger`` is the Mann-Whitney statistic over the pairs within prompts, its interval that of `rate` over prompts. p
    is by permutation of the verdicts within prompts, ``draws`` times, counted with the one that was seen (Phipson and
    Smyth 2010). Of numbers of pairs, the mean over the prompts is taken away of every two shared seeds, and an image's
    number is taken anew for each permutation.

    Raises `InvalidParams` where fewer than `FEWEST` prompts have images of both verdicts, where prompts and seeds alone
    decide the numbers or the verdicts, and for a level that is out of range.
    """
    check_level(level)
    known = [one.known for one in groups]
    count = sum(one.tells for one in known)
    if count < FEWEST:
        raise InvalidParams(
            f"{'One' if count else 'No'} prompt has both a failing and a passing image with this number: a comparison"
            f" wants {FEWEST} at least."
        )
    shared = _shared(known)
    left = _paired_left(known, shared) if known[0].paired else _left(known, shared)
    told = [one for one in left.groups if one.tells]
    squares = float((left.failed**2).sum())
    difference = float((left.failed * left.values).sum()) / squares
    rest = left.values - difference * left.failed
    sums = np.bincount(left.place, left.failed * rest)
    error = math.sqrt(count / (count - 1) * float((sums**2).sum())) / squares
    half = students_t(0.5 + level / 2, count - 1) * error
    deviation = _deviation(rest, left.values, left.freedom)
    if deviation is not None:
        error = deviation / math.sqrt(squares)
        half = max(half, students_t(0.5 + level / 2, left.freedom) * error)
    return Within(
        difference=difference,
        low=difference - half,
        high=difference + half,
        level=level,
        deviation=deviation,
        larger=_larger(told, level),
        p=_permuted(told, draws, seed),
        prompts=count,
        failing=int(sum(one.failed.sum() for one in told)),
        passing=int(sum((~one.failed).sum() for one in told)),
        seeds=len(shared),
    )


def over_all(groups: Sequence[Verdicts], level: float = 0.95) -> OverAll:
    """Compare all failing images with all passing ones, whatever their prompts and seeds.

    Raises `InvalidParams` where a verdict has no image with this number, or all are of one prompt.
    """
    check_level(level)
    told = []
    for one in groups:
        numbers = one.known.numbers
        there = np.isfinite(numbers)
        if there.any():
            told.append((one.known.failed[there], numbers[there]))
    failing = [x[f] for f, x in told]
    passing = [x[~f] for f, x in told]
    counts = sum(map(len, failing)), sum(map(len, passing))
    if min(counts) == 0 or len(told) < 2:
        raise InvalidParams(
            f"{counts[0]} failing and {counts[1]} passing images of {len(told)} prompts have this number: a comparison"
            " wants one of each at least, and two prompts."
        )
    means = [
        sum(float(x.sum()) for x in side) / n for side, n in zip((failing, passing), counts, strict=True)
    ]
    parts = np.array(
        [
            (f - means[0]).sum() / counts[0] - (p - means[1]).sum() / counts[1]
            for f, p in zip(failing, passing, strict=True)
        ]
    )
    count, difference = len(told), means[0] - means[1]
    error = math.sqrt(count / (count - 1) * float((parts**2).sum()))
    half = students_t(0.5 + level / 2, count - 1) * error
    return OverAll(difference, difference - half, difference + half, level, count, *counts)


def _numbers(values: np.ndarray, failed: np.ndarray) -> np.ndarray:
    """The number of each image under several deals of verdicts: (draws, n). failed: (draws, n)."""
    if values.ndim == 1:
        return np.broadcast_to(values.astype(np.float64), failed.shape)
    others = values.astype(np.float64, copy=True)
    np.fill_diagonal(others, 0.0)
    passed = (~failed).astype(np.float64)
    count = passed.sum(1, keepdims=True) - passed
    return np.divide(passed @ others, count, out=np.full(count.shape, np.nan), where=count > 0)


def _shared(known: Sequence[Verdicts]) -> list[Hashable]:
    """The seeds that more than one prompt has."""
    counts = Counter(seed for one in known for seed in {*one.seeds} if seed is not None)
    return [seed for seed, count in counts.items() if count > 1]


@dataclass(frozen=True)
class _Left:
    """What is left of numbers and verdicts without what prompts and seeds have in common, of all images in one (N,).

    groups: the prompts with the numbers that are left. place: the prompt of each image. freedom: degrees of freedom of
    what is left once the difference is taken away too.
    """

    groups: list[Verdicts]
    values: np.ndarray
    failed: np.ndarray
    place: np.ndarray
    freedom: int

    def checked(self, size: float) -> _Left:
        """Return self. size: the largest number there was. Raises `InvalidParams` where nothing is left."""
        if float((self.failed**2).sum()) < ROUNDING:
            raise InvalidParams("Prompts and seeds alone decide which images fail: more prompts would tell.")
        if float(np.abs(self.values).max()) <= ROUNDING * size:
            raise InvalidParams(
                "Prompts and seeds alone decide this number: it tells nothing of the verdicts."
            )
        return self


def _left(known: Sequence[Verdicts], shared: Sequence[Hashable]) -> _Left:
    """Take the means of prompts and shared seeds from the numbers and verdicts of all images (least squares)."""
    used = [one for one in known if len(one.failed)]
    place = _place(used)
    seeds = [seed for one in used for seed in (one.seeds or (None,) * len(one.failed))]
    columns = np.array([[seed == other for other in shared] for seed in seeds], dtype=np.float64)
    columns = columns.reshape(len(seeds), len(shared))
    for k in range(len(shared)):
        columns[:, k] = _centred(columns[:, k], place)
    values, failed = (
        np.concatenate([getattr(one, name) for one in used]).astype(np.float64)
        for name in ("values", "failed")
    )
    size = float(np.abs(values).max())
    both = np.stack([_centred(values, place), _centred(failed, place)], 1)
    rank = 0
    if shared:
        solution, _, rank, _ = np.linalg.lstsq(columns, both, rcond=None)
        both = both - columns @ solution
    groups = [replace(one, values=both[place == k, 0]) for k, one in enumerate(used)]
    freedom = len(values) - len(used) - int(rank) - 1
    return _Left(groups, both[:, 0], both[:, 1], place, freedom).checked(size)


def _paired_left(known: Sequence[Verdicts], shared: Sequence[Hashable]) -> _Left:
    """Take from the number of every two images the mean over the prompts of that of the same two seeds, and from the
    number of each image the mean of its prompt."""
    rows = {seed: row for row, seed in enumerate(shared)}
    sums, counts = np.zeros((2, len(shared), len(shared)))
    for one in known:
        at, to = _places(one, rows)
        np.add.at(sums, (to[:, None], to[None]), one.values[np.ix_(at, at)])
        np.add.at(counts, (to[:, None], to[None]), 1.0)
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 1)
    groups, size = [], 0.0
    for one in known:
        if one.tells:
            at, to = _places(one, rows)
            values = one.values.astype(np.float64, copy=True)
            values[np.ix_(at, at)] -= means[np.ix_(to, to)]
            groups.append(replace(one, values=values))
            size = max(size, float(np.abs(one.numbers).max()))
    place = _place(groups)
    values = _centred(np.concatenate([one.numbers for one in groups]), place)
    failed = _centred(np.concatenate([one.failed for one in groups]).astype(np.float64), place)
    return _Left(groups, values, failed, place, len(values) - len(groups) - 1).checked(size)


def _place(groups: Sequence[Verdicts]) -> np.ndarray:
    """The prompt of each image, in order."""
    return np.repeat(np.arange(len(groups)), [len(one.failed) for one in groups])


def _centred(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    return values - (np.bincount(place, values) / np.bincount(place))[place]


def _places(one: Verdicts, rows: Mapping[Hashable, int]) -> tuple[np.ndarray, np.ndarray]:
    """The images of a prompt whose seeds are shared, and the numbers of these seeds."""
    found = [(k, rows[seed]) for k, seed in enumerate(one.seeds) if seed in rows]
    return (
        tuple(np.array(side, dtype=int) for side in zip(*found, strict=True))
        if found
        else (np.zeros(0, int),) * 2
    )


def _deviation(left: np.ndarray, values: np.ndarray, freedom: int) -> float | None:
    """The standard deviation of what is left; None where there is nothing but rounding."""
    size = float(np.abs(values).max(initial=0.0))
    if freedom < 1 or float(np.abs(left).max(initial=0.0)) <= ROUNDING * size:
        return None
    return math.sqrt(float((left**2).sum()) / freedom)


def _permuted(told: Sequence[Verdicts], draws: int, seed: int) -> float:
    """Share of deals of the verdicts within prompts that give as large a difference, that which was seen among them."""
    random = np.random.default_rng(seed)
    total, seen, size = np.zeros(draws), 0.0, 0.0
    for one in told:
        weight = one.failed.sum() * (~one.failed).sum() / len(one.failed)
        dealt = one.failed[random.random((draws, len(one.failed))).argsort(1)]
        total += weight * _differences(one.values, dealt)
        seen += weight * float(_differences(one.values, one.failed[None])[0])
        size = max(size, float(np.abs(one.values).max()))
    # Sums of the same numbers in another order are equal but for rounding.
    return float((1 + (np.abs(total) >= abs(seen) - ROUNDING * size).sum()) / (1 + draws))


def _differences(values: np.ndarray, failed: np.ndarray) -> np.ndarray:
    """Mean of the failing minus mean of the passing images of a prompt, by deal of verdicts: (draws,)."""
    found = _numbers(values, failed)
    return (found * failed).sum(1) / failed.sum(1) - (found * ~failed).sum(1) / (~failed).sum(1)


def _larger(told: Sequence[Verdicts], level: float) -> Rate:
    """How often the failing one of two images of a prompt has the larger number."""
    values, prompts = [], []
    size = max(float(np.abs(one.values).max()) for one in told)
    for place, one in enumerate(told):
        found = one.numbers
        apart = (found[one.failed][:, None] - found[~one.failed][None]).ravel()
        apart = np.where(np.abs(apart) <= ROUNDING * size, 0.0, np.sign(apart))
        values.append((apart + 1) / 2)
        prompts += [place] * len(apart)
    return rate(np.concatenate(values), prompts, level)
