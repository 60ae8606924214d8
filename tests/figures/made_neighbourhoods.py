"""Neighbourhoods and their measures, without a model: pictures in two groups, by lanes that differ a little."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from diffatlas.geometry.noise import perturb
from diffatlas.library import Library
from diffatlas.library.study import Study
from diffatlas.studies.measure_neighbourhood import measure_neighbourhood
from tests.studies.made_studies import Making

SHAPE = (4, 6, 6)
HOSTILE = '<a href="x">\u05d0\u202e </script>'


@cache
def two_lanes() -> tuple[Study, dict[str, Any]]:
    """Return ten cells in the lanes a and b, made once: copy the measures to change them."""
    with TemporaryDirectory() as folder:
        return neighbourhood(Path(folder))


def neighbourhood(
    folder: Path, k: int = 9, lanes: Sequence[str] = ("a", "b"), named: bool = True, **spec: Any
) -> tuple[Study, dict[str, Any]]:
    """Return an anchor and k neighbours at growing radii in each lane, and what was measured, as plain JSON types.

    Cells 0, 1, 4, 5, 8 ... are dark and the others bright: two groups, and jumps between near cells. The second lane
    has more noise in its pictures, and its last cell is in the other group.
    """
    making = Making(Library(folder), "neighbourhood", lanes, **{"mode": "perturb", "step": 0} | spec)
    rng = np.random.default_rng(7)
    anchor = rng.normal(size=SHAPE)
    starts = [anchor, *(perturb(anchor, rng.normal(size=SHAPE), 0.5 * i / k) for i in range(1, k + 1))]
    for place, lane in enumerate(lanes):
        for i, start in enumerate(starts):
            rng = np.random.default_rng([place, i])
            dark = (i % 4 < 2) != (place == 1 and i == k)
            base = np.array([40 + 3 * i, 50, 60] if dark else [190, 200 - 4 * i, 180 + 30 * (i % 3)])
            noise = rng.integers(0, 12 + 14 * place, (16, 16, 3))
            final = perturb(start, rng.normal(size=SHAPE), 0.3) + (0.0 if dark else 1.0)
            path = np.stack([start, final]).astype(np.float32)
            making.add(lane, 0, i, 0.5 * i / k, path, (noise + base).astype(np.uint8))
    study = making.study()
    names = (lambda picture: "a dark field" if picture.mean() < 128 else HOSTILE) if named else None
    return study, measure_neighbourhood(study, making.library, names=names).to_dict()
