"""Writing runs as a Hugging Face dataset: Parquet files and a card, whole or not at all."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffatlas import files
from diffatlas.errors import BackendFailure, CapabilityError, InvalidParams
from diffatlas.formats.dataset.attention import (
    line_without_attention,
    rows_of_attention,
    without_attention,
)
from diffatlas.formats.dataset.schema import (
    ATTENTION,
    DATA,
    LICENCES,
    PER,
    STATES,
    STUDIES,
    Progress,
    attention_features,
    features,
    pack,
    study_features,
)
from diffatlas.formats.dataset.shards import Shards, Table
from diffatlas.formats.dataset.studies import asked_studies, rows_of_studies, whole_studies, with_runs_of
from diffatlas.formats.staging import staged
from diffatlas.library import format as layout
from diffatlas.library import reader
from diffatlas.library.manifest import MOST_MANIFEST
from diffatlas.library.marks import MOST_MARKS, Marks, read_marks
from diffatlas.library.stored import StoredRun
from diffatlas.library.study import Study
from diffatlas.measured import totals

if TYPE_CHECKING:
    from diffatlas.library.store import Library

#: Of each table the columns whose values repeat, and those by which rows are filtered.
_REPEATING = {
    DATA: ["run_id", "model", "prompt", "negative_prompt", "scheduler", "status", "created"],
    ATTENTION: ["run_id", "kind", "layer", "block"],
    STUDIES: ["operation", "status"],
}
_FILTERED = {
    DATA: ["run_id", "step", "model", "seed", "num_inference_steps", "guidance_scale", "created"],
    ATTENTION: ["run_id", "step", "kind", "layer", "block", "entropy", "entropy_share"],
    STUDIES: ["study_id", "operation", "created"],
}


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
    #: Whether it has attention that does not go along.
    left_out: bool

    @property
    def maps(self) -> int:
        """How many maps of attention go along."""
        return sum(len(line["attention"]) for line in self.lines)

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
    attention: bool | None = None,
    studies: Sequence[str] | None = None,
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
        attention: whether their maps of attention go along, in a table of their own; None where there are any.
            `diffatlas.formats.dataset.size.dataset_size` says beforehand what they take.
        studies: ids of studies that go along, and their runs with them. None for those whose runs are all among these.
        licence: one of `LICENCES`, for the card.
        title: the name that the card shows.
        description: Markdown for the card.
        progress: called with the share done (0 to 1) and what is being done.

    Raises `InvalidParams` for arguments that make no sense, `RunNotFound`, `DamagedRun`, `CapabilityError` for
    a run that is still being written and for attention that no run has, and `BackendFailure` where the disk refuses.
    """
    folder = Path(folder).expanduser()
    check_asked(folder, run_ids, per, licence, studies)
    say = progress or (lambda share, message: None)
    say(0.0, "Reading the runs")
    ids = with_runs_of(library, run_ids, studies or ())
    together = whole_studies(library, ids) if studies is None else asked_studies(library, studies)
    runs = [_opened(library, run_id, attention is not False) for run_id in ids]
    if attention and not any(run.maps for run in runs):
        raise CapabilityError(
            "None of these runs has attention: leave the option out, or capture them again with attention.",
            field="attention",
        )
    try:
        with staged(folder.parent, folder.name, library.folder) as building:
            # Rename, not write: the folder appears whole.
            whole = building / "dataset"
            whole.mkdir()
            maps = sum(run.maps for run in runs)
            # Maps are most of what there is, where there are any.
            rows = {DATA: _write_rows(whole, runs, per, _part(say, 0.0, 0.2 if maps else 1.0))}
            if maps:
                rows[ATTENTION] = _write_attention(whole, runs, maps, _part(say, 0.2, 1.0))
            if together:
                rows[STUDIES] = _write_studies(whole, library, together)
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


def check_asked(
    folder: Path, run_ids: Sequence[str], per: str, licence: str, studies: Sequence[str] | None
) -> None:
    """Raise `InvalidParams` for what `export_dataset` cannot be asked, before a run is read."""
    if isinstance(run_ids, str) or not (run_ids or studies):
        raise InvalidParams("There is no run to export: name one or more.", field="run_ids")
    if isinstance(studies, str):
        raise InvalidParams("The studies must be a list of ids.", field="studies")
    if per not in PER:
        raise InvalidParams(f"A row per {per!r} is not possible: choose 'run' or 'step'.", field="per")
    if licence not in LICENCES:
        raise InvalidParams(
            f"{licence!r} is not a licence to choose: take one of {', '.join(LICENCES)}.", field="licence"
        )
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise InvalidParams(f"{folder} exists already: choose a folder that is new or empty.", field="folder")


def _opened(library: Library, run_id: str, attention: bool) -> Exported:
    stored = library.open(run_id)
    if stored.status == "running":
        raise CapabilityError(f"The run {run_id} is still being written: wait until it has ended.")
    with reader.reading(stored.folder):
        text = files.read_text(stored.folder / layout.MANIFEST, MOST_MANIFEST)
        told = reader.read_manifest(stored.folder)
        # The writer is a process that is gone; another machine may have one of its number.
        manifest = {name: value for name, value in told.items() if name != "writer"}
        manifest = manifest if attention else without_attention(manifest)
        text = text if manifest == told else layout.dumps(manifest, indent=1)
        marks = read_marks(stored.folder)
        noted = stored.folder / layout.MARKS
        marks_text = files.read_text(noted, MOST_MARKS) if noted.is_file() else None
        lines = stored.step_lines()
        texts = [line.decode() for line in reader.lines_of(stored.folder)][: len(lines)]
    left_out = not attention and any(line["attention"] for line in lines)
    if not attention:
        lines = [line | {"attention": []} for line in lines]
        texts = [line_without_attention(line) for line in texts]
    return Exported(stored, manifest, text, marks, marks_text, lines, texts, left_out)


def _part(say: Progress, begin: float, end: float) -> Progress:
    """What tells of a part of the work, as a share of all of it."""
    return lambda share, message: say(begin + share * (end - begin), message)


def _table(name: str, schema: Any) -> Table:
    return Table(name, schema, _REPEATING[name], _FILTERED[name])


def _write_rows(folder: Path, runs: list[Exported], per: str, say: Progress) -> int:
    metrics = sorted(set().union(*(run.metrics for run in runs)))
    rows_of = _run_rows if per == "run" else _step_rows
    with Shards(folder, _table(DATA, features(per, metrics).arrow_schema)) as shards:
        for number, run in enumerate(runs):
            say(number / len(runs), f"Writing run {number + 1} of {len(runs)}")
            with reader.reading(run.stored.folder):
                for row in rows_of(run, metrics):
                    shards.add(row)
    return shards.rows


def _write_attention(folder: Path, runs: list[Exported], total: int, say: Progress) -> int:
    with Shards(folder, _table(ATTENTION, attention_features().arrow_schema)) as shards:
        for run in runs:
            with reader.reading(run.stored.folder):
                for row in rows_of_attention(run.stored, run.lines):
                    say(shards.rows / total, f"Writing attention, map {shards.rows + 1:,} of {total:,}")
                    shards.add(row)
    return shards.rows


def _write_studies(folder: Path, library: Library, studies: Sequence[Study]) -> int:
    with Shards(folder, _table(STUDIES, study_features().arrow_schema)) as shards:
        for row in rows_of_studies(library, studies):
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
        **totals(stored.measured()),
        **_images(stored.folder),
        "inputs": _inputs(run),
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
            "inputs": [] if step else _inputs(run),
            "manifest": run.manifest_text if step == 0 else None,
            "marks": run.marks_text if step == 0 else None,
            "steps_jsonl": f"{run.texts[step - 1]}\n" if step else None,
        }


def _about(run: Exported) -> dict[str, Any]:
    asked = run.stored.params.to_dict()
    for name in ("guidance_options", "noise"):
        asked[name] = json.dumps(asked[name]) if asked.get(name) else None
    return {
        **asked,
        "status": reader.status_of(run.manifest),
        "created": run.manifest["created"],
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


def _inputs(run: Exported) -> list[dict[str, Any] | None]:
    """The pictures that the run was given, in the order of its parameters; None for one that was not kept."""
    count = len(run.manifest["params"].get("inputs") or ())
    paths = [layout.input_file(run.stored.folder, index) for index in range(count)]
    return [_picture(_png(path)) if path.is_file() else None for path in paths]


def _png(path: Path) -> bytes:
    """Return the bytes of a picture that is whole: a reader of the dataset would stumble over another one."""
    files.verify_png(path)
    return files.read_bytes(path, files.MOST_TENSORS)


def _picture(data: bytes) -> dict[str, Any]:
    return {"bytes": data, "path": None}
