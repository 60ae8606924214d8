"""What difference a bench of this size could show, before there is another to compare it with."""

from __future__ import annotations

import math

from diffatlas.bench.statistics.compared import POWER
from diffatlas.bench.statistics.rates import Rate, students_t


def detectable_difference(found: Rate) -> float:
    """Return the smallest difference from another rate, known as well, that is found with a probability of `POWER`.

    Of independent benches, ``(t + t_power) * sqrt(2 v)`` with ``v`` the variance of the rate at Wilson's centre, at the
    rate's own level. Two benches of the same prompts may show smaller ones (`diffatlas.bench.statistics.compare`).
    """
    freedom = 2 * (found.prompts - 1)
    quantile, power = (students_t(share, freedom) for share in (0.5 + found.level / 2, POWER))
    middle = (found.value * found.effective + 2) / (found.effective + 4)
    return min(1.0, (quantile + power) * math.sqrt(2 * middle * (1 - middle) / found.effective))
