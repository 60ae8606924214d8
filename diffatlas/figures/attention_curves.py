"""Curves of attention: how much each word is read, how many a place reads at once, and at which steps that moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from diffatlas.attention.info import LayerInfo, mean_there
from diffatlas.attention.parts import part_of, parts_of
from diffatlas.attention.trace import AttentionTrace, Measures
from diffatlas.attention.words import prompt_words
from diffatlas.figures.attended import Attended, attended, by_word, rests_on, step_axis, word_look
from diffatlas.figures.figure import Figure, figure, text
from diffatlas.figures.panels import AXIS_TITLE, READING, lay_out, reading_lines, say_absent
from diffatlas.figures.template import dash, ground, layer_colour
from diffatlas.geometry.attention import spikes
from diffatlas.glossary import term
from diffatlas.look import LAYERS
from diffatlas.measured import finite

NO_WORDS = "Attention to words was not captured in this run."
ONE_STEP = "There is one captured step, and none before it."
#: Pixels of a chart, and charts in a row.
ROW, ACROSS = 200, 2
#: Of what a reader points at: the mean over the layers, and a layer or a word by what follows.
MEAN, LAYER = "mean", "layer "


def attention_curves(run: Any, dark: bool = False, across: int = ACROSS) -> Figure:
    """Return by step how much each word is read, entropy, and reallocation with its spikes ringed.

    run: as `diffatlas.figures.attended.attended` takes it. across: charts in a row. Activation is that of
    `diffatlas.figures.attention_words`, a line for each word of the prompt. Entropy is over the tokens, of each layer
    and their mean; that of self-attention, over the cells, has a chart where it was captured. Reallocation is the KL
    divergence from the captured step before, averaged over the layers. Both are in nats;
    `diffatlas.geometry.attention` defines them. Up to as many layers as there are colours each have their own; of more,
    those of a part of the model share one.

    Raises `CapabilityError` where no attention was captured.
    """
    (shown,) = attended(run)
    return draw_curves(shown, shown.trace.measures, dark, across)


def draw_curves(
    shown: Attended, measures: Measures, dark: bool = False, across: int = ACROSS, read: bool = False
) -> Figure:
    """Return `attention_curves` of what was measured already.

    read: whether room is left beneath the titles, in which a page writes the values that are pointed at. The layout's
    ``meta`` has the terms and units of the charts, ``panels``; a trace's says which ``line`` it is: `MEAN`, `LAYER` and
    its name, or a word as `diffatlas.figures.attended.WORD` has it.
    """
    trace = shown.trace
    cross, own = trace.cross_layers, trace.self_layers
    kl = [finite(v) for v in mean_there(measures.kl, 1)] if cross else []
    peaks = spikes(kl)
    told = _told(trace, peaks) if cross else NO_WORDS
    made = figure(
        "attention_curves",
        shown.name,
        f"{told}{rests_on(trace, 'cross' if cross else 'self')}",
        _spoken(trace, measures, kl, peaks),
        dark,
    )
    names = [
        *(["activation"] if cross else []),
        "attention_entropy",
        "attention_kl",
        *(["self_attention_entropy"] if own else []),
    ]
    units = ["" if name == "activation" else " nats" for name in names]
    titles = [term(name).name + unit.replace(" ", ", ") for name, unit in zip(names, units, strict=True)]
    lines = max(len(prompt_words(trace.tokens)), len(cross) + 1)
    readings = max(1, reading_lines(lines)) if read else 0
    across = max(1, min(across, len(names)))
    charts = dict(zip(names, lay_out(made, titles, across, ROW, readings, AXIS_TITLE), strict=True))
    for axes in charts.values():
        made.layout[f"xaxis{axes['xaxis'][1:]}"].update(**step_axis(trace.steps))
    looks = _looks([*cross, *own], trace, dark)
    entropy, moved, self_entropy = "attention_entropy", "attention_kl", "self_attention_entropy"
    drawn: list[go.Scatter] = []
    if cross:
        drawn += _words(charts["activation"], shown, measures)
        made.layout[f"yaxis{charts['activation']['yaxis'][1:]}"].rangemode = "tozero"
        drawn += _layers(charts[entropy], shown, cross, measures.entropy, entropy, looks, dark)
    else:
        say_absent(made, charts[entropy], NO_WORDS)
    if any(value is not None for value in kl):
        drawn += _moves(charts[moved], shown, kl, peaks, dark)
        made.layout[f"yaxis{charts[moved]['yaxis'][1:]}"].rangemode = "tozero"
    else:
        say_absent(made, charts[moved], ONE_STEP if cross else NO_WORDS)
    if own:
        drawn += _layers(charts[self_entropy], shown, own, measures.self_entropy, self_entropy, looks, dark)
    listed: set[str] = set()
    for one in drawn:
        if one.showlegend is None:
            one.showlegend = one.legendgroup not in listed
            listed.add(one.legendgroup)
    # At once: Plotly goes through all that it has for each that is added.
    made.add_traces(drawn)
    made.layout.meta = {
        **made.layout.meta,
        "panels": [
            {"key": name, "name": term(name).name, "unit": unit}
            for name, unit in zip(names, units, strict=True)
        ],
        "along": "step",
        "titled": True,
        "reading": readings * READING,
    }
    return made


def _words(axes: dict[str, str], shown: Attended, measures: Measures) -> list[go.Scatter]:
    """Return the activation of each word of the prompt."""
    steps = [step + 1 for step in shown.trace.steps]
    words = prompt_words(shown.trace.tokens)
    meta = {"run": shown.id, "measure": "activation"}
    found = []
    for place, (word, values) in enumerate(zip(words, by_word(measures.activation, words), strict=True)):
        look = word_look(word, place)
        found.append(
            go.Scatter(
                x=steps,
                y=[finite(float(v)) for v in values],
                mode="lines" if len(steps) > 1 else "markers",
                hovertemplate=f"%{{y:.4g}}<extra>{text(word.text)}</extra>",
                **{**look, "meta": {**meta, **look["meta"]}},
                **axes,
            )
        )
    return found


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


def _layers(
    axes: dict[str, str],
    shown: Attended,
    layers: Sequence[LayerInfo],
    values: np.ndarray,
    metric: str,
    looks: dict[str, tuple[str, str, str]],
    dark: bool,
) -> list[go.Scatter]:
    """Return a line for each layer, and their mean; values: (steps, layers)."""
    numbers = [step + 1 for step in shown.trace.steps]
    found = []
    for layer, own in zip(layers, values.T, strict=True):
        words, colour, dashed = looks[layer.key]
        words, name = text(words), text(layer.name)
        found.append(
            go.Scatter(
                x=numbers,
                y=[finite(float(v)) for v in own],
                mode="lines" if len(numbers) > 1 else "markers",
                name=words,
                legendgroup=words,
                line={"color": colour, "width": 1.2, "dash": dashed},
                hovertemplate=f"%{{y:.4g}} nats<extra>{name}</extra>",
                meta={"run": shown.id, "measure": metric, "layer": layer.name, "line": LAYER + layer.name},
                **axes,
            )
        )
    if len(layers) > 1:
        found.append(_mean(axes, shown, [finite(float(v)) for v in mean_there(values, 1)], metric, dark))
    return found


def _mean(
    axes: dict[str, str], shown: Attended, values: Sequence[float | None], metric: str, dark: bool
) -> go.Scatter:
    name = "mean over the layers"
    return go.Scatter(
        x=[step + 1 for step in shown.trace.steps],
        y=values,
        mode="lines" if len(values) > 1 else "markers",
        name=name,
        legendgroup=name,
        line={"color": ground(dark).burgundy, "width": 3},
        hovertemplate=f"%{{y:.4g}} nats<extra>{name}</extra>",
        meta={"run": shown.id, "measure": metric, "line": MEAN, "main": True},
        **axes,
    )


def _moves(
    axes: dict[str, str],
    shown: Attended,
    kl: Sequence[float | None],
    peaks: Sequence[int],
    dark: bool,
) -> list[go.Scatter]:
    """Return reallocation, and rings around its spikes."""
    steps = shown.trace.steps
    rings = go.Scatter(
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
    return [_mean(axes, shown, kl, "attention_kl", dark), rings]


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


def _spoken(
    trace: AttentionTrace, measures: Measures, kl: Sequence[float | None], peaks: Sequence[int]
) -> str:
    """Return how entropy begins and ends, of all layers and the layers between which it lies, and the spikes."""
    said = [f"{len(trace.steps)} steps, {len(trace.cross_layers)} layers of attention to words."]
    if trace.cross_layers:
        said += _ends("Entropy", mean_there(measures.entropy, 1))
        said += [f"Spike at step {trace.steps[k] + 1}: {kl[k]:.3g} nats." for k in peaks]
        if not peaks:
            said.append("No spike of reallocation.")
    if trace.self_layers:
        said += _ends("Self-attention entropy", mean_there(measures.self_entropy, 1))
    return " ".join(said)


def _ends(name: str, values: np.ndarray) -> list[str]:
    known = values[np.isfinite(values)]
    if not known.size:
        return []
    return [f"{name} goes from {known[0]:.3g} to {known[-1]:.3g} nats on average over the layers."]
