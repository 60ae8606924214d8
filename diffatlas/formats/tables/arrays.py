"""The arrays of layers in one file that is read without unpickling anything: NPZ or safetensors."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from diffatlas.attention.trace import AttentionTrace
from diffatlas.formats.named import Named, slugs
from diffatlas.formats.tables.attended import attention_of, axes_of, each
from diffatlas.formats.tables.runs import described
from diffatlas.library import format as layout
from diffatlas.run import Run

FORMAT = "diffusion-atlas/arrays"
VERSION = 1
MANIFEST = "manifest"
_ATTENTION = "attention/"
#: The arrays of a step that are not its state, in this order.
_OTHERS = ("start_latents", "x0_pred", "noise_pred", "cond_pred", "uncond_pred")


def npz(runs: Sequence[Named]) -> bytes:
    """Return an NPZ of every layer's arrays under ``<name>/``, ``name`` a slug of the layer's.

    - ``<name>/latents`` (T + 1, B, ...), x_T first, and ``<name>/sigmas`` (T + 1,), the noise level of each, NaN where
      it is not known; ``<name>/start_latents`` (K, B, ...), the states that those steps started from before which the
      latents were changed;
    - ``<name>/timesteps`` and ``<name>/sigmas_before`` (T,), the timestep and the noise level at which the model was
      asked (`Run.sigmas_before`), NaN where it is not known;
    - ``<name>/x0_pred``, ``noise_pred``, ``cond_pred``, ``uncond_pred``, ``other_preds/perturbed`` and the like
      (K, B, ...), those that were captured;
    - ``<name>/attention/cross/<layer>`` (K, ..., tokens, rows, columns) and ``<name>/attention/self/<layer>``
      (K, ..., query_row, query_column, key_row, key_column), the maps of the layers that were captured, as they were;
      ``<name>/attention/steps`` (S,), the steps that have any, ``<name>/attention/layers``, the names of those arrays,
      and ``<name>/attention/words`` (halves, images, tokens), what each token stands for, both as texts;
    - ``manifest``, a string: JSON with what each layer is and, for each array, the steps of its rows (0 is x_T,
      k the step k), since guidance may run at some steps only, and the names of its axes where it is a map.

    Arrays keep their dtype. Those of a name that are of several shapes are apart, as ``<name>/latents.2`` and so on.
    Read it so: ``numpy.load(file, allow_pickle=False)``, ``json.loads(str(data["manifest"]))``.
    """
    manifest: dict[str, Any] = {"format": FORMAT, "version": VERSION, "layers": []}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for entry, folder in zip(runs, slugs(runs), strict=True):
            rows = {}
            # One array at a time: those of a large run would not fit in memory twice.
            for name, steps, array in _arrays(entry.run):
                add(archive, f"{folder}/{name}", array)
                rows[name] = _row(steps, array)
            trace = attention_of(entry.run)
            if trace is not None:
                for name, steps, array in _attention(trace):
                    add(archive, f"{folder}/{name}", array)
                    rows[name] = _row(steps, array) | {"axes": _axes(name, trace, array)}
                for name, texts in _texts(trace).items():
                    add(archive, f"{folder}/{name}", texts)
            manifest["layers"].append(_about(entry, folder, rows))
        add(archive, MANIFEST, np.array(_text(manifest)))
    return file.getvalue()


def safetensors(runs: Sequence[Named]) -> bytes:
    """Return a safetensors file of the same arrays under the same names as `npz`, without those that are texts.

    Its metadata holds ``manifest``, the same JSON, in which the texts stand under ``texts``. Read it so:
    ``safetensors.numpy.load_file(path)``, and
    ``json.loads(safetensors.safe_open(path, "numpy").metadata()["manifest"])``.
    """
    from safetensors.numpy import save

    tensors: dict[str, np.ndarray] = {}
    layers = []
    for entry, folder in zip(runs, slugs(runs), strict=True):
        rows = {}
        for name, steps, array in _arrays(entry.run):
            tensors[f"{folder}/{name}"] = np.ascontiguousarray(array)
            rows[name] = _row(steps, array)
        trace = attention_of(entry.run)
        if trace is not None:
            for name, steps, array in _attention(trace):
                tensors[f"{folder}/{name}"] = np.ascontiguousarray(array)
                rows[name] = _row(steps, array) | {"axes": _axes(name, trace, array)}
        layers.append(_about(entry, folder, rows))
    return save(
        tensors, metadata={"manifest": _text({"format": FORMAT, "version": VERSION, "layers": layers})}
    )


def _about(entry: Named, folder: str, rows: dict[str, Any]) -> dict[str, Any]:
    trace = attention_of(entry.run)
    texts = {} if trace is None else {name: texts.tolist() for name, texts in _texts(trace).items()}
    return {"name": entry.name, "folder": folder, "run": described(entry.run), "arrays": rows, "texts": texts}


def _row(steps: list[int], array: np.ndarray) -> dict[str, Any]:
    return {"shape": list(array.shape), "dtype": str(array.dtype), "steps": steps}


def _text(manifest: dict[str, Any]) -> str:
    return layout.dumps(manifest).encode("utf-8", "backslashreplace").decode()


def _arrays(run: Run) -> Iterator[tuple[str, list[int], np.ndarray]]:
    numbers = [step.index + 1 for step in run.steps]
    states = [(0, run.initial_latents), *zip(numbers, (step.latents for step in run.steps), strict=True)]
    yield from _stacked("latents", states)
    yield "sigmas", [0, *numbers], _known([run.initial_sigma, *(step.sigma for step in run.steps)])
    yield "timesteps", numbers, np.array([step.timestep for step in run.steps], dtype=np.float64)
    yield "sigmas_before", numbers, _known(run.sigmas_before)
    for name in _OTHERS:
        yield from _stacked(name, [(step.index + 1, getattr(step, name)) for step in run.steps])
    for name in sorted({name for step in run.steps for name in step.other_preds}):
        rows = [(step.index + 1, step.other_preds.get(name)) for step in run.steps]
        yield from _stacked(layout.OTHER_PREDS + name, rows)


def _attention(trace: AttentionTrace) -> Iterator[tuple[str, list[int], np.ndarray]]:
    numbers = [step + 1 for step in trace.steps]
    yield f"{_ATTENTION}steps", numbers, np.array(numbers, dtype=np.int64)
    for layer in trace.layers:
        held = [step for step in trace.steps if trace.holds(step, layer.key)]
        maps = ((step + 1, np.asarray(trace.read(step, layer.key))) for step in held)
        yield from _stacked(_name_of(layer.key), list(maps))


def _texts(trace: AttentionTrace) -> dict[str, np.ndarray]:
    """Return the arrays of texts: the names of the layers' maps, and the words by half, image and token."""
    words: dict[str, list[list[str]]] = {}
    for _, half, one in each(trace):
        words.setdefault(half, []).append([token.text for token in one.tokens])
    most = max(len(texts) for images in words.values() for texts in images)
    padded = [[[*texts, *[""] * (most - len(texts))] for texts in images] for images in words.values()]
    return {
        f"{_ATTENTION}layers": np.array([_name_of(layer.key) for layer in trace.layers], dtype=np.str_),
        f"{_ATTENTION}words": np.array(padded, dtype=np.str_),
    }


def _name_of(key: str) -> str:
    """Return the name of the array of a layer's maps: "attention/cross/mid_block...."."""
    return _ATTENTION + key.replace(":", "/", 1)


def _axes(name: str, trace: AttentionTrace, array: np.ndarray) -> list[str]:
    if array.ndim == 1:
        return ["step"]
    key = name.removeprefix(_ATTENTION).replace("/", ":", 1)
    return ["step", *axes_of(key, trace.per_head, array.ndim - 1)]


def _known(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _stacked(
    name: str, rows: Sequence[tuple[int, np.ndarray | None]]
) -> Iterator[tuple[str, list[int], np.ndarray]]:
    """Yield the arrays that are there as one, with their steps; those of each shape apart."""
    groups: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = {}
    for number, array in rows:
        if array is not None:
            groups.setdefault(array.shape, []).append((number, array))
    for at, group in enumerate(groups.values(), start=1):
        own = name if at == 1 else f"{name}.{at}"
        yield own, [number for number, _ in group], np.stack([array for _, array in group])


def add(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    """Add an array to an NPZ."""
    # ZipInfo without a date: the same runs give the same bytes.
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
        np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
