"""What a dataset of runs looks like: its tables, their columns, its tensors, its licences.

::

    <dataset>/
      README.md                        the dataset card
      contact_sheet.png                a picture for it, where the runs have pictures
      data/train-00000-of-00002.parquet
      attention/train-....parquet      where the runs have attention and it was asked for
      studies/train-....parquet        where studies go along

One row of ``data`` is a run, or a state of a run (``per="step"``), step 0 the noise x_T. ``manifest``, ``steps_jsonl``
and ``marks`` are the files of the run folder (`diffatlas.library.format`) as they are; with the tensors, the pictures
and the other tables they are all that an import reads. The other columns say the same in types that can be filtered.

One row of ``attention`` is the map of a layer at a step, one of ``studies`` a study. Each table is a configuration of
the dataset on its own, so that whoever looks at the runs does not fetch the maps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas.errors import DiffAtlasError
from diffatlas.measured import TOTALS

#: The version of datasets that is written; those up to it are read. 1 (version 0.1.0) had no table but that of the
#: runs, and said no version.
FORMAT_VERSION = 2
PER = ("run", "step")
CARD = "README.md"
SHEET = "contact_sheet.png"
#: The tables: their folders, and the names of their configurations.
DATA, ATTENTION, STUDIES = "data", "attention", "studies"
CONFIGS = {DATA: "default", ATTENTION: "attention", STUDIES: "studies"}
#: By this tag of its card a dataset is recognised as one of ours.
TAG = "diffusion-atlas"

#: Licences that a dataset may be given: the Hub's identifier and what it means.
LICENCES = {
    "cc0-1.0": "CC0 1.0: no rights reserved",
    "cc-by-4.0": "CC BY 4.0: name the author",
    "cc-by-sa-4.0": "CC BY-SA 4.0: name the author, share alike",
    "cc-by-nc-4.0": "CC BY-NC 4.0: name the author, no commercial use",
    "cc-by-nc-sa-4.0": "CC BY-NC-SA 4.0: name the author, no commercial use, share alike",
    "odc-by": "ODC-By: name the author (for databases)",
    "odbl": "ODbL: name the author, share alike (for databases)",
    "mit": "MIT",
    "apache-2.0": "Apache 2.0",
    "openrail": "OpenRAIL",
    "creativeml-openrail-m": "CreativeML OpenRAIL-M",
    "openrail++": "OpenRAIL++",
    "other": "Another licence, described in the card",
    "unknown": "Unknown",
}

#: What is done so far, 0 to 1, and what is being done.
Progress = Callable[[float, str], None]


class RefusedDataset(DiffAtlasError):
    """A dataset is not imported: it is not one of ours, or it holds what it must not."""

    code = "refused_dataset"


def features(per: str, metrics: Iterable[str]) -> Any:
    """Return the `datasets.Features` of a dataset with one row per ``per`` and these names of metrics.

    The first columns are what a table shows first: a picture, the prompt, the numbers.
    """
    from datasets import Features, Image, List, Value

    number, text = Value("float64"), Value("string")
    asked = {
        "prompt": text,
        "model": text,
        "seed": Value("int64"),
        "num_inference_steps": Value("int32"),
        "guidance_scale": number,
        "scheduler": text,
    }
    asked_too = {
        "negative_prompt": text,
        "width": Value("int32"),
        "height": Value("int32"),
        "num_images_per_prompt": Value("int32"),
        "guidance_method": text,
        "guidance_options": text,
        "noise": text,
    }
    measured = {name: number if per == "step" else List(number) for name in sorted(metrics)}
    # A struct without fields cannot be written.
    metric_columns = {"metrics": measured} if measured else {}
    tensors = {"latents": Value("large_binary"), "predictions": Value("large_binary")}
    kept = {"inputs": List(Image())} | tensors | {"manifest": text, "marks": text, "steps_jsonl": text}
    if per == "step":
        return Features(
            {"run_id": text, "step": Value("int32")}
            | {"preview": Image()}
            | {"timestep": number, "sigma": number, "x0_gain": number}
            | metric_columns
            | asked
            | {"status": text, "created": text}
            | {"image": Image(), "more_images": List(Image()), "more_previews": List(Image())}
            | asked_too
            | kept
        )
    totals = {name: Value("int32") if name == "dimensions_95" else number for name in TOTALS}
    return Features(
        {"run_id": text, "image": Image()}
        | asked
        | totals
        | {"seconds": number, "status": text, "steps": Value("int32"), "total_steps": Value("int32")}
        | {"name": text, "tags": List(text), "note": text, "created": text}
        | {"more_images": List(Image())}
        | asked_too
        | {"initial_sigma": number, "timesteps": List(number), "sigmas": List(number)}
        | metric_columns
        | {"previews": List(Image()), "preview_steps": List(Value("int32"))}
        | kept
    )


def attention_features() -> Any:
    """Return the `datasets.Features` of the table of attention: a row for each map."""
    from datasets import Features, List, Value

    number, text, whole = Value("float64"), Value("string"), Value("int32")
    return Features(
        {"run_id": text, "step": whole, "kind": text, "layer": text, "block": text}
        | {"entropy": number, "entropy_share": number, "heads": whole, "grid": List(whole)}
        | {"words": List(text), "tokens": List(text), "activation": List(number)}
        | {"shape": List(whole), "maps": Value("large_binary")}
    )


def study_features() -> Any:
    """Return the `datasets.Features` of the table of studies."""
    from datasets import Features, Image, List, Value

    text, whole = Value("string"), Value("int32")
    cell = {"cell": text, "lane": text, "row": whole, "column": whole, "label": text, "caption": text}
    cell |= {"status": text, "run_id": text}
    return Features(
        {"study_id": text, "operation": text, "title": text, "created": text, "status": text}
        | {"runs": List(text), "cells": List(cell)}
        | {"image_cells": List(text), "images": List(Image())}
        | {"locked": Value("bool"), "study": text}
    )


#: The columns that an import reads, of each kind of dataset; the kinds are told apart by ``step``.
RUN_COLUMNS = (
    "run_id",
    "manifest",
    "marks",
    "steps_jsonl",
    "image",
    "more_images",
    "previews",
    "latents",
    "predictions",
)
STEP_COLUMNS = (
    "run_id",
    "step",
    "manifest",
    "marks",
    "steps_jsonl",
    "image",
    "more_images",
    "preview",
    "more_previews",
    "latents",
    "predictions",
)
#: The columns of each table that are looked for, the first of them that are all there. The pictures that a run was
#: given are in no dataset of version 0.1.0.
COLUMNS = {
    DATA: ((*STEP_COLUMNS, "inputs"), (*RUN_COLUMNS, "inputs"), STEP_COLUMNS, RUN_COLUMNS),
    ATTENTION: (("run_id", "step", "kind", "layer", "maps"),),
    STUDIES: (("study_id", "study", "locked", "image_cells", "images"),),
}


#: The arrays of a step that are states; the others are predictions, and lie in a column of their own.
STATES = ("latents", "start_latents")


def data_file(folder: Path, table: str, index: int, count: int) -> Path:
    """Return the path of one of the ``count`` Parquet files of a table, as the Hub names them."""
    return folder / table / f"train-{index:05d}-of-{count:05d}.parquet"


def pack(entries: Iterable[tuple[str, int, np.ndarray]]) -> bytes | None:
    """Return arrays (name, step, array) as safetensors, those of a name stacked; None where there are none.

    ``metadata["steps"]`` is JSON: for each tensor the steps of its rows (0 is x_T, k the state after step k).
    Arrays of a name whose dtype or shape differs from the first are stacked apart, as ``<name>.2`` and so on.
    """
    from safetensors.numpy import save

    groups: dict[tuple[str, str, tuple[int, ...]], list[tuple[int, np.ndarray]]] = {}
    for name, step, array in entries:
        groups.setdefault((name, array.dtype.str, array.shape), []).append((step, array))
    tensors: dict[str, np.ndarray] = {}
    steps: dict[str, list[int]] = {}
    for (name, _, _), rows in groups.items():
        number = sum(key.split(".")[0] == name for key in tensors) + 1
        key = name if number == 1 else f"{name}.{number}"
        tensors[key] = np.stack([array for _, array in rows])
        steps[key] = [step for step, _ in rows]
    return save(tensors, metadata={"steps": json.dumps(steps)}) if tensors else None


def one_line(text: object) -> str:
    """Return untrusted text for a message or a card: on one line, nothing in it that does not show."""
    shown = (c if c.isprintable() else " " if c.isspace() else "" for c in str(text))
    return " ".join("".join(shown).split())
