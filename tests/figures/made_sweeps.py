"""A sweep whose runs are made without a model, and what is measured of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from diffatlas.library import Library
from diffatlas.library.study import Study
from diffatlas.studies.measure_sweep import SweepMeasures, measure_sweep
from tests.studies.made_studies import Making, picture

SCALES = (1.0, 3.0, 7.5, 15.0)
BASELINE = 2
STEPS = 6


@cache
def shared_sweep() -> tuple[Study, SweepMeasures]:
    """Return the sweep of `made_sweep` as it is by itself, made once for all tests."""
    with TemporaryDirectory() as folder:
        return made_sweep(Path(folder))


def made_sweep(
    folder: Path,
    values: Sequence[Any] = SCALES,
    field: str = "guidance_scale",
    lanes: Sequence[str] = ("ddim", "euler"),
    rows: int = 3,
    baseline: int = BASELINE,
    failed: Sequence[tuple[int, int, int]] = (),
) -> tuple[Study, SweepMeasures]:
    """Return a sweep and its measures; from the value after the baseline on it clips, and seeds become alike.

    lanes: their names. failed: (lane, row, column) of cells that failed. Guidance is off at the first value.
    """
    rng = np.random.default_rng(3)
    keys = "abcd"[: len(lanes)]
    library = Library(folder / "library")
    making = Making(library, "sweep", keys, field=field, values=list(values), baseline=baseline)
    alike = np.where(picture(rng) > 120, 255, 0).astype(np.uint8)
    for place, lane in enumerate(keys):
        for row in range(rows):
            start, plain = rng.normal(size=(4, 4, 4)), picture(rng)
            for column, value in enumerate(values):
                way = rng.normal(size=(4, 4, 4)) * (column - baseline) * 0.3
                path = np.stack([start + way * k**2 / STEPS for k in range(STEPS + 1)]).astype(np.float32)
                image = alike if column > baseline else np.clip(plain + 4 * column, 0, 254)
                off = column == 0
                metrics = [{"guidance_norm": column + k, "guidance_angle": 9.0 * k} for k in range(STEPS)]
                status = "failed" if (place, row, column) in failed else "complete"
                making.add(
                    lane,
                    row,
                    column,
                    value,
                    path,
                    image.astype(np.uint8),
                    None if off else metrics,
                    status,
                )
    study = making.study()
    cells = tuple(replace(cell, params=cell.params.replace(seed=7 + cell.row)) for cell in study.cells)
    named = tuple(replace(lane, name=name) for lane, name in zip(study.lanes, lanes, strict=True))
    study = replace(study, title="Guidance scale 1–15: a red circle", lanes=named, cells=cells)
    return study, measure_sweep(study, library)
