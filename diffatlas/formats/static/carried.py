"""What a run that came from a static folder carries of it, so that it can be written as that folder again.

Some of a folder's numbers cannot be had from what the run holds: lengths of latents that the folder has not, measures
of maps before they were resampled. They stand in ``provenance["static"]``, and only `diffatlas.formats.static` reads
them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffatlas.described import (
    Wrong,
    by_name,
    fields,
    finite,
    flag,
    listed,
    maybe,
    text,
    whole,
)
from diffatlas.run import Run

#: Where in a run's provenance it stands, and how many bytes it may take there.
STATIC, MOST_CARRIED = "static", 4_000_000
#: Measures that are a number a step, and those that are told by layer, of which kind of attention.
_BY_STEP = (
    "latent_l2_norm",
    "predicted_noise_l2_norm",
    "cosine_similarity_to_previous",
    "attention_kl_divergence",
    "attention_kl_divergence_by_place",
)
_BY_LAYER = {
    "cross_attention_entropy": "cross",
    "self_attention_entropy": "self",
    "self_attention_entropy_pooled": "self",
}
#: Those that are of all layers of cross-attention together.
_OF_ALL = (
    "mean_token_activation",
    "attention_kl_divergence",
    "attention_kl_divergence_by_place",
    "token_dominance",
)
#: What a layer may be called in the name of a file.
_ID = re.compile(r"[A-Za-z0-9_-]{1,60}")
_STEPS, _TOKENS, _LAYERS = 100_000, 200_000, 10_000

_number = maybe(finite)
_series = listed(_number, _STEPS, 1)
_by_layer = listed(
    fields({"step": whole(), "mean": _number, "by_layer": by_name(_number, _LAYERS)}), _STEPS, 1
)


def _id(value: Any) -> None:
    if type(value) is not str or not _ID.fullmatch(value):
        raise Wrong("is no name of a layer")


_METRICS = fields(
    {
        **dict.fromkeys(_BY_STEP, _series),
        **dict.fromkeys(_BY_LAYER, _by_layer),
        "mean_token_activation": listed(maybe(listed(_number, _TOKENS)), _STEPS, 1),
        "token_dominance": fields(
            {
                "scores": listed(_number, _TOKENS),
                "ranking": listed(fields({"token_index": whole(), "score": _number}), _TOKENS),
            },
            ("scores", "ranking"),
        ),
    },
    ("latent_l2_norm",),
    closed=True,
)
_CARRIED = fields(
    {
        "metrics": _METRICS,
        "latent_pca": fields(
            {
                "points": listed(listed(finite, 2, 2), _STEPS, 1),
                "explained_variance_ratio": listed(finite, 2, 2),
            },
            ("points", "explained_variance_ratio"),
        ),
        "ids": by_name(_id, _LAYERS),
        "final": flag,
        "pipeline_type": maybe(text(100)),
        "layers": maybe(listed(text(400), _LAYERS)),
        "max_layers": maybe(whole(0, _LAYERS)),
        "meaningful_token_count": maybe(whole(0, _TOKENS)),
        "run": maybe(text(400)),
        "image": maybe(whole(0, 100_000)),
        "images": maybe(whole(0, 100_000)),
    },
    ("metrics", "latent_pca", "ids", "final"),
)


@dataclass(frozen=True)
class Carried:
    """What is carried; ``ids``: how the folder called each layer, by the layer's key. ``data``: all of it."""

    data: Mapping[str, Any]

    @classmethod
    def of(cls, run: Run, image: int = 0) -> Carried | None:
        """Return what a run carries; None where it came from no folder, or has other steps by now."""
        data = run.provenance.get(STATIC)
        if data is None or image != 0:
            return None
        try:
            _CARRIED(data)
        except Wrong:
            return None
        return cls(data) if _of_steps(data, len(run.steps)) else None

    @property
    def ids(self) -> Mapping[str, str]:
        """How the folder called each layer, by its key (`diffatlas.attention.info.LayerInfo.key`)."""
        return self.data["ids"]

    @property
    def pca(self) -> Mapping[str, Any]:
        """The path in two dimensions: ``points`` and ``explained_variance_ratio``."""
        return self.data["latent_pca"]

    def latent_metrics(self) -> dict[str, Any]:
        """Return the measures of the latents."""
        return {name: self.data["metrics"].get(name) for name in _BY_STEP if not name.startswith("attention")}

    def attention_metrics(self, ids: Mapping[str, str]) -> dict[str, Any]:
        """Return the measures of attention as far as they are of the layers that are written.

        ids: of those, by key. What is of all layers of cross-attention is there where all of them are.
        """
        known = self.data["metrics"]
        found = {name: _only(known[name], set(ids.values())) for name in _BY_LAYER if name in known}
        if {key for key in self.ids if key.startswith("cross:")} <= set(ids):
            found |= {name: known[name] for name in _OF_ALL if name in known}
        return found


def carry(
    metadata: Mapping[str, Any],
    metrics: Mapping[str, Any],
    pca: Any,
    keys: Mapping[str, str],
    ours: Mapping[str, Any],
) -> dict[str, Any] | None:
    """Return what a run carries of the folder it is made of; None where that is not as it must be, or too much.

    keys: by a layer's id its key. ours: what Diffusion Atlas added to the metadata; {} in another tool's folder.
    """
    generator = metadata["generator"]
    known = (*_BY_STEP, *_BY_LAYER, "mean_token_activation", "token_dominance")
    data = {
        "metrics": {name: metrics[name] for name in known if metrics.get(name) is not None},
        "latent_pca": pca if isinstance(pca, dict) else {},
        "ids": {key: layer_id for layer_id, key in keys.items()},
        "final": "final_image" in ours and ours["final_image"] is not None,
        **{name: generator.get(name) for name in ("pipeline_type", "layers", "max_layers")},
        "meaningful_token_count": metadata["prompt"].get("meaningful_token_count"),
        **{name: ours.get(name) for name in ("run", "image", "images")},
    }
    try:
        _CARRIED(data)
    except Wrong:
        return None
    data["latent_pca"] = {name: pca[name] for name in ("points", "explained_variance_ratio")}
    fits = _of_steps(data, metadata["steps"]) and len(json.dumps(data)) <= MOST_CARRIED
    return data if fits else None


def _of_steps(data: Mapping[str, Any], count: int) -> bool:
    """Whether every list has an entry for each step, and no two layers have one name."""
    metrics = data["metrics"]
    lists = [metrics[name] for name in metrics if name != "token_dominance"]
    ids = data["ids"].values()
    return all(len(values) == count for values in [*lists, data["latent_pca"]["points"]]) and len(
        set(ids)
    ) == len(ids)


def _only(entries: Sequence[Mapping[str, Any]], ids: set[str]) -> list[dict[str, Any]]:
    """Return measures by layer of some layers; their mean is of those."""
    found = []
    for entry in entries:
        by_layer = entry.get("by_layer") or {}
        kept = {name: value for name, value in by_layer.items() if name in ids}
        if len(kept) == len(by_layer):
            found.append(dict(entry))
            continue
        values = [value for value in kept.values() if value is not None]
        mean = {"mean": float(np.mean(values)) if values else None} if "mean" in entry else {}
        found.append({**entry, "by_layer": kept, **mean})
    return found
