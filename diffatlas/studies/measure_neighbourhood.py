"""What a neighbourhood shows, in numbers: how images part as their starts do, and which of them belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.geometry import clusters, growth, perceptual
from diffatlas.geometry.agreement import cluster_agreement, map_agreement, matrix_agreement
from diffatlas.geometry.common_basis import distances_from, gram
from diffatlas.geometry.scaling import classical_mds, mds
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
    plain,
)
from diffatlas.studies.words_measured import MeasuredCaption, neighbourhood_captions

if TYPE_CHECKING:
    from diffatlas.library import Library
    from diffatlas.library.study import Study
    from diffatlas.operations.features import Encoder

#: Says what a picture (H, W, 3) uint8 contains.
Namer = Callable[[np.ndarray], str]

LATENT = Distance(
    "latent", "Latents", "Euclidean distance of the final latents, divided by the mean of the lane's norms."
)
IMAGE = Distance("image", "Image", "Root mean square difference of red, green and blue, each from 0 to 1.")
HASH = Distance(
    "hash", "Perceptual hash", "Share of the bits of a perceptual hash in which two pictures differ."
)
FEATURE = Distance(
    "feature", "Features", "Cosine distance of what an encoder makes of the pictures: {name}. {about}"
)

#: Distances of states below this are rounding.
SAME = 1e-5
#: A close pair of different names is a jump from this many times the usual image distance on.
NAMED_RATIO = 2.0
NAMED_JUMPS = (
    "Where the pictures are named, such a near pair with two different names is a jump as well if its ratio is at "
    f"least {NAMED_RATIO:g} times that median, or its far distance is as large as said."
)

OFFSET_NOTE = (
    "These neighbours differ in their seeds only. Each seed draws its noise anew, so no start is nearer to the anchor "
    "than another, however close the numbers are: distances between starts say nothing here."
)


@dataclass(frozen=True)
class GrowthMeasures:
    """How one distance grows with another over all pairs of cells: see `diffatlas.geometry.growth.growth`.

    ``near``, ``far``: keys of distances. ``pairs``: {a, b, x, y} by cell keys. ``curve``: medians (x, y) of bins.
    ``slope`` at 0 with its interval ``low`` to ``high``.
    """

    near: str
    far: str
    pairs: Sequence[Mapping[str, Any]]
    curve: Sequence[tuple[float, float]]
    slope: float | None
    low: float | None
    high: float | None
    sentence: str


@dataclass(frozen=True)
class JumpMeasures:
    """Two cells whose starts are close and whose images are far: see `diffatlas.geometry.growth.jumps`.

    ``named``: whether the two show different things by name; None where nothing names them.
    """

    a: str
    b: str
    near: float
    far: float
    ratio: float
    named: bool | None


@dataclass(frozen=True)
class BasinMeasures:
    """Which cells belong together: see `diffatlas.geometry.clusters.basins`.

    ``labels``: the basin of each cell, that of the first cell being 0. ``on``: the distance used. ``members``: cell
    keys by basin. ``names``: what the images of each basin show, the most frequent first.
    """

    count: int
    labels: Sequence[int]
    silhouette: float | None
    on: str
    members: Sequence[Sequence[str]]
    names: Sequence[Sequence[str]] | None
    sentence: str


@dataclass(frozen=True)
class LaneNeighbourhood:
    """The numbers of one lane.

    ``cells``: keys in the order of the matrices. ``matrices``: (n, n) by distance, those that can be told of
    every cell. ``names``: what each image shows. ``growth``: image distance by start distance, ``growth_latent``: by
    final latent distance. ``maps``: by "latent" and "image", {pca: {coords, axes: shares}, mds: {coords, stress}}.
    ``finding``: why nothing of latents is told of it, where nothing is (`diffatlas.studies.measure_cells.finding_of`).
    """

    cells: Sequence[str]
    matrices: Mapping[str, np.ndarray]
    names: Sequence[str | None] | None
    growth: GrowthMeasures | None
    growth_latent: GrowthMeasures | None
    jumps: Sequence[JumpMeasures]
    basins: BasinMeasures | None
    maps: Mapping[str, Any]
    finding: str | None = None


@dataclass(frozen=True)
class NeighbourhoodAgreement:
    """How alike two lanes lay out the same neighbours.

    ``procrustes``: disparity of the maps of images by MDS, 0 to 1. ``rand``: adjusted Rand index of the basins.
    ``rank``: Spearman's rank correlation of the image distances, with the share ``p`` of the orders of the cells
    that give as large a one. ``n``: cells that both lanes have.
    """

    a: str
    b: str
    procrustes: float | None
    rand: float | None
    rank: float | None
    p: float | None
    n: int
    sentence: str


@dataclass(frozen=True)
class NeighbourhoodMeasures:
    """What `measure_neighbourhood` found. ``captions``: of the neighbours, by cell key, now that they are measured."""

    mode: str
    note: str | None
    distances: Sequence[Distance]
    feature: str | None
    captions: Mapping[str, MeasuredCaption]
    lanes: Mapping[str, LaneNeighbourhood]
    agreement: Sequence[NeighbourhoodAgreement]
    definitions: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the measures in plain JSON types; None for what is not finite."""
        return plain(self)


def measure_neighbourhood(
    study: Study,
    library: Library,
    encoder: Encoder | None = None,
    names: Namer | Mapping[str, Namer] | None = None,
) -> NeighbourhoodMeasures:
    """Measure the complete cells of a neighbourhood, from their runs in the library.

    encoder: for the distance in features (`diffatlas.operations.features.encoder_for`); None leaves it out.
    names: what says what an image contains, for all lanes or by lane (`diffatlas.operations.features.names_for`).

    Raises `InvalidParams` for a study that is no neighbourhood.
    """
    check_operation(study, "neighbourhood")
    mode, step = str(study.spec.get("mode", "")), int(study.spec.get("step") or 0)
    cells = load_cells(study, library)
    vectors = features_of(encoder, cells)
    distances = [_start_distance(step), LATENT, IMAGE, HASH]
    if vectors:
        about = FEATURE.about.format(name=encoder.name, about=encoder.about)
        distances.append(Distance(FEATURE.key, FEATURE.label, about))
    lanes = {}
    for lane in study.lanes:
        look()
        own = [cell for cell in cells if cell.lane == lane.key]
        namer = names.get(lane.key) if isinstance(names, Mapping) else names
        measured = _measure_lane(own, vectors, namer, step, geometric=mode != "offset")
        lanes[lane.key] = replace(measured, finding=finding_of(lane, own))
    called = lane_names(study)
    columns = {cell.key: cell.column for cell in study.cells}
    return NeighbourhoodMeasures(
        mode,
        OFFSET_NOTE if mode == "offset" else None,
        distances,
        encoder.name if vectors else None,
        neighbourhood_captions(study, cells, lanes),
        lanes,
        [_agree((a, b), called, lanes, columns) for a, b in combinations(lanes, 2)],
        _definitions(step),
    )


def start_matrix(cells: Sequence[CellData], step: int = 0) -> np.ndarray | None:
    """Distances (n, n) between the cells' states after ``step`` steps, 0 being x_T: see `relative_distances`.

    A scheduler that takes its steps in two parts (Heun) records a state for each part, so where all states are still
    the same the first ones after them that are not are taken, up to twice as many steps.
    """
    found = relative_distances([cell.state(step) for cell in cells])
    for later in range(step + 1, 2 * step + 1):
        if found is None or found.max() > SAME:
            break
        states = [cell.state(later) for cell in cells]
        found = found if any(state is None for state in states) else relative_distances(states)
    return found


def relative_distances(states: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Euclidean distances (n, n) of states (...), divided by the mean of their norms.

    Two independent draws of noise are near sqrt(2) apart, and noise at a small radius r (`perturb`) near r. None
    where a state is missing, the shapes differ, or all states are 0.
    """
    if not states or any(s is None or s.shape != states[0].shape for s in states):
        return None
    stack = np.stack(states)
    products = gram(stack, stack)
    squares = products.diagonal()
    size = float(np.sqrt(squares).mean())
    return distances_from(products, squares, squares) / size if size > 0 else None


def _start_distance(step: int) -> Distance:
    where = (
        "noise x_T at the start" if step == 0 else f"state after step {step}, where the noise was perturbed"
    )
    return Distance(
        "start", "Start", f"Euclidean distance of the {where}, divided by the mean of the lane's norms."
    )


def _definitions(step: int) -> dict[str, str]:
    return {
        "start": _start_distance(step).about + " Independent noise is about 1.41 apart.",
        "growth": growth.GROWTH_DEFINITION,
        "jump": f"{growth.JUMP_DEFINITION} {NAMED_JUMPS}",
        "basins": clusters.BASINS_METHOD,
        "silhouette": "How much nearer a cell is to its own basin than to the next, from -1 to 1 (Rousseeuw 1987).",
        "stress": "Kruskal's stress-1 of a map: how far its distances are off. Below 0.05 is good, above 0.2 poor.",
        "procrustes": "Procrustes disparity: what is left when one lane's map of images is turned, mirrored and scaled "
        "onto the other's, 0 for the same form, 1 for none in common.",
        "rand": "Adjusted Rand index: 1 where both lanes put the same cells together, about 0 for chance.",
        "rank": "Spearman's rank correlation of the image distances of all pairs of cells. p is the share of orders of "
        f"the cells that give as large a one (Mantel's test). {LIKENESS}",
    }


def _measure_lane(
    cells: Sequence[CellData],
    vectors: Mapping[str, np.ndarray],
    namer: Namer | None,
    step: int,
    geometric: bool,
) -> LaneNeighbourhood:
    keys = [cell.key for cell in cells]
    matrices = {
        "start": start_matrix(cells, step),
        LATENT.key: relative_distances([cell.final for cell in cells]),
        **_of_pictures([cell.pixels for cell in cells]),
    }
    if vectors:
        matrices[FEATURE.key] = _of_features([vectors.get(key) for key in keys])
    matrices = {key: matrix for key, matrix in matrices.items() if matrix is not None}
    names = None
    if namer is not None and cells:
        names = [None if cell.pixels is None else namer(cell.pixels) for cell in cells]
    start, image = matrices.get("start"), matrices.get(IMAGE.key)
    return LaneNeighbourhood(
        keys,
        matrices,
        names,
        _growth("start", matrices, keys, geometric),
        _growth(LATENT.key, matrices, keys, True),
        _jumps(start, image, keys, names) if geometric and start is not None and image is not None else [],
        _basins(matrices, keys, names),
        {key: _map(matrices[key]) for key in (LATENT.key, IMAGE.key) if key in matrices},
    )


def _of_pictures(pictures: Sequence[np.ndarray | None]) -> dict[str, np.ndarray | None]:
    if not pictures or any(p is None for p in pictures):
        return {IMAGE.key: None, HASH.key: None}
    alike = len({p.shape for p in pictures}) == 1
    hashes = [perceptual.phash(p) for p in pictures]
    return {
        IMAGE.key: perceptual.image_distances(pictures) if alike else None,
        HASH.key: perceptual.distances(hashes, perceptual.hash_distance),
    }


def _of_features(vectors: Sequence[np.ndarray | None]) -> np.ndarray | None:
    if not vectors or any(v is None for v in vectors):
        return None
    return perceptual.distances(vectors, cosine_distance)


def _growth(
    near: str, matrices: Mapping[str, np.ndarray], keys: Sequence[str], geometric: bool
) -> GrowthMeasures | None:
    x, y = matrices.get(near), matrices.get(IMAGE.key)
    if x is None or y is None or len(keys) < 2:
        return None
    found = growth.growth(x, y)
    first, second = np.triu_indices(len(keys), 1)
    pairs = [
        {"a": keys[i], "b": keys[j], "x": p, "y": q}
        for i, j, p, q in zip(first, second, found.x, found.y, strict=True)
    ]
    slope, low, high = found.slope, found.slope_low, found.slope_high
    if not geometric:
        slope = low = high = None
    return GrowthMeasures(
        near,
        IMAGE.key,
        pairs,
        list(zip(found.curve_x.tolist(), found.curve_y.tolist(), strict=True)),
        slope,
        low,
        high,
        _growth_sentence(near, slope, low, high, geometric),
    )


def _growth_sentence(
    near: str, slope: float | None, low: float | None, high: float | None, geometric: bool
) -> str:
    what = "start" if near == "start" else "latent"
    if not geometric:
        return "The starts are independent draws, all about equally far apart, so there is no slope at 0 to tell."
    if slope is None:
        return f"There is no slope at 0 to tell: no two cells are close by {what} distance, or there are too few."
    return (
        f"Close to 0, image distance grows by {slope:.3g} for each unit of {what} distance "
        f"(95% interval {low:.3g} to {high:.3g})."
    )


def _jumps(
    start: np.ndarray, image: np.ndarray, keys: Sequence[str], names: Sequence[str | None] | None
) -> list[JumpMeasures]:
    """Jumps by distance alone, and those close pairs whose names differ and whose images do so clearly too.

    A name by itself is too little: what lies between a square and a circle gets either name, and two pictures that
    are nearly the same may get both.
    """
    names = [None] * len(keys) if names is None else list(names)
    far = growth.FAR_SHARE * np.quantile(image[np.triu_indices(len(keys), 1)], 0.95) if len(keys) > 1 else 0.0
    by_name = [
        j for j in growth.jumps(start, image, names) if j.named and (j.ratio >= NAMED_RATIO or j.far >= far)
    ]
    pairs = {(j.a, j.b): j for j in [*growth.jumps(start, image), *by_name]}
    return [
        JumpMeasures(keys[j.a], keys[j.b], j.near, j.far, j.ratio, _differ(names[j.a], names[j.b]))
        for j in sorted(pairs.values(), key=lambda j: (-j.ratio, -j.far, j.a, j.b))
    ]


def _differ(a: str | None, b: str | None) -> bool | None:
    return None if a is None or b is None else a != b


def _basins(
    matrices: Mapping[str, np.ndarray], keys: Sequence[str], names: Sequence[str | None] | None
) -> BasinMeasures | None:
    on = next((key for key in (FEATURE.key, IMAGE.key) if key in matrices), None)
    if on is None:
        return None
    found = clusters.basins(matrices[on])
    labels = [int(label) for label in found.labels]
    members = [
        [key for key, label in zip(keys, labels, strict=True) if label == k] for k in range(found.count)
    ]
    shown = None
    if names is not None:
        counts = [Counter() for _ in members]
        for name, label in zip(names, labels, strict=True):
            counts[label].update([name] if name else [])
        shown = [[name for name, _ in counted.most_common()] for counted in counts]
    if found.count == 1:
        sentence = f"By {on} distance the {len(keys)} cells are one basin: nothing tells them from one cloud."
    else:
        *others, last = (str(len(own)) for own in members)
        sizes = f"{', '.join(others)} and {last}"
        sentence = (
            f"By {on} distance the {len(keys)} cells fall into {found.count} basins, of {sizes} "
            f"(silhouette {found.silhouette:.2f})."
        )
    return BasinMeasures(found.count, labels, found.silhouette, on, members, shown, sentence)


def _map(matrix: np.ndarray) -> dict[str, Any]:
    """Both distances are Euclidean, so classical scaling gives the principal components."""
    coords, shares = classical_mds(matrix)
    scaled = mds(matrix)
    return {
        "pca": {"coords": coords, "axes": shares},
        "mds": {"coords": scaled.coords, "stress": scaled.stress},
    }


def _agree(
    pair: tuple[str, str],
    names: Mapping[str, str],
    lanes: Mapping[str, LaneNeighbourhood],
    columns: Mapping[str, int],
) -> NeighbourhoodAgreement:
    """Compare two lanes over the columns that both have."""
    own = [lanes[lane] for lane in pair]
    at = [{columns[key]: i for i, key in enumerate(lane.cells)} for lane in own]
    both = sorted(at[0].keys() & at[1].keys())
    rows = [[where[column] for column in both] for where in at]
    procrustes = rand = rank = p = None
    if all(IMAGE.key in lane.matrices for lane in own) and both:
        maps = [np.asarray(lane.maps[IMAGE.key]["mds"]["coords"]) for lane in own]
        procrustes = map_agreement(*(m[r] for m, r in zip(maps, rows, strict=True)))
        rank, p, _ = matrix_agreement(
            *(lane.matrices[IMAGE.key][np.ix_(r, r)] for lane, r in zip(own, rows, strict=True))
        )
    if all(lane.basins is not None for lane in own):
        rand = cluster_agreement(
            *([lane.basins.labels[i] for i in r] for lane, r in zip(own, rows, strict=True))
        )
    counts = [None if lane.basins is None else lane.basins.count for lane in own]
    sentence = _sentence([names[lane] for lane in pair], procrustes, rand, rank, p, len(both), counts)
    if any(lane.finding for lane in own):
        sentence = f"{sentence} {NOT_BY_LATENTS}"
    return NeighbourhoodAgreement(*pair, procrustes, rand, rank, p, len(both), sentence)


def _sentence(
    names: Sequence[str],
    procrustes: float | None,
    rand: float | None,
    rank: float | None,
    p: float | None,
    n: int,
    counts: Sequence[int | None],
) -> str:
    between = " and ".join(names)
    if rank is None:
        return (
            f"How alike {between} lay out the neighbours cannot be told: it takes at least 3 complete cells that both "
            "have, with images that differ."
        )
    certain = p is not None and p <= 0.05
    chance = "" if certain else " So high a correlation is not rare by chance."
    parts = [
        f"{between} lay out the {n} cells {likeness(rank, certain)}: image distances are ranked with Spearman "
        f"{rank:.2f} (p = {p:.3g}).{chance}"
    ]
    if procrustes is not None:
        parts.append(f"Their maps have a Procrustes disparity of {procrustes:.2f} (0 is the same form).")
    if counts == [1, 1]:
        parts.append("Each has one basin.")
    elif rand is not None:
        parts.append(f"Their basins agree with an adjusted Rand index of {rand:.2f}.")
    return " ".join(parts)
