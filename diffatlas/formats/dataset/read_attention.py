"""The maps of attention of a dataset, written into the runs that have been built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas.formats.dataset import checks
from diffatlas.formats.dataset.rows import MAX_RUN_BYTES
from diffatlas.library import format as layout


def write_maps(
    ready: Path, listed: Mapping[tuple[str, int], Sequence[str]], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write the maps that rows hold into the runs in ``ready``.

    listed: by run and step (from 0) the maps that it says it has. The rows must be those, each once, those of a step
    one after the other. Raises `RefusedDataset` for anything else.
    """
    from safetensors.numpy import save

    missing = {place: set(keys) for place, keys in listed.items()}
    place, held = None, {}
    for row in rows:
        now, key = _place(row)
        if held and now != place:
            break
        if key not in missing.get(now, ()):
            raise checks.refused(
                row["run_id"], "there is a map of attention that no step lists, or one is there twice"
            )
        place, held[key] = now, checks.maps(now[0], row["maps"])
        missing[now].discard(key)
        if not missing[now]:
            layout.attention_file(ready / now[0], now[1]).write_bytes(save(held))
            del missing[now]
            held = {}
        elif _bytes(held) > MAX_RUN_BYTES:
            raise checks.refused(row["run_id"], "the maps of attention of a step come to too many bytes")
    if missing:
        run_id, step = place if held else next(iter(missing))
        raise checks.refused(run_id, f"maps of attention of step {step + 1} are missing, or are not in order")


def _place(row: Mapping[str, Any]) -> tuple[tuple[str, int], str]:
    step = row["step"]
    return (row["run_id"], step - 1 if isinstance(step, int) else -1), f"{row['kind']}:{row['layer']}"


def _bytes(held: Mapping[str, np.ndarray]) -> int:
    return sum(array.nbytes for array in held.values())
