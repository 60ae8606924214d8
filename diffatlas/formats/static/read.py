"""Making a run of a static folder, ours or another tool's. What is missing or damaged in it becomes a gap."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas import files
from diffatlas.described import MOST_NUMBER, Wrong
from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.events import Finished, Image, Started, Step
from diffatlas.formats.staging import staged
from diffatlas.formats.static import contract
from diffatlas.formats.static.carried import STATIC, carry
from diffatlas.formats.static.check import check_folder, inside, picture_size, read_json, read_npz
from diffatlas.formats.static.read_attention import FolderAttention
from diffatlas.formats.static.source import Source
from diffatlas.library import format as layout
from diffatlas.library.manifest import check_params
from diffatlas.library.reader import read_manifest
from diffatlas.library.writer import RunWriter
from diffatlas.params import GenerationParams

if TYPE_CHECKING:
    from diffatlas.library.store import Library

MOST_BYTES = 4_000_000_000


@dataclass(frozen=True)
class Imported:
    """What came of an import. ``new``: whether the run was not in the library yet. ``notes``: what was left out."""

    run_id: str
    new: bool
    notes: tuple[str, ...] = ()


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
        manifest = {**read_manifest(target), **_ended(source), "imported": True}
        layout.write_atomically(target / layout.MANIFEST, layout.dumps(manifest, indent=1).encode())
        try:
            target.rename(library.folder / run_id)
        except OSError:
            if not (library.folder / run_id).is_dir():
                raise
    return Imported(run_id, True, tuple(source.notes))


def _read(folder: Path) -> Source:
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
    return Source(folder, metadata, metrics if isinstance(metrics, dict) else {}, report)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
        digest.update(f"\n{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
        digest.update(files.read_bytes(path, MOST_BYTES))
    return digest.hexdigest()[:16]


def _params(source: Source) -> GenerationParams:
    """What was asked: by the contract's fields, and beside them what our own export tells."""
    generator, prompt = source.metadata["generator"], source.metadata["prompt"]
    text, own = prompt.get("text"), source.ours.get("params")
    told = {
        "model": str(generator.get("model_id") or "unknown"),
        "prompt": text if isinstance(text, str) else "",
        "negative_prompt": str(prompt.get("negative") or ""),
        "seed": generator.get("seed", 0),
        "num_inference_steps": generator.get("num_steps", source.count),
        "guidance_scale": generator.get("cfg_scale", 1.0),
        "width": generator.get("width"),
        "height": generator.get("height"),
        "scheduler": _text(source.ours.get("scheduler")),
    }
    try:
        if own is not None:
            # A recorded call may be of what nobody could ask here.
            return check_params({**own, **told})
        params = GenerationParams(**told)
        # A run may have had no prompt, though nobody could ask for one here.
        params.replace(prompt=params.prompt or "none").validate()
    except (DiffAtlasError, TypeError, Wrong) as error:
        raise InvalidParams(f"{source.folder} cannot be imported: {error}", field="folder") from error
    return params


def _write(source: Source, params: GenerationParams, run_id: str, target: Path) -> None:
    latents = _latents(source)
    maps = FolderAttention.of(source)
    initial, final = latents.get("initial_latents"), _final(source)
    with RunWriter(target) as writer:
        writer.write(
            Started(
                run_id=run_id,
                params=params,
                initial_latents=None if initial is None else initial[None],
                initial_sigma=_known(source.ours.get("initial_sigma")),
                total_steps=source.ours.get("total_steps") or source.count,
                provenance=_provenance(source, maps),
                capture=_captured(latents, maps),
            )
        )
        for at in range(source.count):
            writer.write(_step(source, at, latents, maps))
        if final is not None and (pixels := _picture(source, final)) is not None:
            writer.write(Image(0, pixels))
        writer.write(Finished("complete", _known(source.ours.get("seconds"))))
    _tell(source, latents)


def _final(source: Source) -> Path | None:
    """The finished picture; of another tool's folder that of the last step."""
    if "final_image" in source.ours:
        named = source.ours["final_image"]
        found = inside(source.folder, named)
        if named is not None and found is None:
            source.notes.append(f"The finished picture is left out: {named[:80]} is missing or a link.")
        return found
    pictures = source.metadata["images"]
    return inside(source.folder, pictures[-1]) if pictures else None


def _ended(source: Source) -> dict[str, Any]:
    """How the run ended, as its manifest says it; nothing is being written any more."""
    status, error = source.ours.get("status") or "complete", source.ours.get("error")
    told = {"status": "partial" if status == "running" else status}
    return told | ({} if error is None else {"error": {**error, "field": None}})


def _step(source: Source, at: int, latents: dict[str, np.ndarray], maps: FolderAttention) -> Step:
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


def _latents(source: Source) -> dict[str, np.ndarray]:
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


def _picture(source: Source, path: Path) -> np.ndarray | None:
    try:
        picture_size(path)
        return np.asarray(files.open_png(path).convert("RGB"))
    except (OSError, ValueError):
        source.notes.append(f"The picture {path.name} is left out: it cannot be read.")
        return None


def _provenance(source: Source, maps: FolderAttention) -> dict[str, Any]:
    generator, own = source.metadata["generator"], source.ours
    told = {
        "model": str(generator.get("model_id") or "unknown"),
        "source": "static folder",
        "pipeline": _text(own.get("pipeline")) or _text(generator.get("pipeline_type")),
        "dtype": _text(generator.get("dtype")),
        "device": _text(generator.get("device")),
        "schema_version": _text(source.metadata.get("schema_version")),
    }
    if own.get("version"):
        told["versions"] = {"diffatlas": own["version"]}
    if own.get("missing"):
        told["missing"] = own["missing"]
    if maps.layers:
        told["attention"] = {"layers": list(maps.layers.values()), "text": maps.text}
        if (measured := maps.measured()) is not None:
            told["attention"]["measured"] = measured
    keys = {layer: key for layer, key in maps.keys.items() if key in maps.layers}
    pca = read_json(source.folder, contract.PCA)
    if (carried := carry(source.metadata, source.metrics, pca, keys, own)) is not None:
        told[STATIC] = carried
    return told


def _captured(latents: dict[str, np.ndarray], maps: FolderAttention) -> dict[str, Any]:
    kinds = {layer["kind"] for layer in maps.layers.values()}
    captured = {"latents": "latents" in latents, "predictions": False, "x0": False, "previews": "every"}
    if kinds:
        captured |= {"attention": "all" if len(kinds) > 1 else min(kinds), "attention_heads": "mean"}
    return captured


def _tell(source: Source, latents: dict[str, np.ndarray]) -> None:
    if "latents" not in latents:
        source.notes.append(
            "There are no latents in the folder, so the run has no path: only pictures and attention."
        )
    elif "initial_latents" not in latents:
        source.notes.append(
            "The folder does not hold the noise that the run began with, so its path has no beginning."
        )
    bare = [p for p in source.report.problems if "bare" in p.what and not p.severe]
    source.notes += [f"In {problem.where}, {problem.what}." for problem in bare]
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
