"""Reading one run's folder. Nothing is unpickled, and no path is taken from the files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas.errors import DamagedRun
from diffatlas.events import Step
from diffatlas.library import format as layout
from diffatlas.library.format import RunInfo
from diffatlas.params import GenerationParams
from diffatlas.run import Run, with_cosine_to_end


def read_run(folder: Path) -> Run:
    """Read a whole run, arrays bit-exact. Raises `DamagedRun` saying what cannot be read."""
    manifest = _manifest(folder)
    try:
        steps = tuple(_step(folder, line) for line in _step_lines(folder))
        run = Run(
            id=manifest["id"],
            params=GenerationParams.from_dict(manifest["params"]),
            status=_status(manifest),
            created=manifest["created"],
            initial_latents=_tensors(folder / layout.INITIAL).get("initial_latents"),
            initial_sigma=_maybe_number(manifest.get("initial_sigma")),
            total_steps=manifest.get("total_steps"),
            steps=with_cosine_to_end(steps, [layout.number(c) for c in manifest.get("cosine_to_end", ())]),
            images=tuple(_picture(path) for path in sorted((folder / "images").glob("image_*.png"))),
            seconds=_maybe_number(manifest.get("seconds")),
            provenance=manifest.get("provenance", {}),
            capture=manifest.get("capture", {}),
            error=manifest.get("error"),
        )
    except DamagedRun:
        raise
    except Exception as error:
        raise DamagedRun(f"The run in {folder.name} is damaged: {type(error).__name__}: {error}.") from error
    return run


def read_info(folder: Path) -> RunInfo:
    """Read what a list shows. A run that cannot be read is "damaged", never an exception."""
    try:
        manifest = _manifest(folder)
        params, error = manifest["params"], manifest.get("error")
        steps = manifest.get("steps")
        return RunInfo(
            id=folder.name,
            status=_status(manifest),
            created=str(manifest["created"]),
            model=str(params["model"]),
            prompt=str(params["prompt"]),
            seed=params["seed"],
            # Only an ended run has counted its steps.
            steps=sum(1 for _ in _step_lines(folder)) if steps is None else steps,
            total_steps=manifest.get("total_steps"),
            error=error["message"] if error else None,
        )
    except Exception as error:
        return RunInfo(id=folder.name, status="damaged", error=str(error))


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / layout.MANIFEST).read_text(encoding="utf-8"))
        version = manifest["format"]
    except Exception as error:
        raise DamagedRun(f"The run in {folder.name} has no readable {layout.MANIFEST}.") from error
    if version != layout.FORMAT_VERSION:
        raise DamagedRun(
            f"The run in {folder.name} is of format {version!r}, this version reads {layout.FORMAT_VERSION}: "
            "update diffatlas."
        )
    return manifest


def _status(manifest: dict[str, Any]) -> str:
    """Return the status; a run that was being written by a process that is gone is "partial"."""
    status = manifest["status"]
    if status != "running":
        return status
    import psutil

    writer = manifest.get("writer") or {}
    try:
        alive = abs(psutil.Process(writer["pid"]).create_time() - writer["started"]) < 1
    except (psutil.Error, KeyError, TypeError, ValueError):
        alive = False
    return "running" if alive else "partial"


def _step_lines(folder: Path) -> Iterator[dict[str, Any]]:
    path = folder / layout.STEPS
    if not path.is_file():
        return
    lines = path.read_bytes().split(b"\n")
    # What follows the last newline was cut short while it was being written.
    for number, line in enumerate(lines[:-1]):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise DamagedRun(f"{folder.name}/{layout.STEPS} is damaged at line {number + 1}.") from error


def _step(folder: Path, line: dict[str, Any]) -> Step:
    index = int(line["index"])
    arrays = _tensors(layout.step_file(folder, index)) if line["arrays"] else {}
    if sorted(arrays) != line["arrays"]:
        raise DamagedRun(f"The run in {folder.name} is damaged: step {index} lacks some of its arrays.")
    previews = [_picture(layout.preview_file(folder, index, i)) for i in range(line["previews"])]
    return Step(
        index=index,
        timestep=layout.number(line["timestep"]),
        sigma=layout.number(line["sigma"]),
        metrics={name: layout.number(value) for name, value in line["metrics"].items()},
        preview=np.stack(previews) if previews else None,
        **arrays,
    )


def _tensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load

    return load(path.read_bytes()) if path.is_file() else {}


def _picture(path: Path) -> np.ndarray:
    from PIL import Image as Picture

    with Picture.open(path, formats=["PNG"]) as picture:
        return np.asarray(picture.convert("RGB"))


def _maybe_number(value: Any) -> float | None:
    return None if value is None else layout.number(value)
