"""Objects: how much of a word's map lies on the object that it names, and whether colours are bound to theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from diffatlas.attention.words import prompt_words
from diffatlas.figures.attended import WORD, Attended, attended, step_axis, word_look
from diffatlas.figures.figure import Figure, figure, text
from diffatlas.figures.panels import AXIS_TITLE, READING, lay_out, reading_lines, say_absent
from diffatlas.figures.template import dash, ground
from diffatlas.glossary import term
from diffatlas.measured import finite

ROW, ACROSS = 200, 3
SHARES = (
    "Share: how much of the word’s map lies inside the boxes of the objects that it names; dotted is the share of a "
    "map that is the same everywhere."
)
BINDINGS = (
    "Binding: whether a colour word looks at its own object (1) or at the other (−1); dotted is neither (0)."
)
SEEDS = (
    "Binding by step of each run, the mean of its two colour words: from 1, each looks at its own object, to −1. "
    "Burgundy are the runs that gave an object the wrong colour."
)


def attention_objects(
    run: Any, overlaps: Sequence[Any], binding: Any = None, dark: bool = False, across: int = ACROSS
) -> Figure:
    """Return the share of each word's map on what it names by step, and the binding of two colour words.

    run: as `diffatlas.figures.attended.attended` takes it. overlaps: of
    `diffatlas.operations.attention_boxes.word_overlap`, a word each. binding: of `binding` there; without it, or where
    it is None, that has no chart. across: charts in a row::

        found = [word_overlap(trace, image, word, nth) for word, nth in named_words(trace.tokens)]
        figures.attention_objects(trace, found, binding(trace, image))
    """
    (shown,) = attended(run)
    return draw_objects(shown, overlaps, binding, dark, across)


def draw_objects(
    shown: Attended,
    overlaps: Sequence[Any],
    binding: Any = None,
    dark: bool = False,
    across: int = ACROSS,
    read: bool = False,
) -> Figure:
    """Return `attention_objects`; read: see `diffatlas.figures.attention_curves.draw_curves`."""
    bound = binding.words if binding is not None else ()
    says = f"{SHARES} {BINDINGS}" if bound else SHARES
    spoken = [_told(one.word, one.share, f"; evenly it would be {one.uniform:.3g}") for one in overlaps]
    spoken += [_told(f"Binding of {one.word} to the {one.shape}", one.values) for one in bound]
    made = figure("attention_objects", shown.name, says, " ".join(spoken), dark)
    titles = [term("box_share").name, *(f"Binding of {one.word} to the {one.shape}" for one in bound)]
    keys = ["box_share", *["binding"] * len(bound)]
    readings = max(1, reading_lines(len(overlaps))) if read else 0
    steps = [step + 1 for step in shown.trace.steps]
    charts = _charts(made, keys, titles, across, readings, shown.trace.steps)
    known = [one for one in overlaps if one.found]
    if not known:
        say_absent(made, charts[0], "No object of the image fits a word of the prompt.")
    for one in known:
        place = _place(shown, one.word, _nth(overlaps, one))
        look = word_look(prompt_words(shown.trace.tokens)[place], place)
        meta = {"run": shown.id, "measure": "box_share", **look["meta"]}
        made.add_trace(_line(charts[0], steps, one.share, {**look, "meta": meta}))
        made.add_trace(_level(charts[0], steps, one.uniform, look["line"]["color"], look["legendgroup"]))
    for one, axes in zip(bound, charts[1:], strict=True):
        line = f"{WORD}{_place(shown, one.word, one.nth)}"
        meta = {"run": shown.id, "measure": "binding", "line": line}
        look = {"line": {"color": ground(dark).burgundy, "width": 1.8}, "showlegend": False, "meta": meta}
        made.add_trace(_line(axes, steps, one.values, {"name": text(one.word), **look}))
        made.add_trace(_level(axes, steps, 0.0, ground(dark).muted, ""))
    made.update_layout(showlegend=True)
    return made


def attention_seeds(
    found: Mapping[str, Any],
    first: str | None = None,
    dark: bool = False,
    names: Mapping[str, str] | None = None,
) -> Figure:
    """Return the binding by step of several runs of one prompt, to see what those that fail have in common.

    found: of `diffatlas.operations.attention_boxes.binding`, by what each run is called. first: the one whose line is
    whole; without it all are. names: what they are called in words, where they are keyed otherwise.
    """
    right = sum(one.holds for one in found.values())
    spoken = f"{right} of {len(found)} runs have the colours as asked."
    made = figure("attention_seeds", "Binding in other seeds", SEEDS, spoken, dark)
    steps = next(iter(found.values())).steps if found else ()
    title = f"{term('binding').name}, mean of the two words"
    (axes,) = _charts(made, ["binding"], [title], 1, max(1, reading_lines(len(found))), steps or (0,))
    if not found:
        say_absent(made, axes, "No run of this prompt has a binding.")
    for key, one in found.items():
        look = {
            "name": text((names or {}).get(key, key)),
            "line": {
                "color": ground(dark).ink if one.holds else ground(dark).burgundy,
                "width": 1.6,
                "dash": dash(0 if first in (None, key) else 1),
            },
            "meta": {"measure": "binding", "line": key},
        }
        made.add_trace(_line(axes, [step + 1 for step in one.steps], one.values, look))
    if found:
        made.add_trace(_level(axes, [step + 1 for step in steps], 0.0, ground(dark).muted, ""))
    return made


def _charts(
    made: Figure, keys: Sequence[str], titles: Sequence[str], across: int, readings: int, steps: Sequence[int]
) -> list[dict[str, str]]:
    charts = lay_out(made, titles, max(1, min(across, len(titles))), ROW, readings, AXIS_TITLE)
    for axes in charts:
        made.layout[f"xaxis{axes['xaxis'][1:]}"].update(**step_axis(steps))
    made.layout.meta = {
        **made.layout.meta,
        "panels": [{"key": key, "name": title, "unit": ""} for key, title in zip(keys, titles, strict=True)],
        "along": "step",
        "titled": True,
        "reading": readings * READING,
    }
    return charts


def _line(axes: dict[str, str], steps: Sequence[int], values: Any, look: Mapping[str, Any]) -> go.Scatter:
    return go.Scatter(
        x=list(steps),
        y=[finite(float(v)) for v in values],
        mode="lines" if len(steps) > 1 else "markers",
        hovertemplate=f"step %{{x}}: %{{y:.4g}}<extra>{look['name']}</extra>",
        **look,
        **axes,
    )


def _level(axes: dict[str, str], steps: Sequence[int], value: float, colour: str, group: str) -> go.Scatter:
    """Return a dotted line at a value."""
    return go.Scatter(
        x=[steps[0], steps[-1]],
        y=[finite(value)] * 2,
        mode="lines",
        line={"color": colour, "width": 1, "dash": "dot"},
        legendgroup=group or None,
        showlegend=False,
        hoverinfo="skip",
        meta={"measure": "level"},
        **axes,
    )


def _nth(overlaps: Sequence[Any], one: Any) -> int:
    """Return which of the equal words this is, the first 0."""
    return [each for each in overlaps if each.word.lower() == one.word.lower()].index(one)


def _place(shown: Attended, word: str, nth: int) -> int:
    """Return where a word stands in the prompt."""
    words = prompt_words(shown.trace.tokens)
    equal = [k for k, each in enumerate(words) if each.text.lower() == word.lower()]
    return (equal[nth : nth + 1] or equal or [0])[0]


def _told(name: str, values: Any, more: str = "") -> str:
    known = [v for v in (finite(float(v)) for v in values) if v is not None]
    if not known:
        return f"{name}: nothing that fits was found."
    return f"{name}: {known[0]:.3g} at first, {known[-1]:.3g} in the end{more}."
