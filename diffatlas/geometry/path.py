"""Measures of a path through latent space.

Every function takes NumPy arrays whose first axis is the batch (B) and treats the rest as one flat vector of
D numbers; it computes in float64 and returns float64 of shape (B,). A *path* is the stack of its states,
x_T first: (T + 1, B, ...), as `Run.latents` gives it. *Starts* are the states that its T steps started from, None for
one that started where the step before ended, as `Step.start_latents` has them; without them every step did.

A zero vector counts as orthogonal to everything: its cosine is 0 and its angle 90 degrees, so no measure of
finite latents is NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

Starts = Sequence[np.ndarray | None]


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


def steps_of(path: np.ndarray, starts: Starts | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (the state that a step started from, the state after it), each (B, ...), of every step of a path."""
    for k in range(1, len(path)):
        start = None if starts is None else starts[k - 1]
        yield path[k - 1] if start is None else start, path[k]


def step_lengths(path: np.ndarray, starts: Starts | None = None) -> np.ndarray:
    """Length of each step, from the state that it started from to the one after it: (T, B)."""
    return np.stack([distance(end, start) for start, end in steps_of(path, starts)])


def between_lengths(path: np.ndarray, starts: Starts | None = None) -> np.ndarray:
    """How far the latents were moved before each step, by other than a step: (T, B); 0 where they were not."""
    moved = np.zeros((len(path) - 1, np.shape(path)[1]))
    for k, start in enumerate(starts or ()):
        if start is not None:
            moved[k] = distance(start, path[k])
    return moved


def cosines_to_previous(path: np.ndarray, starts: Starts | None = None) -> np.ndarray:
    """Cosine of each state after a step to the state that the step started from: (T, B)."""
    return np.stack([cosine(end, start) for start, end in steps_of(path, starts)])


def cosines_to_start(path: np.ndarray) -> np.ndarray:
    """Cosine of each state to the first one: (T + 1, B)."""
    return np.stack([cosine(x, path[0]) for x in path])


def cosines_to_end(path: np.ndarray) -> np.ndarray:
    """Cosine of each state to the last one: (T + 1, B)."""
    return np.stack([cosine(x, path[-1]) for x in path])


def cosines_of_first(states: Sequence[np.ndarray]) -> list[float]:
    """Return `cosines_to_end` of the first image of states (B, ...), a path in a list."""
    end = State.of(states[-1])
    return [_cosine(State.of(x), end) for x in states]


def distances_to_end(path: np.ndarray) -> np.ndarray:
    """Euclidean distance of each state to the last one: (T + 1, B)."""
    return np.stack([distance(x, path[-1]) for x in path])


def distances_to_start(path: np.ndarray) -> np.ndarray:
    """Euclidean distance of each state to the first one: (T + 1, B)."""
    return np.stack([distance(x, path[0]) for x in path])


def path_length(path: np.ndarray, starts: Starts | None = None) -> np.ndarray:
    """Sum of the step lengths: (B,). What was moved between the steps is in none of them."""
    return step_lengths(path, starts).sum(axis=0)


def chord(path: np.ndarray) -> np.ndarray:
    """Straight distance from the first state to the last, ||x_end - x_start||: (B,)."""
    return distance(path[-1], path[0])


def straightness(path: np.ndarray, starts: Starts | None = None) -> np.ndarray:
    """Chord over path length, ||x_end - x_start|| / path_length, in [0, 1]; 1 for a path that never moves.

    What was moved between the steps counts as a part of the way here, so that no chord is longer than its way.
    """
    length = path_length(path, starts)
    if starts is not None:
        length = length + between_lengths(path, starts).sum(axis=0)
    chord = distance(path[-1], path[0])
    return np.where(length > 0, chord / np.where(length > 0, length, 1.0), 1.0)


def curvatures(path: np.ndarray, starts: Starts | None = None) -> np.ndarray:
    """Turning angle in degrees between each step and the next: (T - 1, B).

    0 goes straight on, 90 turns off at a right angle, 180 goes back. These are the exterior angles of the
    polygon of states, whose sum is its total curvature (Milnor 1950). A step of length 0 has no direction and
    counts as no turn.
    """
    path = np.asarray(path)
    if len(path) < 3:
        return np.zeros((0, path.shape[1]))
    turns = []
    before: np.ndarray | None = None
    for start, end in steps_of(path, starts):
        after = _flat(end) - _flat(start)
        if before is not None:
            moved = (_length(before) > 0) & (_length(after) > 0)
            turns.append(np.where(moved, angle(before, after), 0.0))
        before = after
    return np.stack(turns)


def mean_curvature(path: np.ndarray, starts: Starts | None = None) -> np.ndarray:
    """Mean turning angle in degrees (`curvatures`): (B,); 0 for a path of fewer than two steps."""
    turns = curvatures(path, starts)
    return turns.mean(0) if len(turns) else np.zeros(turns.shape[1])


@dataclass(frozen=True)
class State:
    """The first image of a state as `step_metrics` takes it: measured once, for all steps that it is part of.

    shape: (1, ...) of the state. numbers: (1, D), float64. length: their L2 norm.
    """

    shape: tuple[int, ...]
    numbers: np.ndarray
    length: float

    @classmethod
    def of(cls, state: np.ndarray | State) -> State:
        """Return it of a state (B, ...); one that is made already is returned as it is."""
        if isinstance(state, State):
            return state
        numbers = _flat(state[:1])
        return cls(state[:1].shape, numbers, float(_length(numbers)[0]))


def step_metrics(
    latents: np.ndarray | State,
    start: np.ndarray | State,
    first: np.ndarray | State,
    cond_pred: np.ndarray | None = None,
    uncond_pred: np.ndarray | None = None,
    before: np.ndarray | State | None = None,
) -> dict[str, float]:
    """Return the metrics of one step for the first image of the batch: what `Step.metrics` holds.

    latents, start, first: the state after this step, the state that it started from, and x_T, (B, ...), or what
        `State.of` returns of one.
    cond_pred, uncond_pred: the two predictions where guidance ran; without them the two guidance metrics
        are absent.
    before: the state that the step before left, where that is not ``start``: "between_length" then says how far the
        latents were moved between the two steps (by a callback, a mask, a view).

    What compares states of two shapes, of a pipeline that changes its size on the way, is absent. `cosine_to_end` joins
    the metrics when the run ends (`cosines_to_end`).
    """
    # The sums and their order are those of the functions above, so that the values are theirs to the last bit; what
    # several of them need is computed once, since this runs at each step of a live run.
    after, start, first = State.of(latents), State.of(start), State.of(first)
    x = after.numbers
    average = x.mean(axis=1, keepdims=True)
    metrics = {
        "norm": after.length,
        "mean": float(average[0, 0]),
        "std": float(x.std(axis=1, mean=average)[0]),
        "min": float(x.min()),
        "max": float(x.max()),
    }
    if after.shape == start.shape:
        metrics["step_length"] = float(_length(x - start.numbers)[0])
        metrics["cosine_to_previous"] = _cosine(after, start)
    if after.shape == first.shape:
        metrics["cosine_to_start"] = _cosine(after, first)
    if before is not None and (left := State.of(before)).shape == start.shape:
        metrics["between_length"] = float(_length(start.numbers - left.numbers)[0])
    if cond_pred is not None and uncond_pred is not None:
        cond = State.of(cond_pred)
        numbers = cond.numbers - _flat(uncond_pred[:1])
        guidance = State(cond.shape, numbers, float(_length(numbers)[0]))
        metrics["guidance_norm"] = guidance.length
        metrics["guidance_angle"] = float(np.degrees(np.arccos(_cosine(guidance, cond))))
    return metrics


def _cosine(a: State, b: State) -> float:
    """Return `cosine` of two states, whose norms are known."""
    dot = float(np.einsum("bd,bd->b", a.numbers, b.numbers)[0])
    return min(max(dot / (a.length * b.length or 1.0), -1.0), 1.0)


def _flat(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    return x.reshape(len(x), -1)


def _length(x: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("bd,bd->b", x, x))
