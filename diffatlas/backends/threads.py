"""How many threads torch computes with: their number decides the last bits of a sum.

OpenMP has a number for each thread: what UMAP, or a limit of threadpoolctl, has set on one holds for it alone. What is
computed on another thread for a caller is computed with the caller's number, so that it gives what a plain call gives.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


def number_here() -> int | None:
    """Return how many threads torch would compute with on this thread; None where it is not imported."""
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch else None


@contextmanager
def computing_with(number: int | None) -> Iterator[None]:
    """Let torch compute with ``number`` threads on this thread; None leaves it as it is."""
    import torch

    before = torch.get_num_threads()
    if number in (None, before):
        yield
        return
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
