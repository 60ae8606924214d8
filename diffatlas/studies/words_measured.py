"""What a cell's caption says once it is measured: what was asked, and what was found in place of what is usual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diffatlas.geometry import path
from diffatlas.library.study import FIELDS, Cell, Study
from diffatlas.params import GenerationParams
from diffatlas.studies.plan_hosted import lane_words
from diffatlas.studies.plan_neighbourhood import asked_of_noise
from diffatlas.studies.plan_sweep import asked_of

if TYPE_CHECKING:
    from diffatlas.studies.measure_cells import CellData
    from diffatlas.studies.measure_neighbourhood import LaneNeighbourhood
    from diffatlas.studies.measure_sweep import CellMeasures


@dataclass(frozen=True)
class MeasuredCaption:
    """``asked``: what the cell is. ``found``: what was measured of it, with the numbers. One sentence each."""

    asked: str
    found: str


def sweep_captions(
    study: Study, measured: Mapping[str, CellMeasures], baseline: int
) -> dict[str, MeasuredCaption]:
    """Return the captions of a sweep's cells of which anything was measured, by cell key."""
    field = str(study.spec.get("field", ""))
    lanes = {lane.key: lane for lane in study.lanes}
    base_of_all = GenerationParams.from_dict(dict(study.spec["base"])) if "base" in study.spec else None
    bases = {
        (cell.lane, cell.row): measured[cell.key]
        for cell in study.cells
        if cell.column == baseline and cell.key in measured
    }
    captions = {}
    for cell in study.cells:
        own, base = measured.get(cell.key), bases.get((cell.lane, cell.row))
        found = None if own is None else _of_a_value(own, base)
        if found:
            asked = cell.caption
            if field in FIELDS:
                # Read from the parameters, since a caption that was stored also says what is usual.
                lane = lanes[cell.lane]
                asked = asked_of(field, getattr(cell.params, field), cell.params, lane.backend)
                if base_of_all is not None and (own_values := lane_words(base_of_all, lane)):
                    asked = f"{asked} {own_values}"
            captions[cell.key] = MeasuredCaption(asked, found)
    return captions


def neighbourhood_captions(
    study: Study, cells: Sequence[CellData], lanes: Mapping[str, LaneNeighbourhood]
) -> dict[str, MeasuredCaption]:
    """Return the captions of the neighbours that were measured against their anchor, by cell key."""
    known = {cell.key: cell for cell in cells}
    geometric = study.spec.get("mode") != "offset"
    captions = {}
    for cell in study.cells:
        lane, own = lanes.get(cell.lane), known.get(cell.key)
        anchor = next((each for each in cells if each.lane == cell.lane and each.column == 0), None)
        if lane is None or own is None or anchor is None or own is anchor:
            continue
        found = _of_a_neighbour(cell, own, anchor, lane, geometric)
        if found:
            captions[cell.key] = MeasuredCaption(asked_of_noise(cell.params.noise) or cell.caption, found)
    return captions


def _of_a_value(own: CellMeasures, base: CellMeasures | None) -> str | None:
    """Return what was found of a cell, the baseline's own numbers in brackets; None where nothing was."""
    other = None if base is own else base
    said = []
    for key, what in (("image", "image"), ("latent", "latents")):
        if other is not None and not said and own.drift.get(key) is not None:
            said.append(f"{what} {_number(own.drift[key])} from the baseline's")
    named = "baseline "
    for name, word, write in (
        ("clipped", "clipped", _percent),
        ("saturation", "saturation", _number),
        ("luma_std", "contrast", _number),
    ):
        value, there = getattr(own, name), None if other is None else getattr(other, name)
        if value is not None:
            said.append(f"{word} {write(value)}" + ("" if there is None else f" ({named}{write(there)})"))
            named = named if there is None else ""
    return f"Measured: {', '.join(said)}." if said else None


def _of_a_neighbour(
    cell: Cell, own: CellData, anchor: CellData, lane: LaneNeighbourhood, geometric: bool
) -> str | None:
    said = []
    noise = cell.params.noise
    at_start = noise is not None and noise.step == 0
    starts = own.initial, anchor.initial
    if at_start and all(start is not None for start in starts) and starts[0].shape == starts[1].shape:
        cosine = float(path.cosine(starts[0][None], starts[1][None])[0])
        said.append(f"cosine {cosine:.3f} to the anchor's noise")
    place, origin = (list(lane.cells).index(key) for key in (cell.key, anchor.key))
    apart = []
    for key, word in (("start", "start"), ("latent", "final latents"), ("image", "image")):
        matrix = lane.matrices.get(key)
        if matrix is not None and (geometric or key != "start"):
            apart.append(f"{word} {_number(np.asarray(matrix)[place, origin])}")
    if apart:
        said.append(f"{', '.join(apart)} from the anchor's")
    return f"Measured: {'; '.join(said)}." if said else None


def _number(value: float) -> str:
    return f"{value:.3g}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
