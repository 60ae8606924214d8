"""A thread of its own for what starts an event loop: where a browser is open, the thread of the tests has one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def in_own_thread(function: Callable[..., T], *args: Any) -> T:
    """Return what ``function(*args)`` returns in a thread of its own, or raise what it raises."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(function, *args).result()
