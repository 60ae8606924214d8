"""How many threads torch computes with: their number decides the last bits of a sum.

OpenMP has a number for each thread: what UMAP, or a limit of threadpoolctl, has set on one holds for it alone. What is
computed on another thread for a caller is computed with the caller's number, so that it gives what a plain call gives.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

T = TypeVar("T")


def number_here() -> int | None:
    """Return how many threads torch would compute with on this thread; None where it is not imported."""
    # Another thread may be importing it now.
    number = getattr(sys.modules.get("torch"), "get_num_threads", None)
    return number() if number else None


@contextmanager
def computing_with(number: int | None) -> Iterator[None]:
    """Let torch compute with ``number`` threads on this thread; None leaves it as it is."""
    if number is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    if number == before:
        yield
        return
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def as_many_as(number: object, events: Generator[T, None, None]) -> Generator[T, None, None]:
    """Yield ``events``, computed with ``number`` threads where that is a number of cores that this machine has."""
    known = isinstance(number, int) and 1 <= number <= (os.cpu_count() or 1)
    with closing(events):
        while True:
            with computing_with(number if known else None):
                event = next(events, _END)
            if event is _END:
                return
            yield event


_END = object()
