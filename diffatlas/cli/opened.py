"""The backends elsewhere that a command has opened: each once, and closed when the command ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffatlas.backends.base import Backend

_opened: dict[str, Backend] = {}


def opened(name: str) -> Backend:
    """Return the backend of a name of `diffatlas.registry.ELSEWHERE`, opened where it is not yet.

    Raises `diffatlas.errors.CapabilityError` where it cannot be used here, and what it raises itself.
    """
    from diffatlas.backends import open_backend
    from diffatlas.backends.elsewhere import check_usable

    if name not in _opened:
        check_usable(name)
        _opened[name] = open_backend(name)
    return _opened[name]


def close_all() -> None:
    """Close those that have something to end, such as the workers of a cluster."""
    while _opened:
        _, backend = _opened.popitem()
        if hasattr(backend, "close"):
            backend.close()
