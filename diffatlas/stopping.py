"""Ending work that nobody waits for any more: whoever starts it says when, and what takes long looks now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Stopped(BaseException):
    """Somebody ended this, or nobody waits for it any more.

    No `Exception`, so that nothing on its way takes it for a fault to be mended.
    """


_ended: ContextVar[Callable[[], bool] | None] = ContextVar("ended", default=None)


@contextmanager
def ended_by(ended: Callable[[], bool]) -> Iterator[None]:
    """Let what is called inside end, at its next `look`, once ``ended()``."""
    token = _ended.set(ended)
    try:
        yield
    finally:
        _ended.reset(token)


def look() -> None:
    """Raise `Stopped` where the work that this is part of is to end; for loops whose every turn takes a while."""
    ended = _ended.get()
    if ended is not None and ended():
        raise Stopped("This was stopped.")
