"""What a view hands to its page beside the calls: which form is to be filled, and which cells run again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from diffatlas.errors import InvalidParams
from diffatlas.ui.wire.call import read
from diffatlas.ui.wire.kinds import Asked


@dataclass(frozen=True, kw_only=True)
class Submitted(Asked):
    """One of these is said, the others are not.

    fill: a run whose settings the form takes. carry: of the form of another page, what the server has to look at
    (`diffatlas.ui.carrying`). retry: cells that run again, of the study ``id``. open: a study whose settings the form
    takes. ids: runs that have become layers. explore: runs around which, or between which, is explored.
    """

    fill: str | None = None
    carry: dict[str, Any] | None = None
    retry: list[str] | None = None
    id: str | None = None
    open: str | None = None
    ids: list[str] = field(default_factory=list)
    explore: list[str] = field(default_factory=list)


def submitted(data: Any) -> Submitted:
    """Return what a view has submitted to its page; nothing where no view submits such a thing."""
    try:
        return read(Submitted, data)
    except InvalidParams:
        return Submitted()
