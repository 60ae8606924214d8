"""Reading one run's folder. Nothing is unpickled, and no path is taken from the files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas.errors import DamagedRun, DiffAtlasError, InvalidParams, RunNotFound
from diffatlas.events import Step
from diffatlas.inputs import ImageInput
from diffatlas.library import format as layout
from diffatlas.library.format import RunInfo
from diffatlas.library.marks import read_marks
from diffatlas.params import GenerationParams
from diffatlas.run import Run, timestamp, with_cosine_to_end


def read_run(folder: Path) -> Run:
    """Read a whole run, arrays bit-exact. Raises `DamagedRun` saying what cannot be read."""
    manifest = read_manifest(folder)
    with reading(folder):
        lines = [parse_line(folder, i, line) for i, line in enumerate(lines_of(folder))]
        steps = tuple(
            replace(read_step(folder, line), attention=read_attention(folder, line) or None) for line in lines
        )
        return Run(
            id=manifest["id"],
            params=read_params(folder, manifest),
            status=status_of(manifest),
            created=manifest["created"],
            initial_latents=read_tensors(folder / layout.INITIAL).get("initial_latents"),
            initial_sigma=maybe_number(manifest.get("initial_sigma")),
            total_steps=manifest.get("total_steps"),
            steps=with_cosine_to_end(steps, cosines_to_end(manifest)),
            images=read_images(folder),
            seconds=maybe_number(manifest.get("seconds")),
            provenance=manifest.get("provenance", {}),
            capture=manifest.get("capture", {}),
            error=manifest.get("error"),
        )


def read_params(folder: Path, manifest: Mapping[str, Any]) -> GenerationParams:
    """Return what was asked, with the pictures that the run was given as far as they are in its folder."""
    params = GenerationParams.from_dict(manifest["params"])
    if not params.inputs:
        return params
    return params.replace(
        inputs=tuple(_with_pixels(folder, index, one) for index, one in enumerate(params.inputs))
    )


def _with_pixels(folder: Path, index: int, one: ImageInput) -> ImageInput:
    from PIL import Image as Picture

    path = layout.input_file(folder, index)
    if not path.is_file():
        return one
    with Picture.open(path, formats=["PNG"]) as picture:
        if picture.mode != ("L" if one.mode == "1" else one.mode) or picture.size != (one.width, one.height):
            raise DamagedRun(f"The run in {folder.name} is damaged: {path.name} is another picture.")
        pixels = np.asarray(picture).copy()
    try:
        return one.with_pixels(pixels)
    except InvalidParams as error:
        raise DamagedRun(f"The run in {folder.name} is damaged: {path.name} is another picture.") from error


def read_info(folder: Path) -> RunInfo:
    """Read what a list shows. A run that cannot be read is "damaged", never an exception."""
    try:
        manifest = read_manifest(folder)
        with reading(folder):
            return info_of(folder, manifest)
    except DiffAtlasError as error:
        marks, _ = _marks_of(folder)
        return RunInfo(id=folder.name, status="damaged", error=str(error), bytes=_size_of(folder), **marks)


def info_of(folder: Path, manifest: Mapping[str, Any]) -> RunInfo:
    """Return what a list shows of a run whose manifest has been read. Raises for values of a wrong type."""
    params, error = manifest["params"], manifest.get("error")
    steps, guidance, key = manifest.get("steps"), params.get("guidance_scale"), manifest.get("key")
    marks, complaint = _marks_of(folder)
    return RunInfo(
        id=folder.name,
        status=_text(status_of(manifest)),
        created=_text(manifest["created"]),
        model=_text(params["model"]),
        prompt=_text(params["prompt"]),
        seed=_whole(params["seed"]),
        # Only an ended run has counted its steps.
        steps=len(lines_of(folder)) if steps is None else _whole(steps),
        total_steps=_whole(manifest.get("total_steps")),
        error=_text(error["message"]) if error else complaint,
        bytes=_size_of(folder),
        kind=_text(manifest.get("kind", "trace")),
        guidance_scale=maybe_number(guidance),
        scheduler=None if params.get("scheduler") is None else _text(params["scheduler"]),
        width=_whole(params.get("width")),
        height=_whole(params.get("height")),
        used=timestamp(datetime.fromtimestamp((folder / layout.MANIFEST).stat().st_mtime, UTC)),
        key=None if key is None else _text(key),
        attention=_attention_of(manifest),
        **marks,
    )


def _marks_of(folder: Path) -> tuple[dict[str, Any], str | None]:
    """Return the marks as fields of `RunInfo`, and what is wrong with them.

    Marks that cannot be read may have said that the run must stay: it counts as locked.
    """
    try:
        return asdict(read_marks(folder)), None
    except DamagedRun as error:
        return {"locked": True}, str(error)


def _attention_of(manifest: Mapping[str, Any]) -> str:
    kind = manifest.get("capture", {}).get("attention", "off")
    if kind not in ("off", *layout.ATTENTION):
        raise ValueError(f"{kind!r:.80} is no kind of attention")
    return "" if kind == "off" else kind


def _size_of(folder: Path) -> int:
    try:
        return layout.size_of(folder)
    except OSError:
        # A file went away meanwhile, or may not be looked at.
        return 0


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.80} is not text")
    # A lone surrogate, which JSON can spell, can be neither shown nor stored.
    return value.encode("utf-8", "replace").decode()


def _whole(value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63):
        raise ValueError(f"{value!r:.80} is not a whole number")
    return value


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Turn what goes wrong while a run is read into `DamagedRun`, or `RunNotFound` where it is gone by now."""
    gone = RunNotFound(f"The run {folder.name!r} is no longer in the library.")
    if not folder.is_dir():
        raise gone
    try:
        yield
    except DiffAtlasError:
        raise
    except Exception as error:
        if not folder.is_dir():
            raise gone from error
        raise DamagedRun(f"The run in {folder.name} is damaged: {type(error).__name__}: {error}.") from error


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest. Raises `DamagedRun` where it is absent, unreadable or of another format."""
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


def status_of(manifest: Mapping[str, Any]) -> str:
    """Return the status; a run that was being written by a process that is gone is "partial"."""
    status = manifest["status"]
    if status != "running":
        return status
    import psutil

    writer = manifest.get("writer") or {}
    try:
        if writer["pid"] == os.getpid() and writer.get("token", "") not in layout.WRITING | {""}:
            # This process gave it up: the disk refused even the manifest that would have said so.
            return "partial"
        alive = abs(psutil.Process(writer["pid"]).create_time() - writer["started"]) < 1
    except (psutil.Error, KeyError, TypeError, ValueError):
        alive = False
    return "running" if alive else "partial"


def cosines_to_end(manifest: Mapping[str, Any]) -> list[float]:
    """Return the cosine of each step's latents to the last ones, as far as the run has ended."""
    return [layout.number(c) for c in manifest.get("cosine_to_end", ())]


def lines_of(folder: Path) -> list[bytes]:
    """Return the line of each step that is whole on disk, unparsed."""
    path = folder / layout.STEPS
    # What follows the last newline was cut short while it was being written.
    return path.read_bytes().split(b"\n")[:-1] if path.is_file() else []


def parse_line(folder: Path, number: int, line: bytes) -> dict[str, Any]:
    """Return a step's line with its numbers read. Raises `DamagedRun` naming the line."""
    try:
        data = json.loads(line)
        return {
            "index": int(data["index"]),
            "timestep": layout.number(data["timestep"]),
            "sigma": maybe_number(data["sigma"]),
            "metrics": {name: layout.number(value) for name, value in data["metrics"].items()},
            "x0_gain": maybe_number(data.get("x0_gain")),
            "arrays": list(data["arrays"]),
            "previews": int(data["previews"]),
            "attention": [str(name) for name in data.get("attention", ())],
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedRun(f"{folder.name}/{layout.STEPS} is damaged at line {number + 1}.") from error


def read_step(folder: Path, line: Mapping[str, Any]) -> Step:
    """Read the arrays of the step that ``line`` (`parse_line`) lists, but for its attention."""
    index = line["index"]
    arrays = read_tensors(layout.step_file(folder, index)) if line["arrays"] else {}
    if sorted(arrays) != line["arrays"]:
        raise DamagedRun(f"The run in {folder.name} is damaged: step {index} lacks some of its arrays.")
    return Step(
        index=index,
        timestep=line["timestep"],
        sigma=line["sigma"],
        metrics=line["metrics"],
        preview=read_preview(folder, line),
        x0_gain=line["x0_gain"],
        **layout.fields_of(arrays),
    )


def read_attention(
    folder: Path, line: Mapping[str, Any], names: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """Read the maps of attention of the step that ``line`` lists; of ``names`` alone where they are given."""
    listed = line["attention"]
    wanted = listed if names is None else list(names)
    if not wanted:
        return {}
    from safetensors import safe_open

    with safe_open(layout.attention_file(folder, line["index"]), framework="numpy") as file:
        if sorted(file.keys()) != listed:
            raise DamagedRun(
                f"The run in {folder.name} is damaged: step {line['index']} lacks some of its attention."
            )
        return {name: file.get_tensor(name) for name in wanted}


def read_preview(folder: Path, line: Mapping[str, Any]) -> np.ndarray | None:
    """Read the preview (B, H, W, 3), uint8, of the step that ``line`` lists; None where it has none."""
    paths = [layout.preview_file(folder, line["index"], image) for image in range(line["previews"])]
    return np.stack([_picture(path) for path in paths]) if paths else None


def read_images(folder: Path) -> tuple[np.ndarray, ...]:
    """Read the final images that are there, each (H, W, 3), uint8."""
    return tuple(_picture(path) for path in sorted((folder / "images").glob("image_*.png")))


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read every tensor of a file; none of a file that is absent."""
    from safetensors.numpy import load

    return load(path.read_bytes()) if path.is_file() else {}


def read_tensor(path: Path, name: str) -> np.ndarray:
    """Read one tensor of a file; the others are not read from the disk."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return file.get_tensor(name)


def maybe_number(value: Any) -> float | None:
    """Read a number that may be absent."""
    return None if value is None else layout.number(value)


def _picture(path: Path) -> np.ndarray:
    from PIL import Image as Picture

    with Picture.open(path, formats=["PNG"]) as picture:
        return np.asarray(picture.convert("RGB"))
