"""How many threads torch computes with: their number decides the last bits of a sum.

OpenMP has a number for each thread: what UMAP, or a limit of threadpoolctl, has set on one holds for it alone. What is
computed on another thread for a caller is computed with the caller's number, so that it gives what a plain call gives.

The shell and the app, where nobody makes plain calls beside ours and idle threads sleep, compute small models with one.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

T = TypeVar("T")
#: Parameters of a denoiser below which waking a second thread, which sleeps between two kernels, takes longer than it
#: saves. Those of the embedded models have 4 and 5 million, that of Stable Diffusion 1.5 has 860.
SMALL = 50_000_000

_small_with_one = False
_asked = threading.local()


def number_here() -> int | None:
    """Return how many threads torch would compute with on this thread; None where it is not imported."""
    # Another thread may be importing it now.
    number = getattr(sys.modules.get("torch"), "get_num_threads", None)
    return number() if number else None


@contextmanager
def computing_with(number: int | None) -> Iterator[None]:
    """Let torch compute with ``number`` threads on this thread, and on no other; None leaves it as it is.

    Of a torch that is built without OpenMP the number is that of others too, which begin to compute meanwhile.
    """
    if number is None:
        yield
        return
    import torch

    # Asking is what makes torch set the number of a thread that has not computed yet.
    if torch.get_num_threads() == number:
        yield
        return
    with _openmp().limit(limits=number):
        if (before := torch.get_num_threads()) == number:
            yield
            return
        # A torch without OpenMP. What is set so is not for one thread: others that begin to compute take it over.
        torch.set_num_threads(number)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@lru_cache(maxsize=1)
def _openmp() -> ThreadpoolController:
    """Return what sets the number of threads of OpenMP, once torch has loaded its own."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="openmp")


def compute_small_models_with_one() -> None:
    """From now on let small models compute with one thread in this process, where idle threads sleep.

    Not where the user says how many there are (OMP_NUM_THREADS).
    """
    global _small_with_one
    sleeping = os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
    _small_with_one = sleeping and "OMP_NUM_THREADS" not in os.environ


@contextmanager
def fitting(denoisers: Iterable[Any]) -> Iterator[None]:
    """Compute on this thread with as many threads as suit a model; denoisers: its torch modules."""
    alone = False
    if _small_with_one and asked_here() is None:
        alone = sum(p.numel() for module in denoisers for p in module.parameters()) < SMALL
    with computing_with(1 if alone else None):
        yield


def asked_here() -> int | None:
    """Return the number that was asked for on this thread (`asking_for`), whatever the size of a model."""
    return getattr(_asked, "number", None)


@contextmanager
def asking_for(number: int | None) -> Iterator[None]:
    """Compute with ``number`` threads on this thread, small models too; None asks for none."""
    before, _asked.number = asked_here(), number
    try:
        with computing_with(number):
            yield
    finally:
        _asked.number = before


def as_many_as(number: object, events: Generator[T, None, None]) -> Generator[T, None, None]:
    """Yield ``events``, computed with ``number`` threads where that is a number of cores that this machine has."""
    known = isinstance(number, int) and 1 <= number <= (os.cpu_count() or 1)
    with closing(events):
        while True:
            with asking_for(number if known else None):
                event = next(events, _END)
            if event is _END:
                return
            yield event


_END = object()
