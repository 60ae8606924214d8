"""The rows of a dataset's Parquet files, one at a time, read by a process that may fail."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffatlas.formats.dataset import parquet_process
from diffatlas.formats.dataset.schema import COLUMNS, DATA, FORMAT_VERSION, RefusedDataset, one_line
from diffatlas.inputs import MAX_INPUTS
from diffatlas.library.manifest import MAX_LINES, MOST_IMAGES
from diffatlas.library.studies import MAX_CELLS

if TYPE_CHECKING:
    import pyarrow as pa

#: The most that one run may take in memory.
MAX_RUN_BYTES = 2 << 30
#: Address space of the process that reads, without the rows: the interpreter and its libraries.
READER_BYTES = 1 << 30
#: Files that may lie beside the data; none of them is read.
_HARMLESS = {".md", ".txt", ".json", ".yaml", ".yml", ".cff", ".png", ".jpg", ".jpeg", ".webp", ".gif"}
_HARMLESS_NAMES = {".gitattributes", ".gitignore", "LICENSE", "LICENCE"}
#: Folders that git and the Hub's client keep for themselves; not looked into.
_TOOLS = {".git", ".cache"}
_MAX_FILES, _MAX_FOLDERS, _DEEPEST = 10_000, 1000, 20
_TABLE_FILE = re.compile(rf"({'|'.join(COLUMNS)})/train-(\d{{5}})-of-(\d{{5}})\.parquet")
#: The columns that hold one picture, and those that hold several: how many of them at most.
_PICTURE = ("image", "preview")
_PICTURES = {
    "more_images": MOST_IMAGES,
    "previews": MOST_IMAGES * MAX_LINES,
    "more_previews": MOST_IMAGES,
    "inputs": MAX_INPUTS,
    "images": MAX_CELLS,
}


def table_files(folder: Path, limit_bytes: int) -> dict[str, list[Path]]:
    """Return the Parquet files of each table in a dataset's folder, in order.

    Raises `RefusedDataset` for links, for programs and pickles, for files that are missing and for too many bytes.
    """
    found = {}
    for number, (root, folders, names) in enumerate(os.walk(folder)):
        if Path(root) == folder:
            folders[:] = [name for name in folders if name not in _TOOLS]
        if number > _MAX_FOLDERS or len(Path(root).relative_to(folder).parts) > _DEEPEST:
            raise RefusedDataset(
                f"The dataset is not imported: it has more than {_MAX_FOLDERS:,} folders, or they are more than "
                f"{_DEEPEST} deep."
            )
        for name in [*folders, *names]:
            path = Path(root) / name
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink():
                raise RefusedDataset(
                    f"The dataset is not imported: {one_line(relative)!r} is a link, not a file."
                )
            if name in names:
                if not path.is_file():
                    raise RefusedDataset(
                        f"The dataset is not imported: {one_line(relative)!r} is no plain file."
                    )
                found[relative] = path.stat().st_size
        if len(found) > _MAX_FILES:
            raise RefusedDataset(f"The dataset is not imported: it has more than {_MAX_FILES:,} files.")
    names = checked_names(found, limit_bytes)
    return {table: [folder / name for name in own] for table, own in names.items()}


def checked_names(sizes: dict[str, int], limit_bytes: int) -> dict[str, list[str]]:
    """Return by table those of a dataset's files (path and bytes) that hold rows, in order. Raises `RefusedDataset`."""
    found: dict[str, dict[str, re.Match[str]]] = {table: {} for table in COLUMNS}
    total = 0
    for name, size in sizes.items():
        shard = _TABLE_FILE.fullmatch(name)
        if shard:
            found[shard[1]][name] = shard
            total += size
        elif not _may_lie_there(name):
            raise RefusedDataset(
                f"The dataset is not imported: it holds {one_line(name)[:120]!r}, and only Parquet files, texts and "
                "pictures are expected."
            )
    if not found[DATA]:
        raise RefusedDataset(
            f"This is not a dataset of Diffusion Atlas: it has no {DATA}/train-00000-of-00001.parquet or the like."
        )
    for table, shards in found.items():
        counts = {int(shard[3]) for shard in shards.values()}
        if shards and (
            len(counts) > 1 or {int(shard[2]) for shard in shards.values()} != set(range(*counts))
        ):
            raise RefusedDataset(
                f"The dataset is not whole: some of its files in {table} are missing, or they are of two exports."
            )
    if total > limit_bytes:
        raise RefusedDataset(_too_large(limit_bytes))
    return {table: sorted(shards) for table, shards in found.items()}


def _may_lie_there(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    return last in _HARMLESS_NAMES or Path(last).suffix.lower() in _HARMLESS or last.endswith(".parquet")


def rows(file: Path, limit_bytes: int, table: str = DATA) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of a table, each with one of its sets of `COLUMNS`; pictures are their bytes.

    Raises `RefusedDataset` where the file is no Parquet, lacks columns, has them in other types, or decompresses to
    more than ``limit_bytes``.
    """
    import pyarrow as pa

    limit = min(limit_bytes, MAX_RUN_BYTES)
    with _reader(file, table, limit_bytes, limit) as process:
        total = 0
        try:
            with pa.ipc.open_stream(process.stdout) as stream:
                _check_version(stream.schema)
                _check_types(stream.schema)
                for batch in stream:
                    total += batch.get_total_buffer_size()
                    if total > limit_bytes or batch.get_total_buffer_size() > limit:
                        raise RefusedDataset(_too_large(limit_bytes))
                    yield _row(batch)
        except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError) as error:
            raise _refusal(process, limit_bytes) from error
        if process.wait() != 0:
            raise _refusal(process, limit_bytes)


@contextmanager
def _reader(file: Path, table: str, declared: int, row_bytes: int) -> Iterator[subprocess.Popen[bytes]]:
    # Room for a row as it is read, taken apart and sent.
    memory = READER_BYTES + 3 * row_bytes
    command = [
        sys.executable,
        "-I",
        parquet_process.__file__,
        str(file),
        json.dumps(COLUMNS[table]),
        str(memory),
        str(declared),
    ]
    # None of our environment, which may hold keys.
    kept = {
        name: os.environ[name] for name in ("SYSTEMROOT", "PATH", "LD_LIBRARY_PATH") if name in os.environ
    }
    environment = kept | {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def _refusal(process: subprocess.Popen[bytes], limit_bytes: int) -> RefusedDataset:
    # The stream has ended, so the process is about to.
    code = process.wait()
    if code == parquet_process.WRONG_COLUMNS:
        return RefusedDataset(
            "This is not a dataset of Diffusion Atlas: it lacks columns that an import needs."
        )
    if code == parquet_process.NOT_PARQUET:
        return RefusedDataset(
            "The dataset is not imported: one of its files is damaged, or is no Parquet file."
        )
    if code == parquet_process.TOO_LARGE:
        return RefusedDataset(_too_large(limit_bytes))
    return RefusedDataset("The dataset is not imported: one of its files cannot be read.")


def _too_large(limit_bytes: int) -> str:
    return (
        f"The dataset is not imported: it holds more than {limit_bytes / 1e9:.3g} GB, or a run in it more than "
        f"{min(limit_bytes, MAX_RUN_BYTES) / 1e9:.3g} GB."
    )


def _check_version(schema: pa.Schema) -> None:
    told = schema.metadata[parquet_process.VERSION]
    if told not in {str(version).encode() for version in range(1, FORMAT_VERSION + 1)}:
        raise RefusedDataset(
            f"The dataset is of version {one_line(told.decode(errors='replace'))!r}, and this version of Diffusion "
            f"Atlas reads up to {FORMAT_VERSION}: update diffatlas."
        )


def _check_types(schema: pa.Schema) -> None:
    from pyarrow import types

    def text(kind: pa.DataType) -> bool:
        return types.is_string(kind) or types.is_large_string(kind)

    def data(kind: pa.DataType) -> bool:
        return types.is_binary(kind) or types.is_large_binary(kind)

    def picture(kind: pa.DataType) -> bool:
        return types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and data(kind.field("bytes").type)

    def several(kind: pa.DataType, one: Callable[[pa.DataType], bool]) -> bool:
        return (types.is_list(kind) or types.is_large_list(kind)) and one(kind.value_type)

    wanted = {
        **dict.fromkeys(("run_id", "manifest", "marks", "steps_jsonl", "kind", "layer"), text),
        **dict.fromkeys(("study_id", "study"), text),
        **dict.fromkeys(_PICTURE, picture),
        **dict.fromkeys(_PICTURES, lambda kind: several(kind, picture)),
        **dict.fromkeys(("latents", "predictions", "maps"), data),
        "image_cells": lambda kind: several(kind, text),
        "step": types.is_integer,
        "locked": types.is_boolean,
    }
    for field in schema:
        if not wanted[field.name](field.type):
            raise RefusedDataset(
                f"This is not a dataset of Diffusion Atlas: its column {field.name!r} is of another type."
            )


def _row(batch: pa.RecordBatch) -> dict[str, Any]:
    row = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        scalar = column[0]
        if name in _PICTURE:
            row[name] = scalar["bytes"].as_py() if scalar.is_valid else None
        elif name in _PICTURES:
            items = _items(name, scalar, _PICTURES[name])
            row[name] = [item["bytes"].as_py() if item.is_valid else None for item in items]
        elif name == "image_cells":
            row[name] = [item.as_py() for item in _items(name, scalar, MAX_CELLS)]
        else:
            row[name] = scalar.as_py()
    return row


def _items(name: str, scalar: pa.ListScalar, most: int) -> Sequence[pa.Scalar]:
    if not scalar.is_valid:
        return ()
    # Its length first: a list of a billion nothings is a few bytes in the file.
    if len(scalar.values) > most:
        raise RefusedDataset(
            f"The dataset is not imported: there are too many {_called(name)} in its column {name!r}."
        )
    return scalar.values


def _called(name: str) -> str:
    return "cells" if name == "image_cells" else "pictures"
