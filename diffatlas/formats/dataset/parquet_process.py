"""Reads a Parquet file of unknown origin, in a process of its own; `rows` starts it.

``python -I parquet_process.py FILE COLUMNS MEMORY DECLARED`` writes the rows to standard output as an Arrow stream,
a row at a time. A file that decompresses without end meets the limit of memory or of processor time, and one that
crashes the parser crashes this process. It imports nothing of ours, knows no keys and opens no other file.

COLUMNS is JSON, lists of columns: the first list that the file has is read. MEMORY is the most that the process
may take, DECLARED the most that the file may say it holds, in bytes. The version that the file says it has (`VERSION`)
goes along. Exit codes: `NOT_PARQUET`, `WRONG_COLUMNS`, `TOO_LARGE`.
"""

from __future__ import annotations

import json
import sys

NOT_PARQUET, WRONG_COLUMNS, TOO_LARGE = 3, 4, 5
CPU_SECONDS = 1800
#: In the metadata of a file: the version of the dataset, a whole number as text.
VERSION = b"diffatlas_dataset"


def main(file: str, columns: str, memory: str, declared: str) -> int:
    """Write the rows of ``file`` to standard output; return the exit code."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    _limit(int(memory))
    try:
        parquet = pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True)
        names = set(parquet.schema_arrow.names)
        groups = [parquet.metadata.row_group(i) for i in range(parquet.metadata.num_row_groups)]
    except (pa.ArrowException, OSError, ValueError):
        return NOT_PARQUET
    chosen = next((c for c in json.loads(columns) if names.issuperset(c)), None)
    if chosen is None:
        return WRONG_COLUMNS
    try:
        chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
        says = sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.split(".")[0] in chosen)
        if says > int(declared):
            return TOO_LARGE
        version = (parquet.schema_arrow.metadata or {}).get(VERSION, b"1")
        fields = [parquet.schema_arrow.field(name) for name in chosen]
        schema = pa.schema(fields, metadata={VERSION: version[:20]})
        with pa.ipc.new_stream(sys.stdout.buffer, schema) as stream:
            for batch in parquet.iter_batches(batch_size=1, columns=list(chosen), use_threads=False):
                stream.write_batch(batch.select(chosen).replace_schema_metadata(schema.metadata))
                sys.stdout.buffer.flush()
    except MemoryError:
        return TOO_LARGE
    except (pa.ArrowException, OSError, ValueError):
        return NOT_PARQUET
    return 0


def _limit(memory: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
