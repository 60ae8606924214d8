"""What the figures of attention share: whose attention it is, the axis of steps, and the matrix of words by steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from diffatlas.attention.resampled import measured_on
from diffatlas.attention.trace import AttentionTrace
from diffatlas.attention.words import Word
from diffatlas.figures.figure import Figure, text
from diffatlas.figures.layers import run_of
from diffatlas.figures.template import RAMP_SCALE, dash, layer_colour
from diffatlas.library.attended import attention_of
from diffatlas.library.stored import StoredRun
from diffatlas.look import DASHES, LAYERS, MONO
from diffatlas.names import facts_of, told_apart

#: Pixels of a word's row in a matrix.
ROW = 22
#: A word among lines: this and its place in the prompt, the first 0; what is no word of it, with its place among all.
WORD, SPECIAL = "word ", "special "
#: Ticks of an axis of steps, at most.
TICKS = 12


@dataclass(frozen=True)
class Attended:
    """The attention of a run as it is drawn. ``id``: of the run; "" where only its attention was given."""

    name: str
    id: str
    trace: AttentionTrace


def attended(*given: Any) -> list[Attended]:
    """Return the attention of runs, with names that tell them apart.

    given: each a run as `diffatlas.figures.layers.run_of` takes it, or an `AttentionTrace`, which may look at some
    layers, another image or one head only. Of a run all layers and the first image.

    Raises `CapabilityError` where a run has no attention, with the reason where it is known.
    """
    found = []
    for one in given:
        if isinstance(one, AttentionTrace):
            found.append((None, one))
        elif isinstance(one, StoredRun):
            found.append((one, attention_of(one)))
        else:
            run = run_of(one)
            found.append((run, AttentionTrace.of(run)))
    names = told_apart(
        [(run.params.prompt or "A run without a prompt") if run else "Attention" for run, _ in found],
        [facts_of(run.params) if run else {} for run, _ in found],
    )
    return [
        Attended(name, run.id if run else "", trace) for name, (run, trace) in zip(names, found, strict=True)
    ]


def rests_on(trace: AttentionTrace, kind: str = "cross") -> str:
    """Return sentences on what the means rest on where some steps or layers are missing, and on what is measured of
    maps that were resampled; "" where there is nothing to say."""
    words = trace.rests_on(kind)
    said = f" Means are {words}." if words else ""
    measured = [measured_on(trace, each) for each in dict.fromkeys((kind, "self")) if trace.layers_of(each)]
    return said + "".join(f" Measured {on}." for on in dict.fromkeys(measured) if on)


def step_axis(steps: Sequence[int], title: str = "step") -> dict[str, Any]:
    """Return the axis of captured steps, given by their indices from 0; the first is called step 1."""
    numbers = [step + 1 for step in steps]
    return {
        "title": {"text": title},
        "range": [numbers[0] - 0.5, numbers[-1] + 0.5],
        "tickvals": _ticks(numbers),
        "tickangle": 0,
    }


def _ticks(numbers: Sequence[int]) -> list[int]:
    """Return the first, the last, and about evenly some between."""
    every = -(-len(numbers) // TICKS)
    apart = numbers[-1] - numbers[max(len(numbers) - 1 - every, 0)]
    return [*(n for n in numbers[:-1:every] if numbers[-1] - n > apart / 2), numbers[-1]]


def draw_matrix(
    made: Figure,
    axes: dict[str, str],
    words: Sequence[Word],
    steps: Sequence[int],
    values: np.ndarray,
    unit: str,
    title: str,
    meta: dict[str, Any],
    keys: Sequence[str],
    by_row: bool = False,
    **bar: Any,
) -> None:
    """Draw words by steps as colours from 0 to the largest value.

    words: the rows, the first on top; equal ones stay apart. values: (words, steps); NaN is left blank. unit: after a
    value. title: of the scale of colours. keys: what each row is called by who points at it. by_row: each row from 0 to
    its own largest value, without a scale of colours. bar: how that differs from the template's.
    """
    names = [text(word.text) for word in words]
    scale = {
        "outlinewidth": 0,
        "thickness": 12,
        "tickformat": ".2~g",
        "tickfont": {"family": MONO, "size": 11},
        **bar,
        "title": {"text": title, "font": {"size": 12}},
    }
    for rows in [[k] for k in range(len(words))] if by_row else [list(range(len(words)))]:
        known = values[rows][np.isfinite(values[rows])]
        made.add_trace(
            go.Heatmap(
                x=[step + 1 for step in steps],
                y=rows,
                z=[[float(v) if np.isfinite(v) else None for v in values[k]] for k in rows],
                zmin=0,
                zmax=float(known.max()) if known.size and known.max() > 0 else 1.0,
                colorscale=RAMP_SCALE,
                customdata=[[names[k]] * len(steps) for k in rows],
                hovertemplate=f"%{{customdata}}, step %{{x}}: %{{z:.4g}}{unit}<extra></extra>",
                hoverongaps=False,
                showscale=not by_row,
                **({} if by_row else {"colorbar": scale}),
                meta={**meta, "words": [words[k].text for k in rows], "rows": [keys[k] for k in rows]},
                **axes,
            )
        )
    suffix = axes["yaxis"][1:]
    made.layout[f"yaxis{suffix}"].update(
        range=[len(words) - 0.5, -0.5], tickvals=list(range(len(words))), ticktext=names, showgrid=False
    )
    made.layout[f"xaxis{axes['xaxis'][1:]}"].update(**step_axis(steps))


def word_look(word: Word, place: int) -> dict[str, Any]:
    """Return what a word's line is called and looks like. Colours and dashes are not those that layers begin with."""
    return {
        "name": text(word.text),
        "legendgroup": f"{WORD}{place}",
        "line": {
            "color": layer_colour(len(LAYERS) - 1 - place),
            "width": 1.6,
            "dash": dash(len(DASHES) - 1 - place),
        },
        "meta": {"line": f"{WORD}{place}"},
    }


def by_word(values: np.ndarray, words: Sequence[Word]) -> np.ndarray:
    """Return the mean over each word's tokens of values (steps, tokens): (words, steps)."""
    return np.stack([values[:, list(word.tokens)].mean(1) for word in words])
