"""The values of a sweep as an axis, and their colours from gold to burgundy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffatlas.figures.figure import text
from diffatlas.figures.template import ground
from diffatlas.library.study import Study
from diffatlas.measured import finite
from diffatlas.studies.curves import columns_of
from diffatlas.studies.numbers import FIELD_WORDS
from diffatlas.studies.words_sweep import labels_of

#: Letters of a tick at most, and the width of one as a share of a figure's.
_LETTERS, _LETTER = 12, 0.0075


@dataclass(frozen=True)
class ValueAxis:
    """Where the columns of a sweep lie. ``order``: the columns from left to right. ``at``: their places by column.

    ``labels``: in full, by column. ``ticks``: (place, text), as many as have room. ``low``, ``high``: its ends.
    ``places``: where every value lies, those of other sweeps too, by `value_key`.
    """

    title: str
    order: tuple[int, ...]
    at: Mapping[int, float]
    labels: Mapping[int, str]
    ticks: tuple[tuple[float, str], ...]
    low: float
    high: float
    places: Mapping[str, float]

    @property
    def layout(self) -> dict[str, Any]:
        """It as Plotly's axis; what is written on it is escaped."""
        return {
            "title.text": text(self.title),
            "range": [self.low, self.high],
            "tickvals": [place for place, _ in self.ticks],
            "ticktext": [text(words) for _, words in self.ticks],
            "tickangle": 0,
        }


def value_axis(study: Study, field: str, across: int, beside: Sequence[Study] = ()) -> ValueAxis:
    """Return the axis of a sweep's values, in charts of which ``across`` lie in a row.

    Values that are numbers lie at their values, but for seeds and for values that come twice; others lie in order,
    those that only the sweeps ``beside`` it have after its own.
    """
    labels, columns = labels_of(study), columns_of(study)
    values = values_of(study)
    more: dict[str, tuple[Any, str]] = {}
    own = {value_key(value) for value in values.values()}
    for other in beside:
        names = labels_of(other)
        for column, value in sorted(values_of(other).items()):
            if value_key(value) not in own:
                more.setdefault(value_key(value), (value, names[column]))
    every = [(values[k], labels[k]) for k in columns] + list(more.values())
    numbers = field != "seed" and all(_is_number(value) for value, _ in every)
    apart = numbers and len({value for value, _ in every}) == len(every)
    places = [float(value) if apart else float(k) for k, (value, _) in enumerate(every)]
    at = dict(zip(columns, places, strict=False))
    order = tuple(sorted(columns, key=at.__getitem__))
    pad = 0.04 * (max(places) - min(places)) or 1.0 if places else 1.0
    low, high = min(places, default=0.0) - pad, max(places, default=0.0) + pad
    words = [f"{value:g}" if _is_number(value) else _shortened(label) for value, label in every]
    found = sorted(zip(places, words, strict=True), key=lambda tick: tick[0])
    return ValueAxis(
        FIELD_WORDS.get(field, field.replace("_", " ")),
        order,
        at,
        labels,
        _with_room(found, (high - low) * across * _LETTER),
        low,
        high,
        {value_key(value): place for (value, _), place in zip(every, places, strict=True)},
    )


def values_of(study: Study) -> dict[int, Any]:
    """Return the value of each column: that of its first cell."""
    return {cell.column: cell.value for cell in reversed(study.cells)}


def value_key(value: Any) -> str:
    """Return what is the same for the same value of two sweeps: 7 is 7.0."""
    return repr(float(value)) if _is_number(value) else json.dumps(value, sort_keys=True)


def value_colour(place: int, count: int, dark: bool = False) -> str:
    """Return the colour of the value at a place of ``count``: from gold for the first to burgundy for the last."""
    on = ground(dark)
    share = place / (count - 1) if count > 1 else 1.0
    ends = [[int(end[k : k + 2], 16) for k in (1, 3, 5)] for end in (on.gold, on.burgundy)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(*ends, strict=True))


def _with_room(ticks: list[tuple[float, str]], letter: float) -> tuple[tuple[float, str], ...]:
    """Return the ticks that do not run into each other: the first, the last, and those between that fit."""
    kept: list[tuple[float, str]] = []
    for tick in ticks[:-1]:
        if not kept or (_clear(kept[-1], tick, letter) and _clear(tick, ticks[-1], letter)):
            kept.append(tick)
    return (*kept, *ticks[-1:])


def _clear(one: tuple[float, str], other: tuple[float, str], letter: float) -> bool:
    return other[0] - one[0] > letter * ((len(one[1]) + len(other[1])) / 2 + 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and finite(value) is not None


def _shortened(words: str) -> str:
    """Return at most `_LETTERS` letters: what is too much is taken out of the middle; what differs is at the end."""
    if len(words) <= _LETTERS:
        return words
    tail = (_LETTERS - 1) // 2
    return f"{words[: _LETTERS - 1 - tail].rstrip()}…{words[-tail:].lstrip()}"
