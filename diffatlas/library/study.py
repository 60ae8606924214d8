"""A study: several runs that were asked for together, in lanes, to be compared.

A sweep is a study, and so is a neighbourhood. What belongs to each run is in the run's own folder; a study says which
cell is which run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from diffatlas.params import GenerationParams
from diffatlas.showing import show_html

OPERATIONS = ("sweep", "neighbourhood")
#: What a sweep may change from column to column: a field of `GenerationParams`.
FIELDS = ("guidance_scale", "guidance_method", "num_inference_steps", "scheduler", "seed")
#: How a neighbourhood finds its columns.
MODES = ("perturb", "slerp", "offset")
#: Of a cell. A lane and a study have the same, but for "waiting".
STATUSES = ("waiting", "running", "complete", "stopped", "failed")


def cell_key(lane: str, row: int, column: int) -> str:
    """Return the key of a cell."""
    return f"{lane}-{row}-{column}"


@dataclass(frozen=True)
class Lane:
    """One way of running the cells. Lanes differ in the backend, or in what they change of the parameters."""

    #: "a", "b", ... in order.
    key: str
    #: What tells it from the others, such as "euler" or "SDXL 1.0".
    name: str
    backend: str = "local"
    #: Fields of `GenerationParams` that this lane sets: model, scheduler, guidance_method, guidance_options...
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One run of a study, and what became of it."""

    #: "<lane>-<row>-<column>", such as "a-0-3".
    key: str
    lane: str
    row: int
    column: int
    #: What differs from column to column, as it is asked of the model: a guidance scale, a radius, a seed...
    value: Any
    #: The value in a few characters, such as "g 7.5".
    label: str
    #: What the value means, in one plain sentence.
    caption: str
    params: GenerationParams
    status: str = "waiting"
    #: The run in the library; None where none was recorded.
    run_id: str | None = None
    #: Whether the run was in the library before.
    cached: bool = False
    #: Whether it shared a batch with others.
    batched: bool = False
    seconds: float | None = None
    #: Whether the study keeps the image itself, because the backend shows no steps and so leaves no run.
    image: bool = False
    #: {code, message, field} of what went wrong.
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Study:
    """Several cells in lanes. ``spec`` is what was asked, in plain JSON types; the operation says what is in it."""

    id: str
    operation: str
    title: str
    created: str
    spec: Mapping[str, Any]
    lanes: tuple[Lane, ...]
    cells: tuple[Cell, ...]
    status: str = "waiting"

    def _repr_html_(self) -> str:
        return show_html(self, "study_html")

    def cell(self, key: str) -> Cell:
        """Return a cell. Raises KeyError."""
        for cell in self.cells:
            if cell.key == key:
                return cell
        raise KeyError(key)

    def in_lane(self, lane: str) -> tuple[Cell, ...]:
        """Return the cells of a lane, by row and column."""
        return tuple(cell for cell in self.cells if cell.lane == lane)

    def with_cell(self, key: str, **changes: Any) -> Study:
        """Return the study with one cell changed."""
        cells = tuple(replace(cell, **changes) if cell.key == key else cell for cell in self.cells)
        return replace(self, cells=cells)
