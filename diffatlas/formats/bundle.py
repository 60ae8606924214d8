"""The folders of runs in one ZIP: unpacked into a library's folder, they are its runs."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from diffatlas.formats.named import Named, slug
from diffatlas.library.format import is_run_id
from diffatlas.library.writer import RunWriter

#: What is compressed already, or does not compress.
_STORED = {".png", ".safetensors", ".parquet"}


def zip(runs: Sequence[Named]) -> bytes:
    """Return a ZIP with a folder per run, as `diffatlas.library.format` describes it, and nothing else.

    A folder is named by the run's id. A run that is given twice is there once. The same runs give the same bytes.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "runs"
        for entry in runs:
            name = entry.run.id if is_run_id(entry.run.id) else slug(entry.run.id)
            if not (folder / name).exists():
                with RunWriter(folder / name) as writer:
                    writer.write_run(entry.run)
        return zip_folder(folder)


def zip_folder(folder: Path) -> bytes:
    """Return a ZIP of the files below ``folder``. The same files give the same bytes."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            # ZipInfo without a date: the clock is no part of a run.
            member = zipfile.ZipInfo(file.relative_to(folder).as_posix())
            stored = file.suffix in _STORED
            member.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            archive.writestr(member, file.read_bytes())
    return data.getvalue()
