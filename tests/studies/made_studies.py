"""Studies whose runs are made without a model: the tests choose every state and every picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diffatlas.events import Step
from diffatlas.library import Library
from diffatlas.library.study import Cell, Lane, Study, cell_key
from tests.library.made_runs import made


def run_of(
    number: int,
    path: np.ndarray,
    image: np.ndarray,
    metrics: Sequence[Mapping[str, float]] | None = None,
    **changes: Any,
) -> Any:
    """Return a complete run with the states (T + 1, C, H, W) and the picture (H, W, 3)."""
    steps = tuple(
        Step(i, 900.0 - i, 1.0, state[None], metrics=dict(metrics[i]) if metrics else {})
        for i, state in enumerate(path[1:])
    )
    return made(
        number, initial_latents=path[:1], steps=steps, images=(image,), total_steps=len(steps), **changes
    )


class Making:
    """Puts runs into a library and cells into a study."""

    def __init__(self, library: Library, operation: str, lanes: Sequence[str] = ("a",), **spec: Any) -> None:
        self.library = library
        self.operation, self.spec = operation, spec
        self.lanes = tuple(Lane(key, f"lane {key}") for key in lanes)
        self.cells: list[Cell] = []

    def add(
        self,
        lane: str,
        row: int,
        column: int,
        value: Any,
        path: np.ndarray | None,
        image: np.ndarray,
        metrics: Sequence[Mapping[str, float]] | None = None,
        status: str = "complete",
        **changes: Any,
    ) -> None:
        """Add a cell; without a path it is one whose picture alone is kept, by the study."""
        number = len(self.cells)
        run = run_of(number, np.zeros((2, 1, 1, 1)) if path is None else path, image, metrics, **changes)
        key = cell_key(lane, row, column)
        run_id = None
        if path is None:
            self.library.studies.save(self.study())
            self.library.studies.save_image(self.study().id, key, image)
        elif status == "complete":
            run_id = self.library.save(run)
        cell = Cell(key, lane, row, column, value, f"v {value}", "", run.params, status, run_id)
        self.cells.append(Cell(**{**cell.__dict__, "image": path is None}))

    def study(self) -> Study:
        """Return what there is so far."""
        created = "2026-01-31T12:00:00.000+00:00"
        return Study(
            "20260131-120000-0000abcd",
            self.operation,
            "a study",
            created,
            self.spec,
            self.lanes,
            tuple(self.cells),
            "complete",
        )


def picture(rng: np.random.Generator, side: int = 16) -> np.ndarray:
    """Return noise that does not clip, (side, side, 3) uint8."""
    return rng.integers(20, 230, (side, side, 3), dtype=np.uint8)
