"""Writing runs to one file, of the kind that its ending says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffatlas.errors import InvalidParams
from diffatlas.formats.kinds import KINDS, Kind, export
from diffatlas.formats.named import Named
from diffatlas.library.format import write_atomically
from diffatlas.library.leftovers import sweep
from diffatlas.run import Run


def write(runs: Any, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a run, or several, to the file ``path`` and return that path.

    runs: a `Run`, the trace of a call (`diffatlas.observe`), or a list of such.
    path: its ending says what is written: .csv, .json, .npz, .safetensors, .pdf, .svg, .png, .gif, .mp4, .zip, or
        .html, a page with the film, the path and the words that needs no server, or -charts.html, the curves as
        charts to zoom and to read.

    Raises `InvalidParams` for another ending, a file that exists (unless ``overwrite``), what is no run, or more runs
    than the file can show.
    """
    listed = list(runs) if isinstance(runs, (list, tuple)) else [runs]
    found = [one if isinstance(one, Run) else getattr(one, "run", None) for one in listed]
    wrong = next((one for one, run in zip(listed, found, strict=True) if not isinstance(run, Run)), None)
    if wrong is not None:
        raise InvalidParams(
            f"A {type(wrong).__name__} is no run: give a run or the trace of a call.", field="runs"
        )
    path = Path(path).expanduser()
    return write_named(kind_of(path), [Named(_name(run), run) for run in found], path, overwrite)


def kind_of(path: Path, hint: str = "") -> Kind:
    """Return the kind of export that a file's ending names. Raises `InvalidParams`; ``hint`` says what else to do."""
    ending = path.name.lower()
    known = [k for k in KINDS.values() if ending.endswith(k.suffix)]
    found = max(known, key=lambda k: len(k.suffix), default=None)
    if found is None:
        endings = ", ".join(k.suffix for k in KINDS.values())
        raise InvalidParams(
            f"The ending of {path.name} names no kind of export: use one of {endings}{hint}.", field="to"
        )
    return found


def write_named(
    kind: Kind, runs: Sequence[Named], path: Path, overwrite: bool, hint: str = "overwrite=True"
) -> Path:
    """Write named runs as a file of this kind. Raises `InvalidParams` where it cannot be, or is there already."""
    _check_free(path, overwrite, hint)
    return write_data(path, export(kind.key, runs), overwrite, hint)


def write_data(path: Path, data: bytes, overwrite: bool, hint: str = "overwrite=True") -> Path:
    """Write a file whole, its folder too. Raises `InvalidParams` where it cannot be, or is there already."""
    _check_free(path, overwrite, hint)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        write_atomically(path, data)
    except OSError as error:
        raise InvalidParams(f"{path} cannot be written ({error.strerror}).", field="to") from error
    return path


def _check_free(path: Path, overwrite: bool, hint: str) -> None:
    if path.exists() and (not overwrite or not path.is_file()):
        raise InvalidParams(f"{path} exists already: choose another file, or add {hint}.", field="to")


def _name(run: Run) -> str:
    return run.params.prompt or run.params.model
