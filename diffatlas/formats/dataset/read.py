"""Making runs of a dataset again: a folder or a Hub id whose content is trusted in nothing.

Only Parquet files are read, by a process of its own (`rows`); every part is checked (`checks`); file names are made
here and never taken from the dataset; all runs and studies are built aside and moved in once all are good.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.errors import BackendFailure, DiffAtlasError, InvalidParams
from diffatlas.formats.dataset import checks
from diffatlas.formats.dataset.hub import download, hub_id
from diffatlas.formats.dataset.read_attention import write_maps
from diffatlas.formats.dataset.read_studies import build_studies, install_studies
from diffatlas.formats.dataset.rows import MAX_RUN_BYTES, rows, table_files
from diffatlas.formats.dataset.schema import ATTENTION, DATA, STUDIES, Progress
from diffatlas.formats.install import install, trusted, write_manifest
from diffatlas.formats.staging import staged
from diffatlas.library import format as layout
from diffatlas.library.manifest import MOST_IMAGES
from diffatlas.library.marks import write_marks
from diffatlas.library.reader import read_params
from diffatlas.library.shipped import shipped

if TYPE_CHECKING:
    from diffatlas.library.store import Library

LIMIT_BYTES = 4_000_000_000


@dataclass(frozen=True)
class Imported:
    """The ids of the runs and of the studies that are new in a library."""

    runs: list[str]
    studies: list[str]


def import_dataset(library: Library, source: str | Path, **options: Any) -> list[str]:
    """Do what `import_all` does; return the ids of the runs that are new in the library."""
    return import_all(library, source, **options).runs


def import_all(
    library: Library,
    source: str | Path,
    *,
    token: str | bool | None = None,
    limit_bytes: int = LIMIT_BYTES,
    local: bool = True,
    progress: Progress | None = None,
    endpoint: str | None = None,
) -> Imported:
    """Make runs and studies of a dataset that `export_dataset` wrote; return the ids of those that are new here.

    A run that is there already is left as it is, and so is a study. One whose id another has gets an id of its own,
    the same each time, and the studies name their runs by those that they have here. All come in, or none. The marks
    come along; the cache key does not: what a stranger's file says a model made is no answer to a query here.

    Args:
        library: where they go.
        source: a folder, a dataset on the Hub ("user/name" or its address), or the name of one that is `shipped`.
        token: for the Hub; None takes that of the machine's own login, False none.
        limit_bytes: the most that the files, and what they decompress to, may take.
        local: whether ``source`` may be a folder; False where the asker is not the owner of the machine.
        progress: called with the share done (0 to 1) and what is being done.
        endpoint: of the Hub, where it is not the public one.

    Raises `RefusedDataset` with the reason, `InvalidParams` where there is no such source, `HubError`, and
    `BackendFailure` where the disk refuses.
    """
    say = progress or (lambda share, message: None)
    try:
        with staged(library.folder, "import") as building:
            folder = _folder_of(source) if local else None
            if folder is None:
                folder = shipped().get(str(source))
            if folder is None:
                repo_id = hub_id(str(source))
                if repo_id is None:
                    where = "a folder, or a dataset on the Hub" if local else "a dataset on the Hub"
                    raise InvalidParams(
                        f"{str(source)[:200]!r} is not there to import: give {where} as user/name.",
                        field="source",
                    )
                folder = building / "download"
                download(
                    repo_id, folder, token=token, limit_bytes=limit_bytes, progress=say, endpoint=endpoint
                )
            ready = building / "runs"
            ready.mkdir()
            built, studies = _build(folder, ready, limit_bytes, say)
            say(1.0, "Moving the runs into the library")
            return _install_all(library, built, studies, ready)
    except OSError as error:
        full = error.errno == errno.ENOSPC
        raise BackendFailure(
            f"The dataset cannot be imported ({error.strerror or error})"
            + (": free some space on the library's disk." if full else ".")
        ) from error


def _folder_of(source: str | Path) -> Path | None:
    """Return the folder of this name; None where there is none, or no disk could have such a name."""
    try:
        folder = Path(source).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):
        return None


@dataclass
class _Parts:
    """A run as it is put together from the rows of a dataset."""

    id: Any
    manifest: Any
    marks: Any
    texts: list[str] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    #: The pictures that it was given; None for one that was not kept.
    inputs: list[Any] = field(default_factory=list)
    #: Previews in the order of the steps; in a dataset of states, those of each.
    previews: list[Any] = field(default_factory=list)
    tensors: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        pictures = sum(len(p) for p in (*self.images, *self.inputs, *self.previews) if isinstance(p, bytes))
        return pictures + sum(array.nbytes for array in self.tensors.values()) + sum(map(len, self.texts))


class _Budget:
    """What all the pictures of a dataset may come to when they are decoded."""

    def __init__(self, limit_bytes: int) -> None:
        self.left = 4 * limit_bytes

    def spend(self, run_id: str, width: int, height: int) -> None:
        self.left -= 3 * width * height
        if self.left < 0:
            raise checks.refused(run_id, "the pictures come to too many pixels")


def _build(folder: Path, ready: Path, limit_bytes: int, say: Progress) -> tuple[list[Path], list[str]]:
    """Build the runs and studies in ``ready``; return the folders of the runs, and the ids of the studies."""
    budget = _Budget(limit_bytes)
    files = table_files(folder, limit_bytes)
    built: list[Path] = []
    attended: list[str] = []

    def all_rows(table: str) -> Iterator[dict[str, Any]]:
        for number, file in enumerate(files[table]):
            done = sum(len(files[before]) for before in list(files)[: list(files).index(table)]) + number
            total = sum(len(own) for own in files.values())
            say(done / total, f"Reading file {done + 1} of {total}")
            # Each file may decompress to no more than what the whole may.
            yield from rows(file, limit_bytes, table)

    for parts in _runs(all_rows(DATA)):
        about = checks.manifest(parts.id, parts.manifest)
        target = ready / parts.id
        if target.exists():
            raise checks.refused(parts.id, "the id is that of two runs")
        lines = checks.lines(parts.id, parts.texts, about)
        _write(target, parts, about, lines, budget)
        if any(line["attention"] for line in lines):
            attended.append(parts.id)
        built.append(target)
    write_maps(ready, attended, all_rows(ATTENTION))
    return built, build_studies(all_rows(STUDIES), ready, budget.spend)


def _runs(all_rows: Iterable[dict[str, Any]]) -> Iterator[_Parts]:
    """Put the rows together into runs; a dataset of states has several rows a run."""
    current: _Parts | None = None
    step = 0
    for row in all_rows:
        run_id = row["run_id"]
        if "step" not in row:
            yield _parts(row, (row["steps_jsonl"] or "").split("\n")[:-1], row["previews"])
            continue
        if row["step"] == 0:
            if current is not None:
                yield current
            current, step = _parts(row, [], []), 0
        elif current is None or run_id != current.id or row["step"] != step + 1:
            raise checks.refused(run_id, "the states are not in order")
        elif step == checks.MAX_LINES:
            raise checks.refused(run_id, f"there are more than {checks.MAX_LINES} steps")
        else:
            step = row["step"]
            line = row["steps_jsonl"] or ""
            current.texts.append(line.removesuffix("\n"))
            current.images += _batch(row["image"], row["more_images"])
            current.previews += _batch(row["preview"], row["more_previews"])
            for blob in (row["latents"], row["predictions"]):
                current.tensors |= _at(run_id, step, checks.tensors(run_id, blob))
            if step % 16 == 0 and current.bytes > MAX_RUN_BYTES:
                raise checks.refused(run_id, "the states come to too many bytes")
    if current is not None:
        yield current


def _parts(row: dict[str, Any], texts: list[str], previews: list[Any]) -> _Parts:
    run_id = row["run_id"]
    tensors = checks.tensors(run_id, row["latents"])
    for place, array in checks.tensors(run_id, row["predictions"]).items():
        if place in tensors:
            raise checks.refused(run_id, "an array is there twice")
        tensors[place] = array
    images = _batch(row["image"], row["more_images"])
    inputs = row.get("inputs", [])
    return _Parts(run_id, row["manifest"], row["marks"], texts, images, inputs, previews, tensors)


def _batch(first: Any, more: list[Any]) -> list[Any]:
    return [] if first is None and not more else [first, *more]


def _at(run_id: str, step: int, arrays: dict[tuple[str, int], np.ndarray]) -> dict[Any, np.ndarray]:
    if any(number != step for _, number in arrays):
        raise checks.refused(run_id, f"the tensors of state {step} are of another")
    return arrays


def _write(
    folder: Path, parts: _Parts, about: dict[str, Any], lines: list[dict[str, Any]], budget: _Budget
) -> None:
    """Check what is left to check, and write the run's folder."""
    from safetensors.numpy import save

    run_id = parts.id
    marks = checks.marks(run_id, parts.marks)
    _check_places(parts, lines)
    for name in ("steps", "previews", "images"):
        (folder / name).mkdir(parents=True)
    initial = parts.tensors.get(("latents", 0))
    if initial is not None:
        (folder / layout.INITIAL).write_bytes(save({"initial_latents": np.ascontiguousarray(initial)}))
    previews = iter(parts.previews)
    for line in lines:
        index = line["index"]
        arrays = {n: np.ascontiguousarray(parts.tensors[n, index + 1]) for n in line["arrays"]}
        if arrays:
            layout.step_file(folder, index).write_bytes(save(arrays))
        sizes = set()
        for image in range(line["previews"]):
            data = next(previews)
            sizes.add(_picture(layout.preview_file(folder, index, image), run_id, data, budget))
        if len(sizes) > 1:
            raise checks.refused(run_id, f"the previews of step {index + 1} are of several sizes")
    for image, data in enumerate(parts.images):
        _picture(layout.image_file(folder, image), run_id, data, budget)
    _write_inputs(folder, parts, about, budget)
    (folder / layout.STEPS).write_text("".join(f"{text}\n" for text in parts.texts), encoding="utf-8")
    if marks is not None:
        write_marks(folder, marks)
    write_manifest(folder, trusted(about))


def _check_places(parts: _Parts, lines: list[dict[str, Any]]) -> None:
    """Check that the arrays and pictures are those that the steps list, no more and no fewer."""
    listed = {(name, line["index"] + 1) for line in lines for name in line["arrays"]}
    if set(parts.tensors) - {("latents", 0)} != listed:
        raise checks.refused(parts.id, "the tensors are not those of its steps")
    if len(parts.previews) != sum(line["previews"] for line in lines):
        raise checks.refused(parts.id, "the previews are not those of its steps")
    if len(parts.images) > MOST_IMAGES:
        raise checks.refused(parts.id, "there are too many images")


def _write_inputs(folder: Path, parts: _Parts, about: dict[str, Any], budget: _Budget) -> None:
    """Write the pictures that the run was given, which are those that its parameters describe."""
    described = about["params"].get("inputs") or []
    if len(parts.inputs) > len(described):
        raise checks.refused(parts.id, "there are more pictures than it was given")
    for index, (one, data) in enumerate(zip(described, parts.inputs, strict=False)):
        if data is not None:
            (folder / "inputs").mkdir(exist_ok=True)
            mode = "L" if one["mode"] == "1" else one["mode"]
            _picture(layout.input_file(folder, index), parts.id, data, budget, mode)
    try:
        read_params(folder, about)
    except DiffAtlasError as error:
        raise checks.refused(parts.id, "a picture that it was given is another one") from error


def _picture(path: Path, run_id: str, data: Any, budget: _Budget, mode: str = "RGB") -> tuple[int, int]:
    size = checks.declared_size(run_id, data)
    # Before anything is decoded.
    budget.spend(run_id, *size)
    checks.check_picture(run_id, data, mode)
    path.write_bytes(data)
    return size


def _install_all(library: Library, built: list[Path], studies: list[str], room: Path) -> Imported:
    """Move the runs and studies into the library; where one cannot be, those that were are taken out again."""
    added: list[str] = []
    #: What the runs are called here.
    names: dict[str, str] = {}
    try:
        for run in built:
            names[run.name], fresh = install(library.folder, run)
            if fresh:
                added.append(names[run.name])
        return Imported(added, install_studies(library, studies, names, room))
    except BaseException:
        for run_id in added:
            shutil.rmtree(library.folder / run_id, ignore_errors=True)
        raise
