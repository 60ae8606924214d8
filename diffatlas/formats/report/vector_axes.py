"""The axes of a chart that is drawn as vectors: where a value lies, and which numbers stand beside it."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from diffatlas.formats.lettering import fit
from diffatlas.formats.named import plain

if TYPE_CHECKING:
    from diffatlas.figures.panels import Panel

#: What is left free beyond the least and the largest value, as a share of what is between them.
_MARGIN = 0.06


@dataclass(frozen=True)
class Place:
    """Where a chart lies on the drawing, in points."""

    left: float
    bottom: float
    wide: float
    tall: float

    @property
    def right(self) -> float:
        """The right edge."""
        return self.left + self.wide

    @property
    def top(self) -> float:
        """The upper edge."""
        return self.bottom + self.tall


@dataclass(frozen=True)
class Axis:
    """An axis from ``low`` at ``start`` to ``high`` at ``end``.

    words: positions of values that are words, in the order in which they were met. ticks: (value, words) pairs. grid:
    whether lines lie behind the chart at its ticks. log: whether it is logarithmic; ``low`` and ``high`` are powers of
    ten then.
    """

    low: float
    high: float
    start: float
    end: float
    words: Mapping[str, int]
    ticks: tuple[tuple[float, str], ...] = ()
    title: str = ""
    grid: bool = True
    log: bool = False

    def at(self, value: float) -> float:
        """Return where a value lies on the drawing."""
        place = math.log10(value) if self.log else value
        return self.start + (self.end - self.start) * (place - self.low) / (self.high - self.low)

    def values(self, given: Iterable[Any]) -> list[float | None]:
        """Return values as numbers; None for what is missing, not finite, or has no place on the axis."""
        found = [_number(value, self.words) for value in given]
        return [None if self.log and value is not None and value <= 0 else value for value in found]


def axes_of(chart: Panel, place: Place) -> tuple[Axis, Axis] | None:
    """Return the two axes of a chart; None where it has no value."""
    found = []
    for axis, name, start, end in (
        (chart.x, "x", place.left, place.right),
        (chart.y, "y", place.bottom, place.top),
    ):
        words = _words(chart, name)
        values = [*_of_traces(chart, name, words), *_of_shapes(chart, name, words)]
        if not values:
            return None
        if axis.tickvals is not None:
            values += [
                v
                for v in (_number(tick, words) for tick in axis.tickvals)
                if v is not None and axis.range is None
            ]
        log = axis.type == "log"
        if log:
            values = [math.log10(value) for value in values if value > 0] or [0.0]
        low, high = _range(axis, values, bool(words) or _filled(chart))
        made = Axis(low, high, start, end, words, (), axis.title.text or "", axis.showgrid is not False, log)
        found.append(made)
    x, y = found
    if chart.x.scaleanchor or chart.y.scaleanchor:
        x, y = _true(x, y, place)
    return replace(x, ticks=_ticks(chart.x, x, 5)), replace(y, ticks=_ticks(chart.y, y, 4))


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return about ``count`` round numbers from ``low`` to ``high``: multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * power for factor in (1, 2, 5) if factor * power >= rough), 10 * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _ticks(axis: Any, made: Axis, count: int) -> tuple[tuple[float, str], ...]:
    low, high = sorted((made.low, made.high))
    if made.log:
        low, high = 10**low, 10**high
    if axis.showticklabels is False:
        return ()
    if axis.tickvals is not None:
        texts = axis.ticktext if axis.ticktext is not None else [_said(value) for value in axis.tickvals]
        pairs = [
            (_number(v, made.words), plain(html.unescape(str(t))))
            for v, t in zip(axis.tickvals, texts, strict=True)
        ]
    elif made.words:
        pairs = [(float(place), plain(html.unescape(word))) for word, place in made.words.items()]
    elif made.log:
        pairs = [(10.0**tick, _said(10.0**tick)) for tick in ticks(made.low, made.high, count)]
    else:
        pairs = [(tick, _said(tick)) for tick in ticks(low, high, count)]
    return tuple((value, words) for value, words in pairs if value is not None and low <= value <= high)


def _said(tick: Any) -> str:
    if isinstance(tick, str):
        return tick
    return fit(tick if abs(tick) > 1e-12 else 0.0, 7)


def _words(chart: Panel, name: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for trace in chart.traces:
        given = getattr(trace, name)
        for value in given if given is not None else ():
            if isinstance(value, str):
                found.setdefault(value, len(found))
    return found


def _of_traces(chart: Panel, name: str, words: Mapping[str, int]) -> list[float]:
    found = []
    for trace in chart.traces:
        given = getattr(trace, name)
        if given is None and trace.type == "heatmap":
            given = range(len(trace.z) if name == "y" else len(trace.z[0]))
        values = [_number(value, words) for value in (given if given is not None else ())]
        found += [value for value in values if value is not None]
        if trace.type == "bar" and name == "y":
            found.append(0.0)
    return found


def _of_shapes(chart: Panel, name: str, words: Mapping[str, int]) -> list[float]:
    found = []
    for shape in chart.shapes:
        if "domain" not in (getattr(shape, f"{name}ref") or ""):
            ends = (_number(getattr(shape, f"{name}{end}"), words) for end in (0, 1))
            found += [value for value in ends if value is not None]
    return found


def _filled(chart: Panel) -> bool:
    return any(trace.type == "heatmap" for trace in chart.traces)


def _range(axis: Any, values: Sequence[float], cells: bool) -> tuple[float, float]:
    if axis.range is not None:
        return float(axis.range[0]), float(axis.range[1])
    if axis.rangemode in ("tozero", "nonnegative"):
        values = [*values, 0.0]
    low, high = min(values), max(values)
    if cells:
        margin = 0.5 if len(set(values)) < 2 else 0.5 * (high - low) / (len(set(values)) - 1)
    else:
        margin = (high - low) * _MARGIN or abs(high) * _MARGIN or 1.0
    low, high = (
        (low if axis.rangemode in ("tozero", "nonnegative") and low == 0 else low - margin),
        high + margin,
    )
    return (high, low) if axis.autorange == "reversed" else (low, high)


def _true(x: Axis, y: Axis, place: Place) -> tuple[Axis, Axis]:
    """Widen one of two ranges until a unit is as long on both axes."""
    wide = max(x.high - x.low, (y.high - y.low) * place.wide / place.tall)
    grown = []
    for axis, length in ((x, wide), (y, wide * place.tall / place.wide)):
        middle = (axis.low + axis.high) / 2
        grown.append(replace(axis, low=middle - length / 2, high=middle + length / 2))
    return grown[0], grown[1]


def _number(value: Any, words: Mapping[str, int]) -> float | None:
    if isinstance(value, str):
        return float(words[value]) if value in words else None
    if value is None or not math.isfinite(value):
        return None
    return float(value)
