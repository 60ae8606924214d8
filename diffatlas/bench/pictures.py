"""The pictures of a bench, from the runs of the library or from the bench itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from diffatlas.bench.kept import Benches
from diffatlas.errors import DamagedRun, DiffAtlasError
from diffatlas.library.study import Cell

if TYPE_CHECKING:
    from diffatlas.library import Library

GONE = "Its run is in the library no more."


def picture(bench_id: str, cell: Cell, library: Library, benches: Benches | None = None) -> np.ndarray:
    """Return the image of a complete cell, (H, W, 3) uint8. Raises `RunNotFound` or `DamagedRun`."""
    if not cell.run_id:
        return (benches or Benches(library.folder)).image(bench_id, cell.key)
    images = library.open(cell.run_id).images()
    if not images:
        raise DamagedRun(f"The run {cell.run_id} has no image.")
    return images[0]


def pictures(
    bench_id: str, cells: list[Cell], library: Library, benches: Benches | None = None
) -> dict[str, np.ndarray]:
    """Return the images of cells by key; those that cannot be read are left out."""
    found = {}
    for cell in cells:
        try:
            found[cell.key] = picture(bench_id, cell, library, benches)
        except DiffAtlasError:
            continue
    return found
