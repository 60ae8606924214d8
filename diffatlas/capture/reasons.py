"""Why something of a call could not be recorded: the call goes on, and the reason is kept."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from diffatlas.errors import DiffAtlasError

log = logging.getLogger("diffatlas")
_T = TypeVar("_T")


class Reasons:
    """Writes the reasons into ``missing``, a sentence by the name of what is missing; the first one stays."""

    def __init__(self, missing: dict[str, str]) -> None:
        self.missing = missing

    def attempt(self, name: str, make: Callable[[], _T]) -> _T | None:
        """Return what ``make`` gives, or None where it fails, with the reason."""
        try:
            return make()
        except Exception as error:
            self.miss(name, error)
            return None

    def miss(self, name: str, error: Exception) -> None:
        """Keep an error as a reason."""
        if name not in self.missing:
            log.warning("Not recorded (%s): %s", name, error, exc_info=not isinstance(error, DiffAtlasError))
        self.missing.setdefault(name, _sentence(error))


def _sentence(error: Exception) -> str:
    if isinstance(error, DiffAtlasError):
        return error.message
    lines = str(error).strip().splitlines()
    return f"It could not be derived here ({type(error).__name__}: {(lines[0] if lines else 'no message')[:200]})."
