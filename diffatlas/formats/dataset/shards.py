"""The Parquet files of one table of a dataset, cut where they get large."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffatlas.formats.dataset.parquet_process import VERSION
from diffatlas.formats.dataset.schema import FORMAT_VERSION, data_file

#: Bytes of rows, before compression, of a Parquet file, and of one of its row groups, which is what a reader
#: loads at a time.
FILE_BYTES = 400_000_000
GROUP_BYTES = 32_000_000


@dataclass(frozen=True)
class Table:
    """A table to be written.

    ``name``: its folder. ``repeating``: the columns whose values repeat. ``filtered``: those by which rows are
    filtered; the least and the greatest manifest are of no use to anybody.
    """

    name: str
    schema: Any
    repeating: Sequence[str]
    filtered: Sequence[str]


class Shards:
    """Writes rows into Parquet files of about `FILE_BYTES`, named by their number once all are there."""

    def __init__(self, folder: Path, table: Table) -> None:
        self.folder, self.table, self.rows = folder, table, 0
        (folder / table.name).mkdir(parents=True, exist_ok=True)
        self._parts: list[Path] = []
        self._writer: Any = None
        self._waiting: list[dict[str, Any]] = []
        self._waiting_bytes = self._file_bytes = 0

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
                if not self._parts:
                    # A table without rows has its columns all the same.
                    self._open()
        finally:
            self._close()
        if kind is None:
            for index, part in enumerate(self._parts):
                os.replace(part, data_file(self.folder, self.table.name, index, len(self._parts)))

    def add(self, row: dict[str, Any]) -> None:
        """Take in a row; it is on the disk at the latest when the block is left."""
        self._waiting.append(row)
        self._waiting_bytes += _size(row)
        self.rows += 1
        if self._waiting_bytes >= GROUP_BYTES:
            self._flush()

    def _open(self) -> None:
        import pyarrow.parquet as pq

        self._parts.append(self.folder / self.table.name / f"part-{len(self._parts)}")
        metadata = {**(self.table.schema.metadata or {}), VERSION: str(FORMAT_VERSION).encode()}
        self._writer = pq.ParquetWriter(
            self._parts[-1],
            self.table.schema.with_metadata(metadata),
            compression="zstd",
            compression_level=1,
            use_dictionary=list(self.table.repeating),
            write_statistics=list(self.table.filtered),
            # A byte that changes on the way is noticed when the runs are read again.
            write_page_checksum=True,
        )

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._waiting:
            return
        if self._writer is None:
            self._open()
        table = pa.Table.from_pylist(self._waiting, schema=self.table.schema)
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
