"""What a dataset of runs looks like: its columns, its tensors, its licences.

::

    <dataset>/
      README.md                        the dataset card
      contact_sheet.png                a picture for it, where the runs have pictures
      data/train-00000-of-00002.parquet

One row is a run, or a state of a run (``per="step"``), step 0 the noise x_T. ``manifest``, ``steps_jsonl`` and
``marks`` are the files of the run folder (`diffatlas.library.format`) as they are; with the tensors and the
pictures they are all that an import reads. The other columns say the same in types that can be filtered.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas.errors import DiffAtlasError

PER = ("run", "step")
CARD = "README.md"
SHEET = "contact_sheet.png"
DATA = "data"
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
    """Return the `datasets.Features` of a dataset with one row per ``per`` and these names of metrics."""
    from datasets import Features, Image, List, Value

    number, text = Value("float64"), Value("string")
    asked = {
        "model": text,
        "prompt": text,
        "negative_prompt": text,
        "seed": Value("int64"),
        "num_inference_steps": Value("int32"),
        "guidance_scale": number,
        "width": Value("int32"),
        "height": Value("int32"),
        "scheduler": text,
        "num_images_per_prompt": Value("int32"),
    }
    pictures = {"image": Image(), "more_images": List(Image())}
    measured = {name: number if per == "step" else List(number) for name in sorted(metrics)}
    # A struct without fields cannot be written.
    metric_columns = {"metrics": measured} if measured else {}
    tensors = {"latents": Value("large_binary"), "predictions": Value("large_binary")}
    if per == "step":
        return Features(
            {"run_id": text, "step": Value("int32")}
            | {"preview": Image(), "more_previews": List(Image())}
            | {"timestep": number, "sigma": number, "x0_gain": number}
            | metric_columns
            | asked
            | {"status": text, "created": text}
            | pictures
            | tensors
            | {"manifest": text, "marks": text, "steps_jsonl": text}
        )
    return Features(
        {"run_id": text}
        | pictures
        | asked
        | {"name": text, "tags": List(text), "note": text}
        | {"status": text, "created": text, "steps": Value("int32"), "total_steps": Value("int32")}
        | {"seconds": number, "initial_sigma": number}
        | {"timesteps": List(number), "sigmas": List(number)}
        | metric_columns
        | {"previews": List(Image()), "preview_steps": List(Value("int32"))}
        | tensors
        | {"manifest": text, "marks": text, "steps_jsonl": text}
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


#: The arrays of a step that are states; the others are predictions, and lie in a column of their own.
STATES = ("latents", "start_latents")


def data_file(folder: Path, index: int, count: int) -> Path:
    """Return the path of one of the ``count`` Parquet files, as the Hub names them."""
    return folder / DATA / f"train-{index:05d}-of-{count:05d}.parquet"


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
