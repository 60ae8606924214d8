"""How many requests to a provider are under way at one time, of everybody in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager

from diffatlas.backends.hosted.base import Provider
from diffatlas.backends.hosted.http import Tell

_lock = threading.Lock()
_slots: dict[str, threading.Semaphore] = {}
#: Requests that have a slot, and that wait for one, of all providers.
_counted = {"running": 0, "waiting": 0}
#: Seconds from one look at whether a slot is free to the next.
_LOOK = 0.05


def counts() -> tuple[int, int]:
    """Return how many requests of everybody in this process are under way, and how many wait for that."""
    with _lock:
        return _counted["running"], _counted["waiting"]


@contextmanager
def _counted_as(what: str) -> Iterator[None]:
    with _lock:
        _counted[what] += 1
    try:
        yield
    finally:
        with _lock:
            _counted[what] -= 1


@asynccontextmanager
async def slot(provider: Provider, tell: Tell) -> AsyncGenerator[None, None]:
    """Hold one of the `Provider.concurrent` slots of a provider's address; waits for one, and says so."""
    with _lock:
        slots = _slots.setdefault(provider.url, threading.Semaphore(provider.concurrent))
    told = False
    with _counted_as("waiting"):
        while not slots.acquire(blocking=False):
            if not told:
                tell(
                    f"Waits for its turn: {provider.concurrent} requests to {provider.label} are under way.",
                    None,
                )
                told = True
            await asyncio.sleep(_LOOK)
    try:
        with _counted_as("running"):
            yield
    finally:
        slots.release()
