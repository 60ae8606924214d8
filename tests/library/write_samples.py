"""Write the samples of this version: what `tests/library/test_former_versions.py` reads in every later one.

    python -m tests.library.write_samples

writes ``tests/library/samples/<version>/``, once for each version that is released: ``library``, a folder of runs and
studies as this version keeps them, and ``held.json``, what was in memory when they were written. The files of a
version that has been released stay as they are.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import diffatlas
from diffatlas import Capture, GenerationParams, ImageInput, Library
from diffatlas.backends import open_backend
from diffatlas.library.format import arrays_of
from diffatlas.params import Noise
from diffatlas.run import Run, new_run_id

SAMPLES = Path(__file__).parent / "samples"
BASE = GenerationParams(
    prompt="a red circle", seed=7, num_inference_steps=2, guidance_scale=3.0, width=32, height=32
)
LITTLE = Capture(predictions=False, x0=False, previews="off")

#: A process that is killed after its second step.
_KILLED = """
import os, sys
from tests.library.write_samples import BASE, LITTLE
from diffatlas import Library
from diffatlas.backends import open_backend
params = BASE.replace(prompt="a run that was interrupted", num_inference_steps=4)
for event in Library(sys.argv[1]).record(open_backend("local").trace(params, LITTLE)):
    if getattr(event, "index", None) == 1 and hasattr(event, "latents"):
        with open(os.path.join(sys.argv[1], sorted(os.listdir(sys.argv[1]))[-1], "steps.jsonl"), "a") as lines:
            lines.write('{"index": 2, "timest')
            lines.flush()
            os._exit(9)
"""


def write(folder: Path) -> None:
    """Write the library of samples and what it holds into a folder that is absent."""
    library = Library(folder / "library")
    held: dict[str, Any] = {"runs": {}, "studies": {}, "marks": {}}
    runs = {"interrupted": _interrupted(library)} | {
        name: _kept(library, run) for name, run in made().items()
    }
    for name, run in runs.items():
        held["runs"][run.id] = {"what": name, **told(run)}
    marks = {"name": "Red circle", "tags": ["paper", "sample"], "note": "As\nit was.", "locked": True}
    library.mark(runs["attended"].id, **marks)
    held["marks"][runs["attended"].id] = marks
    for study in studies(library):
        held["studies"][study.id] = json.loads(json.dumps(plain(study)))
    for run in (library.load(info.id) for info in library.list()):
        held["runs"].setdefault(run.id, {"what": "of a study", **told(run)})
    _without_index(library.folder)
    (folder / "held.json").write_text(json.dumps(held, sort_keys=True) + "\n", encoding="utf-8")


def made() -> dict[str, Run]:
    """Return runs of the embedded model by what they are samples of."""
    picture = Image.fromarray(np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3))
    whole = Capture(attention="all", previews="every")
    apart = Capture(
        attention="cross", attention_heads="each", attention_halves="both", attention_layers=("mid",),
        predictions=False, x0=False,
    )  # fmt: skip
    two = BASE.replace(num_images_per_prompt=2, noise=Noise("slerp", 8, 0.25))
    steered = BASE.replace(guidance_method="apg", guidance_options={"eta": 0.5}, scheduler="euler")
    plain_one = diffatlas.trace(steered, LITTLE)
    failure = {"code": "non_finite", "message": "NaN appeared in the latents at step 2.", "field": None}
    return {
        "attended": diffatlas.trace(BASE.replace(negative_prompt="grey"), whole),
        "batch": diffatlas.trace(two, apart),
        "branch": diffatlas.trace(BASE.replace(noise=Noise("perturb", 8, 0.3, step=1)), LITTLE),
        "steered": plain_one,
        "failed": _anew(plain_one, status="failed", steps=plain_one.steps[:1], images=(), error=failure),
        "stopped": _anew(plain_one, status="stopped", steps=plain_one.steps[:1], images=(), seconds=None),
        "given a picture": _anew(
            plain_one,
            params=replace(
                plain_one.params, inputs=(ImageInput.of("image", picture),), extra={"strength": 0.5}
            ),
        ),
    }


def _anew(run: Run, **changes: Any) -> Run:
    """Return the same run changed, under an id of its own."""
    return replace(run, id=new_run_id(), **changes)


def _kept(library: Library, run: Run) -> Run:
    library.save(run)
    return run


def _interrupted(library: Library) -> Run:
    library.folder.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", _KILLED, str(library.folder)], check=False)
    (info,) = library.list()
    return library.load(info.id)


def studies(library: Library) -> list[Any]:
    """Run a study of each kind and return them."""
    from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
    from diffatlas.studies.plan_sweep import plan_sweep
    from diffatlas.studies.run import StudyChanged, run_study

    backend = open_backend("local")
    base = BASE.replace(num_inference_steps=1)
    planned = [
        plan_sweep(base, "guidance_scale", [1, 3]),
        plan_neighbourhood(base, "perturb", k=1),
        plan_neighbourhood(base, "slerp", stops=2, to_seed=9),
        plan_neighbourhood(base, "offset", k=1),
    ]
    done = []
    for study in planned:
        last = study
        for event in run_study(study, lambda _: backend, library, LITTLE):
            last = event.study if isinstance(event, StudyChanged) else last
        done.append(last)
    return done


def told(run: Run) -> dict[str, Any]:
    """Return what is to come back of a run: its words, and `numbers` of each array."""
    arrays = {} if run.initial_latents is None else {"initial_latents": run.initial_latents}
    for step in run.steps:
        arrays |= {f"{step.index}/{name}": array for name, array in arrays_of(step).items()}
        arrays |= {f"{step.index}/{name}": array for name, array in (step.attention or {}).items()}
        if step.preview is not None:
            arrays[f"{step.index}/preview"] = step.preview
    arrays |= {f"image {number}": pixels for number, pixels in enumerate(run.images)}
    arrays |= {f"given {one.name}": one.pixels for one in run.params.inputs if one.pixels is not None}
    return {
        "status": run.status,
        "params": run.params.to_dict(),
        "total_steps": run.total_steps,
        "seconds": run.seconds,
        "initial_sigma": run.initial_sigma,
        "error": run.error,
        "capture": run.capture,
        "provenance": digest(run.provenance),
        "steps": [
            {"timestep": step.timestep, "sigma": step.sigma, "metrics": dict(step.metrics)}
            for step in run.steps
        ],
        "arrays": {name: numbers(array) for name, array in arrays.items()},
    }


def digest(value: Any) -> str:
    """Return the SHA-256 of plain JSON types."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def numbers(array: np.ndarray) -> dict[str, Any]:
    """Return shape, type, the beginning of the SHA-256 of the bytes, and the largest absolute number of an array."""
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.str,
        "sha256": hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16],
        "most": float(np.abs(np.asarray(array, dtype=np.float64)).max()),
    }


def plain(study: Any) -> dict[str, Any]:
    """Return a study in plain JSON types."""
    cells = [{**vars(cell), "params": cell.params.to_dict()} for cell in study.cells]
    lanes = [{**vars(lane), "changes": dict(lane.changes)} for lane in study.lanes]
    return {**vars(study), "lanes": lanes, "cells": cells}


def _without_index(folder: Path) -> None:
    """Delete what is made again of the folders."""
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    place = SAMPLES / diffatlas.__version__
    if place.exists():
        sys.exit(f"{place} is there already: samples of a version are written once.")
    write(place)
    print(sum(path.stat().st_size for path in place.rglob("*") if path.is_file()), "bytes")
