"""A pack as the text of a file of any form that is written."""

from __future__ import annotations

import json

from diffatlas.bench.packs.files import pack_text
from diffatlas.bench.packs.geneval import as_metadata
from diffatlas.bench.tasks import Pack
from diffatlas.errors import InvalidParams

WRITTEN = ("yaml", "json", "jsonl")


def file_text(pack: Pack, kind: str) -> str:
    """Return a pack as the text of a file of ``kind`` (`WRITTEN`), of which "jsonl" is GenEval's metadata.

    Raises `InvalidParams` for another kind, and for what GenEval's files cannot say.
    """
    if kind == "jsonl":
        return "".join(json.dumps(as_metadata(task)) + "\n" for task in pack.tasks)
    if kind not in WRITTEN:
        raise InvalidParams(f"A pack is written as {', '.join(WRITTEN)}, not as {kind!r:.40}.", field="kind")
    return pack_text(pack, kind)
