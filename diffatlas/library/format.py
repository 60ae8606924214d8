"""The folder of a run, and how its JSON is spelled.

::

    <run id>/
      manifest.json              params, status, provenance, capture, error; no arrays
      steps.jsonl                a line per step: index, timestep, sigma, metrics, x0_gain
      initial.safetensors        initial_latents
      steps/step_0003.safetensors    latents, noise_pred, cond_pred, uncond_pred, x0_pred; start_latents where the
                                 latents were changed before the step; other_preds/<what it was made with>
      steps/step_0003.attention.safetensors   a map for each layer, "<kind>:<layer>"; where it was captured
      previews/step_0003_00.png  one per image of the batch
      images/image_00.png        the final images
      inputs/input_00.png        the pictures that the run was given, in the order of ``params.inputs``; where it was
      marks.json                 name, tags, note, locked: what a person said of the run (`marks`); optional

Each file but ``steps.jsonl`` is written under a temporary name and renamed, so that it is whole or absent.
A line of ``steps.jsonl`` is written after the files of its step: a step that is listed can be read. A last
line that is cut short (the process was killed while writing it) is no step.

Pictures are PNG: lossless, and cheaper to write than lossless WebP. JSON has no NaN: non-finite numbers are
the strings "NaN", "Infinity" and "-Infinity".
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffatlas.described import number as check_number
from diffatlas.library import leftovers

if TYPE_CHECKING:
    import numpy as np

    from diffatlas.events import Step

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
MARKS = "marks.json"
STEPS = "steps.jsonl"
INITIAL = "initial.safetensors"

#: What of attention a run's capture may ask for, besides none.
ATTENTION = ("cross", "self", "all")

#: The arrays of a `Step` that are stored as tensors.
STEP_ARRAYS = ("latents", "noise_pred", "cond_pred", "uncond_pred", "x0_pred", "start_latents")
#: Before the name of one of `Step.other_preds`, among the tensors of a step.
OTHER_PREDS = "other_preds/"
#: At most so many of them a step may have, and how they are called.
MOST_OTHER_PREDS = 8
_OTHER_PRED = re.compile(re.escape(OTHER_PREDS) + r"[a-z][a-z0-9_]{0,31}")

#: Tokens of the runs that this process is writing now.
WRITING: set[str] = set()

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


@dataclass(frozen=True)
class RunInfo:
    """What a list of runs shows, read from the manifest and the marks, without an array.

    ``status`` is "complete", "stopped", "failed", "running" (its process is alive), "partial" (its process
    died) or "damaged" (it cannot be read).
    """

    id: str
    status: str
    created: str = ""
    model: str = ""
    prompt: str = ""
    seed: int | None = None
    #: Steps done, and steps that the run was to take.
    steps: int = 0
    total_steps: int | None = None
    #: What is wrong with a failed or damaged run, or with its marks.
    error: str | None = None
    #: What a person said of it: `diffatlas.library.marks`.
    name: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""
    #: Never evicted.
    locked: bool = False
    #: What its files take on the disk.
    bytes: int = 0
    #: The operation that made it.
    kind: str = "trace"
    guidance_scale: float | None = None
    scheduler: str | None = None
    width: int | None = None
    height: int | None = None
    #: When it was last used, in UTC, ISO 8601: as the index knows, else when its manifest was written.
    used: str = ""
    #: What decides its result, as one hash; None for a run that was recorded without.
    key: str | None = None
    #: What of attention was captured: one of `ATTENTION`, "" for none.
    attention: str = ""


def is_run_id(value: str) -> bool:
    """Whether ``value`` may name a run: no separators, no dots, nothing that leaves the library's folder."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def is_step_array(name: str) -> bool:
    """Whether a tensor of a step may be called so."""
    return name in STEP_ARRAYS or _OTHER_PRED.fullmatch(name) is not None


def arrays_of(step: Step) -> dict[str, np.ndarray]:
    """Return the arrays of a step that are stored as tensors, by their names there."""
    arrays = {name: getattr(step, name) for name in STEP_ARRAYS}
    arrays |= {OTHER_PREDS + name: array for name, array in step.other_preds.items()}
    return {name: array for name, array in arrays.items() if array is not None}


def fields_of(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the fields of a `Step` that the arrays of `arrays_of` are."""
    fields: dict[str, Any] = {n: array for n, array in arrays.items() if not n.startswith(OTHER_PREDS)}
    named = {n.removeprefix(OTHER_PREDS): a for n, a in arrays.items() if n.startswith(OTHER_PREDS)}
    return fields | ({"other_preds": named} if named else {})


def step_file(folder: Path, index: int) -> Path:
    """Return the path of a step's tensors."""
    return folder / "steps" / f"step_{index:04d}.safetensors"


def attention_file(folder: Path, index: int) -> Path:
    """Return the path of a step's maps of attention."""
    return folder / "steps" / f"step_{index:04d}.attention.safetensors"


def is_attention_file(name: str) -> bool:
    """Whether a file of a run's folder is one of `attention_file`."""
    return name.endswith(".attention.safetensors")


def preview_file(folder: Path, index: int, image: int) -> Path:
    """Return the path of the preview of one image of the batch."""
    return folder / "previews" / f"step_{index:04d}_{image:02d}.png"


def image_file(folder: Path, index: int) -> Path:
    """Return the path of a final image."""
    return folder / "images" / f"image_{index:02d}.png"


def input_file(folder: Path, index: int) -> Path:
    """Return the path of a picture that the run was given."""
    return folder / "inputs" / f"input_{index:02d}.png"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name of its own, then rename it: a reader sees all of it or none."""
    temporary = leftovers.temporary(path)
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError:
        # On a full disk, what was written of it is room for the manifest that says so.
        temporary.unlink(missing_ok=True)
        raise


def size_of(folder: Path | str, sizes: dict[str, int] | None = None, below: str = "") -> int:
    """Return the bytes of the files in a folder and those in it; links are not followed.

    sizes: takes in the bytes of each file, by its path from the folder. below: the path that is before it.
    """
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += size_of(entry.path, sizes, f"{below}{entry.name}/")
            else:
                size = entry.stat(follow_symlinks=False).st_size
                total += size
                if sizes is not None:
                    sizes[below + entry.name] = size
    return total


def dumps(data: Any, **options: Any) -> str:
    """Serialise to strict JSON: non-finite numbers become strings, NumPy scalars become numbers."""
    return json.dumps(_strict(data), allow_nan=False, ensure_ascii=False, **options)


def number(value: Any) -> float:
    """Read a number that `dumps` wrote."""
    check_number(value)
    return float(value)


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(v) for v in value]
    if hasattr(value, "tolist"):
        return _strict(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
