"""A pack from a file of any form that can be read."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from diffatlas.bench.packs.files import read_pack
from diffatlas.bench.packs.geneval import read_metadata
from diffatlas.bench.packs.others import is_geneval2, read_compbench, read_geneval2
from diffatlas.bench.tasks import Pack
from diffatlas.errors import Unreadable

#: How the names of files end: our own, GenEval's metadata or GenEval 2's data, and prompts of T2I-CompBench++.
ENDINGS = (".yaml", ".yml", ".json", ".jsonl", ".txt")


def read_file(path: Path | str) -> Pack:
    """Return the pack of a file, by how its name ends (`ENDINGS`).

    Raises `InvalidParams` with the line and the field of what is wrong, and `Unreadable` for what is no pack at all, or
    where there is no such file.
    """
    path = Path(path)
    _check_ending(path.name)
    try:
        if path.suffix == ".txt":
            return read_compbench([path])
        if path.suffix == ".jsonl":
            return read_geneval2(path) if is_geneval2(path) else read_metadata(path)
        return read_pack(path)
    except FileNotFoundError:
        raise Unreadable(f"There is no file {path}.") from None


def read_data(data: bytes, name: str) -> Pack:
    """Return the pack of the bytes of a file that is called ``name``. Raises as `read_file`."""
    # A name that came from elsewhere must not lead out of the folder.
    plain = re.sub(r"[^\w .()-]", "_", name)[-100:]
    _check_ending(plain)
    with TemporaryDirectory(prefix="diffatlas-pack-") as folder:
        path = Path(folder) / plain
        path.write_bytes(data)
        return read_file(path)


def is_file_name(source: str) -> bool:
    """Whether a text names a file of a pack rather than a pack by its name."""
    return source.endswith(ENDINGS)


def _check_ending(name: str) -> None:
    if not is_file_name(name):
        raise Unreadable(f"{name} is no file of a pack: their names end in {', '.join(ENDINGS)}.")
