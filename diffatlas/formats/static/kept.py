"""The file of ours in a static folder: what was measured of each layer's own maps, before they were resampled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from diffatlas.attention.info import LayerInfo
from diffatlas.attention.trace import AttentionTrace
from diffatlas.described import Wrong, fields, finite, listed, maybe, one_of, text, whole
from diffatlas.measured import finite as finite_or_none

#: Numbers of activation, of all steps, layers and tokens, that are kept at most: they go into the run's manifest.
MOST_NUMBERS = 250_000
#: Steps, layers and tokens.
_STEPS, _LAYERS, _TOKENS = 100_000, 10_000, 200_000

_numbers = listed(maybe(finite), _STEPS)
_FILE = fields(
    {
        "version": one_of(1),
        "steps": listed(whole(0, _STEPS), _STEPS),
        "layers": listed(
            fields(
                {
                    "name": text(400),
                    "kind": one_of("cross", "self"),
                    "entropy": _numbers,
                    "kl": _numbers,
                    "activation": listed(maybe(listed(finite, _TOKENS)), _STEPS),
                },
                ("name", "kind", "entropy"),
                closed=True,
            ),
            _LAYERS,
        ),
    },
    ("version", "steps", "layers"),
)


def kept_measures(
    trace: AttentionTrace | None, layers: Sequence[LayerInfo], steps: Sequence[int]
) -> bytes | None:
    """Return the file's content: entropy, reallocation and activation of layers by step, each number to the last bit.

    steps: the indices of all steps of the run; the file counts them from 0. Left out are layers whose own maps were
    never measured here (those of other tools' folders), and activation where there are more than `MOST_NUMBERS` of it.
    None where nothing is left.
    """
    if trace is None:
        return None
    places = {step: place for place, step in enumerate(steps)}
    chosen = {layer.key for layer in layers}
    size = len(trace.steps) * len(trace.cross_layers) * len(trace.tokens)
    measures = trace.measures
    found = []
    for i, layer in enumerate(trace.cross_layers):
        if layer.key in chosen and _is_own(trace, layer):
            entry = {"name": layer.name, "kind": "cross", "entropy": _plain(measures.entropy[:, i])}
            entry["kl"] = _plain(measures.kl[:, i])
            if size <= MOST_NUMBERS and _has_activation(trace, layer):
                rows = measures.layer_activation[:, i]
                entry["activation"] = [
                    [float(v) for v in row] if trace.holds(step, layer.key) else None
                    for step, row in zip(trace.steps, rows, strict=True)
                ]
            found.append(entry)
    for i, layer in enumerate(trace.self_layers):
        if layer.key in chosen and _is_own(trace, layer):
            entropy = _plain(measures.self_entropy[:, i])
            found.append({"name": layer.name, "kind": "self", "entropy": entropy})
    if not found:
        return None
    data = {"version": 1, "steps": [places[step] for step in trace.steps], "layers": found}
    spelled = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return f"{spelled}\n".encode("utf-8", "backslashreplace")


def checked(data: Any, count: int) -> dict[str, Any]:
    """Return what the file says as `diffatlas.attention.kept.KeptMeasures` takes it.

    count: of the folder's steps. Raises ValueError, a clause that says what is wrong, where it is of other steps or
    is not what it must be.
    """
    _FILE(data)
    steps = data["steps"]
    if steps != sorted(set(steps)) or any(step >= count for step in steps):
        raise Wrong(f"are not some of the folder's {count} steps in order", "steps")
    most = 0
    for place, layer in enumerate(data["layers"]):
        for name in ("entropy", "kl", "activation"):
            values = layer.get(name)
            if values is not None and len(values) != len(steps):
                raise Wrong(f"has {len(values)} entries for {len(steps)} steps", f"layers[{place}].{name}")
        most += sum(len(row) for row in layer.get("activation", ()) if row is not None)
    if most > MOST_NUMBERS:
        raise Wrong(f"hold more than {MOST_NUMBERS:,} numbers of activation", "layers")
    return {"steps": steps, "layers": data["layers"]}


def _is_own(trace: AttentionTrace, layer: LayerInfo) -> bool:
    """Whether the layer's measures are of its own maps."""
    return not layer.resampled or all(
        trace.kept_numbers(step, layer.key) for step in trace.steps if trace.holds(step, layer.key)
    )


def _has_activation(trace: AttentionTrace, layer: LayerInfo) -> bool:
    return not layer.resampled or all(
        trace.kept_numbers(step, layer.key).activation is not None
        for step in trace.steps
        if trace.holds(step, layer.key)
    )


def _plain(values: Any) -> list[float | None]:
    return [finite_or_none(float(v)) for v in values]
