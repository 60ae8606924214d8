"""The figures of runs as a page draws them: Plotly's JSON, in each of the widths that a page may have."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from fastapi import Response

from diffatlas.errors import InvalidParams
from diffatlas.figures.curves import Line, frame, traces
from diffatlas.figures.page_figure import page_figure
from diffatlas.figures.template import ground
from diffatlas.stopping import look
from diffatlas.ui.wire.runs import Curves

if TYPE_CHECKING:
    from diffatlas.ui.run_services import Reach

#: Charts in a row, by how wide a page is: it takes what it has room for.
ACROSS = (1, 2, 3, 4)
#: Ended runs whose lines are kept.
KEPT = 200


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

    def curves(self, visitor: str, asked: Curves) -> Response:
        """Return the curves of runs, a `diffatlas.ui.wire.kinds.Figure`.

        Without a colour a layer is drawn in ink, or in the accent where it is alone.

        Raises `RunNotFound`, `DamagedRun` and `InvalidParams`.
        """
        dark, along, readings = asked.dark, asked.along, asked.readings
        if len({one.id for one in asked.layers}) < len(asked.layers):
            raise InvalidParams("A run is in a figure once: name each layer once.", field="layers")
        plain = ground(dark).ink if len(asked.layers) > 1 else ground(dark).burgundy
        lines = []
        for layer in asked.layers:
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
