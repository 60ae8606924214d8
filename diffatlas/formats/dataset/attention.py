"""The attention of a run as rows of a dataset, a map each, and a run as it is without."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from diffatlas import files
from diffatlas.attention.info import LayerInfo
from diffatlas.attention.trace import AttentionTrace
from diffatlas.errors import DiffAtlasError
from diffatlas.geometry import attention as maths
from diffatlas.library import format as layout
from diffatlas.library import reader
from diffatlas.library.attended import attention_of
from diffatlas.library.stored import StoredRun


def without_attention(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest that says nothing of attention: neither what was captured of it nor its layers and tokens."""
    return {
        part: {name: told for name, told in value.items() if not name.startswith("attention")}
        if part in ("capture", "provenance")
        else value
        for part, value in manifest.items()
    }


def line_without_attention(text: str) -> str:
    """Return the line of a step (JSON) without the maps that it lists."""
    told = files.parse_json(text, layout.STEPS)
    if "attention" not in told:
        return text
    return layout.dumps({name: told[name] for name in told if name != "attention"})


def rows_of_attention(stored: StoredRun, lines: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a row of `attention_features` for each map that the steps (`StoredRun.step_lines`) list.

    The measures are those of the first image, of its conditional half, with the heads averaged, as
    `AttentionTrace` gives them; None where the maps are not what the run says of them.
    """
    trace = _trace(stored)
    layers = {} if trace is None else {layer.key: layer for layer in trace.layers}
    for line in lines:
        for key in line["attention"]:
            yield {
                "run_id": stored.id,
                "step": line["index"] + 1,
                **_named(key, layers.get(key)),
                **_measured(trace, line["index"], layers.get(key)),
                **_map(stored.folder, line, key),
            }


def _trace(stored: StoredRun) -> AttentionTrace | None:
    try:
        return attention_of(stored)
    except (DiffAtlasError, ValueError, IndexError):
        return None


def _named(key: str, layer: LayerInfo | None) -> dict[str, Any]:
    kind, _, name = key.partition(":")
    block = None if layer is None or layer.block is None else str(layer.block)
    return {
        "kind": kind,
        "layer": name,
        "block": block,
        "heads": None if layer is None else layer.heads,
        "grid": [] if layer is None else list(layer.grid),
    }


def _measured(trace: AttentionTrace | None, step: int, layer: LayerInfo | None) -> dict[str, Any]:
    unknown = {"entropy": None, "entropy_share": None, "words": [], "tokens": [], "activation": []}
    if trace is None or layer is None:
        return unknown
    try:
        if layer.kind == "self":
            maps = trace.self_maps(step, layer.key)
            return unknown | _entropies(maths.self_entropy(maps), math.prod(maps.shape[2:]))
        maps = trace.token_maps(step, layer.key)
        return _entropies(maths.entropy_and_kl(maps)[0], len(maps)) | {
            "words": [token.word_text for token in trace.tokens],
            "tokens": [token.text for token in trace.tokens],
            "activation": maths.activation(maps).tolist(),
        }
    except (DiffAtlasError, ValueError, IndexError):
        return unknown


def _entropies(entropy: float, choices: int) -> dict[str, float]:
    """The entropy in nats, and as the share of the most that there can be; of a single choice both are 0."""
    return {"entropy": entropy, "entropy_share": entropy / math.log(max(choices, 2))}


def _map(folder: Path, line: Mapping[str, Any], key: str) -> dict[str, Any]:
    from safetensors.numpy import save

    (array,) = reader.read_attention(folder, line, [key]).values()
    return {"shape": list(array.shape), "maps": save({"maps": array})}
