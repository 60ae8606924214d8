"""Curves of attention: how many tokens a place reads at once, layer by layer, and at which steps attention moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from diffatlas.attention.info import LayerInfo, mean_there
from diffatlas.attention.parts import part_of, parts_of
from diffatlas.attention.trace import AttentionTrace
from diffatlas.figures.attended import Attended, attended, rests_on, step_axis
from diffatlas.figures.figure import Figure, figure, text
from diffatlas.figures.panels import lay_out, say_absent
from diffatlas.figures.template import dash, ground, layer_colour
from diffatlas.geometry.attention import spikes
from diffatlas.glossary import term
from diffatlas.look import LAYERS
from diffatlas.measured import finite

NO_WORDS = "Attention to words was not captured in this run."
ONE_STEP = "There is one captured step, and none before it."
#: Pixels of a chart.
ROW = 250


def attention_curves(run: Any, dark: bool = False) -> Figure:
    """Return entropy by step, of each layer and their mean, and reallocation by step with its spikes ringed.

    run: as `diffatlas.figures.attended.attended` takes it. Entropy is over the tokens; that of self-attention, over the
    cells, has a chart where it was captured. Reallocation is the KL divergence from the captured step before, averaged
    over the layers. All in nats; `diffatlas.geometry.attention` defines them. Up to as many layers as there are colours
    each have their own; of more, those of a part of the model share one.

    Raises `CapabilityError` where no attention was captured.
    """
    (shown,) = attended(run)
    trace = shown.trace
    cross, own = trace.cross_layers, trace.self_layers
    kl = [finite(v) for v in mean_there(trace.measures.kl, 1)] if cross else []
    peaks = spikes(kl)
    told = _told(trace, peaks) if cross else NO_WORDS
    made = figure(
        "attention_curves",
        shown.name,
        f"{told}{rests_on(trace, 'cross' if cross else 'self')}",
        _spoken(trace, kl, peaks),
        dark,
    )
    names = ["attention_entropy", "attention_kl", *(["self_attention_entropy"] if own else [])]
    charts = lay_out(made, [f"{term(name).name}, nats" for name in names], len(names), ROW)
    for axes in charts:
        made.layout[f"xaxis{axes['xaxis'][1:]}"].update(**step_axis(trace.steps))
    looks = _looks([*cross, *own], trace, dark)
    if cross:
        _draw_layers(made, charts[0], shown, cross, trace.measures.entropy, names[0], looks, dark)
    else:
        say_absent(made, charts[0], NO_WORDS)
    if any(value is not None for value in kl):
        _draw_kl(made, charts[1], shown, kl, peaks, dark)
    else:
        say_absent(made, charts[1], ONE_STEP if cross else NO_WORDS)
    if own:
        _draw_layers(made, charts[2], shown, own, trace.measures.self_entropy, names[2], looks, dark)
    return made


def _looks(layers: Sequence[LayerInfo], trace: AttentionTrace, dark: bool) -> dict[str, tuple[str, str, str]]:
    """Return (what the legend says, colour, dash) of each layer by its key."""
    if len(layers) <= len(LAYERS):
        return {layer.key: (layer.name, layer_colour(k), dash(k)) for k, layer in enumerate(layers)}
    parts = parts_of(trace)
    found = {}
    for layer in layers:
        part = part_of(layer, parts)
        place = list(parts).index(part) if part else len(parts)
        words = f"layers, {part}" if part else "other layers" if parts else "each layer"
        colour = layer_colour(place) if parts else ground(dark).muted
        found[layer.key] = (words, colour, dash(place))
    return found


def _draw_layers(
    made: Figure,
    axes: dict[str, str],
    shown: Attended,
    layers: Sequence[LayerInfo],
    values: np.ndarray,
    metric: str,
    looks: dict[str, tuple[str, str, str]],
    dark: bool,
) -> None:
    """Draw a line for each layer, and their mean; values: (steps, layers)."""
    numbers = [step + 1 for step in shown.trace.steps]
    listed = {trace.name for trace in made.data if trace.showlegend}
    for layer, own in zip(layers, values.T, strict=True):
        words, colour, dashed = looks[layer.key]
        words, name = text(words), text(layer.name)
        made.add_trace(
            go.Scatter(
                x=numbers,
                y=[finite(float(v)) for v in own],
                mode="lines" if len(numbers) > 1 else "markers",
                name=words,
                legendgroup=words,
                showlegend=words not in listed,
                line={"color": colour, "width": 1.2, "dash": dashed},
                hovertemplate=f"%{{y:.4g}} nats<extra>{name}</extra>",
                meta={"run": shown.id, "measure": metric, "layer": layer.name},
                **axes,
            )
        )
        listed.add(words)
    if len(layers) > 1:
        _mean(made, axes, shown, [finite(float(v)) for v in mean_there(values, 1)], metric, listed, dark)


def _mean(
    made: Figure,
    axes: dict[str, str],
    shown: Attended,
    values: Sequence[float | None],
    metric: str,
    listed: set[str],
    dark: bool,
) -> None:
    name = "mean over the layers"
    made.add_trace(
        go.Scatter(
            x=[step + 1 for step in shown.trace.steps],
            y=values,
            mode="lines" if len(values) > 1 else "markers",
            name=name,
            legendgroup=name,
            showlegend=name not in listed,
            line={"color": ground(dark).burgundy, "width": 3},
            hovertemplate=f"%{{y:.4g}} nats<extra>{name}</extra>",
            meta={"run": shown.id, "measure": metric},
            **axes,
        )
    )


def _draw_kl(
    made: Figure,
    axes: dict[str, str],
    shown: Attended,
    kl: Sequence[float | None],
    peaks: Sequence[int],
    dark: bool,
) -> None:
    listed = {trace.name for trace in made.data if trace.showlegend}
    _mean(made, axes, shown, kl, "attention_kl", listed, dark)
    steps = shown.trace.steps
    made.add_trace(
        go.Scatter(
            x=[steps[k] + 1 for k in peaks],
            y=[kl[k] for k in peaks],
            mode="markers",
            name="spike",
            showlegend=bool(peaks),
            marker={"symbol": "circle-open", "size": 13, "color": ground(dark).ink, "line": {"width": 2}},
            hovertemplate="spike<extra></extra>",
            meta={"run": shown.id, "measure": "attention_kl", "spikes": True},
            **axes,
        )
    )
    made.layout[f"yaxis{axes['yaxis'][1:]}"].rangemode = "tozero"


def _told(trace: AttentionTrace, peaks: Sequence[int]) -> str:
    """Return what the curves show, and the steps at which attention moves most."""
    steps = [str(trace.steps[k] + 1) for k in peaks]
    where = f"step{'s' if len(steps) > 1 else ''} {', '.join(steps)}"
    moved = (
        f"Attention moves most at {where} (ringed)."
        if steps
        else "No step stands out from the others (there is no spike)."
    )
    n = len(trace.tokens)
    return (
        f"Entropy: how many tokens a place reads at once, at most ln {n} = {math.log(max(n, 1)):.3g} nats. "
        f"Reallocation: how far attention is from that of the step before. {moved}"
    )


def _spoken(trace: AttentionTrace, kl: Sequence[float | None], peaks: Sequence[int]) -> str:
    """Return how entropy begins and ends, of all layers and the layers between which it lies, and the spikes."""
    said = [f"{len(trace.steps)} steps, {len(trace.cross_layers)} layers of attention to words."]
    if trace.cross_layers:
        said += _ends("Entropy", mean_there(trace.measures.entropy, 1))
        said += [f"Spike at step {trace.steps[k] + 1}: {kl[k]:.3g} nats." for k in peaks]
        if not peaks:
            said.append("No spike of reallocation.")
    if trace.self_layers:
        said += _ends("Self-attention entropy", mean_there(trace.measures.self_entropy, 1))
    return " ".join(said)


def _ends(name: str, values: np.ndarray) -> list[str]:
    known = values[np.isfinite(values)]
    if not known.size:
        return []
    return [f"{name} goes from {known[0]:.3g} to {known[-1]:.3g} nats on average over the layers."]
