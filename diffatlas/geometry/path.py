"""Measures of a path through latent space.

Every function takes NumPy arrays whose first axis is the batch (B) and treats the rest as one flat vector of
D numbers; it computes in float64 and returns float64 of shape (B,). A *path* is the stack of its states,
x_T first: (T + 1, B, ...), as `Run.latents` gives it.

A zero vector counts as orthogonal to everything: its cosine is 0 and its angle 90 degrees, so no measure of
finite latents is NaN.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np


def norm(x: np.ndarray) -> np.ndarray:
    """L2 norm ||x||."""
    return _length(_flat(x))


def mean(x: np.ndarray) -> np.ndarray:
    """Mean of the D numbers."""
    return _flat(x).mean(axis=1)


def std(x: np.ndarray) -> np.ndarray:
    """Population standard deviation of the D numbers (divided by D)."""
    return _flat(x).std(axis=1)


def minimum(x: np.ndarray) -> np.ndarray:
    """Smallest of the D numbers."""
    return _flat(x).min(axis=1)


def maximum(x: np.ndarray) -> np.ndarray:
    """Largest of the D numbers."""
    return _flat(x).max(axis=1)


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distance ||a - b||; between two neighbouring states it is the step length."""
    return _length(_flat(a) - _flat(b))


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of the angle between two vectors, <a, b> / (||a|| ||b||), in [-1, 1]."""
    a, b = _flat(a), _flat(b)
    lengths = _length(a) * _length(b)
    dots = np.einsum("bd,bd->b", a, b)
    return np.clip(dots / np.where(lengths > 0, lengths, 1.0), -1.0, 1.0)


def angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle between two vectors in degrees, [0, 180]; exact near 0 and 180, where an arc cosine is not.

    2 atan2(||u - v||, ||u + v||) of the unit vectors (Kahan 2006, "How Futile are Mindless Assessments of
    Roundoff in Floating-Point Computation?", section 12).
    """
    a, b = _flat(a), _flat(b)
    lengths = np.stack([_length(a), _length(b)])
    u, v = (x / np.where(n > 0, n, 1.0)[:, None] for x, n in zip((a, b), lengths, strict=True))
    angles = np.degrees(2 * np.arctan2(_length(u - v), _length(u + v)))
    return np.where((lengths > 0).all(0), angles, 90.0)


def guidance_norm(cond_pred: np.ndarray, uncond_pred: np.ndarray) -> np.ndarray:
    """Norm of the guidance vector, ||cond - uncond|| (Ho and Salimans 2022, arXiv 2207.12598)."""
    return distance(cond_pred, uncond_pred)


def guidance_angle(cond_pred: np.ndarray, uncond_pred: np.ndarray) -> np.ndarray:
    """Angle in degrees between the guidance vector cond - uncond and the conditional prediction."""
    guidance = _flat(cond_pred) - _flat(uncond_pred)
    return np.degrees(np.arccos(cosine(guidance, cond_pred)))


def step_lengths(path: np.ndarray) -> np.ndarray:
    """Length of each step, ||x_k - x_(k-1)||: (T, B)."""
    return np.stack([distance(b, a) for a, b in pairwise(path)])


def cosines_to_previous(path: np.ndarray) -> np.ndarray:
    """Cosine of each state after a step to the state before it: (T, B)."""
    return np.stack([cosine(b, a) for a, b in pairwise(path)])


def cosines_to_start(path: np.ndarray) -> np.ndarray:
    """Cosine of each state to the first one: (T + 1, B)."""
    return np.stack([cosine(x, path[0]) for x in path])


def cosines_to_end(path: np.ndarray) -> np.ndarray:
    """Cosine of each state to the last one: (T + 1, B)."""
    return np.stack([cosine(x, path[-1]) for x in path])


def distances_to_end(path: np.ndarray) -> np.ndarray:
    """Euclidean distance of each state to the last one: (T + 1, B)."""
    return np.stack([distance(x, path[-1]) for x in path])


def distances_to_start(path: np.ndarray) -> np.ndarray:
    """Euclidean distance of each state to the first one: (T + 1, B)."""
    return np.stack([distance(x, path[0]) for x in path])


def path_length(path: np.ndarray) -> np.ndarray:
    """Sum of the step lengths: (B,)."""
    return step_lengths(path).sum(axis=0)


def chord(path: np.ndarray) -> np.ndarray:
    """Straight distance from the first state to the last, ||x_end - x_start||: (B,)."""
    return distance(path[-1], path[0])


def straightness(path: np.ndarray) -> np.ndarray:
    """Chord over path length, ||x_end - x_start|| / path_length, in [0, 1]; 1 for a path that never moves."""
    length = path_length(path)
    chord = distance(path[-1], path[0])
    return np.where(length > 0, chord / np.where(length > 0, length, 1.0), 1.0)


def curvatures(path: np.ndarray) -> np.ndarray:
    """Turning angle in degrees between each step and the next: (T - 1, B).

    0 goes straight on, 90 turns off at a right angle, 180 goes back. These are the exterior angles of the
    polygon of states, whose sum is its total curvature (Milnor 1950). A step of length 0 has no direction and
    counts as no turn.
    """
    path = np.asarray(path)
    if len(path) < 3:
        return np.zeros((0, path.shape[1]))
    turns = []
    before = _flat(path[1]) - _flat(path[0])
    for start, end in pairwise(path[1:]):
        after = _flat(end) - _flat(start)
        moved = (_length(before) > 0) & (_length(after) > 0)
        turns.append(np.where(moved, angle(before, after), 0.0))
        before = after
    return np.stack(turns)


def mean_curvature(path: np.ndarray) -> np.ndarray:
    """Mean turning angle in degrees (`curvatures`): (B,); 0 for a path of fewer than two steps."""
    turns = curvatures(path)
    return turns.mean(0) if len(turns) else np.zeros(turns.shape[1])


def step_metrics(
    latents: np.ndarray,
    previous: np.ndarray,
    start: np.ndarray,
    cond_pred: np.ndarray | None = None,
    uncond_pred: np.ndarray | None = None,
) -> dict[str, float]:
    """Return the metrics of one step for the first image of the batch: what `Step.metrics` holds.

    latents, previous, start: the state after this step, the recorded state before it, and x_T, (B, ...).
    cond_pred, uncond_pred: the two predictions where guidance ran; without them the two guidance metrics
        are absent.

    `cosine_to_end` joins them when the run ends (`cosines_to_end`).
    """
    # One float64 copy of each array serves every measure: this runs at each step of a live run.
    x, before, first = (np.asarray(a[:1], dtype=np.float64) for a in (latents, previous, start))
    metrics = {
        "norm": norm(x),
        "mean": mean(x),
        "std": std(x),
        "min": minimum(x),
        "max": maximum(x),
        "step_length": distance(x, before),
        "cosine_to_previous": cosine(x, before),
        "cosine_to_start": cosine(x, first),
    }
    if cond_pred is not None and uncond_pred is not None:
        metrics["guidance_norm"] = guidance_norm(cond_pred[:1], uncond_pred[:1])
        metrics["guidance_angle"] = guidance_angle(cond_pred[:1], uncond_pred[:1])
    return {name: float(value[0]) for name, value in metrics.items()}


def _flat(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    return x.reshape(len(x), -1)


def _length(x: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("bd,bd->b", x, x))
