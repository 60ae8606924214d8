"""A pack from a file of any form that can be read."""

from __future__ import annotations

from pathlib import Path

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
    if not is_file_name(path.name):
        raise Unreadable(f"{path.name} is no file of a pack: their names end in {', '.join(ENDINGS)}.")
    try:
        if path.suffix.lower() == ".txt":
            return read_compbench([path])
        if path.suffix.lower() == ".jsonl":
            return read_geneval2(path) if is_geneval2(path) else read_metadata(path)
        return read_pack(path)
    except FileNotFoundError:
        raise Unreadable(f"There is no file {path}.") from None


def is_file_name(source: str) -> bool:
    """Whether a text names a file of a pack rather than a pack by its name."""
    return source.lower().endswith(ENDINGS)
