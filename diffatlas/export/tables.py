"""Tables of layers: CSV for a spreadsheet, JSON for a program. No latents; `arrays` has those."""

from __future__ import annotations

import csv as csv_writer
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from diffatlas.export import measured
from diffatlas.export.measured import METRICS, finite
from diffatlas.export.named import Named, plain
from diffatlas.library import format as layout

COLUMNS = ("layer", "run", "step", "timestep", "sigma", *METRICS)
FORMAT = "diffusion-atlas/layers"
VERSION = 1
#: A cell that begins so is read as a formula by some spreadsheet.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def csv(runs: Sequence[Named]) -> bytes:
    """Return a UTF-8 CSV (RFC 4180) grouped by layer: a row per state, step 0 the noise x_T.

    Numbers are written in full, as Python's shortest spelling that reads back to the same float64; a value that
    is unknown is an empty cell. A name that a spreadsheet would read as a formula gets an apostrophe before it.
    """
    text = io.StringIO()
    writer = csv_writer.writer(text)
    writer.writerow(COLUMNS)
    for entry in runs:
        name, run_id = text_cell(entry.name), text_cell(entry.run.id)
        for state in measured.states(entry.run):
            values = (state.timestep, state.sigma, *(state.metrics[metric] for metric in METRICS))
            writer.writerow(
                (name, run_id, state.step, *("" if v is None else repr(float(v)) for v in values))
            )
    return text.getvalue().encode()


def json(runs: Sequence[Named]) -> bytes:
    """Return strict JSON: per layer what was asked, what it ran on, totals, and the states with their numbers.

    Numbers are numbers, null where a value is unknown or not finite. In `provenance`, whose numbers may be
    settings, non-finite ones are the strings "NaN", "Infinity" and "-Infinity", as in a stored run.
    """
    document = {"format": FORMAT, "version": VERSION, "layers": [_layer(entry) for entry in runs]}
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
                "sigma": finite(state.sigma),
                **{name: finite(value) for name, value in state.metrics.items()},
            }
            for state in measured.states(entry.run, path)
        ],
    }


def text_cell(text: str) -> str:
    """Return text as a cell that no spreadsheet takes for a formula."""
    text = plain(text)
    return f"'{text}" if text.startswith(_FORMULA) else text
