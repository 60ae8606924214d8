"""Studies that are drawn together: what the one in view is called, and the others with their measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffatlas.figures.figure import text
from diffatlas.library.study import Lane, Study


@dataclass(frozen=True)
class Own:
    """What the study in view is called beside others, and its colour, "#rrggbb"."""

    name: str
    colour: str

    def called(self, study: Study, lane: Lane) -> str:
        """Return what a lane of it is called, as Plotly shows it."""
        return text(f"{self.name}{f', {lane.name}' if len(study.lanes) > 1 else ''} (in view)")


@dataclass(frozen=True)
class Beside:
    """Another study, its measures as plain JSON types, what it is called, and its colour, "#rrggbb"."""

    study: Study
    measures: Mapping[str, Any]
    name: str
    colour: str
