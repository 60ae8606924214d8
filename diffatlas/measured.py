"""What is known of each state of a run: the numbers that every table shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from diffatlas.geometry import path as measures
from diffatlas.geometry.projection import dimensions_for
from diffatlas.glossary import term
from diffatlas.run import Run

#: The metrics of a state, in the order of the tables.
METRICS = (
    "norm",
    "step_length",
    "cosine_to_end",
    "cosine_to_start",
    "distance_to_end",
    "mean",
    "std",
    "min",
    "max",
    "guidance_norm",
    "guidance_angle",
    "between_length",
)
TOTALS = ("path_length", "chord", "straightness", "mean_curvature", "dimensions_95")
NO_GUIDANCE = "Guidance was off, or its two predictions are not known."
AT_THE_END = "Known once the run has ended."


def unseen(provenance: Mapping[str, Any]) -> str | None:
    """Return why nothing is known of how a run came about: "Replicate shows no latents: ..."; else None.

    provenance: of the run. Only a hosted service returns an image alone.
    """
    if not isinstance(hosted := provenance.get("hosted"), Mapping):
        return None
    missing = provenance.get("missing")
    said = missing.get("latents") if isinstance(missing, Mapping) else None
    return str(said or f"{hosted.get('provider') or 'The hosted service'} shows no latents.")


@dataclass(frozen=True)
class Metric:
    """A value of every step: its name in `Step.metrics` and in the glossary, its unit, what to say if absent."""

    name: str
    unit: str = ""
    absent: str = "Not measured in this run."

    def to_dict(self) -> dict[str, str]:
        """With the glossary's label and explanation."""
        words = term(self.name)
        return {**asdict(self), "label": words.name, "about": words.text}


#: What every step carries, in this order.
STEP_METRICS = (
    Metric("norm"),
    Metric("mean"),
    Metric("std"),
    Metric("min"),
    Metric("max"),
    Metric("step_length"),
    Metric("cosine_to_start"),
    Metric("guidance_norm", "", NO_GUIDANCE),
    Metric("guidance_angle", "°", NO_GUIDANCE),
)
#: What only the end of a run can tell.
FINAL_METRICS = (Metric("cosine_to_end", "", AT_THE_END), Metric("distance_to_end", "", AT_THE_END))
#: All of them.
SHOWN = STEP_METRICS + FINAL_METRICS

#: What one state tells of itself.
_OF_A_STATE = {
    "norm": measures.norm,
    "mean": measures.mean,
    "std": measures.std,
    "min": measures.minimum,
    "max": measures.maximum,
}


@dataclass(frozen=True)
class State:
    """One state of the first image of the batch: ``step`` 0 is x_T, step k the state after k steps.

    ``timestep`` and ``sigma_before`` are the timestep and the noise level at which the model was asked on the way here,
    so x_T has none; ``sigma`` is the noise level of the state itself. ``metrics`` holds `METRICS`, None where a value
    is unknown.
    """

    step: int
    timestep: float | None
    sigma_before: float | None
    sigma: float | None
    metrics: dict[str, float | None]


def first_path(run: Run) -> np.ndarray | None:
    """Return the path of the first image, (T + 1, 1, ...), x_T first.

    None where its latents were not captured, or change their shape on the way.
    """
    states = [run.initial_latents, *(step.latents for step in run.steps)]
    starts = [step.start_latents for step in run.steps if step.start_latents is not None]
    if any(state is None for state in states) or len({state.shape[1:] for state in [*states, *starts]}) > 1:
        return None
    return np.stack([state[:1] for state in states])


def first_starts(run: Run) -> list[np.ndarray | None]:
    """Return the states that the steps of the first image's path started from, (1, ...), where they were changed."""
    return [None if step.start_latents is None else step.start_latents[:1] for step in run.steps]


def states(run: Run, path: np.ndarray | None = None) -> list[State]:
    """Return the states of a run, x_T first.

    path: what `first_path` gave, where the caller has it already. A metric that the run stored is taken as it
        is; one that it did not store is computed from the latents and predictions, where they are there.
    """
    path = first_path(run) if path is None else path
    known = _computed(path, first_starts(run)) if path is not None else {}
    first = State(0, None, None, run.initial_sigma, {name: _at(known, name, 0) for name in METRICS})
    found = [first]
    for position, (step, before) in enumerate(zip(run.steps, run.sigmas_before, strict=True), start=1):
        metrics = {name: step.metrics.get(name, _at(known, name, position)) for name in METRICS}
        if step.cond_pred is not None and step.uncond_pred is not None:
            pair = step.cond_pred[:1], step.uncond_pred[:1]
            if metrics["guidance_norm"] is None:
                metrics["guidance_norm"] = float(measures.guidance_norm(*pair)[0])
            if metrics["guidance_angle"] is None:
                metrics["guidance_angle"] = float(measures.guidance_angle(*pair)[0])
        found.append(State(step.index + 1, step.timestep, before, step.sigma, metrics))
    return found


def totals(run: Run, path: np.ndarray | None = None) -> dict[str, float | int | None]:
    """Return `TOTALS` of the first image's path; None for what the run cannot tell."""
    path = first_path(run) if path is None else path
    if path is None or len(path) < 2 or not np.isfinite(path).all():
        return dict.fromkeys(TOTALS)
    starts = first_starts(run)
    return {
        "path_length": float(measures.path_length(path, starts)[0]),
        "chord": float(measures.chord(path)[0]),
        "straightness": float(measures.straightness(path, starts)[0]),
        "mean_curvature": float(measures.mean_curvature(path, starts)[0]) if len(path) > 2 else None,
        "dimensions_95": dimensions_for(path[:, 0], 0.95),
    }


def finite(value: float | None) -> float | None:
    """Return the value, or None for NaN and infinity."""
    return None if value is None or not math.isfinite(value) else value


def _computed(path: np.ndarray, starts: measures.Starts) -> dict[str, Sequence[float | None]]:
    found: dict[str, Sequence[float | None]] = {
        name: [float(measure(state)[0]) for state in path] for name, measure in _OF_A_STATE.items()
    }
    found["cosine_to_start"] = measures.cosines_to_start(path)[:, 0].tolist()
    found["cosine_to_end"] = measures.cosines_to_end(path)[:, 0].tolist()
    found["distance_to_end"] = measures.distances_to_end(path)[:, 0].tolist()
    if len(path) > 1:
        moved = measures.between_lengths(path, starts)[:, 0].tolist()
        found["step_length"] = [None, *measures.step_lengths(path, starts)[:, 0].tolist()]
        found["between_length"] = [
            None,
            *(m if s is not None else None for m, s in zip(moved, starts, strict=True)),
        ]
    return found


def _at(known: dict[str, Sequence[float | None]], name: str, position: int) -> float | None:
    return known[name][position] if name in known else None
