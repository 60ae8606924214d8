"""Words by steps: with what weight each word of the prompt is read at each step."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffatlas.attention.words import prompt_words, words_of
from diffatlas.figures.attended import ROW, attended, by_word, draw_matrix, rests_on
from diffatlas.figures.figure import Figure, figure
from diffatlas.glossary import term


def attention_words(run: Any, dark: bool = False, special: bool = False) -> Figure:
    """Return the activation of each word by step, words in the order of the prompt, the first on top.

    run: as `diffatlas.figures.attended.attended` takes it. special: the beginning, the end and padding too; in most
    models they take by far the most. A value is the weight with which a place reads the word's tokens, averaged over
    them, over the places and over the layers, from 0 to 1 (`AttentionTrace.activation`).

    Raises `CapabilityError` where attention to words was not captured.
    """
    (shown,) = attended(run)
    trace = shown.trace
    activation = trace.activation()
    words = (words_of if special else prompt_words)(trace.tokens)
    values = by_word(activation, words)
    says = f"{term('activation').name} by word and step. {term('activation').text}{rests_on(trace)}"
    if not special and all(word.kind == "special" for word in words):
        says += " The words of this prompt are not known, so these are all positions."
    height = 170 + ROW * max(len(words), 4)
    made = figure("attention_words", shown.name, says, _spoken(words, values, trace.steps), dark, height)
    meta = {"run": shown.id, "measure": "activation"}
    axes = {"xaxis": "x", "yaxis": "y"}
    draw_matrix(made, axes, words, trace.steps, values, "", "weight", meta)
    made.update_layout(hovermode="closest")
    return made


def _spoken(words: list, values: np.ndarray, steps: tuple[int, ...]) -> str:
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
