"""The difference that a bench of some size can show, against benches drawn at random."""

from __future__ import annotations

import numpy as np
import pytest

from diffatlas.bench.statistics import rate
from diffatlas.bench.statistics.detectable import detectable_difference


@pytest.mark.parametrize(("prompts", "share"), [(100, 0.5), (400, 0.8)])
def test_it_is_found_four_times_of_five(prompts, share):
    """One image a prompt: the test is that of two proportions, at 5%."""
    values = np.arange(prompts) < share * prompts
    least = detectable_difference(rate(values, range(prompts)))
    draw = np.random.default_rng(0)
    first, second = (draw.binomial(prompts, one, 20_000) / prompts for one in (share, share - least))
    middle = (first + second) / 2
    z = np.abs(first - second) / np.sqrt(2 * middle * (1 - middle) / prompts)
    assert 0.74 < (z > 1.96).mean() < 0.86
