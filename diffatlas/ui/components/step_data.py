"""One step in full, as plain JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.errors import DiffAtlasError
from diffatlas.figures.page_figure import page_figure
from diffatlas.figures.picture_values import picture_values
from diffatlas.formats.wire import rounded
from diffatlas.geometry.image_stats import statistics
from diffatlas.geometry.path import norm
from diffatlas.glossary import term
from diffatlas.library import format as layout
from diffatlas.measured import SHOWN
from diffatlas.operations.pictures import step_pictures
from diffatlas.ui.components.pictures import image_url

if TYPE_CHECKING:
    from diffatlas.library.stored import StoredRun

PICTURES = ("x_t", "x0", "cond", "uncond")
#: Of `diffatlas.geometry.image_stats.statistics`: its name there, the glossary's key, a label and a unit.
STATISTICS = (
    ("entropy", "entropy", "Entropy", "bits"),
    ("edge_density", "edge_density", "Edge density", ""),
    ("high_frequency", "high_frequency", "High-frequency energy", ""),
    ("centroid_x", "centroid", "Centroid, from the left", ""),
    ("centroid_y", "centroid", "Centroid, from the top", ""),
    ("luma_mean", "luma", "Luma, mean", ""),
    ("luma_std", "luma", "Luma, spread", ""),
    ("saturation", "saturation", "Saturation", ""),
)


def step_detail(
    stored: StoredRun, index: int, backend: Any, decode: bool, visitor: str, dark: bool = False
) -> dict[str, Any]:
    """Return the pictures of step ``index`` and what can be measured of it.

    decode: whether the VAE draws the pictures, which needs the model; otherwise the run's own linear map and
        stored preview do. A VAE that is busy or missing is an error of `diffatlas.errors`.
    """
    previewed = stored.capture.get("preview_decoder")
    decoder = "linear"
    pictures: dict[str, np.ndarray] = {}
    # Where the run was previewed by its VAE, so are the other pictures, if that costs no loading.
    if decode or (previewed == "vae" and backend.is_loaded(stored.params.model)):
        try:
            pictures = step_pictures(stored, index, lambda latents: backend.decode(stored.params, latents))
            decoder = "vae"
        except DiffAtlasError:
            if decode:
                raise
    if not pictures:
        pictures = step_pictures(stored, index)
    drawn_by = dict.fromkeys(PICTURES, decoder)
    if decoder == "linear" and stored.step_lines()[index]["previews"]:
        drawn_by["x0"] = previewed
    return {
        "id": stored.id,
        "index": index,
        "decoder": decoder,
        "can_decode": decoder != "vae",
        "pictures": [
            _picture(key, pictures[key], drawn_by[key], visitor) for key in PICTURES if key in pictures
        ],
        **measured(pictures.get("x0"), dark),
        "scalars": _scalars(stored, index),
    }


def _picture(key: str, pixels: np.ndarray, decoder: str, visitor: str) -> dict[str, Any]:
    height, width = pixels.shape[:2]
    size = {"width": width, "height": height}
    return {
        "key": key,
        "label": term(key).name,
        "url": image_url(pixels, visitor),
        "decoder": decoder,
        **size,
    }


def measured(pixels: np.ndarray | None, dark: bool = False) -> dict[str, Any]:
    """Return the histogram and the statistics of (H, W, 3) uint8 pixels."""
    if pixels is None:
        return {"histogram": None, "statistics": []}
    found = statistics(pixels)
    return {
        "histogram": page_figure({1: picture_values(pixels, dark)}),
        "statistics": [_value(key, found[name], unit, label) for name, key, label, unit in STATISTICS],
    }


def _scalars(stored: StoredRun, index: int) -> list[dict[str, Any]]:
    line = stored.step_lines()[index]
    metrics = line["metrics"]
    values = [
        _value("timestep", line["timestep"]),
        _value("sigma", stored.sigmas_before()[index]),
        _value("sigma_after", line["sigma"]),
    ]
    values += [_value(m.name, metrics[m.name], m.unit) for m in SHOWN if m.name in metrics]
    if "between_length" in metrics:
        values.append(_value("between_length", metrics["between_length"]))
    if any(name.startswith(layout.OTHER_PREDS) for name in line["arrays"]):
        for name, prediction in stored.step(index).other_preds.items():
            values.append(_value("other_preds", norm(prediction[:1])[0], label=f"Norm, {name} prediction"))
    return values


def _value(key: str, value: float | None, unit: str = "", label: str | None = None) -> dict[str, Any]:
    number = None if value is None else rounded(float(value))
    return {"key": key, "label": label or term(key).name, "value": number, "unit": unit}
