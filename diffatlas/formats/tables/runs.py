"""Tables of layers: CSV for a spreadsheet, JSON for a program. No latents and no maps; `arrays` has those."""

from __future__ import annotations

import csv as csv_writer
import io
import json as json_writer
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from diffatlas import measured
from diffatlas.formats.named import Named, plain
from diffatlas.formats.tables import attended, units
from diffatlas.library import format as layout
from diffatlas.measured import METRICS, finite
from diffatlas.params import GenerationParams
from diffatlas.request import ARGUMENTS, FIELDS, LORAS, NOISE, OPTIONS, PICTURES, Field, in_order
from diffatlas.stopping import look

#: What was asked of a run: each field of `GenerationParams`, the noise in four.
ASKED = tuple(
    column
    for field in in_order(
        "model", "prompt", "negative_prompt", "seed", "num_inference_steps", "guidance_scale", "guidance_method",
        "guidance_options", "scheduler", "size",
    )
    for column in field.columns
)  # fmt: skip
_OF_A_STATE = ("step", "timestep", "sigma_before", "sigma", *METRICS)
COLUMNS = ("layer", "run", *_OF_A_STATE, *ASKED, units.COLUMN)
FORMAT = "diffusion-atlas/layers"
VERSION = 1
#: The numbers of a run itself.
_OF_A_RUN = ("seconds", "initial_sigma", "total_steps")
#: How values that are more than a number or a text are written, by the kind of their field.
_WRITTEN = {
    OPTIONS: lambda options: " ".join(f"{name}={value!r}" for name, value in options.items()),
    LORAS: lambda loras: "; ".join(f"{lora.path} at {lora.weight!r}" for lora in loras),
    ARGUMENTS: lambda extra: json_writer.dumps(dict(extra), ensure_ascii=False),
    PICTURES: lambda inputs: "; ".join(f"{one.name} {one.sha256}" for one in inputs),
}
#: A cell that begins so is read as a formula by some spreadsheet.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def csv(runs: Sequence[Named]) -> bytes:
    """Return a UTF-8 CSV (RFC 4180) grouped by layer: a row per state, step 0 the noise x_T, with what was asked.

    ``timestep`` and ``sigma_before`` are those at which the model was asked on the way to the state, ``sigma`` the
    noise level of the state itself. Numbers are written in full, as Python's shortest spelling that reads back to the
    same float64; a value that is unknown is an empty cell. A name that a spreadsheet would read as a formula gets an
    apostrophe before it. The last column says the unit of each of the others that is a number.
    """
    text, of_all = io.StringIO(), units.units_cell(COLUMNS)
    writer = csv_writer.writer(text)
    writer.writerow(COLUMNS)
    for entry in runs:
        look()
        name, run_id = text_cell(entry.name), text_cell(entry.run.id)
        asked = [written(value) for value in asked_of(entry.run.params).values()]
        for state in measured.states(entry.run):
            values = (
                state.timestep,
                state.sigma_before,
                state.sigma,
                *(state.metrics[metric] for metric in METRICS),
            )
            writer.writerow(
                (
                    name,
                    run_id,
                    state.step,
                    *("" if v is None else repr(float(v)) for v in values),
                    *asked,
                    of_all,
                )
            )
    return text.getvalue().encode()


def json(runs: Sequence[Named]) -> bytes:
    """Return strict JSON: per layer what was asked, what it ran on, totals, the states with their numbers, and what
    is measured of its attention (`diffatlas.formats.tables.attended.measured`), null where none was captured.

    ``units`` at the top has the unit of each number by its name.
    Numbers are numbers, null where a value is unknown or not finite. In `provenance`, whose numbers may be
    settings, non-finite ones are the strings "NaN", "Infinity" and "-Infinity", as in a stored run.
    """
    document = {
        "format": FORMAT,
        "version": VERSION,
        "units": units.units_of((*_OF_A_STATE, *measured.TOTALS, *_OF_A_RUN, *ASKED, *attended.MEASURES)),
        "layers": [_layer(entry) for entry in runs],
    }
    # A lone surrogate becomes the escape by which JSON spells it.
    return (layout.dumps(document, indent=1) + "\n").encode("utf-8", "backslashreplace")


def described(run: Any) -> dict[str, Any]:
    """Return what a run is, without its steps: plain JSON types."""
    return {
        "id": run.id,
        "status": run.status,
        "created": run.created,
        "seconds": finite(run.seconds),
        "error": run.error,
        "params": run.params.to_dict(),
        "initial_sigma": finite(run.initial_sigma),
        "total_steps": run.total_steps,
        "latent_shape": None if run.initial_latents is None else list(np.shape(run.initial_latents)[1:]),
        "capture": run.capture,
        "provenance": run.provenance,
    }


def _layer(entry: Named) -> dict[str, Any]:
    path = measured.first_path(entry.run)
    return {
        "name": entry.name,
        "colour": entry.colour,
        "run": described(entry.run),
        "totals": {name: finite(value) for name, value in measured.totals(entry.run, path).items()},
        "steps": [
            {
                "step": state.step,
                "timestep": finite(state.timestep),
                "sigma_before": finite(state.sigma_before),
                "sigma": finite(state.sigma),
                **{name: finite(value) for name, value in state.metrics.items()},
            }
            for state in measured.states(entry.run, path)
        ],
        "attention": attended.measured(entry.run),
    }


def asked_of(params: GenerationParams) -> dict[str, Any]:
    """Return what was asked of a run by the names of `ASKED`; None where it was not asked for.

    Options are "eta=0.5 norm=10.0", further arguments JSON; of pictures there is the name and the SHA-256.
    """
    cells = {column: cell for field in FIELDS for column, cell in _cells(field, params).items()}
    return {name: cells[name] for name in ASKED}


def _cells(field: Field, params: GenerationParams) -> dict[str, Any]:
    """Return what was asked of one field, by column."""
    values = [getattr(params, part) for part in field.parts]
    if field.kind == NOISE:
        noise = values[0]
        values = [noise and getattr(noise, name) for name in ("kind", "seed", "amount", "step")]
    elif field.kind in _WRITTEN:
        values = [_WRITTEN[field.kind](value) if value else None for value in values]
    return dict(zip(field.columns, values, strict=True))


def written(value: Any) -> str:
    """Return a value as a cell: numbers in full, what is unknown empty, and no text that could be a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ""
    return str(value) if isinstance(value, int) else text_cell(str(value))


def text_cell(text: str) -> str:
    """Return text as a cell that no spreadsheet takes for a formula."""
    text = plain(text)
    return f"'{text}" if text.startswith(_FORMULA) else text
