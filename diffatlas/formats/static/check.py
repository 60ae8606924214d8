"""Whether a static run folder holds together. The folder may come from anywhere: nothing in it is believed."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas import files
from diffatlas.described import Wrong
from diffatlas.errors import InvalidParams, Unreadable
from diffatlas.formats.static import contract
from diffatlas.formats.static.kept import checked
from diffatlas.formats.static.schema import errors_of
from diffatlas.request import MAX_SIDE, MAX_STEPS

#: Bytes of an ``.npz`` when it is unpacked, at most.
MAX_NPZ = 1_000_000_000
#: JSON files that a folder must have, and those that it may have.
_REQUIRED = (contract.METADATA, contract.METRICS, contract.PCA)
_OPTIONAL = (contract.VALIDATION, contract.MEASURED)
#: What float16 rounding may add to a sum of probabilities.
SLACK = 0.01


@dataclass(frozen=True)
class Problem:
    """Something wrong: in which file or field, what, and whether the folder is invalid for it even when not strict."""

    where: str
    what: str
    severe: bool = True


@dataclass
class Report:
    """What a check found. ``checked``: attention files that were read."""

    problems: list[Problem] = field(default_factory=list)
    checked: int = 0
    bytes: int = 0

    def add(self, where: str, what: str, severe: bool = True) -> None:
        """Note a problem."""
        self.problems.append(Problem(where, what, severe))

    def valid(self, strict: bool = False) -> bool:
        """Whether there is nothing severe; in strict mode, whether there is nothing at all."""
        return not any(problem.severe or strict for problem in self.problems)


def check_folder(folder: Path) -> Report:
    """Check a folder and return what is wrong with it.

    Severe are faults for which a reader would fail or be misled: JSON that is not of the folder's schema
    (`diffatlas.formats.static.schema`); files that are missing, damaged, of another size or not where they are said to
    be; numbers that are not finite among the maps; lengths that disagree. Not severe, so faults in strict mode only,
    are bare NaN among the measures (the reference tools write it), empty lists of attention where layers are named,
    and more than 200 MB.

    Raises `InvalidParams` where there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InvalidParams(
            f"{folder} is no folder: name one that holds a {contract.METADATA}.", field="folder"
        )
    report = Report(
        bytes=sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    )
    data = _read_all(folder, report)
    metadata = data.get(contract.METADATA)
    for where, what in errors_of({**data, **{name: {} for name in _REQUIRED if name not in data}}):
        # Of a file that cannot be read that is said already.
        if where in data:
            report.add(where, what)
    if report.bytes > contract.LARGE:
        report.add(
            str(folder),
            f"it takes {report.bytes / 1e6:.0f} MB, over {contract.LARGE / 1e6:.0f}",
            severe=False,
        )
    steps = _steps(metadata, report) if metadata is not None else None
    if steps is None:
        return report
    _check_lengths(data, steps, report)
    _check_measured(data.get(contract.MEASURED), steps, report)
    _check_images(folder, metadata, report)
    _check_attention(folder, metadata, steps, report)
    _check_npz(folder, metadata, steps, report)
    return report


def _read_all(folder: Path, report: Report) -> dict[str, dict[str, Any]]:
    """Return what each JSON file of the folder holds, by its name, as far as it can be read."""
    names = [*_REQUIRED, *(n for n in _OPTIONAL if (folder / n).exists() or (folder / n).is_symlink())]
    read = {name: read_json(folder, name, report) for name in names}
    return {name: data for name, data in read.items() if data is not None}


def read_json(folder: Path, name: str, report: Report | None = None) -> dict[str, Any] | None:
    """Return the object that a JSON file of the folder holds; bare NaN in it becomes None. None where unreadable.

    Bare NaN is noted: as a fault of the measures, which other tools write so where they could not be computed, as
    damage of any other file.
    """
    report = report if report is not None else Report()
    path = inside(folder, name)
    bare: list[str] = []
    try:
        if path is None:
            raise ValueError("it is missing or a link")
        data = files.read_object(path, contract.MAX_JSON, bare=bare)
        if bare and name == contract.METRICS:
            what = "NaN" if set(bare) == {"NaN"} else "NaN or infinity"
            for entry, count in _bare_by_name(path).items():
                report.add(name, _bare_words(entry, what, count), severe=False)
        elif bare:
            raise ValueError(f"it holds bare {bare[0]}, which is no JSON")
    except (OSError, ValueError) as error:
        report.add(name, f"it cannot be read ({_reason(error)})")
        return None
    return data


def _bare_by_name(path: Path) -> Counter[str]:
    """Return how often bare NaN or infinity stands under each of an object's names."""
    found: Counter[str] = Counter()
    whole = files.read_object(path, contract.MAX_JSON)
    for name, value in whole.items():
        parts = [value]
        while parts:
            part = parts.pop()
            if isinstance(part, dict):
                parts += part.values()
            elif isinstance(part, list):
                parts += part
            elif isinstance(part, float) and not math.isfinite(part):
                found[name] += 1
    return found


def _bare_words(name: str, what: str, count: int) -> str:
    places = f"{count} place{'' if count == 1 else 's'}"
    why = ": its tool took logarithms in half precision, where 0 has none" if "entropy" in name else ""
    return f"{name[:60]} holds bare {what} in {places}, which is no JSON{why}; it is read as a number that is not known"


def inside(folder: Path, name: object) -> Path | None:
    """Return the path of a file in the folder, or None where it is none, a link, or leads out of it."""
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name:
        return None
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        return None
    try:
        whole = folder / path
        links = any((folder / Path(*path.parts[: k + 1])).is_symlink() for k in range(len(path.parts)))
        return whole if whole.is_file() and not links else None
    except (OSError, ValueError):
        return None


def read_maps(folder: Path, entry: dict[str, Any]) -> np.ndarray:
    """Return the maps of an entry of ``attention_files``, float32. Raises ValueError saying what is wrong."""
    shape, dtype = entry.get("shape"), entry.get("dtype", "float16")
    proper = (
        isinstance(shape, list)
        and 2 <= len(shape) <= 3
        and all(isinstance(n, int) and not isinstance(n, bool) and 0 < n <= 1_000_000 for n in shape)
    )
    if not proper:
        raise ValueError(f"its shape is {shape!r:.60}")
    if not isinstance(dtype, str) or dtype not in contract.DTYPES:
        raise ValueError(f"its dtype is {dtype!r:.30}, not one of {', '.join(contract.DTYPES)}")
    path = inside(folder, entry.get("path"))
    if path is None:
        raise ValueError("the file is missing, a link, or outside the folder")
    wanted = math.prod(shape) * contract.DTYPES[dtype]
    if path.stat().st_size != wanted:
        raise ValueError(f"it has {path.stat().st_size:,} bytes, not the {wanted:,} of its shape")
    values = np.frombuffer(files.read_bytes(path, wanted), np.dtype(dtype).newbyteorder("<"))
    return values.reshape(shape).astype(np.float32)


def picture_size(path: Path) -> tuple[int, int]:
    """Return the (width, height) of a PNG after decoding it. Raises ValueError where it is none, damaged or huge."""
    try:
        width, height = files.png_size(path)
        # Before anything is decoded.
        if width > MAX_SIDE or height > MAX_SIDE:
            raise ValueError(f"it is of {width:,} by {height:,} pixels")
        return files.open_png(path).size
    except Unreadable as error:
        raise ValueError(error.reason) from error


def _steps(metadata: dict[str, Any], report: Report) -> int | None:
    """Return the number of steps where there is one that can be counted to."""
    steps = metadata.get("steps")
    if type(steps) is int and 1 <= steps <= 4 * MAX_STEPS:
        return steps
    # Of another type the schema says so, and of less than 1.
    if type(steps) in (int, float) and steps >= 1:
        report.add(contract.METADATA, f"steps is {steps!r:.30}, not a whole number up to {4 * MAX_STEPS:,}")
    return None


def _check_lengths(data: dict[str, dict[str, Any]], steps: int, report: Report) -> None:
    """Check that lists by step have an entry for each of them."""
    wanted = {
        contract.METADATA: ("timesteps", "images"),
        contract.METRICS: ("latent_l2_norm", "predicted_noise_l2_norm", "cosine_similarity_to_previous"),
        contract.PCA: ("points",),
    }
    for name, keys in wanted.items():
        for key in keys:
            value = data.get(name, {}).get(key)
            if isinstance(value, list) and len(value) != steps:
                report.add(name, f"{key} is of {len(value)}, not of the {steps} steps")


def _check_measured(measured: dict[str, Any] | None, steps: int, report: Report) -> None:
    if measured is None:
        return
    try:
        checked(measured, steps)
    except Wrong as wrong:
        if not any(problem.where == contract.MEASURED for problem in report.problems):
            report.add(contract.MEASURED, str(wrong))


def _check_images(folder: Path, metadata: dict[str, Any], report: Report) -> None:
    sizes = set()
    for name in metadata.get("images") or ():
        path = inside(folder, name)
        if path is None:
            report.add(str(name)[:80], "the picture is missing, a link, or outside the folder")
            continue
        try:
            sizes.add(picture_size(path))
        except (OSError, ValueError) as error:
            report.add(str(name)[:80], _reason(error))
    if len(sizes) > 1:
        report.add("images", f"they are of {len(sizes)} sizes")


def _check_attention(folder: Path, metadata: dict[str, Any], steps: int, report: Report) -> None:
    layers = metadata.get("layers")
    known = {x.get("id"): x.get("attention_type") for x in _layers_of(layers)}
    entries = metadata.get("attention_files")
    if not isinstance(entries, list):
        return
    if known and not entries:
        report.add(contract.METADATA, "layers are named, and attention_files is empty", severe=False)
    tokens = _token_count(metadata)
    for entry in entries:
        where = str(entry.get("path"))[:80] if isinstance(entry, dict) else contract.METADATA
        if not isinstance(entry, dict):
            report.add(where, "an entry of attention_files is no object")
            continue
        step, kind = entry.get("step"), entry.get("attention_type")
        if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step < steps:
            report.add(where, f"its step is {step!r:.30}, not one of the {steps}")
        if not isinstance(entry.get("layer_id"), str) or kind != known.get(entry.get("layer_id")):
            report.add(where, f"its layer {entry.get('layer_id')!r:.30} is not among the layers of its kind")
        try:
            _check_values(read_maps(folder, entry), kind, tokens)
        except (OSError, ValueError) as error:
            report.add(where, _reason(error))
        report.checked += 1


def _layers_of(layers: Any) -> list[dict[str, Any]]:
    """Return the layers that can be told apart: those that have an id."""
    named = layers if isinstance(layers, list) else []
    return [layer for layer in named if isinstance(layer, dict) and isinstance(layer.get("id"), str)]


def _check_values(maps: np.ndarray, kind: object, tokens: int | None) -> None:
    """Raise ValueError for what is no map of probabilities."""
    if not np.isfinite(maps).all():
        raise ValueError("it holds NaN or infinity")
    if maps.min() < 0 or maps.max() > 1 + SLACK:
        raise ValueError(f"its values go from {maps.min():.3g} to {maps.max():.3g}, beyond 0 and 1")
    if kind == "cross":
        if maps.ndim != 3:
            raise ValueError("its shape is not (tokens, rows, columns)")
        if tokens is not None and len(maps) != tokens:
            raise ValueError(f"it has {len(maps)} tokens, and the prompt {tokens}")
        if maps.sum(0).max() > 1 + SLACK:
            raise ValueError(f"at a place the tokens sum to {maps.sum(0).max():.3f}, more than 1")
    elif maps.ndim != 2 or maps.shape[0] != maps.shape[1]:
        raise ValueError("its shape is not (bins, bins)")


def _token_count(metadata: dict[str, Any]) -> int | None:
    prompt = metadata.get("prompt")
    tokens = prompt.get("tokens") if isinstance(prompt, dict) else None
    return len(tokens) if isinstance(tokens, list) and tokens else None


def _check_npz(folder: Path, metadata: dict[str, Any], steps: int, report: Report) -> None:
    artifacts = metadata.get("artifacts")
    name = artifacts.get("latents_noise") if isinstance(artifacts, dict) else None
    if name is None:
        return
    try:
        arrays = read_npz(folder, name)
    except (OSError, ValueError) as error:
        report.add(str(name)[:80], _reason(error))
        return
    for key in ("latents", "predicted_noise"):
        if key not in arrays:
            if key == "latents":
                report.add(name, "it has no latents")
            continue
        if arrays[key].ndim < 2 or len(arrays[key]) != steps:
            report.add(name, f"{key} is of shape {arrays[key].shape}, not of the {steps} steps")
        elif not np.isfinite(arrays[key]).all():
            report.add(name, f"{key} holds NaN or infinity")


def read_npz(folder: Path, name: object) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz``, of floating point, unpickled none. Raises ValueError saying what is wrong."""
    import zipfile

    path = inside(folder, name)
    if path is None:
        raise ValueError("it is missing, a link, or outside the folder")
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_NPZ:
                raise ValueError("it unpacks to too many bytes")
            for member in archive.infolist():
                if member.filename.removesuffix(".npy") in _ARRAYS:
                    with archive.open(member) as stream:
                        _check_npy(stream, member.file_size)
        with np.load(path, allow_pickle=False) as arrays:
            found = {key: arrays[key] for key in arrays.files if key in _ARRAYS}
    except Exception as error:
        raise ValueError(_reason(error) if str(error).startswith("it ") else "it is damaged") from error
    if any(array.dtype.kind != "f" for array in found.values()):
        raise ValueError("an array is not of floating point")
    return found


def _check_npy(stream: Any, size: int) -> None:
    """Raise ValueError where an array says that it is larger than its member of the archive: room would be made."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize > size:
        raise ValueError("it is cut short")


_ARRAYS = ("latents", "predicted_noise", "initial_latents")


def _reason(error: Exception) -> str:
    if isinstance(error, Unreadable):
        return error.reason
    return files.reason_of(error) if isinstance(error, OSError) else str(error)[:200]
