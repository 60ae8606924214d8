"""What is measured of a run's attention, number by number: plain JSON types, in full."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from diffatlas.attention.held import HeldAttention
from diffatlas.attention.resampled import measured_on
from diffatlas.attention.trace import AttentionTrace
from diffatlas.errors import CapabilityError
from diffatlas.measured import finite
from diffatlas.run import Run

#: The measures that have a unit.
MEASURES = ("entropy", "reallocation", "activation", "dominance", "self_entropy")


def measured(run: Run) -> dict[str, Any] | None:
    """Return what is measured of a run's attention; None where it has none.

    - ``steps`` (S), the steps that hold attention, 1 for the first; ``layers``, what was captured;
    - ``of``, for each image of the batch and each half of guidance that was kept, what `of_one` returns.
    """
    trace = attention_of(run)
    if trace is None:
        return None
    return {
        "steps": [step + 1 for step in trace.steps],
        "layers": layers_of(trace),
        "of": [{"image": image, "half": half, **of_one(one)} for image, half, one in each(trace)],
    }


def layers_of(trace: HeldAttention) -> list[dict[str, Any]]:
    """Return the layers that are looked at: name, kind, part, heads, the grid of queries and that of pooled places."""
    return [
        {
            "name": layer.name,
            "kind": layer.kind,
            "block": layer.block,
            "heads": layer.heads,
            "grid": list(layer.grid),
            "cells": None if layer.cells is None else list(layer.cells),
        }
        for layer in trace.layers
    ]


def attention_of(run: Run) -> AttentionTrace | None:
    """Return the attention of a run in memory; None where it has none."""
    if not any(step.attention for step in run.steps) or not run.provenance.get("attention"):
        return None
    try:
        return AttentionTrace.of(run)
    except CapabilityError:
        return None


def each(trace: HeldAttention) -> Iterator[tuple[int, str, Any]]:
    """Yield (image, half, the attention looked at there) for every image and half that was kept."""
    keys = ((step, layer.key) for step in trace.steps for layer in trace.layers)
    step, key = next((step, key) for step, key in keys if trace.holds(step, key))
    shape = np.shape(trace.read(step, key))
    axes = axes_of(key, trace.per_head, len(shape))
    halves = shape[axes.index("half")] if "half" in axes else 1
    for half in ("cond", "uncond")[:halves]:
        for image in range(shape[axes.index("image")]):
            yield image, half, trace.at(image=image, half=half)


def axes_of(key: str, per_head: bool, count: int) -> list[str]:
    """Return the names of the axes of one step's map in the layer of ``key``, ``count`` of them.

    The halves of guidance, the conditional one first, are an axis where both were asked for.
    """
    places = ["token", "row", "column"]
    if key.startswith("self:"):
        places = ["query_row", "query_column", "key_row", "key_column"]
    axes = ["image", *(["head"] if per_head else []), *places]
    return axes if len(axes) == count else ["half", *axes]


def of_one(trace: AttentionTrace) -> dict[str, Any]:
    """Return the measures of the attention of one image in one half, as `AttentionTrace` defines them.

    With S steps, L layers of attention to words, P of attention between places and T tokens, null where a layer did
    not run:

    - ``tokens`` (T), along the keys of attention to words; ``words_in`` (L) and ``places_in`` (P), names of layers;
    - ``entropy`` (S, L) and ``self_entropy`` (S, P), nats;
    - ``reallocation`` (S, L), the KL divergence from the captured step before, nats, null at the first;
      ``spikes``, the steps at which its mean over the layers stands out, 1 for the first;
    - ``activation`` (S, T), the mean probability over the places and layers;
    - ``dominance``, the tokens by falling mean of their activation over the steps;
    - ``words_measured`` and ``places_measured``, words on maps that were resampled (`resampled.measured_on`), null
      where all is of the layers' own maps.

    Heads are averaged. Without attention to words those of them are null, as are ``self_entropy`` and ``places_in``
    without attention between places.
    """
    words, places = bool(trace.cross_layers), bool(trace.self_layers)
    measures = trace.measures
    return {
        "tokens": [token.to_dict() for token in trace.tokens] if words else None,
        "words_in": [layer.name for layer in trace.cross_layers] if words else None,
        "entropy": _rows(measures.entropy) if words else None,
        "reallocation": _rows(measures.kl) if words else None,
        "spikes": [step + 1 for step in trace.spikes()] if words else None,
        "activation": _rows(measures.activation) if words else None,
        "dominance": (
            [
                {
                    "token": token.index,
                    "text": token.text,
                    "special": token.special,
                    "dominance": finite(score),
                }
                for token, score in trace.dominance()
            ]
            if words
            else None
        ),
        "words_measured": measured_on(trace) if words else None,
        "places_in": [layer.name for layer in trace.self_layers] if places else None,
        "self_entropy": _rows(measures.self_entropy) if places else None,
        "places_measured": measured_on(trace, "self") if places else None,
    }


def _rows(values: np.ndarray) -> list[list[float | None]]:
    return [[finite(float(value)) for value in row] for row in values]
