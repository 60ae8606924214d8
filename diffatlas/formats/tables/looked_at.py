"""The attention of one image of a run as it is looked at, in a file: JSON or CSV of its numbers, NPZ of its maps."""

from __future__ import annotations

import csv as csv_writer
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from diffatlas.attention.trace import AttentionTrace
from diffatlas.formats.tables import attended, units
from diffatlas.formats.tables.arrays import add
from diffatlas.formats.tables.runs import ASKED, asked_of, text_cell, written
from diffatlas.library import format as layout
from diffatlas.params import GenerationParams

FORMAT = "diffusion-atlas/attention"
VERSION = 1


def document(run_id: str, params: GenerationParams, trace: AttentionTrace) -> dict[str, Any]:
    """Return what is measured of the layers, image and half that ``trace`` looks at, in plain JSON types.

    Beside what `attended.of_one` returns: ``run`` with its id and parameters, ``image`` (from 0), ``half``, ``steps``
    (S, from 1), and ``units`` by name.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "units": units.units_of((*attended.MEASURES, *ASKED)),
        "run": {"id": run_id, "params": params.to_dict()},
        "image": trace.image,
        "half": trace.half,
        "steps": [step + 1 for step in trace.steps],
        "layers": attended.layers_of(trace),
        **attended.of_one(trace),
    }


def json(run_id: str, params: GenerationParams, trace: AttentionTrace) -> bytes:
    """Return `document` as strict JSON."""
    text = layout.dumps(document(run_id, params, trace), indent=1)
    return (text + "\n").encode("utf-8", "backslashreplace")


def csv(
    run_id: str, params: GenerationParams, columns: Mapping[str, Sequence[Any]], of: Mapping[str, str]
) -> bytes:
    """Return a UTF-8 CSV (RFC 4180) with a row per step: ``columns`` by name, then what was asked, then the units.

    of: the units of those columns that `units.UNITS` does not have.
    """
    asked = [written(value) for value in asked_of(params).values()]
    known = {**units.units_of((*columns, *ASKED)), **of}
    told = "; ".join(f"{name}={unit}" for name, unit in known.items())
    text = io.StringIO()
    writer = csv_writer.writer(text)
    writer.writerow(("run", *map(text_cell, columns), *ASKED, units.COLUMN))
    for values in zip(*columns.values(), strict=True):
        writer.writerow((run_id, *map(written, values), *asked, text_cell(told)))
    return text.getvalue().encode()


def npz(run_id: str, params: GenerationParams, trace: AttentionTrace) -> bytes:
    """Return an NPZ of the maps that ``trace`` looks at, to be read with ``numpy.load(file, allow_pickle=False)``.

    - ``cross/<layer>`` (K, tokens, rows, columns) and ``self/<layer>`` (K, query_row, query_column, key_row,
      key_column), float32, the heads averaged where none was chosen;
    - ``steps/cross/<layer>`` and so on (K,), the steps of its rows, 1 for the first;
    - ``steps`` (S,), ``layers`` (L,) and ``words`` (tokens,), the names of the maps and what each token stands for;
    - ``manifest``, a string: JSON with the run, its parameters, the image and the half.
    """
    file, names = io.BytesIO(), []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for layer in (*trace.cross_layers, *trace.self_layers):
            read = trace.token_maps if layer.kind == "cross" else trace.self_maps
            held = [step for step in trace.steps if trace.holds(step, layer.key)]
            if not held:
                continue
            name = layer.key.replace(":", "/", 1)
            names.append(name)
            add(archive, name, np.stack([read(step, layer.key) for step in held]))
            add(archive, f"steps/{name}", _numbers(held))
        add(archive, "steps", _numbers(trace.steps))
        add(archive, "layers", np.array(names, dtype=np.str_))
        add(archive, "words", np.array([token.text for token in trace.tokens], dtype=np.str_))
        about = {
            "format": FORMAT,
            "version": VERSION,
            "run": {"id": run_id, "params": params.to_dict()},
            "image": trace.image,
            "half": trace.half,
        }
        add(archive, "manifest", np.array(layout.dumps(about).encode("utf-8", "backslashreplace").decode()))
    return file.getvalue()


def _numbers(steps: Iterable[int]) -> np.ndarray:
    return np.array([step + 1 for step in steps], dtype=np.int64)
