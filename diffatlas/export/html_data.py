"""What the page without a server holds of one run or two: pictures, attention, path and curves."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from diffatlas.capture.attention_compare import js
from diffatlas.capture.attention_trace import AttentionTrace
from diffatlas.capture.tokens import Token
from diffatlas.errors import CapabilityError, InvalidParams, NonFiniteLatents
from diffatlas.export import measured
from diffatlas.export.attention_json import described
from diffatlas.export.named import Named, first_preview
from diffatlas.export.wire import floats, rounded
from diffatlas.geometry.common_basis import common_pca, gram
from diffatlas.glossary import TERMS

#: Parts of the model of which maps are kept beside those of all layers.
PARTS = ("down", "mid", "up")
#: The curves of the latents.
CURVES = (
    "norm",
    "step_length",
    "cosine_to_end",
    "distance_to_end",
    "guidance_norm",
    "guidance_angle",
)
#: Tokens that maps are kept of, at most: a long prompt of T5 has 512.
MOST_TOKENS = 160


@dataclass(frozen=True)
class Detail:
    """How much the page holds. ``parts``: maps of the parts of the model too. ``cells``: the longest side of a map.
    ``pixels``: that of a step's picture."""

    parts: bool = True
    cells: int = 32
    pixels: int = 256


#: What is given up first where the page would grow too large: the parts, then the maps' size, then the pictures'.
DETAILS = (
    Detail(),
    Detail(parts=False),
    Detail(parts=False, cells=24),
    Detail(parts=False, cells=16, pixels=192),
    Detail(parts=False, cells=16, pixels=96),
)


def page_data(runs: Sequence[Named], detail: Detail) -> dict[str, Any]:
    """Return the page's data as plain JSON types."""
    traces = [_attention(entry) for entry in runs]
    kept = [None if trace is None else kept_tokens(trace.tokens) for trace in traces]
    path, why_no_path = _paths(runs)
    return {
        "format": "diffusion-atlas/page",
        "version": 1,
        "runs": [
            _run(entry, trace, tokens, detail)
            for entry, trace, tokens in zip(runs, traces, kept, strict=True)
        ],
        "path": path,
        "why_no_path": why_no_path,
        "divergence": _divergence(traces, kept),
        "glossary": {term.key: asdict(term) for term in TERMS},
        "cells": detail.cells,
    }


def kept_tokens(tokens: Sequence[Token]) -> list[int]:
    """Return the indices of the tokens that maps are kept of: all of the prompt, the beginning and the first end.

    The padding after it, up to hundreds of tokens, is left out.
    """
    seen: set[tuple[str, str]] = set()
    kept = []
    for token in tokens:
        what = (token.encoder, token.text)
        if token.special and (not token.text or what in seen):
            continue
        if token.special:
            seen.add(what)
        kept.append(token.index)
    return kept[:MOST_TOKENS] or [t.index for t in tokens][:MOST_TOKENS]


def quantised(maps: np.ndarray) -> dict[str, Any]:
    """Return maps (N, H, W) as bytes with a scale each: a value is off by at most 1/510 of its map's largest.

    A value is ``byte / 255 * scale``.
    """
    most = maps.reshape(len(maps), -1).max(1)
    levels = np.rint(maps * (255 / np.where(most > 0, most, 1))[:, None, None]).astype(np.uint8)
    return {
        "rows": maps.shape[1],
        "columns": maps.shape[2],
        "scales": floats(most),
        "levels": base64.b64encode(levels.tobytes()).decode(),
    }


def picture(pixels: np.ndarray, side: int, quality: int = 82) -> str:
    """Return (H, W, 3) uint8 pixels as a WebP data URI, at most ``side`` pixels long."""
    from PIL import Image

    whole = Image.fromarray(pixels)
    whole.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    whole.save(file, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _attention(entry: Named) -> AttentionTrace | None:
    try:
        return AttentionTrace.of(entry.run)
    except CapabilityError:
        return None


def _run(
    entry: Named, trace: AttentionTrace | None, kept: list[int] | None, detail: Detail
) -> dict[str, Any]:
    run = entry.run
    indices = list(trace.steps) if trace else [step.index for step in run.steps]
    steps = {step.index: step for step in run.steps}
    return {
        "id": run.id,
        "title": entry.name,
        "colour": entry.colour,
        "status": run.status,
        "run": {**run.params.to_dict(), "id": run.id},
        "machine": {name: run.provenance.get(name) for name in ("device", "dtype")},
        "image": picture(run.images[0], max(detail.pixels, 512), 90) if run.images else None,
        "steps": [
            {
                "index": index,
                "timestep": rounded(steps[index].timestep),
                "sigma": rounded(steps[index].sigma),
                "preview": _preview(steps[index], detail.pixels),
            }
            for index in indices
        ],
        "curves": _curves(run),
        "looks": _looks(trace, kept, detail) if trace else {},
        "daam": _daam(trace, kept) if trace and trace.cross_layers else None,
        "kept": len(kept or ()),
        "tokens": len(trace.tokens) if trace else 0,
    }


def _preview(step: Any, side: int) -> str | None:
    pixels = first_preview(step)
    return None if pixels is None else picture(pixels, side)


def _curves(run: Any) -> dict[str, Any]:
    """Every step's number, and the measures of the state after it."""
    states = measured.states(run)[1:]
    return {
        "steps": [state.step for state in states],
        **{name: [rounded(state.metrics[name]) for state in states] for name in CURVES},
    }


def _looks(trace: AttentionTrace, kept: list[int], detail: Detail) -> dict[str, Any]:
    """What is shown of all layers, and of each part of the model where it is kept."""
    parts = {layer.block for layer in trace.cross_layers}
    wanted: list[str | None] = [None]
    if detail.parts and len(parts & set(PARTS)) > 1:
        wanted += [part for part in PARTS if part in parts]
    return {look or "all": _look(trace, trace.within(look), kept, detail.cells) for look in wanted}


def _look(whole: AttentionTrace, trace: AttentionTrace, kept: list[int], cells: int) -> dict[str, Any]:
    measures = trace.measures
    told = described(whole, trace, measures)
    tokens = [{**trace.tokens[index].to_dict(), "index": at} for at, index in enumerate(kept)]
    look = {**told, "tokens": tokens, "per_head": False, "halves": False, "maps": None}
    if not trace.cross_layers:
        return look
    maps = trace.maps(min(cells, max(trace.grid)), tokens=kept)
    return {
        **look,
        "activation": floats(measures.activation[:, kept]),
        "maps": quantised(maps.reshape(-1, *maps.shape[-2:])),
    }


def _daam(trace: AttentionTrace, kept: list[int]) -> dict[str, Any]:
    rows, columns = trace.latents or trace.grid
    shrink = max(1, math.ceil(max(rows, columns) / 64))
    return quantised(trace.daam(size=(rows // shrink, columns // shrink))[kept])


def _paths(runs: Sequence[Named]) -> tuple[dict[str, Any] | None, str | None]:
    """The paths in two dimensions, in one basis, or why there are none."""
    paths = [measured.first_path(entry.run) for entry in runs]
    if any(path is None or len(path) < 2 for path in paths):
        return None, "The latents were not captured, so there is no path to draw."
    flat = [path[:, 0].reshape(len(path), -1) for path in paths]
    try:
        blocks = [[gram(a, b) for b in flat] for a in flat]
        found = common_pca(blocks, 2)
    except (InvalidParams, NonFiniteLatents) as error:
        return None, error.message
    return {
        "coords": [[[rounded(float(v)) for v in row] for row in coords] for coords in found.coords],
        "axes": [rounded(float(v)) for v in found.explained_variance_ratio],
        "captured": [rounded(float(v)) for v in found.captured],
    }, None


def _divergence(traces: Sequence[AttentionTrace | None], kept: Sequence[list[int] | None]) -> dict[str, Any]:
    """How two runs' attention differs, of the tokens that both have and the page keeps; or why that is not known."""
    if len(traces) != 2:
        return {"error": {"message": "There is one run here, and none beside it."}}
    if any(trace is None or not trace.cross_layers for trace in traces):
        return {"error": {"message": "Attention to words was not captured in both runs."}}
    try:
        found = js(*traces)
    except InvalidParams as error:
        return {"error": {"message": error.message}}
    left, right = ({index: at for at, index in enumerate(indices)} for indices in kept)
    pairs = [k for k, (a, b) in enumerate(found.tokens) if a.index in left and b.index in right]
    return {
        "steps": list(found.steps),
        "tokens": [[left[found.tokens[k][0].index], right[found.tokens[k][1].index]] for k in pairs],
        "values": floats(found.values[:, pairs]),
        "by_step": [rounded(float(v)) for v in found.by_step],
    }
