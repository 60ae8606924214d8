"""What tests write into the files of a dataset."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image as Pictures

FILE = "data/train-00000-of-00001.parquet"


def edit(folder, row=1, **columns):
    """Write other values into a row, the second unless told: the first is a good run."""
    table = pq.read_table(folder / FILE)
    rows = table.to_pylist()
    for name, value in columns.items():
        rows[row][name] = value(rows[row][name]) if callable(value) else value
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / FILE)


def edit_manifest(folder, change, **options):
    def apply(text):
        data = json.loads(text)
        change(data)
        return json.dumps(data)

    edit(folder, manifest=apply, **options)


def edit_line(folder, **fields):
    def apply(text):
        lines = text.splitlines()
        lines[1] = json.dumps({**json.loads(lines[1]), **fields})
        return "".join(f"{line}\n" for line in lines)

    edit(folder, steps_jsonl=apply)


def png(size=(16, 16), mode="RGB"):
    file = io.BytesIO()
    Pictures.new(mode, size).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}
