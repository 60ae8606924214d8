"""What a study says of itself in every file: its words, and the numbers of each cell.

``measures`` is what `diffatlas.studies.measure_sweep` or `measure_neighbourhood` found, as plain JSON types; any of
it may be missing, as for a study that was stopped or whose runs were deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diffatlas.guidance import label_of
from diffatlas.library.study import FIELDS, Cell, Study
from diffatlas.measured import finite
from diffatlas.request import named

FIELD_WORDS = {name: named(name).noun for name in FIELDS}
MODE_WORDS = {
    "perturb": "perturbed noise",
    "slerp": "interpolation between two seeds",
    "offset": "seeds that are near in number",
}
DISTANCES = {
    "sweep": ("hash", "latent", "image", "feature"),
    "neighbourhood": ("start", "latent", "image", "hash", "feature"),
}
#: Of a sweep's cell, besides its drifts.
OF_A_CELL = (
    "parting",
    "guidance_norm_mean",
    "guidance_angle_mean",
    "path_length",
    "straightness",
    "saturation",
    "luma_std",
    "clipped",
    "latent_max",
)
#: A number in a word or two, at the edge of a frame.
SHORT = {
    "drift_hash": "hash",
    "drift_latent": "latent",
    "drift_image": "image",
    "drift_feature": "feature",
    "parting": "parts at",
    "guidance_norm_mean": "g norm",
    "clipped": "clipped",
    "distance_start": "start",
    "distance_latent": "latent",
    "distance_image": "image",
    "distance_hash": "hash",
    "distance_feature": "feature",
    "basin": "basin",
}


def asked_by(cell: Cell, measures: Mapping[str, Any]) -> str:
    """Return the caption of a cell without what was measured; before there is a measurement, with what is usual."""
    said = (measures.get("captions") or {}).get(cell.key)
    return said["asked"] if said else cell.caption


def captions_of(cells: Sequence[Cell], measures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the (label, caption) of each column of one lane's cells; what was asked is said once for all seeds."""
    said = measures.get("captions") or {}
    lines = []
    for column in sorted({cell.column for cell in cells}):
        own = [cell for cell in cells if cell.column == column]
        found = [(cell.params.seed, said[cell.key]) for cell in own if cell.key in said]
        words = [found[0][1]["asked"] if found else own[0].caption]
        words += [f"Seed {seed}. {one['found']}" if len(own) > 1 else one["found"] for seed, one in found]
        lines.append((own[0].label, " ".join(filter(None, words))))
    return lines


def caption_of(cell: Cell, measures: Mapping[str, Any]) -> str:
    """Return the caption of a cell: what was measured, else what was said before there was a measurement."""
    said = (measures.get("captions") or {}).get(cell.key)
    return " ".join(filter(None, (said["asked"], said["found"]))) if said else cell.caption


def base_column(study: Study, measures: Mapping[str, Any]) -> int:
    """Return the column that the others are measured against: the baseline of a sweep, else the anchor's."""
    if study.operation != "sweep":
        return 0
    # Where the baseline that was asked for did not run, another was taken.
    found = measures.get("baseline", study.spec.get("baseline"))
    return found if isinstance(found, int) else 0


def asked(study: Study) -> str:
    """Return what the study varies, in a few words."""
    if study.operation == "sweep":
        field = study.spec.get("field")
        return f"sweep of the {FIELD_WORDS.get(field, field or 'parameters')}"
    mode = study.spec.get("mode")
    return f"neighbourhood by {MODE_WORDS.get(mode, mode or 'noise')}"


def tally(cells: Sequence[Cell]) -> str:
    """Return how many cells ended in which way, such as "8 of 10 complete, 2 failed"."""
    done = sum(cell.status == "complete" for cell in cells)
    others = [
        f"{count} {status}"
        for status in ("failed", "stopped", "running", "waiting")
        if (count := sum(cell.status == status for cell in cells))
    ]
    return ", ".join((f"{done} of {len(cells)} complete", *others))


def method_words(cell: Cell) -> str | None:
    """Return the guidance method of a cell with its options, or None for the plain one."""
    method = cell.params.guidance_method
    if method is None:
        return None
    label = label_of(method)
    options = ", ".join(f"{name} {value:g}" for name, value in (cell.params.guidance_options or {}).items())
    return f"{label} ({options})" if options else label


def distances(study: Study, measures: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return {key, label, about} of the distances that were measured, or of all where nothing says which."""
    found = [dict(entry) for entry in measures.get("distances") or () if entry.get("key")]
    known = DISTANCES.get(study.operation, ())
    return found or [{"key": key, "label": key.capitalize(), "about": ""} for key in known]


def lane_measures(measures: Mapping[str, Any], lane: str) -> Mapping[str, Any]:
    """Return what was measured of a lane; empty where nothing was."""
    return (measures.get("lanes") or {}).get(lane) or {}


def number_names(study: Study, measures: Mapping[str, Any]) -> list[str]:
    """Return the names of the numbers that `cell_numbers` gives, in the order of the tables."""
    keys = [entry["key"] for entry in distances(study, measures)]
    if study.operation == "sweep":
        return [*(f"drift_{key}" for key in keys), *OF_A_CELL]
    maps = [f"map_{of}_{axis}" for of in ("latent", "image") for axis in "xy"]
    return [*(f"distance_{key}" for key in keys), "basin", "contains", "jumps_to", *maps]


def cell_numbers(study: Study, measures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the numbers of each cell by name, None where one is unknown.

    Of a sweep: the drifts from the baseline, the state at which it parts from it (k is that after k steps), and numbers
    of the cell's own path and image. Of a neighbourhood: the distances to the anchor, the basin (counted from 1), what
    the image contains, the cells to which it is a jump, and the MDS coordinates of the maps.
    """
    names = number_names(study, measures)
    found = {cell.key: dict.fromkeys(names) for cell in study.cells}
    if study.operation == "sweep":
        for key, measured in (measures.get("cells") or {}).items():
            if key in found:
                values = {f"drift_{name}": value for name, value in (measured.get("drift") or {}).items()}
                values |= {name: measured.get(name) for name in OF_A_CELL}
                found[key].update({name: _value(values.get(name)) for name in names})
    else:
        for lane in study.lanes:
            for key, values in _neighbours(study, measures, lane.key).items():
                if key in found:
                    found[key].update({name: _value(values.get(name)) for name in names})
    return found


def _neighbours(study: Study, measures: Mapping[str, Any], lane: str) -> dict[str, dict[str, Any]]:
    measured = lane_measures(measures, lane)
    keys = list(measured.get("cells") or ())
    found: dict[str, dict[str, Any]] = {key: {} for key in keys}
    anchor = next((c.key for c in study.in_lane(lane) if c.column == base_column(study, measures)), None)
    place = keys.index(anchor) if anchor in keys else None
    for name, matrix in (measured.get("matrices") or {}).items():
        if place is not None and matrix:
            for key, value in zip(keys, matrix[place], strict=False):
                found[key][f"distance_{name}"] = value
    for key, label in zip(keys, (measured.get("basins") or {}).get("labels") or (), strict=False):
        found[key]["basin"] = None if label is None else label + 1
    for key, words in zip(keys, measured.get("names") or (), strict=False):
        found[key]["contains"] = words
    for jump in measured.get("jumps") or ():
        for one, other in ((jump["a"], jump["b"]), (jump["b"], jump["a"])):
            if one in found:
                found[one]["jumps_to"] = " ".join(filter(None, (found[one].get("jumps_to"), other)))
    for of, drawn in (measured.get("maps") or {}).items():
        for key, (x, y) in zip(keys, ((drawn or {}).get("mds") or {}).get("coords") or (), strict=False):
            found[key] |= {f"map_{of}_x": x, f"map_{of}_y": y}
    return found


def _value(value: Any) -> Any:
    return finite(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
