"""The static run folder that attention tools exchange: names, fields and how its JSON is spelled.

::

    <folder>/
      metadata.json          what ran, the prompt's tokens, steps, layers, and a list of the attention files
      metrics.json           norms, entropies, activation, divergence, dominance, by step
      latent_pca.json        the path of the latents in two dimensions
      validation.json        whether the parts agree
      images/step_000.png    a picture of every step
      attention/cross/layer_0_step_000.bin    token, row, column; no header, C order, little-endian
      attention/self/layer_1_step_000.bin     query bin, key bin
      latents_noise_fp16.npz                  latents after each step and predictions; optional
      diffatlas_measured.json                 ours: what was measured of each layer's own maps

The contract is that of the Static Diffusion Interpretability Visualizer, version 1.0.0. What is ours beside it stands
under ``diffatlas`` in the metadata and ``*_by_place``, ``*_pooled`` in the metrics; other readers pass over it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diffatlas import files

#: Bytes of a JSON file that are read at most.
MAX_JSON = 32_000_000
SCHEMA_VERSION = "1.0.0"
METADATA, METRICS, PCA, VALIDATION = "metadata.json", "metrics.json", "latent_pca.json", "validation.json"
#: Of ours, which other readers pass over: `diffatlas.formats.static.kept`.
MEASURED = "diffatlas_measured.json"
LATENTS = "latents_noise_fp16.npz"
FINAL = "images/final.png"
#: Bytes a number.
DTYPES = {"float16": 2, "float32": 4}
#: Over this a folder is called too large.
LARGE = 200_000_000


def image_path(step: int) -> str:
    """Return the path of a step's picture; ``step`` is its place in the run, from 0."""
    return f"images/step_{step:03d}.png"


def attention_path(kind: str, layer: str, step: int) -> str:
    """Return the path of the maps of a layer at a step."""
    return f"attention/{kind}/{layer}_step_{step:03d}.bin"


def dumps(data: Any) -> bytes:
    """Serialise as the contract does: indented, sorted, UTF-8. Raises ValueError for NaN and infinity."""
    return (json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode(
        "utf-8", "backslashreplace"
    )


def is_static_folder(folder: Path) -> bool:
    """Whether a folder is one of these: its metadata can be read and names a version of the schema."""
    try:
        data = files.read_object(folder / METADATA, MAX_JSON)
        return isinstance(data.get("schema_version"), str)
    except (OSError, ValueError):
        return False
