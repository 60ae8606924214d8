"""The attention of a static folder: which of its maps have a place, what they are of, and what was measured of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffatlas.described import MOST_WHOLE, Wrong
from diffatlas.formats.static import contract
from diffatlas.formats.static.check import inside, read_json, read_maps
from diffatlas.formats.static.kept import checked
from diffatlas.formats.static.source import Source

#: Cells along a side of a layer's own grid that are believed: maps may be brought to it.
MOST_GRID = 512
_SPECIAL = re.compile(r"<\|.*\|>|<pad>|</s>|<s>")


@dataclass
class FolderAttention:
    """The maps of a folder that can be placed, and what they are of."""

    source: Source
    #: By step the entries of its maps, each with the key and the name of its layer.
    entries: dict[int, list[dict[str, Any]]]
    #: By key what each layer is, as a run's provenance tells it.
    layers: dict[str, dict[str, Any]]
    text: list[dict[str, Any]]
    #: By a layer's id in the folder its key.
    keys: dict[str, str]

    @classmethod
    def of(cls, source: Source) -> FolderAttention:
        """Look through the entries of the folder's metadata."""
        names = {
            x["id"]: str(x.get("processor_key"))[:300]
            for x in source.metadata["layers"]
            if isinstance(x, dict) and isinstance(x.get("id"), str)
        }
        maps = cls(source, {}, {}, _tokens(source), {})
        for entry in source.metadata["attention_files"]:
            layer = entry.get("layer_id") if isinstance(entry, dict) else None
            if not isinstance(layer, str) or layer not in names:
                continue
            kind, step = entry.get("attention_type"), entry.get("step")
            if kind not in ("cross", "self") or type(step) is not int or not 0 <= step < source.count:
                continue
            name = names[layer].removesuffix(".processor")
            key = f"{kind}:{name}"
            maps.keys[layer] = key
            maps.entries.setdefault(step, []).append({**entry, "key": key, "name": name})
        # In the order of the metadata, which is that of the model.
        maps.keys = {layer: maps.keys[layer] for layer in names if layer in maps.keys}
        maps._describe_layers()
        return maps

    def of_step(self, at: int) -> dict[str, np.ndarray]:
        """Return the maps of a step as `Step.attention` has them, of one image; what cannot be placed is noted."""
        found = {}
        for entry in self.entries.get(at, ()):
            try:
                found[entry["key"]] = self._placed(entry)[None].astype(np.float16)
            except (OSError, ValueError) as error:
                self.source.notes.append(f"{entry.get('path')!s:.80} is left out: {error}.")
        return found

    def measured(self) -> dict[str, Any] | None:
        """Return what was measured of the maps before they were resampled; None where the folder does not tell.

        What cannot be used of it is noted.
        """
        if inside(self.source.folder, contract.MEASURED) is None or not self.layers:
            return None
        data = read_json(self.source.folder, contract.MEASURED)
        try:
            if data is None:
                raise Wrong("cannot be read")
            found = checked(data, self.source.count)
        except Wrong as wrong:
            self.source.notes.append(
                f"{contract.MEASURED} is left out: {wrong}. Attention is measured on the folder's maps instead."
            )
            return None
        known = [layer for layer in found["layers"] if f"{layer['kind']}:{layer['name']}" in self.layers]
        return {**found, "layers": known} if known else None

    def _describe_layers(self) -> None:
        """Describe every layer by the first of its maps that can be placed."""
        for entry in (entry for at in sorted(self.entries) for entry in self.entries[at]):
            if entry["key"] not in self.layers:
                with suppress(OSError, ValueError):
                    self._placed(entry)
        self.layers = {key: self.layers[key] for key in self.keys.values() if key in self.layers}

    def _placed(self, entry: dict[str, Any]) -> np.ndarray:
        maps = read_maps(self.source.folder, entry)
        if not np.isfinite(maps).all():
            raise ValueError("it holds NaN or infinity")
        return self._cross(entry, maps) if entry["attention_type"] == "cross" else self._self(entry, maps)

    def _cross(self, entry: dict[str, Any], maps: np.ndarray) -> np.ndarray:
        if maps.ndim != 3:
            raise ValueError("its shape is not (tokens, rows, columns)")
        size, grid = list(maps.shape[1:]), self._own(entry).get("grid")
        if grid and max(grid) > MOST_GRID:
            grid = None
        # Another tool brings the maps of every layer to one grid, and does not tell the layer's own.
        cells = None if size == grid else size
        resampled = cells is not None or bool(self._own(entry).get("resampled"))
        self._describe(entry, grid or size, len(maps), cells, resampled)
        return maps

    def _self(self, entry: dict[str, Any], maps: np.ndarray) -> np.ndarray:
        """(rows, columns, rows, columns): shares of a query's attention."""
        bins, own = len(maps), self._own(entry)
        known = bool(own.get("grid") and own.get("cells"))
        grid = own["grid"] if known else self._grid(maps)
        cells = own["cells"] if known else grid if grid[0] * grid[1] == bins else [bins, 1]
        # A band of the raster is a strip of the picture only where it is of whole rows.
        if cells[0] * cells[1] != bins or (not known and cells != grid and grid[0] % bins):
            raise ValueError("its bins are no whole rows of the picture, so they have no place in it")
        resampled = bool(own.get("resampled")) if known else cells != grid
        self._describe(entry, grid, None, cells, resampled)
        return (maps * (grid[0] * grid[1] / bins)).reshape(*cells, *cells)

    def _own(self, entry: dict[str, Any]) -> dict[str, Any]:
        """What our own export tells of a layer; {} where it is not ours."""
        for layer in self.source.ours.get("layers", ()):
            if (layer["kind"], layer["name"]) == (entry["attention_type"], entry["name"]):
                return layer
        return {}

    def _grid(self, maps: np.ndarray) -> list[int]:
        """(rows, columns) of a layer: its number of places is told by the sum of a row, bins / places."""
        generator = self.source.metadata["generator"]
        whole_row = float(maps.sum(1).mean())
        if not whole_row > 0:
            raise ValueError("its rows sum to nothing, which tells no places")
        places = min(len(maps) / whole_row, 1e9)
        ratio = float(generator.get("height") or 1) / float(generator.get("width") or 1)
        rows = round(math.sqrt(places * ratio))
        return [max(rows, 1), max(round(rows / ratio), 1)]

    def _describe(
        self,
        entry: dict[str, Any],
        grid: Sequence[int],
        tokens: int | None,
        cells: Sequence[int] | None,
        resampled: bool,
    ) -> None:
        name, own = entry["name"], self._own(entry)
        part = next((p for p in ("down", "mid", "up") if name.startswith(f"{p}_block")), None)
        self.layers.setdefault(
            entry["key"],
            {
                "name": name,
                "kind": entry["attention_type"],
                "heads": own.get("heads") or 0,
                "grid": list(grid),
                "block": own.get("block", part),
                "tokens": tokens,
                "cells": None if cells is None else list(cells),
                "joint": bool(own.get("joint")),
                "resampled": resampled,
            },
        )


def _tokens(source: Source) -> list[dict[str, Any]]:
    """The token table: ours as it was, another tool's from CLIP's spelling, in which a word ends in ``</w>``."""
    own = source.ours.get("tokens")
    if own is not None:
        return own
    raw, ids = (source.metadata["prompt"].get(name) for name in ("tokens", "token_ids"))
    known = isinstance(ids, list) and isinstance(raw, list) and len(ids) == len(raw)
    table, pieces, word = [], [], 0
    for index, spelled in enumerate(raw if isinstance(raw, list) else ()):
        text = str(spelled)
        special = _SPECIAL.fullmatch(text) is not None
        plain = text.removesuffix("</w>")
        worded = not special and any(c.isalnum() for c in plain)
        token = {
            "index": index,
            "encoder": "clip",
            "text": plain,
            "word": word if worded else None,
            "special": special,
            "word_text": None,
            "id": ids[index] if known and type(ids[index]) is int and 0 <= ids[index] <= MOST_WHOLE else None,
            "raw": text,
        }
        table.append(token)
        if worded:
            pieces.append(token)
        if pieces and (not worded or text.endswith("</w>")):
            _finish(pieces)
            pieces, word = [], word + 1
    if pieces:
        _finish(pieces)
    return table


def _finish(pieces: Sequence[dict[str, Any]]) -> None:
    text = "".join(token["text"] for token in pieces)
    for token in pieces:
        token["word_text"] = text
