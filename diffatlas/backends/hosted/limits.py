"""How many requests to a provider are under way at one time, of everybody in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from diffatlas.backends.hosted.base import Provider
from diffatlas.backends.hosted.http import Tell

_lock = threading.Lock()
_slots: dict[str, threading.Semaphore] = {}
#: Seconds from one look at whether a slot is free to the next.
_LOOK = 0.05


@asynccontextmanager
async def slot(provider: Provider, tell: Tell) -> AsyncGenerator[None, None]:
    """Hold one of the `Provider.concurrent` slots of a provider's address; waits for one, and says so."""
    with _lock:
        slots = _slots.setdefault(provider.url, threading.Semaphore(provider.concurrent))
    told = False
    while not slots.acquire(blocking=False):
        if not told:
            tell(
                f"Waits for its turn: {provider.concurrent} requests to {provider.label} are under way.", None
            )
            told = True
        await asyncio.sleep(_LOOK)
    try:
        yield
    finally:
        slots.release()
