"""The charts of drift: the distances that were measured of a sweep, then what became of its images and paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffatlas.library.study import Study
from diffatlas.measured import NO_GUIDANCE
from diffatlas.studies.curves import Curve
from diffatlas.studies.numbers import distances

ABSENT = "Not measured in this sweep."


@dataclass(frozen=True)
class Chart:
    """One chart: the name of its number, its title, its term, its unit, and what is said where it is not known."""

    name: str
    title: str
    term: str
    unit: str = ""
    absent: str = ABSENT


FEATURES = Chart("drift_feature", "Features", "feature_distance", absent="No encoder has read these images.")
#: What became of the images and their paths; before these come the distances.
CHARTS = (
    Chart("clipped", "Clipped share", "clipped"),
    Chart("saturation", "Saturation", "saturation"),
    Chart("diversity", "Diversity between seeds", "diversity", absent="It takes two seeds or more."),
    Chart("parting", "Parting step", "parting"),
    Chart("guidance_norm_mean", "Guidance norm, mean", "guidance_norm", absent=NO_GUIDANCE),
    Chart("guidance_angle_mean", "Guidance angle, mean, degrees", "guidance_angle", "°", NO_GUIDANCE),
    Chart("straightness", "Straightness", "straightness"),
    Chart("latent_max", "Largest |latent|", "max"),
)
#: The term of a distance, where it is not called after it.
_TERMS = {"hash": "perceptual_hash", "start": "distance"}


def charts_of(study: Study, measures: Mapping[str, Any]) -> list[Chart]:
    """Return the charts: the distances that the measures list, the features where these are missing, and `CHARTS`."""
    found = [
        Chart(f"drift_{one['key']}", one["label"], _TERMS.get(one["key"], f"{one['key']}_distance"))
        for one in distances(study, measures)
    ]
    if FEATURES.name not in [chart.name for chart in found]:
        found.append(FEATURES)
    return [*found, *CHARTS]


def known_in(curve: Curve | None) -> bool:
    """Return whether a curve has a value at all."""
    return curve is not None and any(value is not None for value in curve.values)
