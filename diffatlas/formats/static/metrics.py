"""The numbers of the static run folder, by the definitions of its contract.

They differ in places from those of the app: the entropy is clipped without being normalised again, and the divergence
is that of the mean activations of two steps, not the mean of the places' own; the latter stands beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from diffatlas.attention.resampled import measured_on
from diffatlas.attention.trace import AttentionTrace, LayerInfo
from diffatlas.geometry.attention import FLOOR, rank

#: Tokens in the ranking.
RANKED = 25
#: Added to a product of norms, so that latents of zero have a cosine.
TINY = 1e-8


def contract_entropy(weights: np.ndarray, axis: int) -> float:
    """Mean over the queries of -sum p ln p along ``axis``, p clipped at 1e-8, in float64.

    weights: (tokens, rows, columns) with axis 0, or (queries, keys) with axis 1.
    """
    p = np.maximum(np.asarray(weights, dtype=np.float64), FLOOR)
    return float(-(p * np.log(p)).sum(axis).mean())


def contract_kl(now: np.ndarray, before: np.ndarray) -> float:
    """sum p ln(p / q) of two steps' mean token activation, each clipped at 1e-8 and normalised."""
    p, q = (np.maximum(np.asarray(v, dtype=np.float64), FLOOR) for v in (now, before))
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())


def norms(arrays: np.ndarray | None, count: int) -> list[float | None]:
    """L2 norm of each of (T, ...); None for all where there are none."""
    if arrays is None:
        return [None] * count
    flat = np.asarray(arrays, dtype=np.float64).reshape(len(arrays), -1)
    return [float(v) for v in np.linalg.norm(flat, axis=1)]


def cosines(latents: np.ndarray) -> list[float | None]:
    """Cosine of each step's latents, rounded to float16, to those of the step before; None for the first."""
    flat = np.asarray(latents, dtype=np.float16).astype(np.float64).reshape(len(latents), -1)
    length = np.linalg.norm(flat, axis=1)
    found = (flat[1:] * flat[:-1]).sum(1) / (length[1:] * length[:-1] + TINY)
    return [None, *(float(v) for v in found)]


def pca(latents: np.ndarray) -> dict[str, Any]:
    """Two principal components of the latents after each step, flattened and rounded to float16."""
    flat = np.asarray(latents, dtype=np.float16).astype(np.float64).reshape(len(latents), -1)
    centred = flat - flat.mean(0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    scores = np.zeros((len(flat), 2))
    scores[:, : min(2, len(s))] = (u * s)[:, :2]
    # The sign of an axis is free: the last state lies at a positive place.
    scores *= np.where(scores[-1] < 0, -1.0, 1.0)
    total = float((s**2).sum())
    shares = [float(v) for v in (s**2 / total)[:2]] if total > 0 else []
    return {
        "points": [[float(x), float(y)] for x, y in scores],
        "explained_variance_ratio": [*shares, 0.0, 0.0][:2],
    }


def latent_metrics(latents: np.ndarray | None, noise: np.ndarray | None, count: int) -> dict[str, Any]:
    """Return the measures of ``count`` steps' latents and predictions, (T, ...) each; None where they are not known."""
    return {
        "latent_l2_norm": norms(latents, count),
        "predicted_noise_l2_norm": norms(noise, count),
        "cosine_similarity_to_previous": [None] * count if latents is None else cosines(latents),
    }


def attention_metrics(trace: AttentionTrace | None, ids: dict[str, str], steps: list[int]) -> dict[str, Any]:
    """Entropy, activation, divergence and dominance by step; None where a step has no attention.

    ids: of each layer's key, those that are written. steps: the indices of all steps of the run.
    """
    rows = [_of_step(trace, ids, step) if trace and step in trace.steps else None for step in steps]
    activation = [None if row is None else row["activation"] for row in rows]
    known = [np.asarray(row) for row in activation if row is not None]
    scores = np.mean(known, 0) if known else np.zeros(0)
    pooled = [{"step": at, "by_layer": row["pooled"] if row else {}} for at, row in enumerate(rows)]
    return {
        "cross_attention_entropy": _entropies(rows, "cross"),
        "self_attention_entropy": _entropies(rows, "self"),
        "self_attention_entropy_pooled": pooled,
        "mean_token_activation": activation,
        "attention_kl_divergence": _divergences(rows),
        "attention_kl_divergence_by_place": _by_place(trace, steps),
        "token_dominance": {
            "scores": [float(v) for v in scores],
            "ranking": [
                {"token_index": index, "score": float(scores[index])} for index in rank(scores)[:RANKED]
            ],
        },
    }


def _entropies(rows: list[dict[str, Any] | None], kind: str) -> list[dict[str, Any]]:
    nothing = {"mean": None, "by_layer": {}}
    return [{"step": at, **(row[kind] if row else nothing)} for at, row in enumerate(rows)]


def _of_step(trace: AttentionTrace, ids: dict[str, str], step: int) -> dict[str, Any]:
    """The numbers of one step, each layer that ran at it at its own resolution."""
    cross, own, pooled, activations = {}, {}, {}, []
    by_layer = trace.measures.layer_activation[trace.steps.index(step)]
    for layer, activation in zip(trace.cross_layers, by_layer, strict=True):
        if layer.key in ids and trace.holds(step, layer.key):
            cross[ids[layer.key]] = contract_entropy(trace.token_maps(step, layer.key), 0)
            activations.append(activation)
    for layer in trace.self_layers:
        if layer.key in ids and trace.holds(step, layer.key):
            cells = trace.self_maps(step, layer.key)
            count = cells.shape[2] * cells.shape[3]
            value = contract_entropy(cells.reshape(-1, count), 1)
            pooled[ids[layer.key]] = value
            # Of cells that are larger than a place it is another number.
            if _is_native(layer):
                own[ids[layer.key]] = value
    return {
        "cross": {"mean": _mean(cross), "by_layer": cross},
        "self": {"mean": _mean(own), "by_layer": own},
        "pooled": pooled,
        "activation": [float(v) for v in np.mean(activations, 0)] if activations else None,
    }


def _is_native(layer: LayerInfo) -> bool:
    return layer.cells is None or layer.cells == layer.grid


def _mean(values: dict[str, float]) -> float | None:
    return float(np.mean(list(values.values()))) if values else None


def _divergences(rows: list[dict[str, Any] | None]) -> list[float | None]:
    """The divergence of each step from the one before; None where either has none, or not of the same layers."""
    found: list[float | None] = [None] * len(rows)
    for at in range(1, len(rows)):
        now, before = rows[at], rows[at - 1]
        if not now or not before or now["activation"] is None or before["activation"] is None:
            continue
        if now["cross"]["by_layer"].keys() == before["cross"]["by_layer"].keys():
            found[at] = contract_kl(np.array(now["activation"]), np.array(before["activation"]))
    return found


def _by_place(trace: AttentionTrace | None, steps: list[int]) -> list[float | None]:
    # Not of maps that were resampled: what the layers' own maps moved is not known then.
    if trace is None or not trace.cross_layers or measured_on(trace) is not None:
        return [None] * len(steps)
    known = dict(zip(trace.steps, trace.kl(), strict=True))
    return [known.get(step) for step in steps]
