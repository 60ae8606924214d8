"""How the attention of two runs differs: the Jensen-Shannon divergence of each word's maps by step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from diffatlas.attention.compare import Divergence, js
from diffatlas.attention.resampled import resampled_to
from diffatlas.attention.trace import AttentionTrace
from diffatlas.attention.words import Word, prompt_words
from diffatlas.errors import InvalidParams
from diffatlas.figures.attended import (
    ROW,
    WORD,
    Attended,
    attended,
    by_word,
    draw_matrix,
    step_axis,
    word_look,
)
from diffatlas.figures.attention_curves import MEAN
from diffatlas.figures.figure import Figure, figure, text
from diffatlas.figures.panels import READING, TITLE, lay_out, reading_lines
from diffatlas.figures.template import ground
from diffatlas.glossary import term
from diffatlas.measured import finite

#: Pixels of the curves, and between them and the matrix.
CURVE, BETWEEN = 170, 64
ABOUT = (
    "Each word’s map is divided by its sum in both runs, so this compares where a word is read, not how much. Words "
    "are paired by their text: two prompts that differ in a word are compared in the others."
)
OVER_WORDS = "mean over the words"


def attention_divergence(a: Any, b: Any, dark: bool = False) -> Figure:
    """Return the divergence of two runs' attention by step: the mean over the words, and that of each word.

    a, b: each as `diffatlas.figures.attended.attended` takes it. The numbers are those of `diffatlas.attention.compare
    .js`, in nats, 0 where maps are alike and ln 2 where they share no place; the words that both prompts have, in the
    order of the first.

    Raises `InvalidParams` where the two are the same run or share no step or token, `CapabilityError` where attention
    to words was not captured.
    """
    one, other = attended(a, b)
    if one.id and one.id == other.id and one.trace == other.trace:
        raise InvalidParams("These are the same run: give another one to compare with.")
    for side in (one, other):
        side.trace.chosen("cross", None)
    return draw_divergence(one, other, js(one.trace, other.trace), dark)


def draw_divergence(
    one: Attended, other: Attended, found: Divergence, dark: bool = False, read: bool = False
) -> Figure:
    """Return `attention_divergence` of what was measured already.

    read: see `diffatlas.figures.attention_curves.draw_curves`, whose words lines and rows are called as here. The
    layout's ``meta`` has the ``pairs`` of indices of tokens that are compared.
    """
    shown = _words(one.trace.tokens, found)
    words, places = [word for _, word in shown], [place for place, _ in shown]
    values = by_word(found.values, words)
    title = f"“{one.name}” and “{other.name}”"
    says = f"{_told(found)} {ABOUT}{_of_resampled(one.trace, other.trace)}"
    made = figure("attention_divergence", title, says, _spoken(found, words, values), dark)
    rows = max(ROW * len(words), 4 * ROW)
    name = term("attention_js").name
    readings = max(1, reading_lines(len(words) + 1)) if read else 0
    titles = [f"{name}, nats", "By word and step, nats"]
    charts = lay_out(made, titles, 1, (CURVE + BETWEEN + rows) // 2, readings)
    _divide(made, rows, readings)
    meta = {"runs": [one.id, other.id], "measure": "attention_js"}
    steps = [step + 1 for step in found.steps]
    for place, word, own in zip(places, words, values, strict=True):
        look = word_look(word, place)
        made.add_trace(
            go.Scatter(
                x=steps,
                y=[finite(float(v)) for v in own],
                mode="lines" if len(steps) > 1 else "markers",
                opacity=0.8,
                hovertemplate=f"{text(word.text)}, step %{{x}}: %{{y:.4g}} nats<extra></extra>",
                **{**look, "meta": {**meta, **look["meta"]}},
                **charts[0],
            )
        )
    _draw_mean(made, charts[0], found, meta, dark)
    bar = {"y": 0, "yanchor": "bottom", "len": rows / (CURVE + BETWEEN + rows)}
    keys = [f"{WORD}{place}" for place in places]
    draw_matrix(made, charts[1], words, found.steps, values, " nats", "nats", meta, keys, **bar)
    made.update_layout(hovermode="closest", showlegend=True)
    made.layout.meta = {
        **made.layout.meta,
        "panels": [
            {"key": "attention_js", "name": name, "unit": " nats"},
            {"key": None, "name": "By word and step", "unit": " nats"},
        ],
        "along": "step",
        "titled": True,
        "reading": readings * READING,
        "pairs": [[x.index, y.index] for x, y in found.tokens],
    }
    return made


def _of_resampled(*traces: AttentionTrace) -> str:
    """Return a sentence where the maps that are compared were resampled before, else ""."""
    cells = dict.fromkeys(filter(None, (resampled_to(trace) for trace in traces)))
    return f" Measured on maps resampled to {' and '.join(cells)}." if cells else ""


def _divide(made: Figure, rows: int, readings: int) -> None:
    """Give the matrix as much of the height as its rows need, and the curves above it the rest."""
    whole = CURVE + BETWEEN + rows + 2 * readings * READING
    low, high = rows / whole, 1 - CURVE / whole
    made.layout.yaxis.domain, made.layout.yaxis2.domain = [high, 1], [0, low]
    for note, top in zip(
        (note for note in made.layout.annotations if note.name == TITLE), (1, low), strict=True
    ):
        note.y = top


def _draw_mean(
    made: Figure, axes: dict[str, str], found: Divergence, meta: dict[str, Any], dark: bool
) -> None:
    values = [finite(float(v)) for v in found.by_step]
    made.add_trace(
        go.Scatter(
            x=[step + 1 for step in found.steps],
            y=values,
            mode="lines" if len(values) > 1 else "markers",
            name=OVER_WORDS,
            legendgroup=OVER_WORDS,
            line={"color": ground(dark).burgundy, "width": 3},
            hovertemplate="step %{x}: %{y:.4g} nats<extra></extra>",
            meta={**meta, "mean": True, "line": MEAN, "main": True},
            **axes,
        )
    )
    made.layout.xaxis.update(**step_axis(found.steps))
    made.layout.yaxis.rangemode = "tozero"


def _words(tokens: tuple, found: Divergence) -> list[tuple[int, Word]]:
    """Return the words of the first run that both have, each with its place in the prompt.

    A word's tokens are counted among the pairs.
    """
    pair = {one.index: k for k, (one, _) in enumerate(found.tokens)}
    shared = []
    for place, word in enumerate(prompt_words(tokens)):
        there = tuple(pair[index] for index in word.tokens if index in pair)
        if there:
            shared.append((place, Word(word.text, there, word.kind)))
    # The prompts may share the beginning, the end and padding alone.
    return shared or [(k, Word(one.text, (k,), "special")) for k, (one, _) in enumerate(found.tokens)]


def _told(found: Divergence) -> str:
    if not np.isfinite(found.by_step).any():
        return "At no step did a layer run in both runs."
    most = int(np.nanargmax(found.by_step))
    return (
        f"Most apart at step {found.steps[most] + 1}: {found.by_step[most]:.3g} nats on average over the words, of "
        f"{math.log(2):.3g} at most."
    )


def _spoken(found: Divergence, words: list[Word], values: np.ndarray) -> str:
    """Return the steps that are compared, where the runs are most apart, and the words that are most and least so."""
    said = [f"{len(found.steps)} steps, {len(words)} words.", _told(found)]
    known = [
        (float(np.nanmean(row)), word.text)
        for word, row in zip(words, values, strict=True)
        if np.isfinite(row).any()
    ]
    if known:
        said.append(
            "; ".join(f"“{word}” {mean:.3g}" for mean, word in sorted(known, reverse=True))
            + " nats on average."
        )
    return " ".join(said)
