"""The rows of a dataset's Parquet files, one at a time, read by a process that may fail."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffatlas.formats.dataset import parquet_process
from diffatlas.formats.dataset.schema import DATA, RUN_COLUMNS, STEP_COLUMNS, RefusedDataset, one_line
from diffatlas.request import MAX_IMAGES, MAX_STEPS

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
_DATA_FILE = re.compile(rf"{DATA}/train-(\d{{5}})-of-(\d{{5}})\.parquet")


def data_files(folder: Path, limit_bytes: int) -> list[Path]:
    """Return the Parquet files of a dataset's folder, in order.

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
    return [folder / name for name in checked_names(found, limit_bytes)]


def checked_names(sizes: dict[str, int], limit_bytes: int) -> list[str]:
    """Return those of a dataset's files (path and bytes) that hold rows, in order. Raises `RefusedDataset`."""
    shards, total = {}, 0
    for name, size in sizes.items():
        shard = _DATA_FILE.fullmatch(name)
        if shard:
            shards[name] = shard
            total += size
        elif not _may_lie_there(name):
            raise RefusedDataset(
                f"The dataset is not imported: it holds {one_line(name)[:120]!r}, and only Parquet files, texts and "
                "pictures are expected."
            )
    if not shards:
        raise RefusedDataset(
            f"This is not a dataset of Diffusion Atlas: it has no {DATA}/train-00000-of-00001.parquet or the like."
        )
    counts = {int(shard[2]) for shard in shards.values()}
    if len(counts) > 1 or {int(s[1]) for s in shards.values()} != set(range(*counts)):
        raise RefusedDataset(
            f"The dataset is not whole: some of its files in {DATA} are missing, or they are of two exports."
        )
    if total > limit_bytes:
        raise RefusedDataset(_too_large(limit_bytes))
    return sorted(shards)


def _may_lie_there(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    return last in _HARMLESS_NAMES or Path(last).suffix.lower() in _HARMLESS or last.endswith(".parquet")


def rows(file: Path, limit_bytes: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file, each with `RUN_COLUMNS` or `STEP_COLUMNS`; pictures are their bytes.

    Raises `RefusedDataset` where the file is no Parquet, lacks columns, has them in other types, or decompresses to
    more than ``limit_bytes``.
    """
    import pyarrow as pa

    limit = min(limit_bytes, MAX_RUN_BYTES)
    with _reader(file, limit_bytes, limit) as process:
        total = 0
        try:
            with pa.ipc.open_stream(process.stdout) as stream:
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
def _reader(file: Path, declared: int, row_bytes: int) -> Iterator[subprocess.Popen[bytes]]:
    # Room for a row as it is read, taken apart and sent.
    memory = READER_BYTES + 3 * row_bytes
    command = [
        sys.executable,
        "-I",
        parquet_process.__file__,
        str(file),
        json.dumps([STEP_COLUMNS, RUN_COLUMNS]),
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


def _check_types(schema: pa.Schema) -> None:
    from pyarrow import types

    def text(kind: pa.DataType) -> bool:
        return types.is_string(kind) or types.is_large_string(kind)

    def data(kind: pa.DataType) -> bool:
        return types.is_binary(kind) or types.is_large_binary(kind)

    def picture(kind: pa.DataType) -> bool:
        return types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and data(kind.field("bytes").type)

    def pictures(kind: pa.DataType) -> bool:
        return (types.is_list(kind) or types.is_large_list(kind)) and picture(kind.value_type)

    wanted = {
        **dict.fromkeys(("run_id", "manifest", "marks", "steps_jsonl"), text),
        **dict.fromkeys(("image", "preview"), picture),
        **dict.fromkeys(("more_images", "previews", "more_previews"), pictures),
        **dict.fromkeys(("latents", "predictions"), data),
        "step": types.is_integer,
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
        if name in ("image", "preview"):
            row[name] = scalar["bytes"].as_py() if scalar.is_valid else None
        elif name in ("more_images", "previews", "more_previews"):
            row[name] = _pictures(name, scalar)
        else:
            row[name] = scalar.as_py()
    return row


def _pictures(name: str, scalar: pa.ListScalar) -> list[bytes | None]:
    if not scalar.is_valid:
        return []
    # Its length first: a list of a billion nothings is a few bytes in the file.
    if len(scalar.values) > MAX_IMAGES * (MAX_STEPS if name == "previews" else 1):
        raise RefusedDataset(
            f"The dataset is not imported: there are too many pictures in its column {name!r}."
        )
    return [item["bytes"].as_py() if item.is_valid else None for item in scalar.values]
