"""What the share of correct images is, where the scorer's own errors are known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from diffatlas.bench.statistics.rates import Rate
from diffatlas.errors import InvalidParams


@dataclass(frozen=True)
class Corrected:
    """A rate freed of its scorer's errors, with an interval that knows how well those are known."""

    value: float
    low: float
    high: float
    level: float
    #: Share of correct images that the scorer passes, and of wrong ones that it fails.
    sensitivity: float
    specificity: float


def corrected_rate(
    observed: Rate, passed_of_correct: tuple[float, float], failed_of_wrong: tuple[float, float]
) -> Corrected:
    """Return the rate that a scorer without errors would have found.

    The estimate is Rogan and Gladen's (1978): (rate + specificity - 1) / (sensitivity + specificity - 1), cut to 0
    and 1; the interval Lang and Reiczigel's (2014, Prev. Vet. Med. 113), of as many images as are independent
    (`Rate.effective`).

    passed_of_correct, failed_of_wrong: (how many, of how many) images whose truth is known; where images of a prompt
    are alike, of as many as they are worth. Raises `InvalidParams`
    where either is of none, or the scorer is no better than a coin.
    """
    for name, (right, all_) in (("correct", passed_of_correct), ("wrong", failed_of_wrong)):
        if not 0 <= right <= all_ or all_ < 1:
            raise InvalidParams(
                f"The scorer's errors are not known: {right:g} of {all_:g} {name} images were judged rightly."
                " Judge at least one whose truth is known."
            )
    sensitivity, specificity = (right / all_ for right, all_ in (passed_of_correct, failed_of_wrong))
    if sensitivity + specificity <= 1:
        raise InvalidParams(
            f"The scorer passes {sensitivity:.0%} of correct and fails {specificity:.0%} of wrong images: no better"
            " than a coin, so that its rates cannot be corrected."
        )
    z = NormalDist().inv_cdf(0.5 + observed.level / 2)
    value = (observed.value + specificity - 1) / (sensitivity + specificity - 1)
    images = observed.effective + z**2
    share = (observed.effective * observed.value + z**2 / 2) / images
    (true, trues), (false, falses) = (
        ((right + 1) / (all_ + 2), all_ + 2) for right, all_ in (passed_of_correct, failed_of_wrong)
    )
    power = true + false - 1
    middle = (share + false - 1) / power
    of_true, of_false = true * (1 - true) / trues, false * (1 - false) / falses
    shift = 2 * z**2 * (middle * of_true - (1 - middle) * of_false)
    spread = share * (1 - share) / images + middle**2 * of_true + (1 - middle) ** 2 * of_false
    half = z * math.sqrt(spread) / power
    return Corrected(
        value=min(1.0, max(0.0, value)),
        low=min(1.0, max(0.0, middle + shift - half)),
        high=min(1.0, max(0.0, middle + shift + half)),
        level=observed.level,
        sensitivity=sensitivity,
        specificity=specificity,
    )
