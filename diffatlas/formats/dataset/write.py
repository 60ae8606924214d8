"""Writing runs as a Hugging Face dataset: Parquet files and a card, whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffatlas import files
from diffatlas.errors import BackendFailure, CapabilityError, InvalidParams
from diffatlas.formats.dataset.schema import (
    DATA,
    LICENCES,
    PER,
    STATES,
    Progress,
    data_file,
    features,
    pack,
)
from diffatlas.formats.staging import staged
from diffatlas.library import format as layout
from diffatlas.library import reader
from diffatlas.library.manifest import MOST_MANIFEST
from diffatlas.library.marks import MOST_MARKS, Marks, read_marks
from diffatlas.library.stored import StoredRun

if TYPE_CHECKING:
    from diffatlas.library.store import Library

#: Bytes of rows, before compression, of a Parquet file, and of one of its row groups, which is what a reader
#: loads at a time.
FILE_BYTES = 400_000_000
GROUP_BYTES = 32_000_000
#: The columns whose values repeat.
_REPEATING = ["run_id", "model", "prompt", "negative_prompt", "scheduler", "status", "created"]
#: The columns by which rows are filtered; the least and the greatest manifest are of no use to anybody.
_FILTERED = ["run_id", "step", "model", "seed", "num_inference_steps", "guidance_scale", "created"]


@dataclass(frozen=True)
class Exported:
    """A run that goes into a dataset: the text of its files, and its steps as `StoredRun.step_lines` has them."""

    stored: StoredRun
    manifest: dict[str, Any]
    manifest_text: str
    marks: Marks
    marks_text: str | None
    lines: list[dict[str, Any]]
    texts: list[str]

    @property
    def metrics(self) -> set[str]:
        """The names of its metrics."""
        return {name for line in self.lines for name in line["metrics"]}


def export_dataset(
    library: Library,
    folder: str | Path,
    run_ids: Sequence[str],
    *,
    per: str = "run",
    licence: str = "cc-by-4.0",
    title: str = "",
    description: str = "",
    progress: Progress | None = None,
) -> Path:
    """Write runs as a dataset into ``folder``, which must be absent or empty; return its path.

    ``datasets.load_dataset(folder)`` reads it, offline and streaming, and `import_dataset` makes runs of it
    again, bit for bit. It is built under a temporary name and renamed, so that a folder of this name is whole.

    Args:
        library: where the runs are.
        folder: where the dataset goes.
        run_ids: the runs, in this order; one that is named twice goes in once.
        per: "run" for a row per run, "step" for a row per state, step 0 the noise x_T.
        licence: one of `LICENCES`, for the card.
        title: the name that the card shows.
        description: Markdown for the card.
        progress: called with the share done (0 to 1) and what is being done.

    Raises `InvalidParams` for arguments that make no sense, `RunNotFound`, `DamagedRun`, `CapabilityError` for
    a run that is still being written, and `BackendFailure` where the disk refuses.
    """
    folder = Path(folder).expanduser()
    _check(folder, run_ids, per, licence)
    say = progress or (lambda share, message: None)
    say(0.0, "Reading the runs")
    runs = [_opened(library, run_id) for run_id in dict.fromkeys(run_ids)]
    try:
        with staged(folder.parent, folder.name, library.folder) as building:
            # Rename, not write: the folder appears whole.
            whole = building / "dataset"
            (whole / DATA).mkdir(parents=True)
            rows = _write_rows(whole, runs, per, say)
            say(1.0, "Writing the card")
            from diffatlas.formats.dataset.card import write_card

            write_card(whole, runs, per=per, licence=licence, title=title, description=description, rows=rows)
            if folder.is_dir():
                folder.rmdir()  # refuses one that has been filled meanwhile
            whole.rename(folder)
    except OSError as error:
        full = error.errno == errno.ENOSPC
        raise BackendFailure(
            f"The dataset cannot be written to {folder} ({error.strerror or error}): "
            + ("free some space or choose another disk." if full else "choose another folder.")
        ) from error
    return folder


def _check(folder: Path, run_ids: Sequence[str], per: str, licence: str) -> None:
    if isinstance(run_ids, str) or not run_ids:
        raise InvalidParams("There is no run to export: name one or more.", field="run_ids")
    if per not in PER:
        raise InvalidParams(f"A row per {per!r} is not possible: choose 'run' or 'step'.", field="per")
    if licence not in LICENCES:
        raise InvalidParams(
            f"{licence!r} is not a licence to choose: take one of {', '.join(LICENCES)}.", field="licence"
        )
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise InvalidParams(f"{folder} exists already: choose a folder that is new or empty.", field="folder")


def _drop_attention(manifest: dict[str, Any]) -> bool:
    """Have a manifest say nothing of attention maps, which a dataset leaves out; return whether it did."""
    captured = manifest.get("capture") or {}
    said = [name for name in captured if name.startswith("attention")]
    for name in said:
        del captured[name]
    return (manifest.get("provenance") or {}).pop("attention", None) is not None or bool(said)


def _opened(library: Library, run_id: str) -> Exported:
    stored = library.open(run_id)
    status = stored.status
    if status == "running":
        raise CapabilityError(f"The run {run_id} is still being written: wait until it has ended.")
    with reader.reading(stored.folder):
        text = files.read_text(stored.folder / layout.MANIFEST, MOST_MANIFEST)
        manifest = reader.read_manifest(stored.folder)
        # The writer is a process that is gone; another machine may have one of its number.
        if (manifest.pop("writer", None) is not None) | _drop_attention(manifest):
            text = layout.dumps(manifest, indent=1)
        marks = read_marks(stored.folder)
        noted = stored.folder / layout.MARKS
        marks_text = files.read_text(noted, MOST_MARKS) if noted.is_file() else None
        lines = stored.step_lines()
        texts = [line.decode() for line in reader.lines_of(stored.folder)][: len(lines)]
        for at, line in enumerate(lines):
            if line["attention"]:
                line["attention"] = []
                told = files.parse_json(texts[at], layout.STEPS)
                texts[at] = layout.dumps({name: told[name] for name in told if name != "attention"})
    return Exported(stored, manifest, text, marks, marks_text, lines, texts)


def _write_rows(folder: Path, runs: list[Exported], per: str, say: Progress) -> int:
    schema = features(per, set().union(*(run.metrics for run in runs))).arrow_schema
    rows_of = _run_rows if per == "run" else _step_rows
    metrics = sorted(set().union(*(run.metrics for run in runs)))
    with _Shards(folder, schema) as shards:
        for number, run in enumerate(runs):
            say(number / len(runs), f"Writing run {number + 1} of {len(runs)}")
            with reader.reading(run.stored.folder):
                for row in rows_of(run, metrics):
                    shards.add(row)
    return shards.rows


def _run_rows(run: Exported, metrics: list[str]) -> Iterator[dict[str, Any]]:
    stored, lines = run.stored, run.lines
    previews = [(line["index"], data) for line in lines for data in _previews(stored.folder, line)]
    arrays = [*_initial(run), *(entry for line in lines for entry in _of_step(run, line))]
    yield _about(run) | {
        "run_id": stored.id,
        "name": run.marks.name or None,
        "tags": list(run.marks.tags),
        "note": run.marks.note or None,
        "steps": len(lines),
        "total_steps": stored.total_steps,
        "seconds": stored.seconds,
        "initial_sigma": stored.initial_sigma,
        "timesteps": [line["timestep"] for line in lines],
        "sigmas": [line["sigma"] for line in lines],
        **({"metrics": {m: [line["metrics"].get(m) for line in lines] for m in metrics}} if metrics else {}),
        **_images(stored.folder),
        "previews": [_picture(data) for _, data in previews],
        "preview_steps": [index + 1 for index, _ in previews],
        **_tensors(arrays),
        "manifest": run.manifest_text,
        "marks": run.marks_text,
        "steps_jsonl": "".join(f"{text}\n" for text in run.texts),
    }


def _step_rows(run: Exported, metrics: list[str]) -> Iterator[dict[str, Any]]:
    stored, lines = run.stored, run.lines
    for step in range(len(lines) + 1):
        line = lines[step - 1] if step else None
        previews = [_picture(data) for data in _previews(stored.folder, line)] if line else []
        arrays = list(_of_step(run, line) if line else _initial(run))
        measured = line["metrics"] if line else {}
        yield _about(run) | {
            "run_id": stored.id,
            "step": step,
            "preview": previews[0] if previews else None,
            "more_previews": previews[1:],
            "timestep": line["timestep"] if line else None,
            "sigma": line["sigma"] if line else stored.initial_sigma,
            "x0_gain": line["x0_gain"] if line else None,
            **({"metrics": {m: measured.get(m) for m in metrics}} if metrics else {}),
            # The final images stand in the last row of their run, what is said once in its first.
            **(_images(stored.folder) if step == len(lines) else {"image": None, "more_images": []}),
            **_tensors(arrays),
            "manifest": run.manifest_text if step == 0 else None,
            "marks": run.marks_text if step == 0 else None,
            "steps_jsonl": f"{run.texts[step - 1]}\n" if step else None,
        }


def _about(run: Exported) -> dict[str, Any]:
    return {
        **run.stored.params.to_dict(),
        "status": reader.status_of(run.manifest),
        "created": str(run.manifest["created"]),
    }


def _initial(run: Exported) -> Iterator[tuple[str, int, Any]]:
    """Yield x_T, if it was kept, as the latents of step 0."""
    initial = reader.read_tensors(run.stored.folder / layout.INITIAL).get("initial_latents")
    if initial is not None:
        yield "latents", 0, initial


def _of_step(run: Exported, line: dict[str, Any]) -> Iterator[tuple[str, int, Any]]:
    """Yield the name, the step (from 1) and the values of each array of a step."""
    step = reader.read_step(run.stored.folder, line | {"previews": 0})
    for name, array in layout.arrays_of(step).items():
        yield name, line["index"] + 1, array


def _tensors(arrays: list[tuple[str, int, Any]]) -> dict[str, bytes | None]:
    return {
        "latents": pack(entry for entry in arrays if entry[0] in STATES),
        "predictions": pack(entry for entry in arrays if entry[0] not in STATES),
    }


def _previews(folder: Path, line: dict[str, Any]) -> list[bytes]:
    return [_png(layout.preview_file(folder, line["index"], i)) for i in range(line["previews"])]


def _images(folder: Path) -> dict[str, Any]:
    paths = sorted((folder / "images").glob("image_*.png"))
    pictures = [_picture(_png(path)) for path in paths]
    return {"image": pictures[0] if pictures else None, "more_images": pictures[1:]}


def _png(path: Path) -> bytes:
    """Return the bytes of a picture that is whole: a reader of the dataset would stumble over another one."""
    files.verify_png(path)
    return files.read_bytes(path, files.MOST_TENSORS)


def _picture(data: bytes) -> dict[str, Any]:
    return {"bytes": data, "path": None}


class _Shards:
    """Writes rows into Parquet files of about `FILE_BYTES`, named by their number once all are there."""

    def __init__(self, folder: Path, schema: Any) -> None:
        self.folder, self.schema, self.rows = folder, schema, 0
        self._parts: list[Path] = []
        self._writer: Any = None
        self._waiting: list[dict[str, Any]] = []
        self._waiting_bytes = self._file_bytes = 0

    def __enter__(self) -> _Shards:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._close()
        if kind is None:
            for index, part in enumerate(self._parts):
                os.replace(part, data_file(self.folder, index, len(self._parts)))

    def add(self, row: dict[str, Any]) -> None:
        self._waiting.append(row)
        self._waiting_bytes += _size(row)
        self.rows += 1
        if self._waiting_bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._waiting:
            return
        if self._writer is None:
            self._parts.append(self.folder / DATA / f"part-{len(self._parts)}")
            self._writer = pq.ParquetWriter(
                self._parts[-1],
                self.schema,
                compression="zstd",
                compression_level=1,
                use_dictionary=_REPEATING,
                write_statistics=_FILTERED,
                # A byte that changes on the way is noticed when the runs are read again.
                write_page_checksum=True,
            )
        table = pa.Table.from_pylist(self._waiting, schema=self.schema)
        self._writer.write_table(table, row_group_size=len(self._waiting))
        self._file_bytes += self._waiting_bytes
        self._waiting, self._waiting_bytes = [], 0
        if self._file_bytes >= FILE_BYTES:
            self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._file_bytes = None, 0


def _size(value: Any) -> int:
    if isinstance(value, (bytes, str)):
        return len(value)
    if isinstance(value, dict):
        return sum(_size(v) for v in value.values())
    return sum(_size(v) for v in value) if isinstance(value, list) else 8
