"""Look inside a diffusers pipeline while it runs, without touching what it computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diffatlas.capture.spec import Capture

if TYPE_CHECKING:
    from diffatlas.capture.observer import Trace, observe

__all__ = ["Capture", "Trace", "observe"]


def __getattr__(name: str) -> Any:
    if name in ("observe", "Trace"):
        from diffatlas.capture import observer as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
