"""Making a run of a static folder, ours or another tool's. What is missing or damaged in it becomes a gap."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas import files
from diffatlas.described import MOST_NUMBER, Wrong, fields, listed, maybe, number, whole
from diffatlas.described import text as described_text
from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.events import Finished, Image, Started, Step
from diffatlas.formats.staging import staged
from diffatlas.formats.static import contract
from diffatlas.formats.static.check import (
    Report,
    check_folder,
    inside,
    picture_size,
    read_json,
    read_maps,
    read_npz,
)
from diffatlas.library import format as layout
from diffatlas.library.manifest import token as stored_token
from diffatlas.library.reader import read_manifest
from diffatlas.library.writer import RunWriter
from diffatlas.params import GenerationParams

if TYPE_CHECKING:
    from diffatlas.library.store import Library

MOST_BYTES = 4_000_000_000
_SPECIAL = re.compile(r"<\|.*\|>|<pad>|</s>|<s>")


_place = maybe(listed(whole(1, 1_000_000), 2, 2))
#: What our own export adds, as far as it is read.
_OURS = fields(
    {
        "layers": listed(
            fields(
                {
                    "name": described_text(400),
                    "kind": described_text(20),
                    "heads": maybe(whole(0, 100_000)),
                    "grid": _place,
                    "cells": _place,
                }
            ),
            10_000,
        ),
        "tokens": listed(stored_token, 200_000),
        "sigmas": listed(maybe(number), 100_000),
        "initial_sigma": maybe(number),
        "scheduler": maybe(described_text()),
        "pipeline": maybe(described_text()),
        "status": maybe(described_text(100)),
    }
)


@dataclass(frozen=True)
class Imported:
    """What came of an import. ``new``: whether the run was not in the library yet. ``notes``: what was left out."""

    run_id: str
    new: bool
    notes: tuple[str, ...] = ()


@dataclass
class _Source:
    """A folder as far as it can be read."""

    folder: Path
    metadata: dict[str, Any]
    metrics: dict[str, Any]
    report: Report
    notes: list[str] = field(default_factory=list)

    @property
    def ours(self) -> dict[str, Any]:
        """What our own export adds; {} in a folder of another tool."""
        own = self.metadata.get("diffatlas")
        try:
            _OURS(own)
        except Wrong:
            return {}
        return own

    @property
    def count(self) -> int:
        """Number of steps."""
        return self.metadata["steps"]


def import_static(library: Library, folder: Path) -> Imported:
    """Make a run of a static folder, and return its id, which is made of the folder's content.

    Bare NaN in JSON become gaps; pictures, maps and latents that are missing or damaged are left out, and named in the
    notes. The run is marked as imported, so it never answers a query as if it had been made here.

    Raises `InvalidParams` where there is no such folder, or where its metadata cannot be used.
    """
    folder = Path(folder).expanduser()
    source = _read(folder)
    run_id = f"static-{_digest(folder)}"
    if (library.folder / run_id).is_dir():
        return Imported(run_id, False)
    params = _params(source)
    library.folder.mkdir(parents=True, exist_ok=True)
    with staged(library.folder, "static") as room:
        target = room / run_id
        _write(source, params, run_id, target)
        manifest = read_manifest(target)
        text = layout.dumps({**manifest, "imported": True}, indent=1)
        layout.write_atomically(target / layout.MANIFEST, text.encode())
        try:
            target.rename(library.folder / run_id)
        except OSError:
            if not (library.folder / run_id).is_dir():
                raise
    return Imported(run_id, True, tuple(source.notes))


def _read(folder: Path) -> _Source:
    report = check_folder(folder)
    if report.bytes > MOST_BYTES:
        raise InvalidParams(
            f"{folder} takes {report.bytes / 1e9:.1f} GB, too much to import.", field="folder"
        )
    metadata = read_json(folder, contract.METADATA)
    unusable = [p for p in report.problems if p.severe and p.where == contract.METADATA]
    if not isinstance(metadata, dict) or unusable:
        what = unusable[0].what if unusable else "it cannot be read"
        raise InvalidParams(
            f"{folder} is no static run folder: in {contract.METADATA}, {what}.", field="folder"
        )
    metrics = read_json(folder, contract.METRICS)
    return _Source(folder, metadata, metrics if isinstance(metrics, dict) else {}, report)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
        digest.update(f"\n{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
        digest.update(files.read_bytes(path, MOST_BYTES))
    return digest.hexdigest()[:16]


def _params(source: _Source) -> GenerationParams:
    generator, prompt = source.metadata["generator"], source.metadata["prompt"]
    text = prompt.get("text")
    try:
        params = GenerationParams(
            model=str(generator.get("model_id") or "unknown"),
            prompt=text if isinstance(text, str) else "",
            negative_prompt=str(prompt.get("negative") or ""),
            seed=generator.get("seed", 0),
            num_inference_steps=generator.get("num_steps", source.count),
            guidance_scale=generator.get("cfg_scale", 1.0),
            width=generator.get("width"),
            height=generator.get("height"),
            scheduler=_text(source.ours.get("scheduler")),
        )
        # A run may have had no prompt, though nobody could ask for one here.
        params.replace(prompt=params.prompt or "none").validate()
    except (DiffAtlasError, TypeError) as error:
        raise InvalidParams(f"{source.folder} cannot be imported: {error}", field="folder") from error
    return params


def _write(source: _Source, params: GenerationParams, run_id: str, target: Path) -> None:
    latents = _latents(source)
    maps = _Attention.of(source)
    pictures = source.metadata["images"]
    initial = latents.get("initial_latents")
    final = inside(source.folder, source.ours.get("final_image")) or (
        inside(source.folder, pictures[-1]) if pictures else None
    )
    ended = source.ours.get("status", "complete")
    with RunWriter(target) as writer:
        writer.write(
            Started(
                run_id=run_id,
                params=params,
                initial_latents=None if initial is None else initial[None],
                initial_sigma=_known(source.ours.get("initial_sigma")),
                total_steps=source.count,
                provenance=_provenance(source, maps),
                capture=_captured(latents, maps),
            )
        )
        for at in range(source.count):
            writer.write(_step(source, at, latents, maps))
        if final is not None and (pixels := _picture(source, final)) is not None:
            writer.write(Image(0, pixels))
        writer.write(Finished(ended if ended in ("complete", "stopped") else "complete", 0.0))
    _tell(source, latents)


def _step(source: _Source, at: int, latents: dict[str, np.ndarray], maps: _Attention) -> Step:
    path = inside(source.folder, source.metadata["images"][at])
    pixels = None if path is None else _picture(source, path)
    state, noise = (latents.get(name) for name in ("latents", "predicted_noise"))
    norm = _number(_entry(source.metrics.get("latent_l2_norm"), at))
    return Step(
        index=at,
        timestep=_number(_entry(source.metadata["timesteps"], at)),
        sigma=_known(_entry(source.ours.get("sigmas"), at)),
        latents=None if state is None else state[at][None],
        noise_pred=None if noise is None else noise[at][None],
        metrics={} if math.isnan(norm) else {"norm": norm},
        preview=None if pixels is None else pixels[None],
        attention=maps.of_step(at) or None,
    )


def _latents(source: _Source) -> dict[str, np.ndarray]:
    artifacts = source.metadata.get("artifacts")
    name = artifacts.get("latents_noise") if isinstance(artifacts, dict) else None
    if name is None:
        return {}
    try:
        found = read_npz(source.folder, name)
    except (OSError, ValueError) as error:
        source.notes.append(f"The latents are left out: {error}.")
        return {}
    return {
        key: array.astype(np.float32)
        for key, array in found.items()
        if (key == "initial_latents" or len(array) == source.count) and np.isfinite(array).all()
    }


def _picture(source: _Source, path: Path) -> np.ndarray | None:
    try:
        picture_size(path)
        return np.asarray(files.open_png(path).convert("RGB"))
    except (OSError, ValueError):
        source.notes.append(f"The picture {path.name} is left out: it cannot be read.")
        return None


@dataclass
class _Attention:
    """The maps of a folder that can be placed, and what they are of."""

    source: _Source
    entries: dict[int, list[dict[str, Any]]]
    layers: dict[str, dict[str, Any]]
    text: list[dict[str, Any]]

    @classmethod
    def of(cls, source: _Source) -> _Attention:
        """Look through the entries of the folder's metadata."""
        names = {
            x["id"]: str(x.get("processor_key"))[:300]
            for x in source.metadata["layers"]
            if isinstance(x, dict) and isinstance(x.get("id"), str)
        }
        maps = cls(source, {}, {}, _tokens(source))
        for entry in source.metadata["attention_files"]:
            layer = entry.get("layer_id") if isinstance(entry, dict) else None
            if not isinstance(layer, str) or layer not in names:
                continue
            kind, step = entry.get("attention_type"), entry.get("step")
            if kind not in ("cross", "self") or type(step) is not int or not 0 <= step < source.count:
                continue
            name = names[entry["layer_id"]].removesuffix(".processor")
            maps.entries.setdefault(step, []).append({**entry, "key": f"{kind}:{name}", "name": name})
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

    def describe(self) -> None:
        """Describe every layer by the first of its maps that can be placed."""
        for entry in (entry for at in sorted(self.entries) for entry in self.entries[at]):
            if entry["key"] not in self.layers:
                with suppress(OSError, ValueError):
                    self._placed(entry)

    def _placed(self, entry: dict[str, Any]) -> np.ndarray:
        maps = read_maps(self.source.folder, entry)
        if not np.isfinite(maps).all():
            raise ValueError("it holds NaN or infinity")
        return self._cross(entry, maps) if entry["attention_type"] == "cross" else self._self(entry, maps)

    def _cross(self, entry: dict[str, Any], maps: np.ndarray) -> np.ndarray:
        if maps.ndim != 3:
            raise ValueError("its shape is not (tokens, rows, columns)")
        self._describe(entry, "cross", list(maps.shape[1:]), len(maps), None)
        return maps

    def _self(self, entry: dict[str, Any], maps: np.ndarray) -> np.ndarray:
        """(rows, columns, rows, columns): shares of a query's attention."""
        bins = len(maps)
        own = next(
            (
                x
                for x in self.source.ours.get("layers", ())
                if x.get("kind") == "self" and x.get("name") == entry["name"]
            ),
            None,
        )
        own = own if own and own.get("grid") and own.get("cells") else None
        grid = own["grid"] if own else self._grid(maps)
        cells = own["cells"] if own else [bins, 1]
        # A band of the raster is a strip of the picture only where it is of whole rows.
        if cells[0] * cells[1] != bins or (own is None and grid[0] % bins):
            raise ValueError("its bins are no whole rows of the picture, so they have no place in it")
        self._describe(entry, "self", grid, None, cells)
        return (maps * (grid[0] * grid[1] / bins)).reshape(*cells, *cells)

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
        self, entry: dict[str, Any], kind: str, grid: list[int], tokens: int | None, cells: list[int] | None
    ) -> None:
        name = entry["name"]
        own = next(
            (x for x in self.source.ours.get("layers", ()) if (x.get("kind"), x.get("name")) == (kind, name)),
            {},
        )
        part = next((p for p in ("down", "mid", "up") if name.startswith(f"{p}_block")), None)
        self.layers.setdefault(
            entry["key"],
            {
                "name": name,
                "kind": kind,
                "heads": own.get("heads", 0),
                "grid": list(grid),
                "block": own.get("block", part),
                "tokens": tokens,
                "cells": cells,
                "joint": False,
            },
        )


def _tokens(source: _Source) -> list[dict[str, Any]]:
    """The token table: ours as it was, another tool's from CLIP's spelling, in which a word ends in ``</w>``."""
    own = source.ours.get("tokens")
    if own is not None:
        return own
    raw = source.metadata["prompt"].get("tokens")
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
            "id": None,
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


def _provenance(source: _Source, maps: _Attention) -> dict[str, Any]:
    generator = source.metadata["generator"]
    maps.describe()
    told = {
        "model": str(generator.get("model_id") or "unknown"),
        "source": "static folder",
        "pipeline": _text(source.ours.get("pipeline")) or _text(generator.get("pipeline_type")),
        "dtype": _text(generator.get("dtype")),
        "device": _text(generator.get("device")),
        "schema_version": _text(source.metadata.get("schema_version")),
    }
    if maps.layers:
        told["attention"] = {"layers": list(maps.layers.values()), "text": maps.text}
    return told


def _captured(latents: dict[str, np.ndarray], maps: _Attention) -> dict[str, Any]:
    kinds = {layer["kind"] for layer in maps.layers.values()}
    captured = {"latents": "latents" in latents, "predictions": False, "x0": False, "previews": "every"}
    if kinds:
        captured |= {"attention": "all" if len(kinds) > 1 else min(kinds), "attention_heads": "mean"}
    return captured


def _tell(source: _Source, latents: dict[str, np.ndarray]) -> None:
    if "latents" not in latents:
        source.notes.append(
            "There are no latents in the folder, so the run has no path: only pictures and attention."
        )
    elif "initial_latents" not in latents:
        source.notes.append(
            "The folder does not hold the noise that the run began with, so its path has no beginning."
        )
    bare = [problem for problem in source.report.problems if "bare" in problem.what]
    source.notes += [f"In {problem.where}, {problem.what}: these are gaps now." for problem in bare]
    del source.notes[40:]


def _entry(values: Any, at: int) -> Any:
    return values[at] if isinstance(values, list) and at < len(values) else None


def _number(value: Any) -> float:
    """A number, or NaN where there is none."""
    known = _known(value)
    return math.nan if known is None else known


def _known(value: Any) -> float | None:
    """A number, or None where there is none."""
    fits = isinstance(value, float) or (type(value) is int and abs(value) < MOST_NUMBER)
    return float(value) if fits else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
