"""A pack as a file of any form that is read or written."""

from __future__ import annotations

import json
from pathlib import Path

from diffatlas.bench.packs.files import pack_text, read_pack
from diffatlas.bench.packs.geneval import as_metadata, read_metadata
from diffatlas.bench.packs.others import is_geneval2, read_compbench, read_geneval2
from diffatlas.bench.tasks import Pack
from diffatlas.errors import InvalidParams, Unreadable

#: How the names of files end: our own, GenEval's metadata or GenEval 2's data, and prompts of T2I-CompBench++.
ENDINGS = (".yaml", ".yml", ".json", ".jsonl", ".txt")
WRITTEN = ("yaml", "json", "jsonl")


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


def file_text(pack: Pack, kind: str) -> str:
    """Return a pack as the text of a file of ``kind`` (`WRITTEN`), of which "jsonl" is GenEval's metadata.

    Raises `InvalidParams` for another kind, and for what GenEval's files cannot say.
    """
    if kind == "jsonl":
        return "".join(json.dumps(as_metadata(task)) + "\n" for task in pack.tasks)
    if kind not in WRITTEN:
        raise InvalidParams(f"A pack is written as {', '.join(WRITTEN)}, not as {kind!r:.40}.", field="kind")
    return pack_text(pack, kind)


def is_file_name(source: str) -> bool:
    """Whether a text names a file of a pack rather than a pack by its name."""
    return source.lower().endswith(ENDINGS)
