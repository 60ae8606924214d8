"""A figure as ``figure.js`` draws it: its traces, its layouts by the number of charts in a row, its settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from diffatlas.figures import CONFIG, Figure


def page_figure(frames: Mapping[int, Figure], data: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return a figure as plain JSON types: ``{"data", "layouts": {charts in a row: layout}, "config"}``.

    frames: the figure with so many charts in a row. data: its traces, where the frames have none.
    """
    told = {across: json.loads(made.to_json()) for across, made in frames.items()}
    if data is None:
        data = next(iter(told.values()))["data"]
    return {
        "data": data,
        "layouts": {str(across): one["layout"] for across, one in told.items()},
        "config": CONFIG,
    }
