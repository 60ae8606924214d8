"""What a sweep shows, in numbers: how far each value leads from the baseline, and from which step on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.errors import NonFiniteLatents
from diffatlas.geometry import compare, drift, image_stats, perceptual
from diffatlas.geometry import path as measures
from diffatlas.geometry.agreement import FEWEST, rank_correlation
from diffatlas.stopping import look
from diffatlas.studies.measure_cells import (
    LIKENESS,
    NOT_BY_LATENTS,
    CellData,
    Distance,
    check_operation,
    cosine_distance,
    features_of,
    finding_of,
    lane_names,
    likeness,
    load_cells,
    mean,
    plain,
    relative_distance,
)
from diffatlas.studies.words_measured import MeasuredCaption, sweep_captions

if TYPE_CHECKING:
    from diffatlas.library import Library
    from diffatlas.library.study import Study
    from diffatlas.operations.features import Encoder

#: Fields whose values have an order, so that "from here on" and "between neighbours" mean something.
ORDERED = ("guidance_scale", "num_inference_steps")
#: Over fewer values a perfect correlation is not rare by chance (1 in 60 for 5, both signs counted).
FEW_VALUES = 6
NO_ORDER = "The values have no order, so nothing begins at one of them."

HASH = Distance(
    "hash", "Perceptual hash", "Share of the bits of a perceptual hash in which two pictures differ."
)
LATENT = Distance(
    "latent", "Latents", "Euclidean distance of the final latents, divided by the norm of the baseline's."
)
IMAGE = Distance("image", "Image", "Root mean square difference of red, green and blue, each from 0 to 1.")
FEATURE = Distance(
    "feature", "Features", "Cosine distance of what an encoder makes of the pictures: {name}. {about}"
)

DEFINITIONS = {
    "drift": f"{drift.DRIFT_DEFINITION} A lane's curve is the mean over its seeds.",
    "largest_change": drift.LARGEST_CHANGE_DEFINITION,
    "diversity": drift.DIVERSITY_DEFINITION,
    "collapse": drift.COLLAPSE_DEFINITION,
    "clipping": drift.CLIPPING_DEFINITION,
    "parting": "The first step from which a cell's path stays apart from that of the baseline, by more than 5% of the "
    "mean of their norms. Step 0 is the noise that both began with.",
    "guidance_norm": "The length of the guidance vector, conditional minus unconditional prediction, at each step.",
    "guidance_angle": "The angle in degrees between the guidance vector and the conditional prediction.",
    "straightness": "The straight distance from the first state to the last, divided by the length of the path.",
    "saturation": "The mean saturation of the picture, from 0 to 1 (HSV).",
    "luma_std": "The standard deviation of the picture's brightness, from 0 to 0.5: a measure of contrast.",
    "latent_max": "The largest absolute value in the final latents.",
    "clipped": "The share of the picture's channel values that are at 0 or 255.",
    "agreement": "Spearman's rank correlation of two lanes' drift curves over the values that both have, without the "
    f"baseline, which is 0 in every lane: 1 where both order the values alike. {LIKENESS}",
}


@dataclass(frozen=True)
class CellMeasures:
    """The numbers of one cell; None where one cannot be told.

    ``drift``: distance from the baseline by each of `SweepMeasures.distances`. ``parting``: see
    `diffatlas.geometry.compare.parting_step`; ``parting_note`` says why there is none, or how it was found.
    ``guidance_norm`` and ``guidance_angle`` (degrees): by step. ``path_length``, ``straightness``: of
    `diffatlas.geometry.path`. ``saturation``, ``luma_std`` (contrast) and ``clipped`` (share of channel values at 0 or
    255): of the picture.
    ``latent_max``: largest absolute value of the final latents.
    """

    drift: Mapping[str, float | None]
    parting: int | None
    parting_note: str | None
    guidance_norm: Sequence[float | None] | None
    guidance_angle: Sequence[float | None] | None
    guidance_norm_mean: float | None
    guidance_angle_mean: float | None
    path_length: float | None
    straightness: float | None
    saturation: float | None
    luma_std: float | None
    clipped: float | None
    latent_max: float | None


@dataclass(frozen=True)
class LaneMeasures:
    """The numbers of one lane, by column; None where a column has no complete cell.

    ``curves``: mean drift over the seeds, by distance. ``largest_change``: {from, to, size} of each curve, between
    neighbouring values. ``clipping`` and ``collapse``: {column, sentence}. ``diversity``: see `DEFINITIONS`.
    ``finding``: why nothing of latents is told of it, where nothing is (`diffatlas.studies.measure_cells.finding_of`).
    """

    curves: Mapping[str, Sequence[float | None]]
    largest_change: Mapping[str, Mapping[str, Any] | None]
    clipping: Mapping[str, Any]
    diversity: Sequence[float | None] | None
    collapse: Mapping[str, Any]
    finding: str | None = None


@dataclass(frozen=True)
class LaneAgreement:
    """How alike two lanes order the values: {rho, n} by each distance, and a sentence."""

    a: str
    b: str
    by: Mapping[str, Mapping[str, Any]]
    sentence: str


@dataclass(frozen=True)
class SweepMeasures:
    """What `measure_sweep` found. ``baseline`` is a column; ``values`` are those of the columns.

    ``captions``: of the cells, by key, now that they are measured.
    """

    baseline: int
    field: str
    values: Sequence[Any]
    distances: Sequence[Distance]
    feature: str | None
    cells: Mapping[str, CellMeasures]
    captions: Mapping[str, MeasuredCaption]
    lanes: Mapping[str, LaneMeasures]
    agreement: Sequence[LaneAgreement]
    definitions: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the measures in plain JSON types; None for what is not finite."""
        return plain(self)


def measure_sweep(study: Study, library: Library, encoder: Encoder | None = None) -> SweepMeasures:
    """Measure the complete cells of a sweep, from their runs in the library.

    encoder: for the distance in features (`diffatlas.operations.features.encoder_for`); None leaves it out.

    Drifts are taken within a lane and a seed, so lanes may run different models. Where no cell of the baseline's
    column is complete, the column next to it that has one is the baseline. Raises `InvalidParams` for a study that
    is no sweep.
    """
    check_operation(study, "sweep")
    cells = load_cells(study, library)
    values = {cell.column: cell.value for cell in study.cells}
    columns = sorted(values)
    baseline = _baseline(study, cells)
    vectors = features_of(encoder, cells)
    distances = [HASH, LATENT, IMAGE]
    if vectors:
        about = FEATURE.about.format(name=encoder.name, about=encoder.about)
        distances.append(Distance(FEATURE.key, FEATURE.label, about))
    found: dict[str, CellMeasures] = {}
    for group in _groups(cells):
        found |= _measure_group(group, baseline, vectors)

    field = str(study.spec.get("field", ""))
    ordered = field in ORDERED
    lanes = {}
    for lane in study.lanes:
        own = [cell for cell in cells if cell.lane == lane.key]
        by_column = {column: values[column] for column in columns}
        measured = _measure_lane(own, found, [d.key for d in distances], by_column, baseline, ordered)
        lanes[lane.key] = replace(measured, finding=finding_of(lane, own))
    names = lane_names(study)
    agreement = [
        _agree((a, b), names, lanes, [d.key for d in distances], columns, baseline)
        for a, b in combinations(lanes, 2)
    ]
    return SweepMeasures(
        baseline,
        field,
        [values[column] for column in columns],
        distances,
        encoder.name if vectors else None,
        found,
        sweep_captions(study, found, baseline),
        lanes,
        agreement,
        DEFINITIONS,
    )


def _baseline(study: Study, cells: Sequence[CellData]) -> int:
    asked = study.spec.get("baseline", 0)
    columns = sorted({cell.column for cell in cells})
    if not columns or asked in columns:
        return asked
    return min(columns, key=lambda column: abs(column - asked))


def _groups(cells: Sequence[CellData]) -> list[list[CellData]]:
    """Cells of one lane and one seed together."""
    groups: dict[tuple[str, int], list[CellData]] = {}
    for cell in cells:
        groups.setdefault((cell.lane, cell.row), []).append(cell)
    return list(groups.values())


def _measure_group(
    group: Sequence[CellData], baseline: int, vectors: Mapping[str, np.ndarray]
) -> dict[str, CellMeasures]:
    base = next((cell for cell in group if cell.column == baseline), None)
    base_path = base.path() if base is not None else None
    hashes = {cell.key: perceptual.phash(cell.pixels) for cell in group if cell.pixels is not None}
    found = {}
    for cell in group:
        look()
        path = base_path if cell is base else cell.path()
        starts = None if path is None else cell.starts()
        parting, note = _parting(cell, path, base, base_path)
        norms, angles = cell.series("guidance_norm"), cell.series("guidance_angle")
        found[cell.key] = CellMeasures(
            _drift(cell, base, hashes, vectors),
            parting,
            note,
            norms,
            angles,
            mean(norms or ()),
            mean(angles or ()),
            None if path is None else float(measures.path_length(path[:, None], starts)[0]),
            None if path is None else float(measures.straightness(path[:, None], starts)[0]),
            None if cell.pixels is None else image_stats.saturation(cell.pixels),
            None if cell.pixels is None else image_stats.luma_std(image_stats.luma(cell.pixels)),
            None if cell.pixels is None else perceptual.clipped(cell.pixels).share,
            None if cell.final is None else float(np.abs(cell.final).max()),
        )
    return found


def _drift(
    cell: CellData,
    base: CellData | None,
    hashes: Mapping[str, np.ndarray],
    vectors: Mapping[str, np.ndarray],
) -> dict[str, float | None]:
    keys = [d.key for d in (HASH, LATENT, IMAGE)] + ([FEATURE.key] if vectors else [])
    if base is None:
        return dict.fromkeys(keys)
    found: dict[str, float | None] = {
        HASH.key: None,
        LATENT.key: relative_distance(cell.final, base.final),
        IMAGE.key: None,
    }
    if cell.pixels is not None and base.pixels is not None:
        found[HASH.key] = perceptual.hash_distance(hashes[cell.key], hashes[base.key])
        if cell.pixels.shape == base.pixels.shape:
            found[IMAGE.key] = perceptual.image_distance(cell.pixels, base.pixels)
    if vectors:
        found[FEATURE.key] = cosine_distance(vectors.get(cell.key), vectors.get(base.key))
    return found


def _parting(
    cell: CellData, path: np.ndarray | None, base: CellData | None, base_path: np.ndarray | None
) -> tuple[int | None, str | None]:
    """Return the parting step from the baseline, and why there is none or how it was found."""
    if base is None:
        return None, "The baseline of this seed is not complete."
    if cell is base:
        return None, "This is the baseline."
    if path is None or base_path is None:
        return None, cell.unseen or "Its path or that of the baseline was not kept."
    if path.shape[1:] != base_path.shape[1:]:
        return None, "Its latents and those of the baseline differ in shape."
    if _scaled(path[0], base_path[0]):
        return (
            None,
            "The two schedulers scale their states differently, so the paths are not comparable by step.",
        )
    try:
        found = compare.compare(path, base_path)
    except NonFiniteLatents:
        return None, "A path holds NaN or infinity."
    if found.parting is None:
        return None, "The two never part."
    return found.parting, "Aligned by time warping: the step counts differ." if found.align == "dtw" else None


def _scaled(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two states are the same noise in the units of two schedulers."""
    pair = a[None], b[None]
    sizes = measures.norm(pair[0])[0], measures.norm(pair[1])[0]
    return bool(measures.cosine(*pair)[0] > 0.9999 and abs(sizes[0] - sizes[1]) > 1e-3 * max(sizes))


def _measure_lane(
    cells: Sequence[CellData],
    found: Mapping[str, CellMeasures],
    keys: Sequence[str],
    values: Mapping[int, Any],
    baseline: int,
    ordered: bool,
) -> LaneMeasures:
    columns = [[cell for cell in cells if cell.column == column] for column in values]
    curves = {
        key: [mean(found[cell.key].drift[key] for cell in column) for column in columns] for key in keys
    }
    pictures = [[cell.pixels for cell in column if cell.pixels is not None] for column in columns]
    diversity = [_diversity(own) for own in pictures]
    shown = diversity if any(d is not None for d in diversity) else None
    if not ordered:
        nowhere = {"column": None, "sentence": NO_ORDER}
        return LaneMeasures(curves, dict.fromkeys(keys), nowhere, shown, nowhere)
    order, numbers = list(values), list(values.values())
    at = order.index(baseline)
    clipped = [mean(found[cell.key].clipped for cell in column) for column in columns]
    # A value that lost a seed says too little of how different the seeds are.
    known = [
        d if len(own) >= drift.FEWEST_SEEDS else None for d, own in zip(diversity, pictures, strict=True)
    ]
    return LaneMeasures(
        curves,
        {key: _change(drift.largest_change(numbers, curve), order) for key, curve in curves.items()},
        _begins(drift.clipping(numbers, clipped, at), order),
        shown,
        _begins(drift.collapse(numbers, known, at, max(map(len, pictures))), order),
    )


def _change(change: drift.Change | None, columns: Sequence[int]) -> dict[str, Any] | None:
    if change is None:
        return None
    return {"from": columns[change.start], "to": columns[change.end], "size": change.size}


def _begins(onset: drift.Onset, columns: Sequence[int]) -> dict[str, Any]:
    return {"column": None if onset.column is None else columns[onset.column], "sentence": onset.sentence}


def _diversity(pictures: Sequence[np.ndarray]) -> float | None:
    if len(pictures) < 2 or len({p.shape for p in pictures}) > 1:
        return None
    return float(drift.diversity([perceptual.image_distances(pictures)])[0])


def _agree(
    pair: tuple[str, str],
    names: Mapping[str, str],
    lanes: Mapping[str, LaneMeasures],
    keys: Sequence[str],
    columns: Sequence[int],
    baseline: int,
) -> LaneAgreement:
    others = [i for i, column in enumerate(columns) if column != baseline]
    by = {}
    for key in keys:
        rho, n = rank_correlation(*([lanes[lane].curves[key][i] for i in others] for lane in pair))
        by[key] = {"rho": rho, "n": n}
    sentence = _sentence([names[lane] for lane in pair], by)
    if any(lanes[lane].finding for lane in pair):
        sentence = f"{sentence} {NOT_BY_LATENTS}"
    return LaneAgreement(*pair, by, sentence)


def _sentence(names: Sequence[str], by: Mapping[str, Mapping[str, Any]]) -> str:
    """Say it by the image distance, or by the first that there is."""
    key = next((k for k in (IMAGE.key, *by) if by[k]["rho"] is not None), None)
    between = " and ".join(names)
    if key is None:
        return (
            f"How alike {between} order the values cannot be told: it takes at least {FEWEST} values besides the "
            "baseline that both lanes have, and that differ."
        )
    rho, n = by[key]["rho"], by[key]["n"]
    label = next(d.label for d in (HASH, LATENT, IMAGE, FEATURE) if d.key == key)
    found = f"(Spearman {rho:.2f} over {n} values besides the baseline)"
    verdict = likeness(rho, certain=n >= FEW_VALUES)
    few = ", but so few values can do so by chance" if n < FEW_VALUES else ""
    return f"{label}: {between} order the values {verdict} {found}{few}."
