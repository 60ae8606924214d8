"""What the page without a server holds of one run or two: pictures, attention, path and curves."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from diffatlas import measured
from diffatlas.attention.compare import Divergence, js
from diffatlas.attention.info import PARTS
from diffatlas.attention.parts import THIRDS, parts_of
from diffatlas.attention.resampled import sentences
from diffatlas.attention.tokens import Token
from diffatlas.attention.trace import AttentionTrace
from diffatlas.errors import CapabilityError, InvalidParams, NonFiniteLatents
from diffatlas.figures.attended import Attended
from diffatlas.figures.attention_curves import draw_curves
from diffatlas.figures.attention_divergence import draw_divergence
from diffatlas.figures.attention_words import draw_words
from diffatlas.figures.curves import Line, frame
from diffatlas.figures.curves import traces as line_traces
from diffatlas.figures.figure import Figure
from diffatlas.figures.page_figure import page_figure
from diffatlas.figures.panels import reading_lines
from diffatlas.figures.template import ground
from diffatlas.formats import told
from diffatlas.formats.broken import broken_run
from diffatlas.formats.hosted import made_at
from diffatlas.formats.named import Named, first_preview
from diffatlas.formats.tables.attention import described
from diffatlas.formats.wire import floats, rounded
from diffatlas.geometry.common_basis import common_pca, gram
from diffatlas.glossary import TERMS
from diffatlas.stopping import look

#: The curves of the latents.
CURVES = (
    "norm",
    "step_length",
    "cosine_to_end",
    "distance_to_end",
    "guidance_norm",
    "guidance_angle",
)
#: Charts in a row, by how wide the page is.
ACROSS = (1, 2, 3)
#: Tokens that maps are kept of, at most: a long prompt of T5 has 512.
MOST_TOKENS = 160


@dataclass(frozen=True)
class Detail:
    """How much the page holds. ``parts``: maps of the parts of the model too. ``cells``: the longest side of a map.
    ``pixels``: that of a step's picture."""

    parts: bool = True
    cells: int = 32
    pixels: int = 512


#: What is given up first where the page would grow too large: half the pictures' size, the parts, then the maps' size,
#: then more of the pictures'.
DETAILS = (
    Detail(),
    Detail(pixels=256),
    Detail(parts=False, pixels=256),
    Detail(parts=False, cells=24, pixels=256),
    Detail(parts=False, cells=16, pixels=192),
    Detail(parts=False, cells=16, pixels=96),
)


def page_data(runs: Sequence[Named], detail: Detail) -> dict[str, Any]:
    """Return the page's data as plain JSON types."""
    traces = [_attention(entry) for entry in runs]
    kept = [None if trace is None else kept_tokens(trace.tokens) for trace in traces]
    parts = [parts_of(trace) if trace and detail.parts else {} for trace in traces]
    # What one of two runs has not could not be looked at beside the other.
    shared = [
        name
        for name in (*PARTS, *THIRDS)
        if all(name in own for own, t in zip(parts, traces, strict=True) if t)
    ]
    parts = [{name: own[name] for name in shared if name in own} for own in parts]
    path, why_no_path = _paths(runs)
    return {
        "format": "diffusion-atlas/page",
        "version": 2,
        "runs": [
            _run(entry, trace, tokens, own, detail)
            for entry, trace, tokens, own in zip(runs, traces, kept, parts, strict=True)
        ],
        "path": path,
        "why_no_path": why_no_path,
        "latents": _latents(runs),
        "divergence": _divergences(runs, traces, kept, parts),
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
    entry: Named,
    trace: AttentionTrace | None,
    kept: list[int] | None,
    parts: Mapping[str, tuple[str, ...]],
    detail: Detail,
) -> dict[str, Any]:
    run = entry.run
    indices = list(trace.steps) if trace else [step.index for step in run.steps]
    steps = {step.index: step for step in run.steps}
    before = dict(zip(steps, run.sigmas_before, strict=True))
    return {
        "id": run.id,
        "title": entry.name,
        "colour": entry.colour,
        "status": run.status,
        "run": {**run.params.to_dict(), "id": run.id},
        "also": [f"{name} {words}" for name, words in told.made_with(run.params, run.provenance)],
        "notes": [
            *told.unread(run.provenance),
            *told.left_out(run.provenance),
            *(sentences(trace) if trace else ()),
            *broken_run(run),
        ],
        "inputs": [
            {
                "name": one.name,
                "width": one.width,
                "height": one.height,
                "url": picture(np.asarray(one.picture().convert("RGB")), detail.pixels),
            }
            for one in run.params.inputs
            if one.pixels is not None
        ],
        "machine": {"device": _device(run.provenance), "dtype": run.provenance.get("dtype")},
        "image": picture(run.images[0], max(detail.pixels, 512), 90) if run.images else None,
        "steps": [
            {
                "index": index,
                "timestep": rounded(steps[index].timestep),
                "sigma_before": rounded(before[index]),
                "sigma": rounded(steps[index].sigma),
                "preview": _preview(steps[index], detail.pixels),
            }
            for index in indices
        ],
        "curves": _curves(run),
        "parts": {name: _spelled(layers) for name, layers in parts.items()},
        "looks": _looks(entry, trace, kept, parts, detail) if trace else {},
        "daam": _daam(trace, kept) if trace and trace.cross_layers else None,
        "kept": len(kept or ()),
        **_left_out(trace, kept),
    }


def _left_out(trace: AttentionTrace | None, kept: list[int] | None) -> dict[str, int]:
    """How many tokens have no maps: specials, and words of a prompt longer than `MOST_TOKENS`."""
    look()
    there = set(kept or ())
    left = [token.special for token in (trace.tokens if trace else ()) if token.index not in there]
    return {"padding_left": sum(left), "words_left": len(left) - sum(left)}


def _spelled(layers: tuple[str, ...]) -> str:
    """A part's layers in words: "down", or "blocks 0 to 6"."""
    places = [layer.removeprefix("blocks.") for layer in layers]
    if places[0] == layers[0]:
        return layers[0]
    return f"blocks {places[0]} to {places[-1]}" if len(places) > 1 else f"block {places[0]}"


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


def _looks(
    entry: Named,
    trace: AttentionTrace,
    kept: list[int],
    parts: Mapping[str, tuple[str, ...]],
    detail: Detail,
) -> dict[str, Any]:
    """What is shown of all layers, and of each part of the model that is kept."""
    return {
        name: _look(entry, trace, trace.within(layers), kept, detail.cells)
        for name, layers in {"all": None, **parts}.items()
    }


def _look(
    entry: Named, whole: AttentionTrace, trace: AttentionTrace, kept: list[int], cells: int
) -> dict[str, Any]:
    measures = trace.measures
    told = described(whole, trace, measures)
    own = [replace(trace.tokens[index], index=at) for at, index in enumerate(kept)]
    tokens = [token.to_dict() for token in own]
    shown = Attended(entry.name, entry.run.id, trace)
    curves = _figure(lambda dark, across: draw_curves(shown, measures, dark, across, read=True), ACROSS)
    look = {**told, "tokens": tokens, "per_head": False, "halves": False, "maps": None, "curves": curves}
    if not trace.cross_layers:
        return look
    maps = trace.maps(min(cells, max(trace.grid)), tokens=kept)
    activation = measures.activation[:, kept]

    def words(special: bool, by_row: bool) -> Callable[[bool, int], Figure]:
        return lambda dark, across: draw_words(
            shown, own, activation, dark, special=special, by_row=by_row, read=True
        )

    return {
        **look,
        "activation": floats(activation),
        "words": {
            name: _figure(words(special, by_row))
            for name, special, by_row in (
                ("prompt", False, False),
                ("prompt_by_row", False, True),
                ("all", True, False),
                ("all_by_row", True, True),
            )
        },
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
        return (
            None,
            "The latents were not captured, or change their shape on the way, so there is no path to draw.",
        )
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


def _figure(draw: Callable[[bool, int], Figure], across: Sequence[int] = (1,)) -> dict[str, Any]:
    """A figure on paper and at night, as the page draws it, with its numbers to six digits."""
    return {
        name: _brief(page_figure({count: draw(dark, count) for count in across}))
        for name, dark in (("light", False), ("dark", True))
    }


def _brief(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _brief(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_brief(part) for part in value]
    return rounded(value) if isinstance(value, float) else value


def _latents(runs: Sequence[Named]) -> dict[str, Any] | None:
    """What is measured of the latents by step; None where they were not kept."""
    lines = [Line.of(entry.run, entry.name, "") for entry in runs]
    if not any(state.metrics[name] is not None for line in lines for state in line.states for name in CURVES):
        return None

    def draw(dark: bool, across: int) -> Figure:
        inks = (ground(dark).burgundy, ground(dark).ink)
        own = [replace(line, colour=ink) for line, ink in zip(lines, inks, strict=False)]
        made = frame(own, dark, across, readings=reading_lines(len(own)))
        made.add_traces(line_traces(own, dark))
        return made

    return _figure(draw, ACROSS)


def _divergences(
    runs: Sequence[Named],
    traces: Sequence[AttentionTrace | None],
    kept: Sequence[list[int] | None],
    parts: Sequence[Mapping[str, tuple[str, ...]]],
) -> dict[str, Any]:
    """How two runs' attention differs in all layers and in each part; or why that is not known."""
    if len(traces) != 2:
        return {"all": _unknown("There is one run here, and none beside it.")}
    if any(trace is None or not trace.cross_layers for trace in traces):
        return {
            "all": _unknown(
                "Attention to words was not captured in both runs, so how far apart it is cannot be told."
            )
        }
    told = {"all": _divergence(runs, traces, kept)}
    for name in parts[0]:
        looked = [trace.within(own[name]) for trace, own in zip(traces, parts, strict=True)]
        told[name] = _divergence(runs, looked, kept)
    return told


def _divergence(
    runs: Sequence[Named], traces: Sequence[AttentionTrace], kept: Sequence[list[int]]
) -> dict[str, Any]:
    """The figure of the divergence, with the words of the first run and with those of the second."""
    try:
        found = js(*traces)
    except InvalidParams as error:
        return _unknown(error.message)
    shown = [Attended(entry.name, entry.run.id, trace) for entry, trace in zip(runs, traces, strict=True)]
    return {
        "first": _diverging(*shown, found, kept),
        "second": _diverging(*reversed(shown), _turned(found), kept[::-1]),
    }


def _diverging(
    one: Attended, other: Attended, found: Divergence, kept: Sequence[list[int]]
) -> dict[str, Any]:
    """The figure; its pairs are those of tokens that the page keeps, as it counts them."""
    drawn = _figure(lambda dark, across: draw_divergence(one, other, found, dark, read=True))
    left, right = ({index: at for at, index in enumerate(indices)} for indices in kept)
    pairs = [[left[x.index], right[y.index]] for x, y in found.tokens if x.index in left and y.index in right]
    for figure in drawn.values():
        figure["layouts"]["1"]["meta"]["pairs"] = pairs
    return drawn


def _turned(found: Divergence) -> Divergence:
    """The same with the second run for the first."""
    order = sorted(range(len(found.tokens)), key=lambda k: found.tokens[k][1].index)
    return replace(
        found,
        tokens=tuple(found.tokens[k][::-1] for k in order),
        values=found.values[:, order],
    )


def _unknown(why: str) -> dict[str, Any]:
    return {"error": {"message": why}}


def _device(provenance: Mapping[str, Any]) -> Any:
    """Return the device of a run, with the place where that is not this machine."""
    device, place = provenance.get("device"), made_at(provenance)
    return f"{device}, at {place}" if device and place else device
