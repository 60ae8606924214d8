"""The unit of every number in a table.

A CSV has plain names as its heads, so that a program reads them without more ado, and the units in its last column,
`COLUMN`, the same in every row: they stay with rows that are sorted, chosen or put together with others.
"""

from __future__ import annotations

from collections.abc import Iterable

COLUMN = "units"
#: Of what is counted, of numbers that name something, and of ratios, cosines and shares.
NONE = "none"
LATENT = "latent units"
DEGREES = "degrees"
NATS = "nats"
_SCHEDULER = "the scheduler's own"
#: The unit of each number that a table of runs, of studies or of attention may hold, by its name there.
UNITS = {
    # Of a state.
    "step": NONE,
    "timestep": _SCHEDULER,
    "sigma_before": _SCHEDULER,
    "sigma": _SCHEDULER,
    "initial_sigma": _SCHEDULER,
    **dict.fromkeys(
        ("norm", "step_length", "distance_to_end", "mean", "std", "min", "max", "guidance_norm", "between_length"),
        LATENT,
    ),
    "cosine_to_end": NONE,
    "cosine_to_start": NONE,
    "guidance_angle": DEGREES,
    # Of a run.
    "path_length": LATENT,
    "chord": LATENT,
    "straightness": NONE,
    "mean_curvature": DEGREES,
    "dimensions_95": NONE,
    "seconds": "seconds",
    "total_steps": NONE,
    # Of what was asked.
    **dict.fromkeys(
        ("seed", "num_inference_steps", "guidance_scale", "num_images_per_prompt", "noise_seed", "noise_amount",
         "noise_step"),
        NONE,
    ),
    "width": "pixels",
    "height": "pixels",
    # Of a study's cell: distances are parts of a norm, of bits or of a range, as its definitions say.
    **dict.fromkeys(("row", "column", "value"), NONE),
    **dict.fromkeys(
        (f"{of}_{name}" for of in ("drift", "distance") for name in ("hash", "latent", "image", "feature", "start")),
        NONE,
    ),
    **dict.fromkeys(("parting", "basin", "saturation", "luma_std", "clipped"), NONE),
    "guidance_norm_mean": LATENT,
    "guidance_angle_mean": DEGREES,
    "latent_max": LATENT,
    **dict.fromkeys((f"map_{of}_{axis}" for of in ("latent", "image") for axis in "xy"), NONE),
    # Of a bench.
    **dict.fromkeys(
        ("atoms", "number", "score", "counted", "correct", "low", "high", "level", "images", "prompts", "any_correct",
         "correlation", "design_effect", "effective", "unjudged"),
        NONE,
    ),
    # Of attention.
    **dict.fromkeys(("entropy", "self_entropy", "reallocation"), NATS),
    "activation": NONE,
    "dominance": NONE,
    "share": NONE,
    "uniform": NONE,
}  # fmt: skip


def units_of(names: Iterable[str]) -> dict[str, str]:
    """Return the unit of each of these that is a number; what is not among `UNITS` is text, or yes or no."""
    return {name: UNITS[name] for name in names if name in UNITS}


def units_cell(names: Iterable[str]) -> str:
    """Return the same as the text of a cell: "norm=latent units; guidance_angle=degrees"."""
    return "; ".join(f"{name}={unit}" for name, unit in units_of(names).items())
