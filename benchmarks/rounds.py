"""What the benchmarks share: their short mode, and how their rounds are summed up."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Annotated

import typer

#: The option of every benchmark by which the tests see that it still measures.
Short = Annotated[bool, typer.Option("--short", help="Go through it once, as small as can be.")]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the quartiles of the rounds; of one round its value, three times."""
    if len(values) == 1:
        return (values[0],) * 3
    low, median, high = statistics.quantiles(values, n=4)
    return low, median, high
