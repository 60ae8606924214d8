"""Words by steps: with what weight each word of the prompt is read at each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffatlas.attention.tokens import Token
from diffatlas.attention.words import Word, prompt_words, words_of
from diffatlas.figures.attended import (
    ROW,
    SPECIAL,
    WORD,
    Attended,
    attended,
    by_word,
    draw_matrix,
    rests_on,
)
from diffatlas.figures.figure import Figure, figure
from diffatlas.figures.panels import READING, lay_out, reading_lines
from diffatlas.glossary import term

BY_ROW = " Each word has colours of its own, from 0 to its largest value."


def attention_words(run: Any, dark: bool = False, special: bool = False, by_row: bool = False) -> Figure:
    """Return the activation of each word by step, words in the order of the prompt, the first on top.

    run: as `diffatlas.figures.attended.attended` takes it. special: the beginning, the end and padding too; in most
    models they take by far the most. by_row: colours of each word by itself, from 0 to its largest value. A value is
    the weight with which a place reads the word's tokens, averaged over them, over the places and over the layers, from
    0 to 1 (`AttentionTrace.activation`).

    Raises `CapabilityError` where attention to words was not captured.
    """
    (shown,) = attended(run)
    activation = shown.trace.activation()
    return draw_words(shown, shown.trace.tokens, activation, dark, special=special, by_row=by_row)


def draw_words(
    shown: Attended,
    tokens: Sequence[Token],
    activation: np.ndarray,
    dark: bool = False,
    *,
    special: bool = False,
    by_row: bool = False,
    read: bool = False,
) -> Figure:
    """Return `attention_words` of what was measured already.

    tokens: those of ``activation`` (steps, tokens), whose indices are places in it. read: see
    `diffatlas.figures.attention_curves.draw_curves`. A row is called as the line of its word, and that of a special
    token `SPECIAL` and its place among all.
    """
    trace = shown.trace
    every, own = words_of(tokens), prompt_words(tokens)
    words = every if special else own
    values = by_word(activation, words)
    name = term("activation").name
    says = f"{name} by word and step. {term('activation').text}{rests_on(trace)}{BY_ROW if by_row else ''}"
    if not special and all(word.kind == "special" for word in words):
        says += " The words of this prompt are not known, so these are all positions."
    made = figure("attention_words", shown.name, says, _spoken(words, values, trace.steps), dark)
    readings = max(1, reading_lines(len(words))) if read else 0
    (axes,) = lay_out(made, [f"{name} by word and step"], 1, ROW * max(len(words), 4), readings)
    keys = [f"{WORD}{own.index(word)}" if word in own else f"{SPECIAL}{every.index(word)}" for word in words]
    meta = {"run": shown.id, "measure": "activation"}
    draw_matrix(made, axes, words, trace.steps, values, "", "weight", meta, keys=keys, by_row=by_row)
    made.update_layout(hovermode="closest", showlegend=False)
    made.layout.meta = {
        **made.layout.meta,
        "panels": [{"key": "activation", "name": f"{name} by word and step", "unit": ""}],
        "along": "step",
        "titled": True,
        "reading": readings * READING,
    }
    return made


def _spoken(words: Sequence[Word], values: np.ndarray, steps: tuple[int, ...]) -> str:
    """Return which words are read most and least, and at which step each is read most."""
    told = [
        (float(np.nanmean(row)), word.text, steps[int(np.nanargmax(row))] + 1, float(np.nanmax(row)))
        for word, row in zip(words, values, strict=True)
        if np.isfinite(row).any()
    ]
    said = f"{len(words)} words, {len(steps)} steps."
    if not told:
        return said
    parts = [
        f"“{word}” {mean:.3g} on average, {top:.3g} at step {step}"
        for mean, word, step, top in sorted(told, key=lambda one: -one[0])
    ]
    return f"{said} The most read first: {'; '.join(parts)}."
