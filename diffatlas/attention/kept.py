"""Measures of attention that were taken of whole maps and kept, where the maps that are left were resampled since."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np


@dataclass(frozen=True)
class LayerNumbers:
    """What was measured of one layer at one step: ``entropy`` and ``kl`` in nats, NaN where there is none, and
    ``activation`` by token, None where it was not kept. Of self-attention there is the entropy alone."""

    entropy: float
    kl: float = math.nan
    activation: np.ndarray | None = None


@dataclass(frozen=True)
class KeptMeasures:
    """Kept measures by step and layer; as JSON in ``provenance["attention"]["measured"]``::

        {"steps": [0, 1], "layers": [{"name": "mid_block.attn2", "kind": "cross",
                                      "entropy": [2.1, 1.9], "kl": [null, 0.2], "activation": [[0.1, ...], ...]}]}

    ``steps``: indices of steps. Each list of a layer has an entry for each of them, null where the layer did not run.
    """

    steps: Mapping[int, int] = field(default_factory=dict)
    layers: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build from its JSON, whose lists may be too short or hold nothing."""
        layers = {f"{entry['kind']}:{entry['name']}": entry for entry in data.get("layers", ())}
        return cls({step: place for place, step in enumerate(data.get("steps", ()))}, layers)

    def of(self, step: int, key: str) -> LayerNumbers | None:
        """Return the numbers of a layer at a step; None where none were kept."""
        layer, place = self.layers.get(key), self.steps.get(step)
        if layer is None or place is None:
            return None
        entropy = _entry(layer, "entropy", place)
        if entropy is None:
            return None
        kl, activation = _entry(layer, "kl", place), _entry(layer, "activation", place)
        return LayerNumbers(
            float(entropy),
            math.nan if kl is None else float(kl),
            None if activation is None else np.array(activation, dtype=np.float64),
        )


def _entry(layer: Mapping[str, Sequence[Any]], name: str, place: int) -> Any:
    values = layer.get(name) or ()
    return values[place] if place < len(values) else None
