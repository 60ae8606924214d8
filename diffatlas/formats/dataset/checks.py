"""What is checked of a run that comes from elsewhere, before anything of it is written."""

from __future__ import annotations

import io
import json
import math
import re
from datetime import datetime
from typing import Any

import numpy as np

from diffatlas import files
from diffatlas.described import Wrong
from diffatlas.errors import DiffAtlasError, NewerVersion
from diffatlas.formats.dataset.schema import RefusedDataset, one_line
from diffatlas.library import format as layout
from diffatlas.library.manifest import (
    MAX_LINES,
    MOST_IMAGES,
    MOST_LINE,
    MOST_MANIFEST,
    STATUSES,
    check_manifest,
)
from diffatlas.library.marks import FORMAT_VERSION, Marks
from diffatlas.library.reader import parse_line
from diffatlas.stored_version import UPDATE, check_version

#: Characters of a prompt; bytes of a safetensors header.
MAX_PROMPT, MAX_HEADER = 100_000, 1_000_000
_DTYPES = {"F16": np.float16, "F32": np.float32, "F64": np.float64}


def refused(run_id: object, reason: str) -> RefusedDataset:
    """Return the error that says why the run is not imported."""
    return RefusedDataset(f"The dataset is not imported: in the run {one_line(run_id)[:60]!r}, {reason}.")


def parsed(run_id: object, text: object, limit: int, what: str) -> Any:
    """Return strict JSON. Raises `RefusedDataset` for anything else: NaN, numbers without end, broken text."""
    if not isinstance(text, str) or len(text) > limit:
        raise refused(run_id, f"its {what} is missing or too long")
    try:
        data = json.loads(text, **files.STRICT)
        if files.deeper_than(data, files.MOST_DEPTH):
            raise ValueError("nested too deeply")
        _check_text(data)
    except (ValueError, RecursionError) as error:
        raise refused(run_id, f"its {what} is no proper JSON") from error
    return data


def manifest(run_id: object, text: object) -> dict[str, Any]:
    """Return the manifest of a run, every field of a kind that the library can hold. Raises `RefusedDataset`."""
    if not layout.is_run_id(run_id):
        raise refused(run_id, "the id is none: letters, digits, hyphens and underscores are")
    data = parsed(run_id, text, MOST_MANIFEST, "manifest")
    if not isinstance(data, dict) or data.get("id") != run_id:
        raise refused(run_id, "the manifest is of another run")
    if data.get("format") != layout.FORMAT_VERSION:
        raise refused(run_id, f"the format is not {layout.FORMAT_VERSION}: update diffatlas")
    if data.get("status") not in STATUSES:
        raise refused(run_id, "the status is unknown")
    _check_params(run_id, data.get("params"))
    _check_fields(run_id, data)
    return data


def lines(run_id: str, texts: list[str], about: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the steps of a run as `StoredRun.step_lines` has them. Raises `RefusedDataset`."""
    if len(texts) > MAX_LINES:
        raise refused(run_id, f"there are more than {MAX_LINES} steps")
    if about.get("steps") not in (None, len(texts)):
        raise refused(run_id, "the number of steps is not that of its manifest")
    if about.get("cosine_to_end") and len(about["cosine_to_end"]) != len(texts):
        raise refused(run_id, "cosine_to_end is not of its steps")
    return [_line(run_id, index, text) for index, text in enumerate(texts)]


def declared_size(run_id: str, data: object) -> tuple[int, int]:
    """Return the width and height that a PNG says it has. Raises `RefusedDataset` where it is none, or huge."""
    if not isinstance(data, bytes) or len(data) < 24 or not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise refused(run_id, "a picture is missing or is no PNG")
    # The first fields of the first chunk.
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    side = files.MOST_SIDE
    if not (0 < width <= side and 0 < height <= side) or width * height > files.MOST_PIXELS:
        raise refused(
            run_id,
            f"a picture is of {width:,} by {height:,} pixels, more than {side:,} a side or than "
            f"{files.MOST_PIXELS:,} in all",
        )
    return width, height


def check_picture(run_id: str, data: bytes, mode: str = "RGB") -> None:
    """Decode a PNG of the size that it declares. Raises `RefusedDataset` where it is damaged or of another mode."""
    from PIL import Image as Picture

    size = declared_size(run_id, data)
    try:
        with Picture.open(io.BytesIO(data), formats=["PNG"]) as opened:
            proper = (
                data.endswith(files.PNG_END)
                and opened.size == size
                and opened.mode == mode
                and getattr(opened, "n_frames", 1) == 1
            )
            if proper:
                opened.load()
    except Exception as error:
        raise refused(run_id, "a picture is damaged") from error
    if not proper:
        raise refused(run_id, f"a picture is not plain {mode}, or is not whole")


def tensors(run_id: str, blob: object) -> dict[tuple[str, int], np.ndarray]:
    """Return the arrays that `pack` packed, by name and step. Raises `RefusedDataset`."""
    if blob is None:
        return {}
    header = _header(run_id, blob)
    try:
        steps = json.loads(header.pop("__metadata__")["steps"])
        for key, about in header.items():
            name, number = re.fullmatch(r"([a-z0-9_/]+)(\.\d{1,4})?", key).groups()
            shape, (begin, end) = about["shape"], about["data_offsets"]
            # One axis more than each step's array has.
            if not layout.is_step_array(name) or not _is_shape(shape, range(3, 9)):
                raise ValueError(name, number)
            if math.prod(shape) * np.dtype(_DTYPES[about["dtype"]]).itemsize != end - begin:
                raise ValueError("size")
            if len(steps[key]) != shape[0] or not all(
                type(s) is int and 0 <= s <= MAX_LINES for s in steps[key]
            ):
                raise ValueError("steps")
        from safetensors.numpy import load

        loaded = load(blob)
        arrays = {}
        for key, stack in loaded.items():
            for step, array in zip(steps[key], stack, strict=True):
                place = key.split(".")[0], step
                if place in arrays:
                    raise ValueError("twice")
                arrays[place] = array
    except Exception as error:
        raise refused(run_id, "its tensors are damaged, or are not those of a run") from error
    return arrays


def maps(run_id: str, blob: object) -> np.ndarray:
    """Return the map that `rows_of_attention` packed. Raises `RefusedDataset`."""
    header = _header(run_id, blob)
    header.pop("__metadata__", None)
    try:
        about = header["maps"]
        begin, end = about["data_offsets"]
        if len(header) > 1 or not _is_shape(about["shape"], range(4, 8)):
            raise ValueError("shape")
        if math.prod(about["shape"]) * np.dtype(_DTYPES[about["dtype"]]).itemsize != end - begin:
            raise ValueError("size")
        from safetensors.numpy import load

        return load(blob)["maps"]
    except Exception as error:
        raise refused(run_id, "a map of attention is damaged, or is none") from error


def marks(run_id: str, text: object) -> Marks | None:
    """Return the marks of the text of ``marks.json``; None is none. Raises `RefusedDataset`."""
    if text is None:
        return None
    data = parsed(run_id, text, 200_000, "marks")
    try:
        told = {**data}
        # The first marks did not say their version.
        check_version(told.pop("format", 1), FORMAT_VERSION, "Its marks")
        return Marks().changed(**told)
    except NewerVersion as error:
        raise refused(run_id, f"its marks are of a later version: {UPDATE}") from error
    except (TypeError, ValueError, DiffAtlasError) as error:
        raise refused(run_id, "its marks are not a name, tags, a note and a lock, or are too long") from error


def _is_shape(shape: object, axes: range) -> bool:
    return (
        isinstance(shape, list)
        and len(shape) in axes
        and all(type(side) is int and side > 0 for side in shape)
    )


def _check_params(run_id: object, params: object) -> None:
    """Check the texts. The rest is what a library holds of any run: a recorded call may ask what no request may."""
    if not isinstance(params, dict):
        raise refused(run_id, "there are no parameters")
    for name in ("model", "prompt", "negative_prompt", "scheduler"):
        if not isinstance(params.get(name), (str, type(None))) or len(params.get(name) or "") > MAX_PROMPT:
            raise refused(run_id, f"{name} is no text, or too long")


def _check_fields(run_id: object, data: dict[str, Any]) -> None:
    try:
        check_manifest(data)
        datetime.fromisoformat(data["created"])
        if (data.get("total_steps") or 0) > MAX_LINES:
            raise Wrong(f"is more than {MAX_LINES:,}", "total_steps")
    except ValueError as error:
        raise refused(run_id, f"a field of the manifest is of the wrong kind: {error}") from error


def _line(run_id: str, index: int, text: str) -> dict[str, Any]:
    from pathlib import Path

    parsed(run_id, text, MOST_LINE, f"line {index + 1} of steps.jsonl")
    try:
        line = parse_line(Path(run_id), index, text.encode())
        proper = (
            line["index"] == index
            and line["arrays"] == sorted(set(line["arrays"]))
            and all(layout.is_step_array(name) for name in line["arrays"])
            and sum(n.startswith(layout.OTHER_PREDS) for n in line["arrays"]) <= layout.MOST_OTHER_PREDS
            and 0 <= line["previews"] <= MOST_IMAGES
        )
    except (DiffAtlasError, TypeError, AttributeError):
        proper = False
    if not proper or "\n" in text:
        raise refused(run_id, f"line {index + 1} of steps.jsonl is damaged")
    return line


def _header(run_id: str, blob: object) -> dict[str, Any]:
    """Return the header of safetensors bytes, read by ourselves: its length is checked before it is parsed."""
    try:
        length = int.from_bytes(blob[:8], "little")
        if not 2 <= length <= min(MAX_HEADER, len(blob) - 8):
            raise ValueError("length")
        header = files.parse_json(blob[8 : 8 + length], "the header")
        if not isinstance(header, dict) or len(header) > 1000:
            raise ValueError("header")
    except (TypeError, ValueError, RecursionError) as error:
        raise refused(run_id, "the header of its tensors is damaged or too long") from error
    return header


def _check_text(data: Any) -> None:
    """Raise ValueError for text that no file can hold: lone surrogates and NUL."""
    if isinstance(data, str):
        data.encode("utf-8")
        if "\0" in data:
            raise ValueError("NUL")
    elif isinstance(data, dict):
        for name, value in data.items():
            _check_text(name)
            _check_text(value)
    elif isinstance(data, list):
        for value in data:
            _check_text(value)
