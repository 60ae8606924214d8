"""A run as the static folder of `diffatlas.formats.static.contract`: planned to the byte first, then written whole."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas.attention.trace import AttentionTrace, LayerInfo
from diffatlas.capture.attention_layers import matches, spread
from diffatlas.capture.drawing import linear_drawer
from diffatlas.capture.schedule import latent_scale_of
from diffatlas.errors import BackendFailure, CapabilityError, InvalidParams
from diffatlas.events import Step
from diffatlas.formats.hosted import hosted_run
from diffatlas.formats.static import contract, metrics
from diffatlas.formats.static.carried import Carried
from diffatlas.formats.static.check import check_folder
from diffatlas.formats.static.describe import cells_of, metadata
from diffatlas.formats.static.kept import kept_measures
from diffatlas.formats.static.options import Options
from diffatlas.geometry.attention import resample, scaled_grid
from diffatlas.library import leftovers
from diffatlas.library.writer import beside
from diffatlas.run import Run

#: Cross-attention is written at the finest layer's size, at most so many cells long.
MOST_CELLS = 64


@dataclass(frozen=True)
class File:
    """A file to be written: its path in the folder, its size in bytes, and what makes it."""

    path: str
    size: int
    make: Callable[[], bytes]


@dataclass(frozen=True)
class Plan:
    """All files of a folder. Maps of attention are made one at a time, when they are written."""

    files: tuple[File, ...]

    @property
    def bytes(self) -> int:
        """What the folder will take."""
        return sum(file.size for file in self.files)

    def by_part(self) -> dict[str, tuple[int, int]]:
        """Return (number of files, bytes) of each part: the folder that a file lies in, or its name."""
        parts: dict[str, tuple[int, int]] = {}
        for file in self.files:
            part = file.path.rpartition("/")[0] or file.path
            count, size = parts.get(part, (0, 0))
            parts[part] = count + 1, size + file.size
        return parts


def plan(run: Run, options: Options | None = None) -> Plan:
    """Return what the folder of a run will hold.

    Raises `CapabilityError` where the run lacks what the folder needs (steps, latents, pictures) or holds numbers that
    it cannot; `InvalidParams` for layers or an image that the run does not have.
    """
    options = options or Options()
    if hosted := hosted_run(run.provenance):
        raise CapabilityError(
            f"{hosted.why} A static folder is of latents: export its dataset or its report instead."
        )
    if not run.steps:
        raise CapabilityError(f"The run {run.id} has no step: a static folder needs at least one.")
    carried = Carried.of(run, options.image)
    latents = _stack(run.steps, "latents", options.image)
    if latents is None and carried is None:
        raise CapabilityError(_no_latents(run))
    noise = _stack(run.steps, "noise_pred", options.image)
    _check_finite(run, "latents", latents)
    _check_finite(run, "predictions", noise)
    trace = _attention(run, options)
    layers = _chosen(trace, options)
    _check_maps(trace, layers)
    ids = _ids(layers, carried)
    attention = _attention_files(trace, layers, ids, run.steps, options)
    images = _images(run, options.image, carried)
    npz = _npz(run, latents, noise, options.image) if options.npz and latents is not None else None
    steps = [step.index for step in run.steps]
    kept = kept_measures(trace, layers, steps)

    entries = [entry for entry, _ in attention]
    told = metadata(
        run, options, trace, layers, ids, entries, final=len(images) > len(steps), npz=npz is not None
    )
    files = [
        _ready(contract.METADATA, contract.dumps(told)),
        _ready(contract.METRICS, contract.dumps(_metrics(trace, ids, steps, latents, noise, carried))),
        _ready(contract.PCA, contract.dumps(carried.pca if carried else metrics.pca(latents))),
        _ready(contract.VALIDATION, contract.dumps(_agrees(len(attention)))),
        *(_ready(path, data) for path, data in images),
        *(file for _, file in attention),
    ]
    if npz is not None:
        files.append(_ready(contract.LATENTS, npz))
    if kept is not None:
        files.append(_ready(contract.MEASURED, kept))
    return Plan(tuple(files))


def write(planned: Plan, folder: Path, overwrite: bool = False, keep: Sequence[Path] = ()) -> Path:
    """Write the folder whole, or not at all, and return it.

    overwrite: whether another static folder there may be replaced. keep: folders that must not be touched, nor lie
    inside, such as the library's.

    Raises `InvalidParams` for a place that may not be written, `BackendFailure` where the disk refuses or what was
    written does not hold together.
    """
    folder = Path(os.path.abspath(Path(folder).expanduser()))
    check_target(folder, overwrite, keep)
    leftovers.sweep(folder.parent)
    temporary = leftovers.temporary(folder)
    try:
        for file in planned.files:
            path = temporary / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.make())
        wrong = [p for p in check_folder(temporary).problems if p.severe]
        if wrong:
            raise BackendFailure(f"The folder would not hold together: {wrong[0].where}: {wrong[0].what}.")
        _install(temporary, folder)
    except OSError as error:
        raise BackendFailure(
            f"{folder} cannot be written ({error.strerror or error}): free some space, or choose another folder."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def check_target(folder: Path, overwrite: bool, keep: Sequence[Path] = ()) -> None:
    """Raise `InvalidParams` where a folder may not be written: never over anything but another static folder."""
    if folder.is_symlink():
        raise InvalidParams(f"{folder} is a link: name the folder itself.", field="to")
    real = folder.resolve()
    guarded = [Path.home(), Path.cwd(), *(Path(k).resolve() for k in keep)]
    if real == Path(real.anchor) or any(g == real or g.is_relative_to(real) for g in guarded):
        raise InvalidParams(
            f"{folder} may not be written over: it is the root, or holds your home, the library or where you are. "
            "Name a folder of its own.",
            field="to",
        )
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InvalidParams(f"{folder} is a file: name a folder.", field="to")
    if any(folder.iterdir()):
        if not overwrite:
            raise InvalidParams(
                f"{folder} is not empty: choose another folder, or add --overwrite.", field="to"
            )
        if not contract.is_static_folder(folder):
            raise InvalidParams(
                f"{folder} holds something else than a static run folder, which is never overwritten: choose another.",
                field="to",
            )


def _install(temporary: Path, folder: Path) -> None:
    old = None
    if folder.exists():
        old = beside(folder, "old")
        folder.rename(old)
    try:
        temporary.rename(folder)
    except OSError:
        if old is not None:
            old.rename(folder)
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _check_finite(run: Run, what: str, arrays: np.ndarray | None) -> None:
    """Raise `CapabilityError` where numbers (T, ...) are none, or are infinite as float16."""
    if arrays is None:
        return
    limit = np.finfo(np.float16).max
    fine = [bool((np.abs(array.astype(np.float64)) <= limit).all()) for array in arrays]
    if not all(fine):
        step = fine.index(False) + 1
        raise CapabilityError(
            f"The {what} of the run {run.id} hold NaN, or numbers beyond {limit:,.0f}, from step {step} on: a static"
            " folder, which has float16, cannot hold them."
        )


def _check_maps(trace: AttentionTrace | None, layers: Sequence[LayerInfo]) -> None:
    """Raise `CapabilityError` where maps that would be written hold NaN or infinity."""
    for layer in layers:
        for step in trace.steps if trace is not None else ():
            if trace.holds(step, layer.key):
                maps = trace.token_maps if layer.kind == "cross" else trace.self_maps
                if not np.isfinite(maps(step, layer.key)).all():
                    raise CapabilityError(
                        f"The attention of {layer.name} holds NaN at step {step + 1}: leave it out with --no-attention,"
                        " or choose other --layers."
                    )


def _no_latents(run: Run) -> str:
    if run.provenance.get("source") == "static folder":
        return (
            f"The run {run.id} came from a folder without latents, and does not hold that folder's numbers of them: "
            "delete it, import its folder again, and export that run."
        )
    return f"The run {run.id} was recorded without latents: capture it again with them."


def _ids(layers: Sequence[LayerInfo], carried: Carried | None) -> dict[str, str]:
    """By key what each layer is called in the folder: as in the folder that the run came from, or by number."""
    if carried is not None and all(layer.key in carried.ids for layer in layers):
        return {layer.key: carried.ids[layer.key] for layer in layers}
    return {layer.key: f"layer_{k}" for k, layer in enumerate(layers)}


def _ready(path: str, data: bytes) -> File:
    return File(path, len(data), lambda: data)


def _stack(steps: Sequence[Step], name: str, image: int) -> np.ndarray | None:
    """(T, ...) of one image, or None where a step has none."""
    arrays = [getattr(step, name) for step in steps]
    if any(array is None for array in arrays):
        return None
    if len({array.shape for array in arrays}) > 1:
        raise CapabilityError(
            "The run's latents change their shape on the way, so no static folder can hold them."
        )
    if not 0 <= image < len(arrays[0]):
        raise InvalidParams(
            f"The batch has {len(arrays[0])} images, from 0, so there is no image {image}.", field="image"
        )
    return np.stack([array[image] for array in arrays])


def _attention(run: Run, options: Options) -> AttentionTrace | None:
    if not options.attention:
        return None
    try:
        return AttentionTrace.of(run).at(image=options.image)
    except CapabilityError:
        return None


def _chosen(trace: AttentionTrace | None, options: Options) -> list[LayerInfo]:
    if trace is None:
        return []
    found = [x for x in trace.layers if matches(x.name, x.block, options.layers)]
    if not found:
        names = ", ".join(dict.fromkeys(x.name for x in trace.layers))
        raise InvalidParams(
            f"No layer is called {' or '.join(options.layers or ())!r}. There are: {names}.", field="layers"
        )
    if options.max_layers is None:
        return found
    kept = [
        x
        for kind in ("cross", "self")
        for x in spread([y for y in found if y.kind == kind], options.max_layers)
    ]
    return [x for x in found if x in kept]


def _attention_files(
    trace: AttentionTrace | None,
    layers: Sequence[LayerInfo],
    ids: dict[str, str],
    steps: Sequence[Step],
    options: Options,
) -> list[tuple[dict[str, Any], File]]:
    """(entry of the metadata, file) of each map: by step all of cross-attention, then all of self-attention."""
    if trace is None:
        return []
    grids = (x.cells or x.grid for x in layers if x.kind == "cross")
    finest = max(grids, default=(1, 1), key=lambda grid: grid[0] * grid[1])
    size = scaled_grid(finest, options.resolution or min(MOST_CELLS, max(finest)))
    made = []
    for at, step in enumerate(steps):
        if step.index not in trace.steps:
            continue
        for layer in sorted(layers, key=lambda x: x.kind):
            if not trace.holds(step.index, layer.key):
                continue
            if layer.kind == "cross":
                shape = (layer.tokens, *size)
                values = _cross_maker(trace, step.index, layer.key, size)
            else:
                cells = cells_of(layer, options)
                shape = (cells[0] * cells[1],) * 2
                values = _self_maker(trace, step.index, layer, cells)
            path = contract.attention_path(layer.kind, ids[layer.key], at)
            entry = {
                "step": at,
                "layer_id": ids[layer.key],
                "attention_type": layer.kind,
                "path": path,
                "shape": list(shape),
                "dtype": options.dtype,
            }
            size_in_bytes = int(np.prod(shape)) * contract.DTYPES[options.dtype]
            made.append((entry, File(path, size_in_bytes, _encoded(values, options.dtype))))
    return made


def _encoded(values: Callable[[], np.ndarray], dtype: str) -> Callable[[], bytes]:
    return lambda: np.ascontiguousarray(values(), dtype=np.dtype(dtype).newbyteorder("<")).tobytes()


def _cross_maker(
    trace: AttentionTrace, step: int, key: str, size: tuple[int, int]
) -> Callable[[], np.ndarray]:
    return lambda: resample(trace.token_maps(step, key), size)


def _self_maker(
    trace: AttentionTrace, step: int, layer: LayerInfo, cells: tuple[int, int]
) -> Callable[[], np.ndarray]:
    """(S, S), query cell and key cell row by row: the mean probability of a single key in the cell."""

    def make() -> np.ndarray:
        maps = trace.self_maps(step, layer.key)
        # Queries by the mean, keys by the sum: what a cell looks at is what its places look at.
        own = maps.shape[:2]
        queries = resample(np.moveaxis(maps, (0, 1), (2, 3)), cells, "area")
        keys = resample(np.moveaxis(queries, (2, 3), (0, 1)), cells, "area")
        share = keys * (own[0] * own[1] / (cells[0] * cells[1]))
        places = layer.grid[0] * layer.grid[1]
        count = cells[0] * cells[1]
        return share.reshape(count, count) * (count / places)

    return make


def _images(run: Run, image: int, carried: Carried | None) -> list[tuple[str, bytes]]:
    """A picture of what the model expected at every step, and the final image."""
    draw = linear_drawer(run.provenance, run.capture.get("preview_size"))
    scale = np.float32(latent_scale_of(run.provenance.get("scheduler", {}).get("config", {})))
    found = []
    for at, step in enumerate(run.steps):
        pixels = None if step.preview is None else step.preview[min(image, len(step.preview) - 1)]
        if pixels is None and step.x0_pred is not None:
            drawn = draw(step.x0_pred[image : image + 1].astype(np.float32) / scale)
            pixels = None if drawn is None else drawn[0]
        if pixels is None:
            raise CapabilityError(
                f"Step {step.index + 1} of the run {run.id} has no picture, and none can be drawn, but a static folder"
                " has one of every step: capture it again with previews='every'."
            )
        found.append((contract.image_path(at), _png(pixels)))
    # Of a folder that had none, the finished picture is that of its last step.
    if image < len(run.images) and (carried is None or carried.data["final"]):
        found.append((contract.FINAL, _png(run.images[image])))
    return found


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=6)
    return file.getvalue()


def _npz(run: Run, latents: np.ndarray, noise: np.ndarray | None, image: int) -> bytes:
    arrays = {"latents": latents.astype(np.float16)}
    if noise is not None:
        arrays["predicted_noise"] = noise.astype(np.float16)
    if run.initial_latents is not None:
        # Not of the contract: x_T, without which the path has no beginning.
        arrays["initial_latents"] = run.initial_latents[image].astype(np.float16)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _agrees(checked: int) -> dict[str, Any]:
    """What `write` makes sure of before the folder comes to its place."""
    return {
        "metadata_has_required_keys": True,
        "pca_points_match_steps": True,
        "metrics_steps_match": True,
        "attention_assets": {"checked_files": checked, "passed": True, "errors": []},
    }


def _metrics(
    trace: AttentionTrace | None,
    ids: dict[str, str],
    steps: list[int],
    latents: np.ndarray | None,
    noise: np.ndarray | None,
    carried: Carried | None,
) -> dict[str, Any]:
    """The contract's measures; of a run that came from a folder those that the folder had."""
    found = {
        **metrics.latent_metrics(latents, noise, len(steps)),
        **metrics.attention_metrics(trace, ids, steps),
        "shape_validation": {"passed": True, "errors": []},
    }
    if carried is not None:
        found |= carried.latent_metrics()
        found |= carried.attention_metrics(ids) if trace is not None else {}
    return found
