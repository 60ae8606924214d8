"""The figures of runs as a page draws them: Plotly's JSON, in each of the widths that a page may have."""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastapi import Response

from diffatlas.errors import InvalidParams
from diffatlas.figures.curves import Line, frame, traces
from diffatlas.figures.template import ground
from diffatlas.stopping import look
from diffatlas.ui.page_figure import page_figure

if TYPE_CHECKING:
    from diffatlas.ui.run_services import Reach

#: Charts in a row, by how wide a page is: it takes what it has room for.
ACROSS = (1, 2, 3, 4)
#: Runs in one figure, at most: more would not be told apart.
MOST_RUNS = 60
#: Ended runs whose lines are kept.
KEPT = 200
#: Lines of values that a page writes beneath each title, at most.
MOST_READINGS = 4
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}|rgb\(\d{1,3}, \d{1,3}, \d{1,3}\)")


@dataclass(frozen=True)
class _Asked:
    id: str
    name: str
    colour: str | None


class RunFigures:
    """The figures of a visitor's runs. ``reach`` says which those are."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._kept: OrderedDict[tuple[str, str], Line] = OrderedDict()
        self._lock = threading.Lock()

    def empty(self) -> None:
        """Let go of what is kept."""
        with self._lock:
            self._kept.clear()

    def curves(self, visitor: str, asked: dict[str, Any]) -> Response:
        """Return the curves of runs: ``{"data", "layouts": {charts in a row: layout}, "config"}``.

        asked: ``layers``, each ``{"id", "name", "colour"}``; without a colour a layer is drawn in ink, or in the accent
        where it is alone. ``along``: see `diffatlas.figures.curves`. ``dark``: whether on a dark ground. ``readings``:
        the lines of values that the page writes beneath each title.

        Raises `RunNotFound`, `DamagedRun` and `InvalidParams`.
        """
        dark, along = asked.get("dark") is True, asked.get("along", "step")
        layers = _layers(asked.get("layers"))
        readings = asked.get("readings", 0)
        if readings not in range(MOST_READINGS + 1):
            raise InvalidParams(f"There is room for 0 to {MOST_READINGS} lines of values.", field="readings")
        plain = ground(dark).ink if len(layers) > 1 else ground(dark).burgundy
        lines = []
        for layer in layers:
            look()
            line = self._line(visitor, layer.id)
            lines.append(replace(line, name=layer.name, colour=layer.colour or plain))
        told = page_figure(
            {across: frame(lines, dark, across, along, readings) for across in ACROSS},
            [trace.to_plotly_json() for trace in traces(lines, dark, along)],
        )
        return Response(json.dumps(told, allow_nan=False), media_type="application/json")

    def _line(self, visitor: str, run_id: str) -> Line:
        run_id = self._reach.find(visitor, run_id).id
        with self._lock:
            kept = self._kept.get((visitor, run_id))
        if kept is not None:
            return kept
        line = Line.of(self._reach.library(visitor).open(run_id).measured(), "", "")
        if not line.running:
            with self._lock:
                self._kept[visitor, run_id] = line
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return line


def _layers(asked: Any) -> list[_Asked]:
    if not isinstance(asked, list) or not 0 < len(asked) <= MOST_RUNS:
        raise InvalidParams(f"A figure is of 1 to {MOST_RUNS} runs: show one, or fewer.", field="layers")
    found = []
    for one in asked:
        told = one if isinstance(one, Mapping) else {}
        run_id, name, colour = (told.get(key) for key in ("id", "name", "colour"))
        if not isinstance(run_id, str) or not isinstance(name, str):
            raise InvalidParams("A layer of a figure has an id and a name: give both.", field="layers")
        if colour is not None and not (isinstance(colour, str) and _COLOUR.fullmatch(colour)):
            raise InvalidParams('A layer\'s colour is "#rrggbb" or "rgb(r, g, b)".', field="layers")
        found.append(_Asked(run_id, name, colour))
    if len({one.id for one in found}) < len(found):
        raise InvalidParams("A run is in a figure once: name each layer once.", field="layers")
    return found
