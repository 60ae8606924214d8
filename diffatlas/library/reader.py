"""Reading one run's folder. Nothing is unpickled, and no path is taken from the files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas import files
from diffatlas.described import Wrong
from diffatlas.errors import DamagedRun, DiffAtlasError, InvalidParams, RunNotFound, Unreadable
from diffatlas.events import Step
from diffatlas.inputs import ImageInput
from diffatlas.library import format as layout
from diffatlas.library import whole
from diffatlas.library.format import RunInfo
from diffatlas.library.manifest import (
    MOST_LINE,
    MOST_MANIFEST,
    MOST_STEPS,
    check_line,
    check_manifest,
)
from diffatlas.library.marks import read_marks
from diffatlas.params import GenerationParams
from diffatlas.run import Run, timestamp, with_cosine_to_end
from diffatlas.stored_version import check_version, writer_of


def read_run(folder: Path) -> Run:
    """Read a whole run, arrays bit-exact. Raises `DamagedRun` saying what cannot be read."""
    manifest = read_manifest(folder)
    with reading(folder):
        steps = [
            replace(read_step(folder, line), attention=read_attention(folder, line) or None)
            for line in parsed_lines(folder, manifest)
        ]
        return _run(folder, manifest, steps, read_images(folder))


def read_measured(folder: Path) -> Run:
    """Read of a run what its states are measured by (`diffatlas.measured.states`), and nothing else of its arrays.

    That is its path, and the two predictions of a step whose guidance was not measured: no pictures, no attention.
    Raises `DamagedRun` saying what cannot be read.
    """
    manifest = read_manifest(folder)
    with reading(folder):
        steps = [_measured_step(folder, line) for line in parsed_lines(folder, manifest)]
        return _run(folder, manifest, steps, ())


def _run(folder: Path, manifest: Mapping[str, Any], steps: list[Step], images: tuple[np.ndarray, ...]) -> Run:
    return Run(
        id=manifest["id"],
        params=read_params(folder, manifest),
        status=status_of(manifest),
        created=manifest["created"],
        initial_latents=read_tensors(folder / layout.INITIAL).get("initial_latents"),
        initial_sigma=maybe_number(manifest.get("initial_sigma")),
        total_steps=manifest.get("total_steps"),
        steps=with_cosine_to_end(tuple(steps), cosines_to_end(manifest)),
        images=images,
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
    path = layout.input_file(folder, index)
    if not path.is_file():
        return one
    picture = files.open_png(path)
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
    """Return what a list shows of a run whose manifest has been read."""
    params, error = manifest["params"], manifest.get("error")
    status, (size, harm) = status_of(manifest), whole.size_and_harm(folder)
    if harm and status != "running":
        status, error = "damaged", {"message": damaged(folder, harm).message}
    steps, guidance, key = manifest.get("steps"), params.get("guidance_scale"), manifest.get("key")
    marks, complaint = _marks_of(folder)
    return RunInfo(
        id=folder.name,
        status=status,
        created=manifest["created"],
        model=params["model"],
        prompt=params["prompt"],
        seed=params["seed"],
        # Only an ended run has counted its steps.
        steps=len(lines_of(folder)) if steps is None else steps,
        total_steps=manifest.get("total_steps"),
        error=error["message"] if error else complaint,
        bytes=size,
        kind=manifest.get("kind", "trace"),
        guidance_scale=maybe_number(guidance),
        scheduler=params.get("scheduler"),
        width=params.get("width"),
        height=params.get("height"),
        used=_used(folder),
        key=key,
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
    return "" if kind == "off" else kind


def _used(folder: Path) -> str:
    try:
        return timestamp(datetime.fromtimestamp((folder / layout.MANIFEST).stat().st_mtime, UTC))
    except (ValueError, OverflowError):
        # A file system may hold any time.
        return ""


def _size_of(folder: Path) -> int:
    try:
        return layout.size_of(folder)
    except OSError:
        # A file went away meanwhile, or may not be looked at.
        return 0


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Turn what goes wrong while a run is read into `DamagedRun`, or `RunNotFound` where it is gone by now."""
    gone = RunNotFound(f"The run {folder.name!r} is no longer in the library.")
    if not folder.is_dir():
        raise gone
    try:
        yield
    except Unreadable as error:
        raise damaged(folder, error.message) from error
    except DiffAtlasError:
        raise
    except Exception as error:
        if not folder.is_dir():
            raise gone from error
        raise damaged(folder, _told(folder, error)) from error


def damaged(folder: Path, what: str) -> DamagedRun:
    """Return the error that says what is wrong with a run."""
    return DamagedRun(f"The run in {folder.name} is damaged: {' '.join(what.split())[:400].rstrip('.')}.")


def _told(folder: Path, error: Exception) -> str:
    """Return what went wrong, without the place where the library is."""
    if isinstance(error, FileNotFoundError) and error.filename:
        path = Path(os.fsdecode(error.filename))
        return f"{path.relative_to(folder) if path.is_relative_to(folder) else path.name} is missing"
    if isinstance(error, OSError):
        return files.reason_of(error)
    return f"{type(error).__name__}: {error}"


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest.

    Raises `NewerVersion` where a later version wrote it, `DamagedRun` where it is absent, unreadable or not as
    described.
    """
    try:
        manifest = files.read_object(folder / layout.MANIFEST, MOST_MANIFEST)
    except FileNotFoundError as error:
        raise DamagedRun(
            f"The run in {folder.name} has no readable {layout.MANIFEST}: it is missing."
        ) from error
    except Unreadable as error:
        raise DamagedRun(
            f"The run in {folder.name} has no readable {layout.MANIFEST}: {error.reason}."
        ) from error
    try:
        check_version(
            manifest.get("format"),
            layout.FORMAT_VERSION,
            f"The run in {folder.name}",
            writer_of(manifest.get("provenance")),
        )
        return check_manifest(manifest)
    except ValueError as error:
        raise damaged(folder, f"in {layout.MANIFEST}, {error}") from error


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
    except (psutil.Error, KeyError, TypeError, ValueError, OverflowError):
        alive = False
    return "running" if alive else "partial"


def cosines_to_end(manifest: Mapping[str, Any]) -> list[float]:
    """Return the cosine of each step's latents to the last ones, as far as the run has ended."""
    return [layout.number(c) for c in manifest.get("cosine_to_end", ())]


def lines_of(folder: Path) -> list[bytes]:
    """Return the line of each step that is whole on disk, unparsed."""
    try:
        data = files.read_bytes(folder / layout.STEPS, MOST_STEPS)
    except FileNotFoundError:
        return []
    # What follows the last newline was cut short while it was being written.
    return data.split(b"\n")[:-1]


def parsed_lines(folder: Path, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the line of each step with its numbers read (`parse_line`).

    Raises `DamagedRun` naming the line that is damaged, or where they are not as many as the manifest says.
    """
    lines = [parse_line(folder, number, line) for number, line in enumerate(lines_of(folder))]
    counted = manifest.get("steps")
    if counted is not None and counted != len(lines) and manifest["status"] != "running":
        raise damaged(folder, f"{layout.STEPS} has {len(lines)} whole lines, and there were {counted} steps")
    return lines


def parse_line(folder: Path, number: int, line: bytes) -> dict[str, Any]:
    """Return a step's line with its numbers read. Raises `DamagedRun` naming the line."""
    try:
        if len(line) > MOST_LINE:
            raise Wrong(f"is longer than {files.bytes_words(MOST_LINE)}")
        data = check_line(files.parse_json(line, layout.STEPS))
        if data["index"] != number:
            raise Wrong(f"is of step {data['index']}")
    except (Unreadable, Wrong) as error:
        reason = error.reason if isinstance(error, Unreadable) else error
        raise DamagedRun(
            f"{folder.name}/{layout.STEPS} is damaged at line {number + 1}: {reason}."
        ) from error
    return {
        "index": data["index"],
        "timestep": layout.number(data["timestep"]),
        "sigma": maybe_number(data["sigma"]),
        "metrics": {name: layout.number(value) for name, value in data["metrics"].items()},
        "x0_gain": maybe_number(data.get("x0_gain")),
        "arrays": list(data["arrays"]),
        "previews": data["previews"],
        "attention": list(data.get("attention", ())),
    }


def check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise `DamagedRun` where a run's files are not what its steps list. Of tensors and previews no more is read than
    how they begin and end; final images are read, and not decoded."""
    with reading(folder):
        for line in parsed_lines(folder, manifest):
            index = line["index"]
            file, maps = layout.step_file(folder, index), layout.attention_file(folder, index)
            if line["arrays"] and sorted(described(file)) != line["arrays"]:
                raise damaged(folder, f"step {index} lacks some of its arrays")
            if line["attention"] and sorted(described(maps, range(4, 8))) != line["attention"]:
                raise damaged(folder, f"step {index} lacks some of its attention")
            for image in range(line["previews"]):
                files.check_ends(layout.preview_file(folder, index, image))
        initial = folder / layout.INITIAL
        if initial.exists() and "initial_latents" not in described(initial):
            raise files.unreadable(initial, "it has no initial_latents")
        for path in sorted((folder / "images").glob("image_*.png")):
            files.verify_png(path)


def harm_of(folder: Path) -> str | None:
    """Return the sentence that says what is wrong with a run's files (`check_files`); None where nothing is."""
    try:
        check_files(folder, read_manifest(folder))
    except DamagedRun as error:
        return str(error)
    return None


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


def _measured_step(folder: Path, line: Mapping[str, Any]) -> Step:
    wanted = {"latents", "start_latents"}
    if any(line["metrics"].get(name) is None for name in ("guidance_norm", "guidance_angle")):
        wanted |= {"cond_pred", "uncond_pred"}
    file = layout.step_file(folder, line["index"])
    arrays = {name: read_tensor(file, name) for name in line["arrays"] if name in wanted}
    return Step(
        index=line["index"],
        timestep=line["timestep"],
        sigma=line["sigma"],
        metrics=line["metrics"],
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
    path = layout.attention_file(folder, line["index"])
    if sorted(described(path, range(4, 8))) != listed:
        raise DamagedRun(
            f"The run in {folder.name} is damaged: step {line['index']} lacks some of its attention."
        )
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in wanted}


def read_preview(folder: Path, line: Mapping[str, Any]) -> np.ndarray | None:
    """Read the preview (B, H, W, 3), uint8, of the step that ``line`` lists; None where it has none."""
    paths = [layout.preview_file(folder, line["index"], image) for image in range(line["previews"])]
    pictures = [_picture(path) for path in paths]
    if len({picture.shape for picture in pictures}) > 1:
        raise damaged(folder, f"the previews of step {line['index']} are of several sizes")
    return np.stack(pictures) if pictures else None


def read_images(folder: Path) -> tuple[np.ndarray, ...]:
    """Read the final images that are there, each (H, W, 3), uint8."""
    return tuple(_picture(path) for path in sorted((folder / "images").glob("image_*.png")))


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read every tensor of a file; none of a file that is absent."""
    from safetensors.numpy import load

    try:
        described(path)
        return load(files.read_bytes(path, files.MOST_TENSORS))
    except FileNotFoundError:
        return {}


def read_tensor(path: Path, name: str) -> np.ndarray:
    """Read one tensor of a file; the others are not read from the disk."""
    if name not in described(path):
        raise files.unreadable(path, f"it has no {name}")
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return file.get_tensor(name)


def described(path: Path, axes: range = range(2, 8)) -> dict[str, dict[str, Any]]:
    """Return what a file's header says of its tensors: numbers of floating point, of so many axes, none of them empty.

    Raises `Unreadable` for anything else.
    """
    header = files.tensors_header(path)
    for name, told in header.items():
        shape = told["shape"]
        if told["dtype"] not in ("F16", "F32", "F64") or len(shape) not in axes or 0 in shape:
            raise files.unreadable(
                path, f"{name[:60]} is of the shape {shape!s:.60} and the type {told['dtype']!s:.10}"
            )
    return header


def maybe_number(value: Any) -> float | None:
    """Read a number that may be absent."""
    return None if value is None else layout.number(value)


def _picture(path: Path) -> np.ndarray:
    return np.asarray(files.open_png(path).convert("RGB"))
